"""What is known of each image besides its pixels. An object has a pixel if it holds its centre."""

import torch
from torch import Tensor

from genbench.data.scenes.render import coverage, measure
from genbench.data.scenes.scene import MOST, Scene
from genbench.data.scenes.styles import LINE

__all__ = ["boxes", "hidden", "label_map", "masks", "outline"]

_ANALYSIS = 64  # pixels on each side where overlaps are measured, whatever the images' size
_ROWS = 64  # scenes that are measured at once


def masks(scene: Scene, size: int) -> Tensor:
    """bool (N, 3, S, S), the visible pixels of each object; all false where there is none."""
    seen = _whole(scene, size)
    for front in range(1, MOST):
        seen[:, :front] &= ~seen[:, front : front + 1]
    return seen


def label_map(scene: Scene, size: int) -> Tensor:
    """uint8 (N, S, S), 0 for the ground, else 1 + the place of the object's shape in `SHAPES`."""
    labels = (scene.shape + 1)[..., None, None] * masks(scene, size)
    return labels.sum(1).to(torch.uint8)


def boxes(scene: Scene, size: int) -> Tensor:
    """float32 (N, 3, 4), x0, y0, x1, y1 in [0, 1], tight around the visible pixels; else 0."""
    seen = masks(scene, size)
    ends = []
    for axis in (2, 3):  # the axis that is looked through leaves columns, then rows
        line = seen.any(axis).int()
        some = line.any(-1)
        first, last = line.argmax(-1), size - line.flip(-1).argmax(-1)
        ends.append((first * some, last * some))
    (x0, x1), (y0, y1) = ends
    return torch.stack((x0, y0, x1, y1), -1) / size


def outline(scene: Scene, size: int) -> Tensor:
    """uint8 (N, 1, S, S), the visible outlines of all objects, black on white."""
    objects = measure(scene, size)
    inside = coverage(objects.distance)
    line = inside - coverage(objects.distance + LINE * size)
    ink = torch.zeros(len(scene), size, size)
    for slot in range(MOST):
        rows = (objects.slot == slot).nonzero()[:, 0]
        image = objects.image[rows]
        ink[image] = ink[image] * (1 - inside[rows]) + line[rows]
    return ((1 - ink) * 255 + 0.5).clamp_(0, 255).to(torch.uint8)[:, None]


def hidden(scene: Scene) -> Tensor:
    """float32 (N, 3, 3), the share of object i that object j covers, in 64 x 64 pixels."""
    out = torch.zeros(len(scene), MOST, MOST)
    # only the second object is ever put over another one, the first: see `scene.draw`
    rows = scene.overlapping.nonzero()[:, 0]
    for part in torch.split(rows, _ROWS):
        back, front = _whole(scene[part], _ANALYSIS).flatten(2)[:, :2].unbind(1)
        out[part, 0, 1] = (back & front).sum(-1) / back.sum(-1)
    return out


def _whole(scene: Scene, size: int) -> Tensor:
    """bool (N, 3, S, S), the pixels of each object, those hidden included."""
    objects = measure(scene, size)
    out = torch.zeros(len(scene), MOST, size, size, dtype=torch.bool)
    out[objects.image, objects.slot] = objects.distance <= 0
    return out
