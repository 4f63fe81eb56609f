"""What a task is made of, and the labels that several kinds read."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from genbench.data import Dataset

__all__ = ["Wanted", "class_labels", "class_names", "in_turn", "shares", "spread", "told"]

_TOLD = 12  # classes whose shares are told one by one


@dataclass(frozen=True)
class Wanted:
    """A task by name and argument, and the dataset that it is made of.

    Attributes:
        name: As in a suite.
        argument: Its part after the colon.
        dataset: A split.
        like: The split whose shares of classes questions have; None where each class is asked for
            equally often.
    """

    name: str
    argument: str
    dataset: "Dataset"
    like: "Dataset | None" = None

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
    if len(dataset.classes) < 2:
        raise wanted.refuse(
            f"it needs two classes or more, and there is only {dataset.classes[0]!r}; put the "
            "images of each class in a folder, or name labels in dataset.json or metadata.csv"
        )
    return dataset.labels, len(dataset.classes)


def class_names(wanted: Wanted) -> tuple[str, ...]:
    """What the classes of `class_labels` are called."""
    if wanted.argument:
        return f"not {wanted.argument}", wanted.argument
    return wanted.dataset.classes


def shares(wanted: Wanted) -> Tensor:
    """How many images of each class there are in the split that questions follow, int64 (K,).

    Where each class is asked for equally often: how many of the largest class there are, K times.
    """
    labels, count = class_labels(wanted)
    if wanted.like is None:
        return labels.bincount(minlength=count).max().expand(count)
    return class_labels(replace(wanted, dataset=wanted.like))[0].bincount(minlength=count)


def told(wanted: Wanted) -> str:
    """The shares of classes that are asked for, in words."""
    if wanted.like is None:
        return "each class equally often"
    counts = shares(wanted).tolist()
    pairs = zip(class_names(wanted), counts, strict=True)
    parts = [f"{name} {count / sum(counts):.1%}" for name, count in pairs]
    if len(parts) > _TOLD:
        order = sorted(range(len(counts)), key=counts.__getitem__)
        parts = [f"from {parts[order[0]]} to {parts[order[-1]]}"]
    return f"classes as often as in {wanted.like.split}: {', '.join(parts)}"


def spread(counts: Tensor) -> Tensor:
    """Each class as often as it counts, every stretch of the whole in about the same shares.

    The j-th of n members of a class stands at (j + 1/2) / n. Classes of equal counts take turns.

    Args:
        counts: Members of each class, int64 (K,).

    Returns:
        int64 (sum of the counts,), the class at each place.
    """
    label = torch.arange(len(counts)).repeat_interleave(counts)
    within = torch.arange(len(label)) - (counts.cumsum(0) - counts)[label]
    where = (within.double() + 0.5) / counts[label]
    return label[where.argsort(stable=True)]


def in_turn(labels: Tensor | None) -> Tensor | None:
    """The order that spreads the classes of a sorted split evenly; None for any other split.

    Folders are read class by class, so that the first n images would all be of the first classes.
    """
    if labels is None or not len(labels) or labels[0] == labels[-1]:
        return None
    if (labels.diff() < 0).any():
        return None
    # of the places that a class has, its first image stands at the first one
    return spread(labels.bincount()).argsort(stable=True).argsort()
