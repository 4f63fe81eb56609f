"""DCGAN's two networks (Radford, Metz, Chintala, arXiv 1511.06434), which other GANs condition.

Strided and transposed convolutions only, batch normalisation everywhere but at the generator's
output and the discriminator's input, ReLU and tanh in G, LeakyReLU 0.2 in D.
"""

from torch import nn

from baselines._nn.blocks import halvings
from genbench import api

__all__ = ["generator", "trunk"]


def generator(inputs: int, ngf: int, data: api.DataSpec) -> nn.Sequential:
    """One pixel (B, inputs, 1, 1) to images (B, C, H, W) in [-1, 1].

    Args:
        inputs: Channels of the input, for z and whatever is concatenated to it.
        ngf: Channels before the output; they double at every halving of the side.
        data: For the shape of images.
    """
    base, ups = halvings(data.size)
    c = ngf << (ups - 1)
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(inputs, c, base, bias=False),  # 1x1 to base x base
        nn.BatchNorm2d(c),
        nn.ReLU(),
    ]
    for _ in range(ups - 1):
        layers += [
            nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(c // 2),
            nn.ReLU(),
        ]
        c //= 2
    layers += [nn.ConvTranspose2d(c, data.channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def trunk(ndf: int, data: api.DataSpec) -> tuple[nn.Sequential, int, int]:
    """D without its head: images (B, C, H, W) to features (B, c, base, base).

    Args:
        ndf: Channels after the input layer; they double at every halving of the side.
        data: For the shape of images.

    Returns:
        The network, its channels c, and its side `base`.
    """
    base, downs = halvings(data.size)
    c = ndf
    layers: list[nn.Module] = [
        nn.Conv2d(data.channels, c, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
    ]
    for _ in range(downs - 1):
        layers += [
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * c),
            nn.LeakyReLU(0.2),
        ]
        c *= 2
    return nn.Sequential(*layers), c, base
