"""Pictures of samples: one grid for a row of the table, one sheet that compares all rows."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["fitting", "font", "grid", "rgb", "sheet", "stacked"]

Images = NDArray[np.uint8]

BACKGROUND = (246, 246, 244)
INK = (28, 30, 34)
FAINT = (122, 126, 134)
_GAP = 2  # pixels between images
_MARGIN = 16
_TILE = 48  # pixels that a small image is enlarged to, about


def fitting(size: int, target: int = _TILE) -> int:
    """The whole factor that enlarges `size` pixels to about `target`; 1 for large images."""
    return max(1, round(target / size))


def grid(images: Images, columns: int, scale: int = 1) -> "Image":
    """Images side by side, row by row, on a neutral background.

    Args:
        images: uint8 of shape (n, C, H, W) with C = 1 or 3, n >= 1.
        columns: Images in a row.
        scale: Whole factor of enlargement; every pixel becomes a square of `scale` pixels.

    Raises:
        ValueError: For another shape or type, or for less than one column or scale.
    """
    from PIL import Image

    pixels = rgb(images)
    if columns < 1 or scale < 1:
        raise ValueError(f"columns and scale must be at least 1, got {columns} and {scale}")
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    n, height, width, _ = pixels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = np.empty(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), np.uint8
    )
    canvas[:] = BACKGROUND
    for i, picture in enumerate(pixels):
        top = _GAP + i // columns * (height + _GAP)
        left = _GAP + i % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = picture
    return Image.fromarray(canvas)


def sheet(
    rows: Sequence[tuple[str, Images]],
    *,
    columns: int = 16,
    groups: Sequence[str] = (),
    title: str = "",
    quiet: Sequence[int] = (),
    room: int = 0,
) -> "Image":
    """One picture that compares models: a labelled strip of samples for each.

    Args:
        rows: Label and images, as for `grid`; the first `columns` of the images are shown.
        columns: Images in a strip.
        groups: For each row the heading it stands under; equal neighbours share one.
        title: Of the whole sheet, on top.
        quiet: Rows that are no models, by their place: their labels are faint.
        room: Pixels that labels have at least, so that sheets can stand below each other.

    Raises:
        ValueError: Without rows, or for images that `grid` refuses.
    """
    from PIL import Image, ImageDraw

    if not rows:
        raise ValueError("a sheet needs at least one row")
    heads = list(groups) or [""] * len(rows)
    strips = [_strip(images[:columns]) for _, images in rows]
    label_font, head_font = font(15), font(12)
    widest = max(room, *(round(label_font.getbbox(label)[2]) for label, _ in rows))
    left = _MARGIN + widest + _MARGIN
    width = left + max(strip.width for strip in strips) + _MARGIN
    top = _MARGIN + _TITLE * bool(title)
    title_font = font(19)
    width = max(width, round(title_font.getlength(title)) + 2 * _MARGIN)
    starts = [bool(h) and (i == 0 or heads[i - 1] != h) for i, h in enumerate(heads)]
    height = top + _MARGIN + sum(s.height + 4 for s in strips) + sum(_HEAD * s for s in starts)
    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN - 2), title, fill=INK, font=title_font)
    y = top
    for i, ((label, _), strip, head, start) in enumerate(
        zip(rows, strips, heads, starts, strict=True)
    ):
        if start:
            draw.line((_MARGIN, y + 8, width - _MARGIN, y + 8), fill=(214, 214, 210))
            draw.text((_MARGIN, y + 14), head.upper(), fill=FAINT, font=head_font)
            y += _HEAD
        middle = y + strip.height // 2 - round(sum(label_font.getbbox("Ag")[1::2]) / 2)
        draw.text((_MARGIN, middle), label, fill=FAINT if i in quiet else INK, font=label_font)
        picture.paste(strip, (left, y))
        y += strip.height + 4
    return picture


_HEAD = 36  # height of a group's heading
_TITLE = 30


def stacked(pictures: Sequence["Image"]) -> "Image":
    """Pictures below each other, as wide as the widest."""
    from PIL import Image

    width, height = max(p.width for p in pictures), sum(p.height for p in pictures)
    canvas = Image.new("RGB", (width, height), BACKGROUND)
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height
    return canvas


def _strip(images: Images) -> "Image":
    size = max(images.shape[2:]) if images.ndim == 4 else 1
    picture = grid(images, columns=max(1, len(images)), scale=fitting(size))
    shrink = -(-size // (2 * _TILE))  # large images are reduced by a whole factor
    return picture.reduce(shrink) if shrink > 1 else picture


def rgb(images: Images) -> Images:
    """uint8 (n, C, H, W) with C = 1 or 3 to (n, H, W, 3).

    Raises:
        ValueError: For another shape or type, and for no images.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        shape, kind = images.shape, images.dtype
        raise ValueError(f"expected uint8 images (n, 1 or 3, H, W), got {kind} {shape}")
    if 0 in images.shape:
        raise ValueError(f"no images to show: shape {images.shape}")
    last = images.transpose(0, 2, 3, 1)
    return last.repeat(3, axis=3) if last.shape[3] == 1 else last


@cache
def font(size: int) -> "FreeTypeFont | ImageFont":
    """The font of words in pictures."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
