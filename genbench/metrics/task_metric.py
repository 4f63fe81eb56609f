"""What a metric of answers is: samples of a conditional task beside what they were asked for."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from genbench.metrics.metric import FeatureSet, NoOptions, options_changed
from genbench.spec import ConfigError, Spec
from genbench.stats import Score

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.api import Condition

__all__ = ["Answers", "TaskMetric"]


@dataclass(frozen=True)
class Answers:
    """What a task's metric looks at: sample i answers question i.

    Attributes:
        made: Samples, uint8 (n, C, H, W).
        truth: The right answers, uint8 (n, C, H, W): x of each question.
        cond: The n questions; images in it are floats in [-1, 1].
        annotation: What the dataset knows of the questions' rows, by name, n rows: "tokens",
            "boxes", "box_classes", "label_map", "masks", ...
        words: Names that the numbers of an annotation stand for, e.g. of "tokens"; "class" has
            those of the classes that samples are asked for.
        network: The metric's extractor, loaded when it is first asked for.
        features: What that network says of "made" or of "truth".
        again: uint8 (K, R, C, H, W), R more answers, of other noise, to each of the first K
            questions; for metrics that need "again".
        back: uint8 (n, C, H, W), samples of `ToDomain` moved back to where they came from; for
            metrics that need "back".
        cache: For what several metrics share, e.g. what a parser reads in the samples.
    """

    made: "Tensor"
    truth: "Tensor"
    cond: "Condition"
    annotation: Callable[[str], "Tensor"]
    words: Callable[[str], tuple[str, ...]]
    network: Callable[[], Any]
    features: Callable[[str], FeatureSet]
    again: "Tensor | None" = None
    back: "Tensor | None" = None
    cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.made)


@dataclass(frozen=True)
class TaskMetric:
    """A metric of answers; a module of this package defines `TASK_METRIC` or `TASK_METRICS`.

    Attributes:
        name: Short name in metric ids, e.g. "miou".
        label: What tables print, e.g. "mIoU".
        direction: Which values are better.
        tasks: Names of the types of conditions that it is of, e.g. ("Paired",).
        score: The function; called by way of `metric(answers)`, which checks its input.
        extractor: The network that it looks through: "" for none, None for the suite's own, or the
            name of the one that it always takes.
        needs: Which of "again" and "back" it looks at, beside the samples.
        group: See `Metric`.
        options: Settings that change the value, with defaults.
        explain: One line for each sample, what is wrong with it in words, "" where nothing is.
            Made of the project's own words and of the dataset's names.
    """

    name: str
    label: str
    direction: Literal["lower", "higher"]
    tasks: tuple[str, ...]
    score: Callable[[Answers, Any], Score]
    extractor: str | None = None
    needs: tuple[Literal["again", "back"], ...] = ()
    group: str = ""
    options: type[Spec] = field(default=NoOptions)
    explain: Callable[[Answers, Any], list[str]] | None = None

    @property
    def of(self) -> str:
        """The kinds of tasks that it is of, as suites call them: "caption, low_res"."""
        return ", ".join(_kind(cond) for cond in self.tasks)

    def changed(self, options: Spec) -> tuple[tuple[str, str], ...]:
        """Options that differ from the defaults, for ids."""
        return options_changed(self.options, options)

    def check_task(self, cond: str) -> None:
        """Whether the metric is of tasks with conditions of this type, e.g. "Paired".

        Raises:
            ConfigError: If it is not, with those that it is of.
        """
        if cond not in self.tasks:
            raise ConfigError(
                f"metric {self.name!r} is of {self.of}, not of {_kind(cond)}; leave it out, or "
                "choose another task"
            )

    def __call__(self, answers: Answers, options: Spec | None = None) -> Score:
        """Score the answers.

        Raises:
            ConfigError: Another task, missing further answers, too few samples of some kind.
            ValueError: For samples that do not fit what they answer.
        """
        self.check_task(type(answers.cond).__name__)
        for need in self.needs:
            if getattr(answers, need) is None:
                raise ConfigError(f"metric {self.name!r} needs {_SAID[need]}; ask for them")
        if answers.made.shape != answers.truth.shape:
            raise ValueError(
                f"samples of shape {tuple(answers.made.shape)} do not fit right answers of shape "
                f"{tuple(answers.truth.shape)}"
            )
        return self.score(answers, self.options() if options is None else options)


def _kind(cond: str) -> str:
    """The kind of task of a type of condition: "low_res" for "LowRes"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cond).lower()


_SAID = {
    "again": "more than one answer to a question",
    "back": "samples that are moved back to their source's domain",
}
