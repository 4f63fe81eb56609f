"""Scenes by split, size and index: images and every annotation, each made when it is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genbench.data.dataset import SPLITS, Annotation, Note
from genbench.data.filters import box_average
from genbench.data.ids import SCENE_SIZES
from genbench.data.scenes import annotations
from genbench.data.scenes.captions import caption
from genbench.data.scenes.language import VOCABULARY, encode
from genbench.data.scenes.scene import COLOURS, Scene, draw
from genbench.data.scenes.shapes import SHAPES
from genbench.data.scenes.styles import STYLES, paint
from genbench.spec import ConfigError, nearest

__all__ = ["COUNTS", "DEFAULT_SIZE", "Scenes", "known", "read"]

COUNTS = {"train": 10_000, "test": 2_000}
DEFAULT_SIZE = 32

_PIXELS = 1 << 17  # of a chunk: with its temporaries it stays in the cache


class Scenes:
    """An endless source of annotated pictures: everything is a function of (split, index) alone.

    Every method takes int64 indices (N,), in any order, and gives its rows in that order. The same
    scene at another size is the same picture, drawn anew. Unused places of objects have class -1.

    Args:
        split: "train" or "test", which have no scene in common.
        size: Height and width in pixels, 16 to 128.

    Raises:
        ConfigError: For another split or size.
    """

    def __init__(self, split: str, size: int = DEFAULT_SIZE) -> None:
        if split not in SPLITS:
            raise ConfigError(f"scenes have no split {split!r}; {nearest(split, SPLITS)}")
        low, high = SCENE_SIZES
        if not low <= size <= high:
            raise ConfigError(f"scenes come in {low} to {high} pixels, not {size}")
        self.split, self.size = split, size

    def describe(self, index: Tensor) -> Scene:
        """What is in each picture, and where."""
        return draw(self.split, _checked(index))

    def images(self, index: Tensor) -> Tensor:
        """uint8 (N, 3, S, S), RGB: the scenes in the style "day"."""
        return self.styled(index, "day")

    def styled(self, index: Tensor, style: str) -> Tensor:
        """uint8 (N, 3, S, S), the same scenes in one of `STYLES`, aligned to the pixel.

        Raises:
            ConfigError: For an unknown style.
        """
        if style not in STYLES:
            raise ConfigError(f"scenes have no style {style!r}; {nearest(style, STYLES)}")
        return self._each(index, lambda scene: paint(scene, self.size, style))

    def recoloured(self, index: Tensor, colour: str) -> Tensor:
        """uint8 (N, 3, S, S), by day, the largest object in one of `COLOURS`, all else the same.

        Raises:
            ConfigError: For an unknown colour.
        """
        if colour not in COLOURS:
            raise ConfigError(f"scenes have no colour {colour!r}; {nearest(colour, COLOURS)}")
        place = COLOURS.index(colour)

        def painted(scene: Scene) -> Tensor:
            colours = scene.colour.scatter(1, scene.main[:, None], place)
            return paint(replace(scene, colour=colours), self.size, "day")

        return self._each(index, painted)

    def label(self, index: Tensor) -> Tensor:
        """int64 (N,), the shape of the largest object, as its place in `SHAPES`."""
        scene = self.describe(index)
        return scene.shape.gather(1, scene.main[:, None])[:, 0]

    def captions(self, index: Tensor, k: int = 0) -> list[str]:
        """Caption number k >= 0 of each scene; there is no last one, but they repeat."""
        if k < 0:
            raise ConfigError(f"caption {k} does not exist; the first one is 0")
        texts: list[str] = []
        with _one_thread():
            for part in torch.split(_checked(index), 1024):
                texts += caption(draw(self.split, part), self.split, part, k)
        return texts

    def tokens(self, index: Tensor, k: int = 0) -> Tensor:
        """int64 (N, `LENGTH`), the words of `captions` as places in `VOCABULARY`."""
        return encode(self.captions(index, k))

    def boxes(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes float32 (N, 3, 4) and classes int64 (N, 3), the places of the shapes in `SHAPES`.

        A box is x0, y0, x1, y1 in [0, 1], tight around the visible pixels; later objects are in
        front. Unused places have class -1 and a box of zeros.
        """
        boxes = self._each(index, lambda scene: annotations.boxes(scene, self.size))
        return boxes, self.describe(index).shape

    def label_map(self, index: Tensor) -> Tensor:
        """uint8 (N, S, S), 0 for the ground, else 1 + the place of the shape in `SHAPES`."""
        return self._each(index, lambda scene: annotations.label_map(scene, self.size))

    def masks(self, index: Tensor) -> Tensor:
        """bool (N, 3, S, S), the visible pixels of each object."""
        return self._each(index, lambda scene: annotations.masks(scene, self.size))

    def outline(self, index: Tensor) -> Tensor:
        """uint8 (N, 1, S, S), the visible outlines of the objects, black on white."""
        return self._each(index, lambda scene: annotations.outline(scene, self.size))

    def low_res(self, index: Tensor, factor: int) -> Tensor:
        """uint8 (N, 3, S / factor, S / factor), the mean of each block of the image, rounded.

        Raises:
            ConfigError: If the factor does not divide the size.
        """
        return box_average(self.images(index), factor)

    def _each(self, index: Tensor, make: Callable[[Scene], Tensor]) -> Tensor:
        with _one_thread():
            return torch.cat([make(scene) for scene in self._chunks(_checked(index))])

    def _chunks(self, index: Tensor) -> Iterator[Scene]:
        rows = max(1, _PIXELS // self.size**2)
        for part in torch.split(index, rows * max(1, 2048 // rows)):
            scene = draw(self.split, part)
            for begin in range(0, max(1, len(part)), rows):
                yield scene[begin : begin + rows]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of short operations: on a busy machine threads spend ten times as long waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _checked(index: Tensor) -> Tensor:
    if index.dtype != torch.int64 or index.ndim != 1:
        raise ConfigError(
            f"indices of scenes are int64 of shape (N,), not {index.dtype} {tuple(index.shape)}"
        )
    if len(index) and int(index.min()) < 0:
        raise ConfigError(f"scene {int(index.min())} does not exist; the first one is 0")
    return index


def read(
    split: str, size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...], dict[str, Note]]:
    """Images (N, S, S, 3), labels (N,), class names and notes of the first scenes of a split."""
    scenes, index = Scenes(split, size or DEFAULT_SIZE), torch.arange(COUNTS[split])
    notes: dict[str, Note] = {
        "source": "drawn by genbench, one to three shapes on a patterned ground",
        "label_rule": "shape of the largest object",
        "split_rule": "two streams of counter-based noise, each without end",
        "train_count": COUNTS["train"],
        "test_count": COUNTS["test"],
        "size": scenes.size,
    }
    images = scenes.images(index).permute(0, 2, 3, 1).numpy()
    return images, scenes.label(index).numpy(), SHAPES, notes


def known(split: str, size: int | None) -> dict[str, Annotation]:
    """The annotations of `read`'s images; captions are those of number 0."""
    scenes, index = Scenes(split, size or DEFAULT_SIZE), torch.arange(COUNTS[split])
    return {
        "box_classes": Annotation(lambda: scenes.describe(index).shape, SHAPES),
        "boxes": Annotation(lambda: scenes.boxes(index)[0]),
        "label_map": Annotation(lambda: scenes.label_map(index), ("ground", *SHAPES)),
        "masks": Annotation(lambda: scenes.masks(index)),
        "outline": Annotation(lambda: scenes.outline(index)),
        "tokens": Annotation(lambda: scenes.tokens(index), VOCABULARY),
        **{f"style/{s}": Annotation(partial(scenes.styled, index, s)) for s in STYLES},
        **{f"edit/{c}": Annotation(partial(scenes.recoloured, index, c)) for c in COLOURS},
    }
