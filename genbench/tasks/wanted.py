"""What a task is made of, and the labels that several kinds read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from genbench.data import Dataset

__all__ = ["Wanted", "class_labels", "class_names", "in_turn"]


@dataclass(frozen=True)
class Wanted:
    """A task by name and argument, and the dataset that it is made of."""

    name: str
    argument: str
    dataset: "Dataset"

    def refuse(self, reason: str) -> ConfigError:
        """An error that names task, dataset and reason."""
        return ConfigError(f"task {self.name!r} on {self.dataset.name!r}: {reason}")


def class_labels(wanted: Wanted) -> tuple[Tensor, int]:
    """Labels and the number of classes: the dataset's own, or an attribute's two."""
    dataset = wanted.dataset
    if wanted.argument:
        names = dataset.words("attributes")
        if wanted.argument not in names:
            hint = nearest(wanted.argument, names)
            raise wanted.refuse(f"there is no attribute {wanted.argument!r}; {hint}")
        column = names.index(wanted.argument)
        return dataset.annotation("attributes")[:, column].long(), 2
    if dataset.labels is None:
        raise wanted.refuse("it needs a dataset with labels, and this one has none")
    return dataset.labels, len(dataset.classes)


def class_names(wanted: Wanted) -> tuple[str, ...]:
    """What the classes of `class_labels` are called."""
    if wanted.argument:
        return f"not {wanted.argument}", wanted.argument
    return wanted.dataset.classes


def in_turn(labels: Tensor | None) -> Tensor | None:
    """The order in which the classes of a sorted split take turns; None for any other split.

    Folders are read class by class, so that the first n images would all be of the first classes.
    """
    if labels is None or not len(labels) or labels[0] == labels[-1]:
        return None
    if (labels.diff() < 0).any():
        return None
    counts = labels.bincount()
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels]  # within its class
    return (place * len(counts) + labels).argsort()
