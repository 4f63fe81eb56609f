"""Progressive growing (Karras et al., arXiv 1710.10196): its schedule, its images, and D.

Levels count resolutions: level 0 has a side of 4 to 7 pixels, each level above doubles it. A level
that enters is faded in, its share alpha rises from 0 to 1, in G, in D and in the real images:

    G      (1 - alpha) up(to_rgb of the level below) + alpha to_rgb of the level
    D      (1 - alpha) from_rgb of the halved image  + alpha block of the level
    x      (1 - alpha) up(down(x)) + alpha x
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines._nn.blocks import halvings
from baselines._nn.equalized import EqualConv2d, EqualLinear, MinibatchStd, blur, down, up

__all__ = ["Discriminator", "Growth", "rgb_levels", "widths"]


@dataclass(frozen=True)
class Growth:
    """Which level is trained when.

    Every level below the last has an equal part of the first `share` of the budget, the last has
    the rest. All but the first begin by fading in, over `fade` of such a part. With a share of 0
    the whole network is trained from the start; None is a fifth of the budget for each level
    below the last, and a half of it for all of them at the most.
    """

    size: int
    share: float | None
    fade: float

    @property
    def last(self) -> int:
        """The level of the whole image."""
        return halvings(self.size)[1]

    def at(self, progress: float) -> tuple[int, float]:
        """The level, and its alpha in [0, 1], when a share `progress` of the budget is used."""
        share = min(0.5, 0.2 * self.last) if self.share is None else self.share
        if not share:
            return self.last, 1.0
        part = share / self.last
        level = min(int(progress / part), self.last)
        begun = progress / part - level
        return level, 1.0 if level == 0 or begun >= self.fade else begun / self.fade

    def phase(self, progress: float) -> str:
        """The side in pixels, and whether it is fading in: "8", "8 fading"."""
        level, alpha = self.at(progress)
        side = self.size >> (self.last - level)
        return f"{side} fading" if alpha < 1 else f"{side}"

    def reals(self, x: Tensor, level: int, alpha: float) -> Tensor:
        """Real images (B, C, size, size) as D sees them at this moment."""
        for _ in range(self.last - level):
            x = down(x)
        return torch.lerp(up(down(x)), x, alpha) if alpha < 1 else x


def widths(size: int, channels: int, widest: int) -> list[int]:
    """Channels of every level: `channels` at the last, doubled at every halving up to `widest`."""
    last = halvings(size)[1]
    return [min(channels << (last - level), widest) for level in range(last + 1)]


def rgb_levels(c: Sequence[int], grow: bool) -> Iterable[tuple[int, int]]:
    """The levels that need a way from or to an image, each with its channels."""
    return enumerate(c) if grow else [(len(c) - 1, c[-1])]


class Discriminator(nn.Module):
    """Images (B, C, side, side) of a level to logits (B,).

    from_rgb, then for each level conv3 - conv3 - halve, then minibatch standard deviation - conv3
    - two dense layers; LeakyReLU 0.2 after each but the last, no normalisation.

    Args:
        channels: Channels of images.
        base: Side of level 0.
        c: Channels of every level.
        grow: False leaves out what only growing needs.
        blurred: Blur before halving, as StyleGAN has it.
    """

    def __init__(
        self, channels: int, base: int, c: Sequence[int], grow: bool, blurred: bool = False
    ) -> None:
        super().__init__()
        self.last, self.blurred = len(c) - 1, blurred
        self.from_rgb = nn.ModuleDict(
            {str(k): EqualConv2d(channels, n, 1) for k, n in rgb_levels(c, grow)}
        )
        self.conv0 = nn.ModuleList(EqualConv2d(n, n, 3) for n in c[1:])
        self.conv1 = nn.ModuleList(EqualConv2d(c[k], c[k - 1], 3) for k in range(1, len(c)))
        self.act = nn.LeakyReLU(0.2)
        self.head = nn.Sequential(
            MinibatchStd(),
            EqualConv2d(c[0] + 1, c[0], 3),
            self.act,
            nn.Flatten(),
            EqualLinear(c[0] * base**2, c[0]),
            self.act,
            EqualLinear(c[0], 1, gain=1),
            nn.Flatten(0),
        )

    def forward(self, x: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """(B, C, side, side) to (B,); without a level, the last one."""
        level = self.last if level is None else level
        h: Tensor = self.act(self.from_rgb[str(level)](x))
        for k in range(level, 0, -1):
            h = self.act(self.conv0[k - 1](h))
            h = down(self.act(self.conv1[k - 1](blur(h) if self.blurred else h)))
            if k == level and alpha < 1:
                h = torch.lerp(self.act(self.from_rgb[str(k - 1)](down(x))), h, alpha)
        s: Tensor = self.head(h)
        return s
