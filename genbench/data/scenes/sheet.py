"""A contact sheet of scenes: every annotation side by side, the caption below."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from genbench.data.scenes.shapes import SHAPES
from genbench.data.scenes.source import Scenes
from genbench.data.scenes.styles import STYLES

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Draw

__all__ = ["sheet"]

Pixels = NDArray[np.uint8]

_PAPER, _INK, _FAINT, _LINE = (250, 250, 248), (28, 30, 34), (122, 126, 134), (222, 222, 218)
_TILE = 112  # pixels that an image is enlarged to, about
_MARGIN, _GAP, _HEAD, _TEXT, _ROW_GAP = 24, 8, 64, 24, 18
# of the ground and of the six shapes in label maps
_LABELS = (
    *((238, 238, 234), (58, 134, 150), (226, 122, 84), (116, 152, 82)),
    *((238, 186, 84), (124, 102, 164), (200, 96, 128)),
)
_INSTANCES = ((54, 84, 124), (212, 140, 92), (124, 170, 152))
_FACTORS = (4, 3, 2)  # of the smaller version, the first that fits


def sheet(split: str, size: int, n: int) -> "Image":
    """The first `n` scenes of a split, one in a row: the image, what is known of it, its styles.

    Small images are enlarged by a whole factor, each pixel to a square.

    Raises:
        ConfigError: For a split or size that scenes do not come in.
    """
    from PIL import Image, ImageDraw, ImageFont

    scenes, index = Scenes(split, size), torch.arange(n)
    columns = _columns(scenes, index)
    scale = max(1, round(_TILE / size))
    tile = size * scale
    step = tile + _TEXT + _ROW_GAP
    width = 2 * _MARGIN + len(columns) * (tile + _GAP) - _GAP
    picture = Image.new("RGB", (width, _MARGIN + _HEAD + n * step + _TEXT), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, 18), f"scenes@{size}  ·  {split}", _INK, ImageFont.load_default(17))
    small, plain = ImageFont.load_default(12), ImageFont.load_default(14)
    boxes, classes = scenes.boxes(index)
    captions = scenes.captions(index)
    for column, (name, pixels) in enumerate(columns):
        left = _MARGIN + column * (tile + _GAP)
        draw.text((left, _HEAD - 4), name, _FAINT, small)
        for row, values in enumerate(pixels):
            top = _MARGIN + _HEAD + row * step
            enlarged = values.repeat(tile // len(values), 0).repeat(tile // len(values), 1)
            picture.paste(Image.fromarray(enlarged), (left, top))
            draw.rectangle((left - 1, top - 1, left + tile, top + tile), outline=_LINE)
            if name == "boxes":
                _boxes(draw, left, top, tile, boxes[row].tolist(), classes[row].tolist())
    for row, caption in enumerate(captions):
        top = _MARGIN + _HEAD + row * step + tile
        draw.text((_MARGIN, top + 5), caption, _INK, plain)
    _legend(draw, _MARGIN, picture.height - _TEXT - 8)
    return picture


def _columns(scenes: Scenes, index: torch.Tensor) -> list[tuple[str, Pixels]]:
    """Names and RGB pixels (n, S, S, 3); those of the smaller version have fewer."""
    images = _last(scenes.images(index))
    masks = scenes.masks(index).numpy()
    instances = np.full((*masks.shape[:1], *masks.shape[2:], 3), _LABELS[0], np.uint8)
    for slot, colour in enumerate(_INSTANCES):
        instances[masks[:, slot]] = colour
    columns = [
        ("image", images),
        ("boxes", images),
        ("label map", np.array(_LABELS, np.uint8)[scenes.label_map(index).numpy()]),
        ("masks", instances),
        ("outline", _last(scenes.outline(index)).repeat(3, -1)),
    ]
    for factor in _FACTORS:
        if scenes.size % factor == 0:
            columns.append((f"1/{factor} size", _last(scenes.low_res(index, factor))))
            break
    return columns + [(s, _last(scenes.styled(index, s))) for s in STYLES if s != "day"]


def _last(images: torch.Tensor) -> Pixels:
    pixels: Pixels = images.permute(0, 2, 3, 1).numpy()
    return pixels


def _boxes(
    draw: "Draw", left: int, top: int, tile: int, boxes: list[list[float]], classes: list[int]
) -> None:
    for (x0, y0, x1, y1), kind in zip(boxes, classes, strict=True):
        if kind >= 0:
            corners = (
                left + x0 * tile,
                top + y0 * tile,
                left + x1 * tile - 1,
                top + y1 * tile - 1,
            )
            draw.rectangle(corners, outline=_INK)


def _legend(draw: "Draw", left: int, top: int) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    draw.text((left, top), "label map", _FAINT, font)
    left += 72
    for name, colour in zip(("ground", *SHAPES), _LABELS, strict=True):
        draw.rectangle((left, top + 2, left + 11, top + 13), fill=colour, outline=_LINE)
        draw.text((left + 17, top), name, _FAINT, font)
        left += 17 + round(font.getlength(name)) + 18
