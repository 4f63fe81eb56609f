"""DCGAN's two networks (Radford, Metz, Chintala, arXiv 1511.06434), which other GANs take over.

Strided and transposed convolutions only, batch normalisation everywhere but at the generator's
output and the discriminator's input, ReLU and tanh in G, LeakyReLU 0.2 in D. The paper halves 64
pixels four times, down to 4. Small images are halved at least twice, 8 pixels down to 2: with one
halving there would be no hidden layer in D, and so nothing to normalise.
"""

from collections.abc import Callable
from typing import Literal

from torch import nn

from baselines._nn.blocks import halvings
from baselines._nn.gan_blocks import spectral
from genbench import api

__all__ = ["Norm", "discriminator", "generator", "trunk"]

Norm = Literal["batch", "spectral", "none"]


def generator(
    inputs: int,
    ngf: int,
    data: api.DataSpec,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> nn.Sequential:
    """One pixel (B, inputs, 1, 1) to images (B, C, H, W) in [-1, 1].

    Args:
        inputs: Channels of the input, for z and whatever is concatenated to it.
        ngf: Channels before the output; they double at every halving of the side.
        data: For the shape of images.
        norm: Makes the normalisation of a layer from its channels; `nn.Identity` for none.
    """
    base, ups = halvings(data.size, least=2)
    bare = norm is nn.Identity  # a normalisation removes the bias that comes before it
    c = ngf << (ups - 1)
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(inputs, c, base, bias=bare),  # 1x1 to base x base
        norm(c),
        nn.ReLU(),
    ]
    for _ in range(ups - 1):
        layers += [
            nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=bare),
            norm(c // 2),
            nn.ReLU(),
        ]
        c //= 2
    layers += [nn.ConvTranspose2d(c, data.channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def trunk(ndf: int, data: api.DataSpec, norm: Norm = "batch") -> tuple[nn.Sequential, int, int]:
    """D without its head: images (B, C, H, W) to features (B, c, base, base).

    Args:
        ndf: Channels after the input layer; they double at every halving of the side.
        data: For the shape of images.
        norm: Batch normalisation of hidden layers, spectral normalisation of all weights, or none.

    Returns:
        The network, its channels c, and its side `base`.
    """
    base, downs = halvings(data.size, least=2)
    batch, c_in, c = norm == "batch", data.channels, ndf
    layers: list[nn.Module] = []
    for k in range(downs):
        conv = nn.Conv2d(c_in, c, 4, stride=2, padding=1, bias=not batch or k == 0)
        layers.append(spectral(conv) if norm == "spectral" else conv)
        if batch and k > 0:
            layers.append(nn.BatchNorm2d(c))
        layers.append(nn.LeakyReLU(0.2))
        c_in, c = c, 2 * c
    return nn.Sequential(*layers), c_in, base


def discriminator(ndf: int, data: api.DataSpec, norm: Norm = "batch") -> nn.Sequential:
    """Images (B, C, H, W) to logits (B,): the trunk, and a convolution of its whole side."""
    phi, c, base = trunk(ndf, data, norm)
    head = nn.Conv2d(c, 1, base)
    return nn.Sequential(*phi, spectral(head) if norm == "spectral" else head, nn.Flatten(0))
