"""Kinds of things that questions name and training never shows."""

from collections.abc import Callable

import torch
from torch import Tensor

from genbench.tasks.wanted import Wanted

__all__ = ["refuse_unseen"]


def refuse_unseen(train: Wanted, test: Wanted) -> None:
    """Refuse a class of objects, or of pixels, that the test split has and the train split lacks.

    A network would be asked with an embedding, or through a channel, that never learned. Words of
    captions are not looked at: a text holds others that say what it is.

    Raises:
        ConfigError: The first such class, by name.
    """
    kind = test.name.partition(":")[0]
    if kind == "layout":
        _compare(train, test, "box_classes", "boxes", lambda ids: ids[ids >= 0])
    elif kind == "paired" and test.argument == "label_map":
        _compare(train, test, "label_map", "pixels", torch.Tensor.flatten)


def _compare(
    train: Wanted, test: Wanted, name: str, what: str, used: Callable[[Tensor], Tensor]
) -> None:
    words = test.dataset.words(name)
    shown, asked = (
        used(wanted.dataset.annotation(name)).long().bincount(minlength=len(words)) > 0
        for wanted in (train, test)
    )
    if (unseen := asked & ~shown).any():
        word = words[int(unseen.nonzero()[0])]
        raise test.refuse(
            f"split {test.dataset.split!r} has {what} of class {word!r} and "
            f"{train.dataset.split!r} has none; add some there, or leave them out here"
        )
