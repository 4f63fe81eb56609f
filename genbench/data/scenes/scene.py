"""What a scene is, and how it is drawn at random: a function of (split, index) alone.

- Count: one object (30 %), two (40 %), three (30 %).
- Several objects are mixed (80 %) or a group (20 %). In a mixed scene no two share a colour and
  exactly one is large; in a group all share shape, colour and size. Else shapes, colours, sizes
  and grounds are uniform.
- Objects lie wholly inside. In most mixed scenes (60 %) the second is put over the rim of the
  first, if there is room; everything else is apart. Later objects are in front.

Lengths are shares of the image's side; x goes to the right, y goes down.
"""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from genbench.data.scenes.shapes import CORE, REACH, SHAPES
from genbench.noise import Noise

__all__ = ["COLOURS", "GROUNDS", "MOST", "SIZES", "Scene", "draw"]

MOST = 3
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SIZES = ("small", "large")
GROUNDS = ("plain", "shaded", "striped", "checked", "cloudy")
TINTS = 8  # ground colours of a style
LATTICE = 6  # points of a cloudy ground in each direction

COUNT_SHARES = (0.3, 0.4, 0.3)
GROUP_SHARE = 0.2
OVER_SHARE = 0.6
SMALL, LARGE, LARGE_IN_GROUP = (0.09, 0.125), (0.17, 0.22), (0.15, 0.168)
_MARGIN, _GAP = 0.02, 0.02  # to the image's border, between objects
# How deep the circle around the object in front goes into the core of the one behind, in radii
# of the smaller one. A straight cut of 0.5 takes 20 % of a circle and 24 % of a ring, more than of
# any other shape, so about three quarters of every object stay visible.
_DEPTH = (0.4, 0.5)
_TRIES = 32
_TILT = 15.0  # degrees, at most


def _directions(degrees: list[float]) -> Tensor:
    """Cosine and sine of each angle, rounded so that every machine's library gives the same."""
    angles = [math.radians(d) for d in degrees]
    return torch.tensor([[round(f(a), 6) for f in (math.cos, math.sin)] for a in angles])


DIRECTIONS = _directions([360 * i / 64 for i in range(64)])
_TILTS = _directions([_TILT * i / 16 for i in range(-16, 17)])
_REACH, _CORE = (torch.tensor([radius[shape] for shape in SHAPES]) for radius in (REACH, CORE))


@dataclass(frozen=True)
class Scene:
    """A batch of scenes; object k of a scene is hidden by those after it.

    Attributes:
        count: int64 (N,), 1 to 3 objects.
        shape: int64 (N, 3), place in `SHAPES`; -1 where there is no object, here and below.
        colour: int64 (N, 3), place in `COLOURS`.
        size: int64 (N, 3), place in `SIZES`.
        x: float32 (N, 3), the centre's distance from the left, in shares of the side.
        y: float32 (N, 3), from above.
        radius: float32 (N, 3), the unit of `genbench.data.scenes.shapes`.
        tilt: float32 (N, 3, 2), cosine and sine of the angle by which an object is turned.
        shine: float32 (N, 3) in [0, 1), how light its colour is.
        ground: int64 (N,), place in `GROUNDS`.
        tint: int64 (N,) in [0, 8), the ground's colour.
        direction: float32 (N, 2), unit vector of the ground's pattern.
        period: float32 (N,), of stripes and checks, in shares of the side.
        phase: float32 (N, 2) in [0, 1), of stripes and checks.
        lattice: float32 (N, 6, 6) in [0, 1), values of a cloudy ground.
    """

    count: Tensor
    shape: Tensor
    colour: Tensor
    size: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor
    tilt: Tensor
    shine: Tensor
    ground: Tensor
    tint: Tensor
    direction: Tensor
    period: Tensor
    phase: Tensor
    lattice: Tensor

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, rows: slice | Tensor) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def used(self) -> Tensor:
        """bool (N, 3): where there is an object."""
        return torch.arange(MOST) < self.count[:, None]

    @property
    def main(self) -> Tensor:
        """int64 (N,): place of the largest object; of a group any, for they are of one shape."""
        return torch.where(self.used, self.radius, -1).argmax(1)

    @property
    def overlapping(self) -> Tensor:
        """bool (N,): whether the circles around the first two objects overlap; others never do."""
        dx, dy = self.x[:, 0] - self.x[:, 1], self.y[:, 0] - self.y[:, 1]
        reach = (_REACH[self.shape] * self.radius)[:, :2].sum(1)
        return (self.count > 1) & (dx * dx + dy * dy < reach * reach)


