"""sFID: the Frechet distance in features that keep positions, for structure that averages hide.

Nash et al., *Generating Images with Sparse Representations*, arXiv 2103.03841: the first 7
channels of Inception's mixed_6/conv, 7 x 17 x 17 = 2023 features, as in guided-diffusion.
"""

from typing import ClassVar

from genbench.metrics.frechet import FrechetSums, frechet_score, gaussian
from genbench.metrics.metric import FeatureSet, Metric, NoOptions
from genbench.metrics.moments import SpatialMoments
from genbench.stats import Score

__all__ = ["METRIC", "SpatialFrechetSums"]


class SpatialFrechetSums(FrechetSums):
    """The same as `FrechetSums`, of features that keep positions."""

    reads: ClassVar[str] = "spatial"


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The distance; for its interval see `frechet_score`."""
    assert real is not None
    return frechet_score(made.sums(SpatialFrechetSums), gaussian(real, SpatialMoments))


METRIC = Metric(
    "sfid", "sFID", "lower", needs=(SpatialFrechetSums,), reference=(SpatialMoments,), score=score
)
