"""Layers of progressive GANs (Karras et al., arXiv 1710.10196), which StyleGAN took over.

Equalised learning rate: weights are drawn from N(0, 1) and multiplied by He's constant whenever
they are used, so that every layer has the same range and Adam's steps mean the same in all.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EqualConv2d", "EqualLinear", "MinibatchStd", "PixelNorm", "blur", "down", "up"]

GAIN = math.sqrt(2)  # of He's initialisation; 1 where no LeakyReLU follows


class EqualLinear(nn.Linear):
    """y = (c W) x + b with W ~ N(0, 1) at the start and c = gain / sqrt(n_in).

    Args:
        n_in: Dimensions of x.
        n_out: Dimensions of y.
        gain: See above.
        lr: Multiplier of the learning rate: parameters are kept 1 / lr times as large and used lr
            times as large, so that a step of Adam moves the layer by lr as much.
    """

    def __init__(self, n_in: int, n_out: int, gain: float = GAIN, lr: float = 1.0) -> None:
        super().__init__(n_in, n_out)
        nn.init.normal_(self.weight, std=1 / lr)
        nn.init.zeros_(self.bias)
        self.scale, self.lr = gain / math.sqrt(n_in) * lr, lr

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in) to (B, n_out)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr)


class EqualConv2d(nn.Conv2d):
    """Convolution that keeps the side, y = (c W) * x + b; c = gain / sqrt(c_in kernel^2).

    Without `bias` b is 0.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, gain: float = GAIN, bias: bool = True
    ) -> None:
        super().__init__(c_in, c_out, kernel, padding=kernel // 2, bias=bias)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.scale = gain / math.sqrt(c_in * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) to (B, c_out, H, W)."""
        # the bias is not scaled: it has no fan-in
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class PixelNorm(nn.Module):
    """h / sqrt(mean over channels of h^2 + 1e-8), at every pixel; of vectors (B, d) too."""

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return h * (h.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class MinibatchStd(nn.Module):
    """Appends a channel that says how much the images of a group differ.

    The standard deviation over the group of every feature at every place, averaged over features
    and places: one number for each group, 1e-4 where all its images are equal. A group is `group`
    neighbours of the batch, or some more: a batch that does not divide makes larger groups, as an
    image alone would look like a collapse. A batch smaller than a group is one group.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        self.group = group

    def forward(self, h: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + 1, H, W)."""
        groups = max(1, len(h) // self.group)
        size, larger = divmod(len(h), groups)  # `larger` groups of size + 1, the rest of size
        border = larger * (size + 1)
        parts = [_spread(h[:border], size + 1)] if larger else []
        parts.append(_spread(h[border:], size))
        std = torch.cat(parts)[:, None, None, None].expand(-1, 1, *h.shape[2:])
        return torch.cat((h, std.to(h.dtype)), dim=1)


def _spread(h: Tensor, size: int) -> Tensor:
    """The number of each image's group: (B, C, H, W) to (B,), B a multiple of size."""
    variance = h.float().reshape(-1, size, *h.shape[1:]).var(dim=1, correction=0)
    number: Tensor = (variance + 1e-8).sqrt().flatten(1).mean(1)
    return number.repeat_interleave(size)


def up(x: Tensor) -> Tensor:
    """Double the side by nearest neighbours: (B, C, H, W) to (B, C, 2 H, 2 W)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def down(x: Tensor) -> Tensor:
    """Halve the side by the mean of 2x2 pixels, so that down(up(x)) = x."""
    return F.avg_pool2d(x, 2)


def blur(x: Tensor) -> Tensor:
    """Convolve with [1, 2, 1] / 4 along rows and columns, 0 outside the image."""
    # [1, 2, 1] / 4 is the mean of two neighbours, twice
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)
