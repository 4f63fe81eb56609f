"""FD-infinity: the Frechet distance that infinitely many samples would have.

The distance of N samples is biased upward by about a/N. It is computed for random subsets of 15
sizes, and regressed on 1/N:

    FD(N_s) = FD_inf + a / N_s,   N_s = linspace(min(5000, max(N // 10, 2)), N)

Chong and Forsyth, *Effectively Unbiased FID and Inception Score*, arXiv 1911.07023, with the sizes
of dgm-eval; subsets of the samples without replacement by a fixed seed. The reference stays whole.
"""

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.frechet import FrechetSums, frechet_score, gaussian
from genbench.metrics.gaussian import Reference, frechet_distance
from genbench.metrics.metric import FeatureSet, Metric, NoOptions
from genbench.metrics.moments import Moments
from genbench.stats import Score, student_score

__all__ = ["METRIC", "SIZES", "intercept", "sizes"]

SIZES = 15
_SEED = 2020
_ROWS = 512  # copied at a time
_LEAST = 30  # samples, so that the sizes differ

Array = NDArray[np.float64]


def sizes(n: int) -> NDArray[np.int64]:
    """Sizes of the subsets of n samples, ascending."""
    return np.linspace(min(5000, max(n // 10, 2)), n, SIZES).astype(np.int64)


def intercept(x: Array, y: Array) -> tuple[float, float]:
    """Where the least-squares line through the points meets x = 0, and its standard error."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    value = float(y.mean() - slope * x.mean())
    residuals = y - value - slope * x
    variance = float(residuals @ residuals) / (len(x) - 2)
    return value, float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / (centred @ centred))))


def _distances(made: FeatureSet, real: Reference) -> Array:
    """The distance of each subset."""
    rng, features = np.random.default_rng(_SEED), np.asarray(made.features)
    values = []
    for size in sizes(made.n):
        chosen = rng.choice(made.n, size, replace=False)
        moments = Moments.empty(features.shape[1])
        for start in range(0, size, _ROWS):
            moments.update(features[chosen[start : start + _ROWS]])
        values.append(frechet_distance(moments, real))
    return np.asarray(values)


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The intercept.

    Subsets share samples, so the residuals of the regression say only how much the choice of
    subsets matters. How much other samples would, which moves all points together, is the standard
    error of the distance of all samples; stderr^2 is the sum of both squares.
    """
    assert real is not None
    reference = gaussian(real)
    value, chosen = intercept(1 / sizes(made.n), _distances(made, reference))
    whole = frechet_score(made.sums(FrechetSums), reference)
    assert whole.stderr is not None
    stderr = float(np.hypot(chosen, whole.stderr))
    method = f"regression over {SIZES} overlapping subsets, and {whole.method}"
    return student_score(value, stderr, SIZES - 2, made.n, method)


METRIC = Metric(
    "fd_infinity",
    "FD-inf",
    "lower",
    needs=("features", FrechetSums),
    reference=(Moments,),
    score=score,
    least=_LEAST,
)
