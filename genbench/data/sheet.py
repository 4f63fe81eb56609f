"""Contact sheets of annotated images: one image in a row, what is known of it side by side."""

import colorsys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from genbench.data import words
from genbench.data.dataset import Dataset

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Draw

__all__ = ["Column", "coloured", "last", "paint", "separate", "sheet"]

Pixels = NDArray[np.uint8]
RGB = tuple[int, int, int]

_PAPER, _INK, _FAINT, _LINE = (250, 250, 248), (28, 30, 34), (122, 126, 134), (222, 222, 218)
_TILE = 112  # pixels that an image is enlarged or reduced to, about
_WIDTH = 5  # columns that there is room for at least, so that texts have some too
_MARGIN, _GAP, _HEAD, _TEXT, _ROW_GAP = 24, 8, 64, 24, 18
# of the first classes of label maps, the ground before all
_LABELS: tuple[RGB, ...] = (
    *((238, 238, 234), (58, 134, 150), (226, 122, 84), (116, 152, 82)),
    *((238, 186, 84), (124, 102, 164), (200, 96, 128)),
)
_INSTANCES: tuple[RGB, ...] = ((54, 84, 124), (212, 140, 92), (124, 170, 152))
_GOLDEN = 0.618034  # of the circle of hues, from one further class to the next


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        name: Its heading.
        pixels: uint8 (n, S, S, 3); S may differ between columns.
        boxes: Of each image those to draw, x0, y0, x1, y1 in [0, 1].
    """

    name: str
    pixels: Pixels
    boxes: Sequence[Sequence[Sequence[float]]] = ()


def sheet(dataset: Dataset, n: int, plain: Callable[[str], str] = str) -> "Image":
    """The first `n` images of a dataset with its annotations; captions and names stand below.

    Args:
        dataset: With annotations.
        n: Rows.
        plain: Makes any text of the dataset fit to be shown.
    """
    maps = "label_map" in dataset.annotations
    return paint(
        f"{plain(dataset.name)}  ·  {dataset.split}",
        _columns(dataset, n),
        [plain(text) for text in _texts(dataset, n)],
        tuple(plain(name) for name in dataset.words("label_map")) if maps else (),
    )


def _columns(dataset: Dataset, n: int) -> list[Column]:
    images = _rgb(dataset.images[:n])
    columns = [Column("image", images)]
    there = dataset.annotations
    if "source" in there:
        columns.append(Column("source", _rgb(dataset.annotation("source")[:n])))
    if "boxes" in there:
        boxes, classes = dataset.annotation("boxes")[:n], dataset.annotation("box_classes")[:n]
        used = [b[c >= 0].tolist() for b, c in zip(boxes, classes, strict=True)]
        columns.append(Column("boxes", images, used))
    if "label_map" in there:
        columns.append(Column("label map", coloured(dataset.annotation("label_map")[:n])))
    if "masks" in there:
        columns.append(Column("masks", separate(dataset.annotation("masks")[:n])))
    pictures = ["outline", "grey", *(name for name in there if name.startswith("style/"))]
    for name in pictures:
        pixels = _rgb(dataset.annotation(name)[:n])
        columns.append(Column(name.removeprefix("style/"), pixels))
    return columns


def _texts(dataset: Dataset, n: int) -> list[str]:
    """What is said in words of each of the first `n` images."""
    parts: list[list[str]] = [[] for _ in dataset.images[:n]]
    if "tokens" in dataset.annotations:
        captions = words.decode(dataset.annotation("tokens")[:n], dataset.words("tokens"))
        parts = [[caption] for caption in captions]
    for name in ("domain", "box_classes", "attributes"):
        if name not in dataset.annotations:
            continue
        names, values = dataset.words(name), dataset.annotation(name)[:n]
        for said, row in zip(parts, values, strict=True):
            if name == "attributes":
                said += [names[k] for k in row.nonzero()[:, 0].tolist()]
            else:
                said += [names[k] for k in row.flatten().tolist() if k >= 0]
    return [", ".join(said) for said in parts]


# --- pictures ------------------------------------------------------------------------------------


def coloured(label_map: torch.Tensor) -> Pixels:
    """(n, S, S, 3), a colour for each id of uint8 (n, S, S)."""
    colours: Pixels = np.array([_label(k) for k in range(256)], np.uint8)
    found: Pixels = colours[label_map.numpy()]
    return found


def separate(masks: torch.Tensor) -> Pixels:
    """(n, S, S, 3), a colour for each object of bool (n, K, S, S)."""
    found = masks.numpy()
    pixels = np.full((len(found), *found.shape[2:], 3), _LABELS[0], np.uint8)
    for slot in range(found.shape[1]):
        colour = _INSTANCES[slot] if slot < len(_INSTANCES) else _label(len(_LABELS) + slot)
        pixels[found[:, slot]] = colour
    return pixels


def last(images: torch.Tensor) -> Pixels:
    """(n, C, S, S) to (n, S, S, C)."""
    pixels: Pixels = images.permute(0, 2, 3, 1).numpy()
    return pixels


def _rgb(images: torch.Tensor) -> Pixels:
    return last(images.expand(-1, 3, -1, -1))


def _label(k: int) -> RGB:
    if k < len(_LABELS):
        return _LABELS[k]
    value = (0.62, 0.86, 0.46)[k % 3]
    red, green, blue = colorsys.hsv_to_rgb(k * _GOLDEN % 1, 0.5, value)
    return round(red * 255), round(green * 255), round(blue * 255)


# --- the sheet -----------------------------------------------------------------------------------


def paint(
    title: str, columns: Sequence[Column], texts: Sequence[str], labels: Sequence[str] = ()
) -> "Image":
    """Columns side by side, a text below each row, a legend of label maps at the end.

    Small images are enlarged by a whole factor, each pixel to a square; large ones are reduced by
    one.

    Args:
        title: Heading.
        columns: With the image itself first; all of one length.
        texts: For each row.
        labels: Names of the classes of label maps, () for no legend.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = columns[0].pixels.shape[1]
    tile = size * round(_TILE / size) if size <= _TILE else size // round(size / _TILE)
    step = tile + _TEXT + _ROW_GAP
    width = 2 * _MARGIN + max(len(columns), _WIDTH) * (tile + _GAP) - _GAP
    height = _MARGIN + _HEAD + len(texts) * step + _TEXT
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    room = width - 2 * _MARGIN
    draw.text((_MARGIN, 18), _cut(title, room, 17), _INK, ImageFont.load_default(17))
    for place, column in enumerate(columns):
        left = _MARGIN + place * (tile + _GAP)
        draw.text((left, _HEAD - 4), column.name, _FAINT, ImageFont.load_default(12))
        for row, values in enumerate(column.pixels):
            top = _MARGIN + _HEAD + row * step
            picture.paste(_fitted(values, tile), (left, top))
            draw.rectangle((left - 1, top - 1, left + tile, top + tile), outline=_LINE)
            _boxes(draw, left, top, tile, column.boxes[row] if column.boxes else ())
    for row, text in enumerate(texts):
        top = _MARGIN + _HEAD + row * step + tile
        draw.text((_MARGIN, top + 5), _cut(text, room, 14), _INK, ImageFont.load_default(14))
    if labels:
        _legend(draw, labels, height - _TEXT - 8, width - _MARGIN)
    return picture


