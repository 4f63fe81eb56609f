"""Questions for people: a picture of each condition, or what it says in words."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genbench.api import Caption, ClassLabel, Condition, Edit, Layout, LowRes, Paired, ToDomain
from genbench.data import words
from genbench.data.sheet import coloured
from genbench.tasks import domains
from genbench.tasks.wanted import Wanted, class_names

if TYPE_CHECKING:
    from genbench.data import Dataset
    from genbench.tasks.task import Task

__all__ = ["pictures", "texts"]

_SIDE = 64  # pixels of a drawn layout
_PAPER, _PLACES = (246, 246, 244), ((54, 84, 124), (212, 110, 72), (84, 140, 102))


def pictures(cond: Condition) -> Tensor | None:
    """uint8 (B, C, h, w), what a condition shows; None for one in words.

    A label map has a colour for each class. A layout has a frame for each object, the first ones
    in blue, orange and green.
    """
    match cond:
        case Paired(source) if source.shape[1] > 3 or source.shape[1] == 2:
            ids = source.argmax(1).to(torch.uint8).cpu()
            return torch.from_numpy(coloured(ids)).permute(0, 3, 1, 2)
        case Paired(source) | ToDomain(source=source) | Edit(source=source):
            return _uint8(source)
        case LowRes(image):
            return _uint8(image)
        case Layout(boxes, classes):
            return torch.stack([_frames(b, c) for b, c in zip(boxes, classes, strict=True)])
    return None


def texts(task: "Task", cond: Condition, dataset: "Dataset") -> list[str]:
    """What each condition says: a caption, names of classes or domains; "" where nothing."""
    match cond:
        case Caption(tokens):
            return words.decode(tokens.cpu(), dataset.words("tokens"))
        case ClassLabel(label):
            names = class_names(Wanted(task.name, task.argument, dataset))
            return [names[k] for k in label.tolist()]
        case ToDomain(target=target):
            into = domains.names(Wanted(task.name, task.argument, dataset))
            return [into[k] for k in target.tolist()]
        case Edit(amount=amount):
            return [f"{task.argument} {share:.0%}" for share in amount.tolist()]
        case Layout(classes=classes):
            kinds = dataset.words("box_classes")
            return [", ".join(kinds[k] for k in row if k >= 0) for row in classes.tolist()]
    return [""] * len(next(iter(vars(cond).values())))


def _uint8(images: Tensor) -> Tensor:
    return ((images.cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _frames(boxes: Tensor, classes: Tensor) -> Tensor:
    """uint8 (3, _SIDE, _SIDE), the outlines of one image's boxes."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    draw = ImageDraw.Draw(picture)
    for place, (box, kind) in enumerate(zip(boxes.tolist(), classes.tolist(), strict=True)):
        if kind >= 0:
            x0, y0, x1, y1 = (round(v * (_SIDE - 1)) for v in box)
            draw.rectangle((x0, y0, x1, y1), outline=_PLACES[place % len(_PLACES)], width=2)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
