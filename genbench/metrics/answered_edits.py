"""Answers to an edit: was it made, and only that.

With the source s, the right answer x and the sample y of each question, in shares of the full
range: s stays as it is for amount 0, the change d = x - s is made for others, and pixels with
x = s are kept.
"""

from typing import TYPE_CHECKING

from genbench.metrics.metric import NoOptions
from genbench.metrics.reading import levels
from genbench.metrics.shares import mean_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError
from genbench.stats import Score

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.api import Edit

__all__ = ["TASK_METRICS", "edit_kept", "edit_reconstruction", "edit_success"]


def edit_reconstruction(answers: Answers, options: NoOptions) -> Score:
    """The mean absolute difference of sample and source, over samples of amount 0.

    Raises:
        ConfigError: Where no sample is of amount 0.
    """
    cond: Edit = answers.cond  # type: ignore[assignment]
    still = cond.amount.cpu() == 0
    _some(still, "edit_reconstruction", "asks for amount 0")
    made, source = levels(answers.made[still]), levels(cond.source.cpu()[still])
    error = (made - source).abs().flatten(1).double().mean(1)
    return mean_score(error.numpy(), len(answers), "samples of amount 0")


def edit_success(answers: Answers, options: NoOptions) -> Score:
    """How much of the intended change was made: the mean of 1 - |1 - a|, not below 0.

        a = <y - s, d> / <d, d>

    is the share of d in what changed. 1 is the right edit, 0 none, and twice as much is 0 again.
    It looks along d alone: what else changed is the matter of `edit_kept` and of distances to the
    right answer. Samples with d = 0 are left out.

    Raises:
        ConfigError: Where all are.
    """
    made, truth, source = _images(answers)
    meant = (truth - source).flatten(1).double()
    size = meant.square().sum(1)
    moved = (meant != 0).any(1)
    _some(moved, "edit_success", "changes anything")
    along = ((made - source).flatten(1).double() * meant).sum(1)[moved] / size[moved]
    values = (1 - (1 - along).abs()).clamp(min=0)
    return mean_score(values.numpy(), len(answers), "samples that should change")


def edit_kept(answers: Answers, options: NoOptions) -> Score:
    """1 minus the mean absolute difference over pixels that should stay: those with x = s.

    A pixel stays if all its channels do. Samples without such a pixel are left out.

    Raises:
        ConfigError: Where all are.
    """
    made, truth, source = _images(answers)
    stay = (truth == source).all(1)
    number = stay.flatten(1).sum(1)
    _some(number > 0, "edit_kept", "leaves any pixel as it is")
    error = (made - source).abs().mean(1).double() * stay
    values = 1 - error.flatten(1).sum(1)[number > 0] / number[number > 0]
    return mean_score(values.numpy(), len(answers), "samples that should stay somewhere")


def _images(answers: Answers) -> "tuple[Tensor, Tensor, Tensor]":
    """Samples, right answers and sources, in [0, 1]."""
    cond: Edit = answers.cond  # type: ignore[assignment]
    return levels(answers.made), levels(answers.truth), levels(cond.source.cpu())


def _some(wanted: "Tensor", name: str, what: str) -> None:
    if not wanted.any():
        raise ConfigError(
            f"{name}: none of the {len(wanted)} questions {what}; leave the metric out"
        )


TASK_METRICS = (
    TaskMetric(
        "edit_reconstruction", "unedited error", "lower", ("Edit",), edit_reconstruction, ""
    ),
    TaskMetric("edit_success", "edit success", "higher", ("Edit",), edit_success, ""),
    TaskMetric("edit_kept", "edit kept", "higher", ("Edit",), edit_kept, ""),
)
