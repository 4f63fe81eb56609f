"""Where everything lies in the image: distances in pixels, coverage, patterns of the ground.

A pixel's coverage by an object is `clamp(0.5 - d)`, d the signed distance of its centre to the
object's outline in pixels: exact for a straight outline along the pixels, and near it elsewhere.
All operations are ones that IEEE 754 rounds in one way, so pixels are the same on every machine.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.data.scenes.scene import LATTICE, Scene
from genbench.data.scenes.shapes import DISTANCES

__all__ = ["Objects", "coverage", "lines", "measure", "pattern"]


@dataclass(frozen=True)
class Objects:
    """All objects of a batch of scenes in one row of M, image by image, the hindmost first.

    Attributes:
        image: int64 (M,), the image that each is in.
        slot: int64 (M,), its place in the scene, 0 to 2.
        size: Pixels on each side.
        distance: float32 (M, S, S), to the outline in pixels, negative inside.
        radius: float32 (M, 1, 1), in pixels.
        left: float32 (M, 1, S), from the centre to the right, in radii.
        down: float32 (M, S, 1), from the centre downwards, in radii.
    """

    image: Tensor
    slot: Tensor
    size: int
    distance: Tensor
    radius: Tensor
    left: Tensor
    down: Tensor


def measure(scene: Scene, size: int, shift: tuple[float, float] = (0.0, 0.0)) -> Objects:
    """Signed distances at the centres of the pixels.

    Args:
        scene: A batch of scenes.
        size: Pixels on each side.
        shift: Moves every object, to the right and down, in shares of the side.
    """
    image, slot = scene.used.nonzero(as_tuple=True)
    shape, x, y, radius = (
        v[image, slot] for v in (scene.shape, scene.x, scene.y, scene.radius[..., None, None])
    )
    grid = _centres(size)
    left = ((grid - (x + shift[0])[:, None]) / radius[..., 0])[:, None, :]
    down = ((grid - (y + shift[1])[:, None]) / radius[..., 0])[:, :, None]
    turn = scene.tilt[image, slot][..., None, None]
    cos, sin = turn[:, 0], turn[:, 1]
    distance = torch.empty(len(image), size, size)
    for kind, function in enumerate(DISTANCES.values()):
        rows = (shape == kind).nonzero()[:, 0]
        if len(rows):
            a, b, c, s = left[rows], down[rows], cos[rows], sin[rows]
            distance[rows] = function(c * a + s * b, c * b - s * a)
    radius = radius * size
    return Objects(image, slot, size, distance.mul_(radius), radius, left, down)


def coverage(distance: Tensor) -> Tensor:
    """Share of each pixel that lies inside, from its distance to the outline in pixels."""
    return (0.5 - distance).clamp_(0, 1)


def lines(size: int, direction: tuple[float, float], period: float, share: float) -> Tensor:
    """(S, S) shares of each pixel that lie on the lines of a hatching, averaged over the pixel."""
    grid = _centres(size)
    along = (grid * direction[0])[None, :] + (grid * direction[1])[:, None]
    return _wave(along / period, 1 / (size * period), share)


def pattern(scene: Scene, size: int) -> Tensor:
    """(N, S, S) in [0, 1]: how far the ground is from its first colour to its second."""
    out = torch.zeros(len(scene), size, size)
    makers = (None, _shaded, _striped, _checked, _cloudy)
    for kind, make in enumerate(makers):
        rows = (scene.ground == kind).nonzero()[:, 0]
        if make is not None and len(rows):
            out[rows] = make(scene[rows], _centres(size))
    return out


def _centres(size: int) -> Tensor:
    return (torch.arange(size) + 0.5) / size


def _along(scene: Scene, grid: Tensor) -> Tensor:
    """(N, S, S), how far each pixel is along the ground's direction, in shares of the side."""
    direction = scene.direction[..., None]
    return (direction[:, 0] * grid)[:, None, :] + (direction[:, 1] * grid)[:, :, None]


def _shaded(scene: Scene, grid: Tensor) -> Tensor:
    total = scene.direction.abs().sum(1)[:, None, None]
    lowest = scene.direction.clamp(max=0).sum(1)[:, None, None]
    return (_along(scene, grid) - lowest) / total


def _striped(scene: Scene, grid: Tensor) -> Tensor:
    period, phase = scene.period[:, None, None], scene.phase[:, :1, None]
    return _wave(_along(scene, grid) / period + phase, 1 / (len(grid) * period), 0.5)


def _checked(scene: Scene, grid: Tensor) -> Tensor:
    period = scene.period[:, None]
    a, b = (
        _wave(grid / period + scene.phase[:, axis, None], 1 / (len(grid) * period), 0.5)
        for axis in range(2)
    )
    across, down = a[:, None, :], b[:, :, None]
    return across + down - 2 * across * down


def _cloudy(scene: Scene, grid: Tensor) -> Tensor:
    """Values of the lattice, joined smoothly (Perlin's 3 t^2 - 2 t^3)."""
    place = grid * (LATTICE - 1)
    low = place.long().clamp_(max=LATTICE - 2)
    t = place - low
    t = t * t * (3 - 2 * t)
    rows = scene.lattice[:, low]
    rows = rows + t[:, None] * (scene.lattice[:, low + 1] - rows)
    out = rows[:, :, low]
    return out + t * (rows[:, :, low + 1] - out)


def _wave(place: Tensor, width: Tensor | float, share: float) -> Tensor:
    """A wave that is 1 on the first `share` of each period and else 0, averaged over `width`."""
    high, low = (_integral(place + side * width, share) for side in (0.5, -0.5))
    return ((high - low) / width).clamp_(0, 1)


def _integral(place: Tensor, share: float) -> Tensor:
    whole = place.floor()
    return whole * share + (place - whole).clamp_(max=share)
