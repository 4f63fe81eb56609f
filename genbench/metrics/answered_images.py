"""Answers beside images: beside the right ones, beside each other, and reduced again.

All are means over samples or questions, with Student intervals over them.
"""

from typing import TYPE_CHECKING

import numpy as np

from genbench.metrics.metric import NoOptions, as_float64
from genbench.metrics.reading import levels
from genbench.metrics.shares import mean_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError
from genbench.stats import Score

if TYPE_CHECKING:
    from genbench.api import LowRes

__all__ = ["TASK_METRICS", "diversity", "feature_distance", "low_res_error"]

_ASKED = ("ClassLabel", "Caption", "Paired", "ToDomain", "Layout", "LowRes")


def feature_distance(answers: Answers, options: NoOptions) -> Score:
    """The mean Euclidean distance between a network's features of samples and of right answers.

    In pairs, so unlike the Frechet distance it is 0 for the right answers only.
    """
    made, truth = (as_float64(answers.features(s).features, "features") for s in ("made", "truth"))
    return mean_score(np.linalg.norm(made - truth, axis=1), len(answers), "samples")


def diversity(answers: Answers, options: NoOptions) -> Score:
    """The mean absolute difference of two answers to one question, in shares of the full range.

    Over all pairs of the answers to a question, then over the questions that were asked again. It
    says nothing of quality: noise is more diverse than any answer. Zhu et al., *Toward Multimodal
    Image-to-Image Translation*, arXiv 1711.11586, measure it likewise, by LPIPS.
    """
    import torch

    assert answers.again is not None
    first = answers.made[: len(answers.again), None]
    every = levels(torch.cat((first, answers.again), 1)).flatten(2)
    a, b = torch.triu_indices(every.shape[1], every.shape[1], 1)
    values = [(rows[a] - rows[b]).abs().double().mean() for rows in every]
    return mean_score(torch.stack(values).numpy(), len(answers), "questions")


def low_res_error(answers: Answers, options: NoOptions) -> Score:
    """The mean absolute difference between the given image and the sample, reduced as that was.

    In shares of the full range; 0 means that the sample is one of the images that the given one
    may come from. Repeating pixels gives 0 too, so read it beside distances to right answers.

    Raises:
        ConfigError: For samples whose size is no multiple of the given images'.
    """
    from genbench.data.filters import box_average  # loads torch

    cond: LowRes = answers.cond  # type: ignore[assignment]
    given = cond.image.cpu()
    size, small = answers.made.shape[-1], given.shape[-1]
    if size % small:
        raise ConfigError(f"samples of {size} pixels are no multiple of the given {small} pixels")
    reduced = box_average(answers.made, size // small)
    error = (levels(reduced) - levels(given)).abs().flatten(1).double().mean(1)
    return mean_score(error.numpy(), len(answers), "samples")


TASK_METRICS = (
    TaskMetric(
        "feature_distance",
        "feature distance",
        "lower",
        ("Paired", "ToDomain", "LowRes", "Edit"),
        feature_distance,
    ),
    TaskMetric("diversity", "diversity", "higher", _ASKED, diversity, "", needs=("again",)),
    TaskMetric("low_res_error", "low-res error", "lower", ("LowRes",), low_res_error, ""),
)
