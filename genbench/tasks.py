"""A task turns a dataset into (x, condition) pairs for training and conditions for sampling.

Sample i always has condition i, whatever the batch size or the rank that draws it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from genbench.api import ClassLabel, Condition, Unconditional
from genbench.spec import ConfigError, nearest

__all__ = ["Task", "names", "task"]


@dataclass(frozen=True)
class Task:
    """What a family is asked to learn.

    Attributes:
        name: As in a suite: "unconditional", "class_label".
        cond: The type of the condition that a family of this task takes.
        pairs: (labels of a training batch or None) -> the batch's condition.
        conditions: (indices of samples, number of classes) -> their conditions.
    """

    name: str
    cond: type[Condition]
    pairs: Callable[[Tensor | None], Condition]
    conditions: Callable[[Tensor, int], Condition]


def _labels(labels: Tensor | None) -> ClassLabel:
    if labels is None:
        raise ConfigError("task 'class_label' needs a dataset with labels; this one has none")
    return ClassLabel(labels)


_TASKS = {
    task.name: task
    for task in (
        Task(
            "unconditional",
            Unconditional,
            pairs=lambda labels: Unconditional(),
            conditions=lambda index, classes: Unconditional(),
        ),
        Task(
            "class_label",
            ClassLabel,
            pairs=_labels,
            conditions=lambda index, classes: ClassLabel(index % classes),  # balanced at any n
        ),
    )
}


def names() -> list[str]:
    """The tasks that can be run."""
    return sorted(_TASKS)


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    if name not in _TASKS:
        raise ConfigError(f"unknown task {name!r}; {nearest(name, _TASKS)}")
    return _TASKS[name]
