"""From what a network says of every pixel to the objects of a picture.

Every pixel of an object votes for its object's centre. The votes of one colour that fall into
neighbouring cells of a 32 x 32 grid are one object, and what is left of them nearby, the votes of
blurred rims, goes to the largest one. So an object that another one cuts in two stays one, and
two equal objects that touch in pixels stay two: nothing depends on which pixels touch. An object's
shape and size are those with the largest product of probabilities over its pixels.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genbench.data.scenes import COLOURS
from genbench.features.scenes_net import Maps

__all__ = ["MOST_FOUND", "Reading", "read_maps"]

MOST_FOUND = 8  # objects of an image that are told, the largest
SMALLEST = 1 / 100  # of the image's area; of an object of a scene at least 1 / 70 is visible
NEAREST = 0.15  # of the side, between the centres of two objects of one colour; in scenes, 0.2
_CELLS = 32

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What is seen in N images; places of objects that are not used hold -1, and boxes of zeros.

    Attributes:
        label_map: uint8 (N, H, W), 0 for the ground, else 1 + place in `SHAPES`.
        colour_map: uint8 (N, H, W), 0 for the ground, else 1 + place in `COLOURS`.
        shape: int64 (N, 8), place in `SHAPES`, the largest area first, here and below.
        colour: int64 (N, 8), place in `COLOURS`.
        size: int64 (N, 8), place in `SIZES`.
        centre: float32 (N, 8, 2), x and y in [0, 1].
        boxes: float32 (N, 8, 4), x0, y0, x1, y1 in [0, 1], around the visible pixels.
        style: int64 (N,), place in `STYLES`.
    """

    label_map: Tensor
    colour_map: Tensor
    shape: Tensor
    colour: Tensor
    size: Tensor
    centre: Tensor
    boxes: Tensor
    style: Tensor

    def __len__(self) -> int:
        return len(self.style)

    def __getitem__(self, rows: slice | Tensor) -> Self:
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def count(self) -> Tensor:
        """int64 (N,): how many objects are seen."""
        return (self.shape >= 0).sum(1)

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """One reading of all images of several, which have one size."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def read_maps(maps: Maps) -> Reading:
    """The objects in what the network says of images; on the CPU."""
    label_map = maps.shape.argmax(1).to(torch.uint8)
    colour = maps.colour.argmax(1)
    colour_map = torch.where(label_map > 0, colour + 1, 0).to(torch.uint8)
    objects = _objects(maps, label_map.cpu().numpy() > 0, colour.cpu().numpy())
    style = maps.style.argmax(1)
    return Reading(label_map.cpu(), colour_map.cpu(), *objects, style.cpu())


def _objects(
    maps: Maps, inside: NDArray[np.bool_], colours: Ints
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Shape, colour, size, centre and box of every object, as in `Reading`."""
    image, row, column = np.nonzero(inside)
    colour = colours[image, row, column]

    def at(values: Tensor) -> Floats:
        pixels: Floats = values.cpu().numpy()[image, :, row, column]
        return pixels

    height, width = inside.shape[1:]
    scale = np.array([width, height, width, height])
    place = np.stack(((column + 0.5) / width, (row + 0.5) / height), 1).astype(np.float32)
    votes = np.clip(place + at(maps.offset), 0, 1)
    owner = _owner(image, colour, votes, len(inside))
    area = np.bincount(owner)
    first = np.zeros(len(area), np.int64)
    first[owner] = np.arange(len(owner))  # any pixel of each object
    of, kind = image[first], colour[first]

    def summed(values: Floats) -> NDArray[np.float64]:
        columns = [np.bincount(owner, values[:, k]) for k in range(values.shape[1])]
        return np.stack(columns, 1)

    shape = summed(at(maps.shape.log_softmax(1)))[:, 1:].argmax(1)
    size = summed(at(maps.size.log_softmax(1))).argmax(1)
    centre = summed(votes) / area[:, None]
    boxes = _boxes(owner, row, column, len(area)) / scale
    order, slot = _ranked(of, area, SMALLEST * height * width)
    return tuple(  # type: ignore[return-value]
        _table(values[order], of[order], slot, len(inside), empty)
        for values, empty in ((shape, -1), (kind, -1), (size, -1), (centre, -1), (boxes, 0))
    )


def _owner(image: Ints, colour: Ints, votes: Floats, images: int) -> Ints:
    """The object, from 0 on, that each pixel belongs to."""
    from scipy.ndimage import label

    cell = np.minimum((votes * _CELLS).astype(np.int64), _CELLS - 1)
    plane = image * len(COLOURS) + colour
    hit = np.zeros((images * len(COLOURS), _CELLS, _CELLS), bool)
    hit[plane, cell[:, 1], cell[:, 0]] = True
    neighbours = np.zeros((3, 3, 3), bool)
    neighbours[1] = True  # within one image and colour
    found, _ = label(hit, neighbours)
    part = found[plane, cell[:, 1], cell[:, 0]].astype(np.int64) - 1
    area = np.bincount(part)
    centre = np.stack([np.bincount(part, votes[:, k]) / area for k in range(2)], 1)
    of = np.zeros(len(area), np.int64)
    of[part] = plane
    whole = _joined(of, area, centre)
    owner: Ints = np.unique(whole[part], return_inverse=True)[1]
    return owner


def _joined(plane: Ints, area: Ints, centre: NDArray[np.float64]) -> Ints:
    """For each part the largest one that is near it in its plane, or itself."""
    order = np.lexsort((-area, plane))
    whole = np.arange(len(area))
    starts = np.flatnonzero(np.diff(plane[order], prepend=-1))
    for parts in np.split(order, starts[1:]):
        kept: list[int] = []
        for part in parts if len(parts) > 1 else ():
            apart = np.abs(centre[kept] - centre[part]) if kept else np.empty((0, 2))
            near = np.flatnonzero(np.hypot(*apart.T) < NEAREST)
            if len(near):
                whole[part] = kept[near[0]]
            else:
                kept.append(part)
    return whole


def _boxes(owner: Ints, row: Ints, column: Ints, objects: int) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of each object in pixels."""
    boxes = np.zeros((objects, 4))
    for side, values in enumerate((column, row)):
        low, high = np.full(objects, np.iinfo(np.int64).max), np.full(objects, -1)
        np.minimum.at(low, owner, values)
        np.maximum.at(high, owner, values)
        boxes[:, side], boxes[:, 2 + side] = low, high + 1
    return boxes


def _ranked(image: Ints, area: Ints, smallest: float) -> tuple[Ints, Ints]:
    """Which objects are told, image by image, the largest first, and the place of each."""
    order = np.lexsort((-area, image))  # stable: of equal areas the upper one
    order = order[area[order] >= smallest]
    image = image[order]
    slot = np.arange(len(order)) - np.searchsorted(image, image)
    return order[slot < MOST_FOUND], slot[slot < MOST_FOUND]


def _table(
    values: NDArray[np.generic], image: Ints, slot: Ints, images: int, empty: int
) -> Tensor:
    kind = np.int64 if values.dtype.kind == "i" else np.float32
    table = np.full((images, MOST_FOUND, *values.shape[1:]), empty, kind)
    table[image, slot] = values
    return torch.from_numpy(table)
