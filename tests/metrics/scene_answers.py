"""Answers to questions about scenes, with a parser that knows what every image shows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genbench import api
from genbench.data.scenes import SHAPES, SIZES, STYLES, VOCABULARY, Scenes
from genbench.features.scenes_reading import Reading
from genbench.metrics import Answers, FeatureSet

N, SIZE = 240, 32
INDEX = torch.arange(N)
SCENES = Scenes("test", SIZE)
OTHERS = INDEX.roll(7)  # for each question the place of another one's answer

WORDS = {
    "tokens": VOCABULARY,
    "label_map": ("ground", *SHAPES),
    "box_classes": SHAPES,
    "domain": ("day", "night"),
}


def no_features(side: str) -> FeatureSet:
    raise AssertionError(f"no features of {side} are needed")


def no_network() -> Any:
    raise AssertionError("no network is needed")


def floats(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def answers(
    made: Tensor,
    cond: api.Condition,
    truth: Tensor | None = None,
    notes: dict[str, Tensor] | None = None,
    network: Callable[[], Any] = no_network,
    features: Callable[[str], FeatureSet] = no_features,
    words: dict[str, tuple[str, ...]] = WORDS,
    **more: Tensor,
) -> Answers:
    notes = notes or {}
    right = made if truth is None else truth
    known, names = notes.__getitem__, words.__getitem__
    return Answers(made, right, cond, known, names, network, features, **more)


class Oracle:
    """Reads the true scene off any image of the first N, in any style."""

    def __init__(self) -> None:
        scene = SCENES.describe(INDEX)
        boxes, shape = SCENES.boxes(INDEX)
        masks = SCENES.masks(INDEX)
        colour = scene.colour
        colour_map = ((colour + 1)[..., None, None] * masks).sum(1).to(torch.uint8)
        order = masks.sum((2, 3)).argsort(dim=1, descending=True, stable=True)
        centre = torch.stack((scene.x, scene.y), -1)
        tables = [
            v.gather(1, order.view(N, 3, *[1] * (v.ndim - 2)).expand_as(v))
            for v in (shape, colour, scene.size, centre, boxes)
        ]
        style = torch.zeros(N, dtype=torch.int64)
        self.reading = Reading(SCENES.label_map(INDEX), colour_map, *tables, style)
        self.places: dict[bytes, tuple[int, int]] = {}
        for number, name in enumerate(STYLES):
            for i, image in enumerate(SCENES.styled(INDEX, name)):
                self.places[image.numpy().tobytes()] = (i, number)

    def read(self, images: Tensor) -> Reading:
        found = [self.places[image.numpy().tobytes()] for image in images]
        rows, style = torch.tensor(found).T
        reading = self.reading[rows]
        return Reading(*(getattr(reading, name) for name in _TABLES), style)


_TABLES = ("label_map", "colour_map", "shape", "colour", "size", "centre", "boxes")
assert SIZES == ("small", "large")