def draw(split: str, index: Tensor) -> Scene:
    """The scenes of a split at these places, each in [0, 2^63), whatever else is asked for."""
    noise = Noise(0, index, stream=f"scenes/{split}")
    count = 1 + (noise.uniform(1) >= torch.tensor(COUNT_SHARES).cumsum(0)[:-1]).sum(1)
    used = torch.arange(MOST) < count[:, None]
    group = (noise.uniform() < GROUP_SHARE) & (count > 1)
    shape = _choose(noise.uniform(MOST), len(SHAPES))
    colour = _different(noise.uniform(MOST), len(COLOURS))
    shape, colour = (torch.where(group[:, None], v[:, :1], v) for v in (shape, colour))
    size = _sizes(noise.uniform(2), count, group)
    radius = _radii(noise.uniform(MOST), size, group)
    reach = _REACH[shape] * radius
    core = _CORE[shape[:, 0]] * radius[:, 0]
    x, y = _places(noise, reach, core, count, group)
    tilt = _TILTS[_choose(noise.uniform(MOST), len(_TILTS))]
    shine = noise.uniform(MOST)
    ground = noise.uniform(4)
    return Scene(
        count=count,
        **{
            name: torch.where(used, v, -1)
            for name, v in (("shape", shape), ("colour", colour), ("size", size))
        },
        **{
            name: torch.where(used, v, -1.0)
            for name, v in (("x", x), ("y", y), ("radius", radius))
        },
        tilt=tilt,
        shine=shine,
        ground=_choose(ground[:, 0], len(GROUNDS)),
        tint=_choose(ground[:, 1], TINTS),
        direction=DIRECTIONS[_choose(ground[:, 2], len(DIRECTIONS))],
        period=0.16 + 0.2 * ground[:, 3],
        phase=noise.uniform(2),
        lattice=noise.uniform(LATTICE, LATTICE),
    )


def _choose(uniform: Tensor, n: int) -> Tensor:
    return (uniform * n).long().clamp_(max=n - 1)


def _different(uniform: Tensor, n: int) -> Tensor:
    """Three places out of n without repetition, every ordered triple as likely."""
    a, b, c = (_choose(uniform[:, k], n - k) for k in range(MOST))
    b = b + (b >= a)
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    c = c + (c >= low)
    return torch.stack((a, b, c + (c >= high)), 1)


def _sizes(uniform: Tensor, count: Tensor, group: Tensor) -> Tensor:
    large = (uniform[:, :1] < 0.5).expand(-1, MOST)
    only = torch.arange(MOST) == (uniform[:, 1] * count).long().minimum(count - 1)[:, None]
    alike = group | (count == 1)
    return torch.where(alike[:, None], large, only).long()


def _radii(uniform: Tensor, size: Tensor, group: Tensor) -> Tensor:
    ranges = torch.tensor([SMALL, LARGE, LARGE_IN_GROUP])
    low, high = ranges[size * (1 + group[:, None].long())].unbind(-1)
    return low + (high - low) * uniform


def _places(
    noise: Noise, reach: Tensor, core: Tensor, count: Tensor, group: Tensor
) -> tuple[Tensor, Tensor]:
    """Centres: the first of some layouts in which objects are apart, else one in the corners."""
    n, far = len(reach), reach + _MARGIN
    room = (1 - 2 * far)[:, None]
    tries = [far[:, None] + noise.uniform(_TRIES, MOST) * room for _ in range(2)]
    x, y = tries
    over = (noise.uniform(1) < OVER_SHARE) & (count > 1)[:, None] & ~group[:, None]
    toward = DIRECTIONS[_choose(noise.uniform(_TRIES), len(DIRECTIONS))]
    depth = _DEPTH[0] + (_DEPTH[1] - _DEPTH[0]) * noise.uniform(_TRIES)
    first, second = core[:, None], reach[:, 1:2]
    apart = first + second - depth * torch.minimum(first, second)
    for axis, v in enumerate(tries):
        v[..., 1] = torch.where(over, v[..., 0] + toward[..., axis] * apart, v[..., 1])
    inside = torch.stack([(v >= far[:, None]) & (v <= 1 - far[:, None]) for v in (x, y)]).all(0)
    used = torch.arange(MOST) < count[:, None]
    good = (inside | ~used[:, None]).all(-1)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        dx, dy = x[..., i] - x[..., j], y[..., i] - y[..., j]
        clear = dx * dx + dy * dy >= (reach[:, i] + reach[:, j] + _GAP)[:, None] ** 2
        good &= clear | ~used[:, None, j] | (over if (i, j) == (0, 1) else False)
    ranks = good * torch.arange(_TRIES, 0, -1)
    best, rows = ranks.argmax(1), torch.arange(n)
    # No two reaches add up to more than 0.47, so in neighbouring corners they are always apart,
    # and what is left of the side is shared out.
    pairs = torch.where(used, reach, 0).topk(2).values.sum(1, keepdim=True)
    slack = ((1 - 2 * _MARGIN - _GAP) / 2 - pairs)[:, None] * noise.uniform(2, MOST)
    far_x, far_y = (far[:, None] + slack).unbind(1)
    corner = (_choose(noise.uniform(1), 4) + torch.arange(MOST)) % 4
    right, below = (corner == 1) | (corner == 2), corner >= 2
    found = good.any(1)[:, None]
    return (
        torch.where(found, x[rows, best], torch.where(right, 1 - far_x, far_x)),
        torch.where(found, y[rows, best], torch.where(below, 1 - far_y, far_y)),
    )
