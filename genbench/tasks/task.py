"""Tasks by name, and the questions that samples are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genbench import task_names
from genbench.api import ClassLabel, Condition, DataSpec, Edit, ToDomain, Unconditional
from genbench.spec import ConfigError
from genbench.tasks.examples import Examples
from genbench.tasks.kinds import KINDS
from genbench.tasks.unseen import refuse_unseen
from genbench.tasks.wanted import Wanted, class_names, in_turn, told

if TYPE_CHECKING:
    from genbench.data import Dataset

__all__ = ["Task", "asked", "example", "names", "task"]


@dataclass(frozen=True)
class Task:
    """What a family is asked to learn.

    Attributes:
        name: As in a suite: "unconditional", "paired:outline".
        kind: Its part before the colon.
        argument: Its part after the colon, "" without one.
        cond: The type of the condition that a family of this task takes.
    """

    name: str
    kind: str
    argument: str
    cond: type[Condition]

    def training(self, dataset: "Dataset") -> Examples:
        """The examples of a split, to train on.

        Raises:
            ConfigError: Where the dataset lacks what the task needs.
        """
        found = KINDS[self.kind].make(Wanted(self.name, self.argument, dataset))
        return found

    def questions(self, dataset: "Dataset", like: "Dataset | None" = None) -> Examples:
        """What samples are asked for: sample i answers question i, the condition of row i.

        Of a split that is sorted by class, as folders are, the classes are spread evenly.

        Args:
            dataset: The split that is asked about.
            like: The split whose shares of classes the questions have, where the task asks for
                classes; None asks for each equally often.

        Raises:
            ConfigError: Where the dataset lacks what the task needs.
        """
        entry, wanted = KINDS[self.kind], Wanted(self.name, self.argument, dataset, like)
        if entry.ask:
            return entry.ask(wanted)
        order = in_turn(dataset.labels)
        return entry.make(wanted) if order is None else entry.make(wanted).taken(order)

    def about(self, dataset: "Dataset", like: "Dataset | None") -> str:
        """How often each class is asked for, in words; "" for other tasks. See `questions`."""
        if self.cond is not ClassLabel:
            return ""
        return told(Wanted(self.name, self.argument, dataset, like))

    def class_names(self, dataset: "Dataset") -> tuple[str, ...]:
        """What the classes of `class_label` are called."""
        return class_names(Wanted(self.name, self.argument, dataset))

    def check(self, train: "Dataset", test: "Dataset") -> None:
        """Refuse splits of which one has what the other lacks, or that the task cannot be of.

        Raises:
            ConfigError: A class or domain that training never shows, or that no question can be
                answered with, by name.
        """
        self.training(train)
        refuse_unseen(*(Wanted(self.name, self.argument, split) for split in (train, test)))

    def data_spec(self, dataset: "Dataset") -> DataSpec:
        """What a family may know of the data before it sees any."""
        extra = KINDS[self.kind].facts(Wanted(self.name, self.argument, dataset))
        facts = {"classes": len(dataset.classes)} | extra
        return DataSpec(dataset.name, dataset.channels, dataset.size, **facts)

    def reference(self, dataset: str, split: str) -> str:
        """The real images that a distance is measured to, for metric ids: the x of a split.

        `DATASET:SPLIT`, with the task in brackets where x is not the dataset's own images.
        """
        changed = self.cond in (ToDomain, Edit)
        return f"{dataset}:{split}" + (f"[{self.name}]" if changed else "")


def names() -> list[str]:
    """The kinds of tasks."""
    return sorted(KINDS)


def task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: As `task_names.parse`.
    """
    kind, argument = task_names.parse(name)
    return Task(name, kind, argument, KINDS[kind].cond)


def example(cond: type[Condition]) -> tuple[str, str]:
    """A small dataset that needs no files, and a task with such conditions on it.

    Args:
        cond: A type of condition; `Condition` itself, for families that take any, gives an image
            that is to be enlarged.
    """
    found = (kind.example for kind in KINDS.values() if kind.cond is cond)
    return next(found, KINDS["low_res"].example)


def asked(
    name: str,
    load: "Callable[[str], Dataset]",
    device: torch.device | str = "cpu",
    shares: str = "",
) -> Callable[[Tensor], Condition]:
    """The conditions of samples by number, of the test split; loads it only if the task has any.

    Args:
        name: Of the task.
        load: Gives a split.
        device: Where the conditions are wanted.
        shares: See `SampleSpec`.

    Raises:
        ConfigError: When called for more questions than the split has.
    """
    chosen = task(name)
    if chosen.cond is Unconditional:
        return lambda index: Unconditional()
    like = load(shares) if shares else None
    questions = chosen.questions(load("test"), like).to(device)

    def condition(index: Tensor) -> Condition:
        if not questions.endless and len(index) and int(index.max()) >= len(questions):
            raise ConfigError(
                f"task {name!r} has {len(questions):,} questions, one for each image of the test "
                f"split, and sample {int(index.max()):,} was asked for; set n={len(questions)} or "
                "less"
            )
        return questions.condition(index)

    return condition