def _fitted(values: Pixels, tile: int) -> "Image":
    from PIL import Image

    side = len(values)
    if side <= tile:
        return Image.fromarray(values.repeat(tile // side, 0).repeat(tile // side, 1))
    return Image.fromarray(values).reduce(side // tile).crop((0, 0, tile, tile))


def _boxes(draw: "Draw", left: int, top: int, tile: int, boxes: Sequence[Sequence[float]]) -> None:
    for x0, y0, x1, y1 in boxes:
        corners = (left + x0 * tile, top + y0 * tile, left + x1 * tile - 1, top + y1 * tile - 1)
        draw.rectangle((*corners[:2], max(corners[::2]), max(corners[1::2])), outline=_INK)


def _cut(text: str, room: int, points: int) -> str:
    """The text, or as much of it as there is room for."""
    from PIL import ImageFont

    font = ImageFont.load_default(points)
    if font.getlength(text) <= room:
        return text
    too_long = bisect_left(
        range(len(text)), True, key=lambda end: font.getlength(f"{text[:end]} ...") > room
    )
    return f"{text[: max(0, too_long - 1)]} ..."


def _legend(draw: "Draw", names: Sequence[str], top: int, right: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    draw.text((_MARGIN, top), "label map", _FAINT, font)
    left = _MARGIN + 72
    for k, name in enumerate(names):
        wide = 17 + round(font.getlength(name)) + 18
        if left + wide > right:
            draw.text((left, top), "...", _FAINT, font)
            return
        draw.rectangle((left, top + 2, left + 11, top + 13), fill=_label(k), outline=_LINE)
        draw.text((left + 17, top), name, _FAINT, font)
        left += wide
