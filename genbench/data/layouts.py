"""Images with boxes, as Hugging Face's imagefolder lays them out for object detection."""

from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short  # what a file says may be of any length
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.data import class_names, files, json_lines, listing
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.data.json_lines import Line
from genbench.data.resize import crop_of
from genbench.spec import ConfigError, nearest

__all__ = ["TEXTS", "read"]

TEXTS = ("metadata.jsonl", "layouts.jsonl")
_EXAMPLE = '{"file_name": "0001.png", "objects": {"bbox": [[4, 2, 9, 9]], "categories": ["dog"]}}'
_SLACK = 1.0  # pixels that a box may reach over the border, since some tools round outwards
_FAR = 1e9  # no number beyond is a place in an image, NaN neither

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Object:
    """A box x0, y0, x1, y1 in pixels of the file, and its category as it is written."""

    box: Box
    category: str | int


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of images with objects: the annotations `boxes` and `box_classes`.

    `metadata.jsonl` or `layouts.jsonl`, in the folder or in those of the splits, holds one line
    for each image, `{"file_name": ..., "objects": {"bbox": [[x, y, width, height], ...],
    "categories": [...]}}` in pixels. Categories are names, or numbers that `classes.txt` names.
    There are as many places as the image of both splits with the most objects has. With a size,
    boxes are cropped as the image is, and objects that are wholly outside of the crop are lost.

    Source: https://huggingface.co/docs/datasets/image_dataset, "Object detection".

    Raises:
        ConfigError: A line that is broken, lacks a key or names no image, an image without a line
            or with two, a box outside of its image, an unknown category.
    """
    listed = listing.read("layouts", folder)
    found = _objects(listed)
    names = _names(folder, [o.category for objects in found.values() for o in objects])
    places = max([1, *(len(objects) for objects in found.values())])
    mine = listed.of(split)
    images, told = files.read_images(listed, split, size)
    boxes = np.zeros((len(mine), places, 4), np.float32)
    classes = np.full((len(mine), places), -1, np.int64)
    lost = 0
    for i, picture in enumerate(mine):
        crop = _crop(files.header("layouts", folder, picture.path).size, size)
        cut = [(_inside(o.box, crop), o) for o in found[picture.relative]]
        kept = [(box, o) for box, o in cut if box is not None]
        lost += len(found[picture.relative]) - len(kept)
        for k, (box, o) in enumerate(kept):
            boxes[i, k] = box
            classes[i, k] = o.category if isinstance(o.category, int) else names.index(o.category)
    notes: dict[str, Note] = listed.notes() | told | {"places_of_objects": places}
    if size is not None:
        notes["objects_outside_the_crop"] = lost
    known = {"boxes": Annotation.of(boxes), "box_classes": Annotation.of(classes, names)}
    return Contents(images, None, (), notes, known)


def _objects(listed: listing.Listing) -> dict[str, list[Object]]:
    """The objects of every image of both splits."""
    found: dict[str, list[Object]] = {}
    for line in json_lines.read(listed, TEXTS, _EXAMPLE):
        if line.picture.relative in found:
            raise line.refuse("a second line about this image; put all its objects into one")
        found[line.picture.relative] = _of_line(listed.folder, line)
    if lacking := [p.relative for p in listed.used if p.relative not in found]:
        raise ConfigError(
            f"layouts: {listed.folder / lacking[0]} has no line ({len(lacking)} in all); add one, "
            "with empty lists if it shows no object, or take the image out"
        )
    return found


def _of_line(folder: Path, line: Line) -> list[Object]:
    objects = line.get("objects")
    if not isinstance(objects, dict):
        raise line.refuse("objects is no JSON object with the keys 'bbox' and 'categories'")
    inner = Line(line.where, line.picture, objects)
    boxes, categories = inner.get("bbox"), inner.get("categories")
    if not isinstance(boxes, list) or not isinstance(categories, list):
        raise line.refuse("bbox and categories are lists, with one entry for each object")
    if len(boxes) != len(categories):
        raise line.refuse(
            f"{len(boxes)} boxes and {len(categories)} categories; give every object one of each"
        )
    width, height = files.header("layouts", folder, line.picture.path).size if boxes else (0, 0)
    corners = [_box(line, box, width, height) for box in boxes]
    for category in categories:
        if isinstance(category, bool) or not isinstance(category, str | int) or category == "":
            raise line.refuse(f"category {short(category)} is neither a name nor a number")
    return [Object(box, c) for box, c in zip(corners, categories, strict=True)]


def _box(line: Line, box: Any, width: int, height: int) -> Box:
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(v, int | float) and abs(v) < _FAR for v in box)
    ):
        raise line.refuse(f"box {short(box)} is not four numbers x, y, width, height in pixels")
    x, y, w, h = (float(v) for v in box)
    if w <= 0 or h <= 0:
        raise line.refuse(f"box {short(box)} has no area; give it a width and a height above 0")
    if min(x, y) < -_SLACK or x + w > width + _SLACK or y + h > height + _SLACK:
        raise line.refuse(
            f"box {short(box)} reaches outside of the image, which is {width}x{height} pixels; "
            "boxes are x, y, width, height"
        )
    return x, y, x + w, y + h


def _names(folder: Path, categories: list[str | int]) -> tuple[str, ...]:
    """The classes' names: those of `classes.txt`, else the categories that occur."""
    names = class_names.read("layouts", folder)
    words = sorted({c for c in categories if isinstance(c, str)})
    numbers = sorted({c for c in categories if isinstance(c, int)})
    if words and numbers:
        raise ConfigError(
            f"layouts: {folder} has categories of both kinds, {words[0]!r} and {numbers[0]}; use "
            "names everywhere, or numbers"
        )
    if names is None:
        names = tuple(words or (str(n) for n in range(max(numbers, default=0) + 1)))
    if unknown := [word for word in words if word not in names]:
        hint = nearest(unknown[0], names)
        raise ConfigError(f"layouts: {class_names.FILE} has no category {unknown[0]!r}; {hint}")
    if wrong := [n for n in numbers if not 0 <= n < len(names)]:
        raise ConfigError(
            f"layouts: category {wrong[0]} is not in 0 to {len(names) - 1}, the classes of "
            f"{class_names.FILE}; correct it, or add its name"
        )
    return names


def _crop(of_image: tuple[int, int], size: int | None) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is kept of an image."""
    if size is None:
        return 0, 0, *of_image
    left, top, side = crop_of(*of_image)
    return left, top, side, side


def _inside(box: Box, crop: tuple[int, int, int, int]) -> NDArray[np.float32] | None:
    """The box in shares of the crop, cut off at its borders; None if nothing is left."""
    left, top, width, height = crop
    moved = np.array(box) - (left, top, left, top)
    cut = (moved / (width, height, width, height)).clip(0, 1).astype(np.float32)
    return cut if cut[0] < cut[2] and cut[1] < cut[3] else None
