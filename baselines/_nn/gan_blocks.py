"""Layers of conditional GANs: batch normalisation told what to do, and spectral norm.

Conditional batch normalisation (de Vries et al., arXiv 1707.00683) puts the condition into every
layer of G; spectral normalisation (Miyato et al., arXiv 1802.05957) bounds D's slope, so that D
needs no batch normalisation of its own.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from baselines._nn.blocks import halvings

__all__ = ["ConditionalBatchNorm", "UpGenerator", "orthogonal", "spectral", "spectral_trunk"]


class ConditionalBatchNorm(nn.Module):
    """(1 + gamma(w)) BN(h) + beta(w), with gamma and beta linear in w (B, d)."""

    def __init__(self, channels: int, d: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(d, 2 * channels)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """h (B, C, H, W) and w (B, d) to (B, C, H, W)."""
        gamma, beta = self.affine(w)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = (1 + gamma) * self.norm(h) + beta
        return out


class UpConv(nn.Module):
    """Conditional BN - ReLU - double the side by nearest neighbours - conv3."""

    def __init__(self, c_in: int, c_out: int, d: int) -> None:
        super().__init__()
        self.norm = ConditionalBatchNorm(c_in, d)
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1)

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """h (B, c_in, H, W) and w (B, d) to (B, c_out, 2 H, 2 W)."""
        out: Tensor = self.conv(F.interpolate(F.relu(self.norm(h, w)), scale_factor=2.0))
        return out


class UpGenerator(nn.Module):
    """A generator that is told its condition at every side.

    A dense layer to the smallest side, an `UpConv` for each doubling, then conditional BN - ReLU -
    conv3 - tanh.

    Args:
        inputs: Dimensions of what the dense layer reads.
        d: Dimensions of the condition.
        ngf: Channels before the output; they double at every halving, up to 4 times.
        channels: Of the images.
        size: Their side.
    """

    def __init__(self, inputs: int, d: int, ngf: int, channels: int, size: int) -> None:
        super().__init__()
        base, ups = halvings(size)
        widths = [ngf * min(2**k, 4) for k in reversed(range(ups + 1))]
        self.input = nn.Sequential(
            nn.Linear(inputs, widths[0] * base**2), nn.Unflatten(1, (widths[0], base, base))
        )
        self.blocks = nn.ModuleList(UpConv(a, b, d) for a, b in pairwise(widths))
        self.norm = ConditionalBatchNorm(widths[-1], d)
        self.output = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z: Tensor, w: Tensor) -> Tensor:
        """(B, inputs) and the condition (B, d) to (B, channels, size, size) in [-1, 1]."""
        h = self.input(z).contiguous(memory_format=torch.channels_last)  # 1.4 times as fast
        for block in self.blocks:
            h = block(h, w)
        return torch.tanh(self.output(F.relu(self.norm(h, w))))


def orthogonal(module: nn.Module) -> None:
    """Orthogonal weights, biases 0 (Brock et al., arXiv 1809.11096): for `apply`."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
        nn.init.orthogonal_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def spectral(layer: nn.Module) -> nn.Module:
    """The layer with orthogonal initial weights and spectral norm."""
    orthogonal(layer)
    return spectral_norm(layer)


def spectral_trunk(channels: int, size: int, width: int) -> tuple[nn.Sequential, int, int]:
    """D without its head: images (B, channels, size, size) to features (B, c, base, base).

    Convolutions of 4x4 with stride 2 under spectral norm, LeakyReLU 0.2 after each; `width`
    channels after the first, which double at every halving.

    Returns:
        The network, its channels c, and its side `base`.
    """
    base, downs = halvings(size)
    widths = [channels, *(width << k for k in range(downs))]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [spectral(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers), widths[-1], base
