"""A contact sheet of scenes: every annotation side by side, the caption below."""

from typing import TYPE_CHECKING

import torch

from genbench.data.scenes.shapes import SHAPES
from genbench.data.scenes.source import Scenes
from genbench.data.scenes.styles import STYLES
from genbench.data.sheet import Column, coloured, last, paint, separate

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["sheet"]

_FACTORS = (4, 3, 2)  # of the smaller version, the first that fits


def sheet(split: str, size: int, n: int) -> "Image":
    """The first `n` scenes of a split, one in a row: the image, what is known of it, its styles.

    Small images are enlarged by a whole factor, each pixel to a square.

    Raises:
        ConfigError: For a split or size that scenes do not come in.
    """
    scenes, index = Scenes(split, size), torch.arange(n)
    title = f"scenes@{size}  ·  {split}"
    return paint(title, _columns(scenes, index), scenes.captions(index), ("ground", *SHAPES))


def _columns(scenes: Scenes, index: torch.Tensor) -> list[Column]:
    images = last(scenes.images(index))
    boxes, classes = scenes.boxes(index)
    used = [b[c >= 0].tolist() for b, c in zip(boxes, classes, strict=True)]
    columns = [
        Column("image", images),
        Column("boxes", images, used),
        Column("label map", coloured(scenes.label_map(index))),
        Column("masks", separate(scenes.masks(index))),
        Column("outline", last(scenes.outline(index)).repeat(3, -1)),
    ]
    for factor in _FACTORS:
        if scenes.size % factor == 0:
            reduced = last(scenes.low_res(index, factor))
            columns.append(Column(f"1/{factor} size", reduced))
            break
    return columns + [Column(s, last(scenes.styled(index, s))) for s in STYLES if s != "day"]
