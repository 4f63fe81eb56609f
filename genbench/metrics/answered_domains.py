"""Answers that move an image to another domain: are they there, and does the way back lead back.

Zhu et al., *Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks*,
arXiv 1703.10593, train for the second; Choi et al., *StarGAN*, arXiv 1711.09020, judge by the
first, with a classifier.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import NoOptions
from genbench.metrics.reading import PARSER, levels, reading
from genbench.metrics.shares import mean_score, share_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError, nearest
from genbench.stats import Score

if TYPE_CHECKING:
    from genbench.api import ToDomain

__all__ = ["TASK_METRICS", "cycle_error", "domain_accuracy"]


def domain_accuracy(answers: Answers, options: NoOptions) -> Score:
    """The share of samples in the style of their target domain; Wilson's interval.

    Raises:
        ConfigError: For a domain that is no style of scenes, with the nearest one.
    """
    looks, asked = _styles(answers)
    return share_score(looks == asked, len(asked), f"{len(asked)} samples")


def _explain(answers: Answers, options: NoOptions) -> list[str]:
    from genbench.data.scenes import STYLES  # loads torch

    names = list(STYLES)
    return [
        "" if found == wanted else f"asked for {names[wanted]}; it looks like {names[found]}"
        for found, wanted in zip(*_styles(answers), strict=True)
    ]


def _styles(answers: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The style that each sample has, and the one that it should have, as places in `STYLES`."""
    from genbench.data.scenes import STYLES  # loads torch

    cond: ToDomain = answers.cond  # type: ignore[assignment]
    names, styles = answers.words("domain"), list(STYLES)
    if other := [name for name in names if name not in styles]:
        raise ConfigError(
            f"domain_accuracy: {PARSER} knows the styles of scenes, and domain {other[0]!r} is "
            f"none; {nearest(other[0], styles)}"
        )
    asked = np.array([styles.index(name) for name in names])[cond.target.cpu().numpy()]
    return reading(answers).style.numpy(), asked


def cycle_error(answers: Answers, options: NoOptions) -> Score:
    """The mean absolute difference of sources and of samples that were moved back.

    In shares of the full range: 0 is equal, 1 is black for white. A mean over samples, with a
    Student interval. It says nothing of the samples themselves, as leaving images as they are
    takes them back too.
    """
    assert answers.back is not None
    cond: ToDomain = answers.cond  # type: ignore[assignment]
    error = (levels(answers.back) - levels(cond.source.cpu())).abs().flatten(1).double().mean(1)
    return mean_score(error.numpy(), len(answers), "samples")


TASK_METRICS = (
    TaskMetric(
        "domain_accuracy",
        "domain accuracy",
        "higher",
        ("ToDomain",),
        domain_accuracy,
        PARSER,
        explain=_explain,
    ),
    TaskMetric(
        "cycle_error", "cycle error", "lower", ("ToDomain",), cycle_error, "", needs=("back",)
    ),
)
