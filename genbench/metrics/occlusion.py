"""Which of two objects that touch is in front, judged by their outlines.

An object that is partly hidden has lost a part of its shape to the one in front. So for each of
the two the shape is fitted to its pixels twice, by place, radius and angle: as if it were whole,
and as if the other one's pixels could hide some of it. The one that the second way helps more is
behind.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["in_front", "touch"]

Mask = NDArray[np.bool_]

_TILTS = (-0.17, 0.17)  # radians; scenes turn objects by 15 degrees at most
_REACH = 0.35  # how far the centre may be from that of the box, in radii
_RADII = (0.8, 1.3)  # in halves of the box's longer side
_STEPS = (7, 7, 7, 3)  # places to the right and down, radii, angles that are tried first
_ENOUGH = 16  # pixels of a radius; of larger objects every second pixel is looked at, or third
_ROUNDS = 3  # in which the neighbours of the best are tried, at half the distance each time


def touch(a: Mask, b: Mask) -> bool:
    """Whether pixels of both, (H, W), are neighbours or nearly so, also across corners.

    In 32 x 32 pixels one pixel may lie between them, as networks often leave the seam of two
    objects to the ground; in others as much of the side.
    """
    by = 1 + max(1, round(len(a) / 32))
    near = a
    for axis in (0, 1):
        wide = np.pad(near, [(by, by) if axis == k else (0, 0) for k in (0, 1)])
        shifts = [wide.take(range(s, s + a.shape[axis]), axis) for s in range(2 * by + 1)]
        near = np.any(shifts, axis=0)
    return bool((near & b).any())


def in_front(a: Mask, b: Mask, shape_a: str, shape_b: str) -> float:
    """How much more of b seems to be hidden by a than of a by b: above 0 if a is in front.

    The difference of what `_gain` gives for both; 0 where pixels do not tell, as for small shapes
    of which less than a pixel is hidden.

    Args:
        a: Pixels of the first object, bool (H, W).
        b: Of the second.
        shape_a: Name of the first one's shape.
        shape_b: Of the second one's.
    """
    return _gain(b, a, shape_b) - _gain(a, b, shape_a)


def _gain(mask: Mask, other: Mask, shape: str) -> float:
    """By how much the best IoU of shape and mask rises if the other's pixels do not count."""
    import torch

    from genbench.data.scenes.shapes import DISTANCES

    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    radius = max(int(e[-1] - e[0]) + 1 for e in (rows, columns)) / 2
    margin = 2 + int(radius / 2)
    area = tuple(slice(max(0, e[0] - margin), e[-1] + 1 + margin) for e in (rows, columns))
    x, y = (
        (e[0] + e[-1] + 1) / 2 - cut.start
        for e, cut in zip((columns, rows), area[::-1], strict=True)
    )
    stride = 1 + int(radius / _ENOUGH)
    seen, hiding = (torch.from_numpy(m[area][::stride, ::stride]) for m in (mask, other & ~mask))
    height, width = seen.shape
    across, down = (torch.arange(side) * stride + 0.5 for side in (width, height))
    down = down[:, None]

    def fits(ways: "Tensor") -> "Tensor":
        """IoU of the mask and the shape at each of (T, 4), without and with what hides: (2, T)."""
        x, y, radius, angle = ways.T[:, :, None, None]
        left, low, cos, sin = (across - x) / radius, (down - y) / radius, angle.cos(), angle.sin()
        inside = DISTANCES[shape](cos * left + sin * low, cos * low - sin * left) <= 0
        both, either = (inside & seen).sum((1, 2)), inside | seen
        hidden = (inside & hiding).sum((1, 2))  # none of which is in the mask
        either = either.sum((1, 2))
        return both / torch.stack((either, either - hidden)).clamp(min=1)

    spans = ((-_REACH, _REACH), (-_REACH, _REACH), _RADII)
    ends = [(low * radius, high * radius) for low, high in spans] + [_TILTS]
    tried = [torch.linspace(*span, steps) for span, steps in zip(ends, _STEPS, strict=True)]
    step = torch.stack([values[1] - values[0] for values in tried])
    near = torch.cartesian_prod(*[torch.tensor([-0.5, 0.0, 0.5])] * 4) * step
    coarse = torch.cartesian_prod(*tried) + torch.tensor([x, y, 0, 0])
    best, first = [], fits(coarse)
    for k in range(2):
        way, found = coarse[first[k].argmax()], first[k].max()
        for halved in range(_ROUNDS):
            ways = way + near / 2**halved  # the best so far is among them
            scores = fits(ways)[k]
            way, found = ways[scores.argmax()], scores.max()
        best.append(float(found))
    return best[1] - best[0]
