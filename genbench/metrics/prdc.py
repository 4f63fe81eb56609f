"""Improved precision and recall; density and coverage: is it real, and is all of it there.

    precision = share of generated samples in the ball of any real one      k = 3, sphere included
    recall    = share of real samples in the ball of any generated one      k = 3, sphere included
    density   = mean over generated samples of (number of real balls around it) / k   k = 5
    coverage  = share of real samples whose ball holds a generated one      k = 5

A ball reaches from its sample to the k-th nearest other sample of the same set. Kynkäänniemi et
al., *Improved Precision and Recall Metric for Assessing Generative Models*, arXiv 1904.06991, as
in torch-fidelity; Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative Models*,
arXiv 2002.09797, as in the authors' package prdc. All but density, which may exceed 1, are shares.

Coverage falls as the reference grows beside the samples: the balls of 60,000 images are small, and
1,000 samples lie in few of them, real ones too (0.08 on MNIST). Suites therefore draw as many real
images as there are samples, by a fixed seed, and say so in the ids: `subsample=1000`.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from genbench.metrics.metric import FeatureSet, Metric
from genbench.metrics.neighbours import COVERAGE_K, Comparison, compare
from genbench.metrics.shares import share_score
from genbench.spec import Spec
from genbench.stats import Score, mean_interval

__all__ = ["METRICS", "PrdcOptions"]


class PrdcOptions(Spec):
    """Options of all four.

    Attributes:
        k: Which neighbour a ball reaches to; None for 3 (precision, recall) and 5 (density,
            coverage).
        subsample: How many images of the reference are drawn, where it has more; "all" for all.
        seed: Of the draw.
    """

    k: int | None = Field(None, ge=1)
    subsample: int | Literal["all"] = "all"
    seed: int = Field(0, ge=0)

    @field_validator("subsample")
    @classmethod
    def _two(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 2:
            raise ValueError('is 2 or more images, or "all"')
        return value

    def of(self, real: FeatureSet) -> FeatureSet:
        """The part of a reference that is looked at; the same object each time."""
        if self.subsample == "all" or real.n <= self.subsample:
            return real
        key = ("subsample", self.subsample, self.seed)
        if key not in real.cache:
            order = np.random.default_rng(self.seed).permutation(real.n)
            rows = np.sort(order[: self.subsample])
            real.cache[key] = FeatureSet.of(np.asarray(real.features)[rows])
        part: FeatureSet = real.cache[key]
        return part


def _share(
    read: Callable[[Comparison], NDArray[np.bool_]], over: str
) -> Callable[[FeatureSet, FeatureSet | None, PrdcOptions], Score]:
    def score(made: FeatureSet, real: FeatureSet | None, options: PrdcOptions) -> Score:
        """The share with Wilson's interval, the balls taken as given."""
        assert real is not None
        return share_score(read(compare(made, options.of(real), options.k)), made.n, over)

    return score


def density(made: FeatureSet, real: FeatureSet | None, options: PrdcOptions) -> Score:
    """The mean with Student's interval over generated samples, the balls taken as given."""
    assert real is not None
    balls = compare(made, options.of(real), options.k).balls / (options.k or COVERAGE_K)
    value, stderr, ci95 = mean_interval(balls.tolist())
    method = "Student, generated samples"
    return Score(value=value, stderr=stderr, ci95=ci95, n=made.n, method=method)


def _metric(
    name: str,
    label: str,
    score: Callable[[FeatureSet, FeatureSet | None, PrdcOptions], Score],
) -> Metric:
    return Metric(
        name,
        label,
        "higher",
        needs=("features",),
        reference=("features",),
        score=score,
        group="prdc",
        options=PrdcOptions,
    )


METRICS = (
    _metric("precision", "precision", _share(lambda c: c.precise, "generated samples")),
    _metric("recall", "recall", _share(lambda c: c.recalled, "real samples")),
    _metric("density", "density", density),
    _metric("coverage", "coverage", _share(lambda c: c.covered, "real samples")),
)
