"""Frechet distance between Gaussians fitted to two sets of features ("FD"; in Inception's, "FID").

    FD = |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

Heusel et al., *GANs Trained by a Two Time-Scale Update Rule*, arXiv 1706.08500; covariances with
ddof = 1, as in torch-fidelity and pytorch-fid.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import FeatureSet, Metric, NoOptions, as_float64, fixed_order
from genbench.stats import Score, delete_group_jackknife

__all__ = [
    "GROUPS",
    "LARGEST",
    "METRIC",
    "Moments",
    "Reference",
    "frechet_distance",
    "grouped_moments",
]

GROUPS = 20  # of samples, for the jackknife
LARGEST = 1e151  # feature whose square, summed, is still a float64

Array = NDArray[np.float64]

_ROUNDING = 1e-12  # of the variances, below which a distance is rounding and reported as 0
_MEAN_ROUNDING = 1e-14  # the same of the means


@dataclass(frozen=True)
class Moments:
    """Count, mean and centred scatter of a set of features: enough for a Gaussian, and mergeable.

    Sets merge by `+` in any order or nesting (Chan, Golub and LeVeque, *Updating Formulae and a
    Pairwise Algorithm for Computing Sample Variances*, 1979). Unlike sums of squares this loses no
    digits where the mean is large against the spread.

    Attributes:
        n: Number of samples.
        mean: float64 of shape (D,).
        scatter: Sum of (x - mean)(x - mean)^T, float64 of shape (D, D).
    """

    n: int
    mean: Array
    scatter: Array

    @classmethod
    def empty(cls, dim: int) -> Self:
        """No samples yet."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, features: Any) -> Self:
        """Moments of features of shape (N, D).

        Raises:
            ValueError: For features that are not finite, or above `LARGEST`.
        """
        x = as_float64(features, "features")
        if len(x) == 0:
            return cls.empty(x.shape[1])
        if np.abs(x).max(initial=0) > LARGEST:
            raise ValueError(f"features up to {np.abs(x).max():.0e}; the largest is {LARGEST:.0e}")
        mean = x.mean(0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    def update(self, features: Any) -> "Moments":
        """These samples and more of them, of shape (N, D)."""
        return self + Moments.of(features)

    def __add__(self, other: "Moments") -> "Moments":
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"{len(self.mean)} and {len(other.mean)} features do not merge")
        n = self.n + other.n
        if n == 0:
            return self
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        between = np.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, mean, self.scatter + other.scatter + between)

    @property
    def cov(self) -> Array:
        """Covariance with ddof = 1, of shape (D, D).

        Raises:
            ValueError: For fewer than 2 samples.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {self.n}")
        return self.scatter / (self.n - 1)


@dataclass(frozen=True)
class Reference:
    """A Gaussian; the factor of its covariance is made once, for any number of distances."""

    mean: Array
    cov: Array

    @classmethod
    def of(cls, moments: Moments) -> Self:
        """The Gaussian with these moments."""
        return cls(moments.mean, moments.cov)

    @cached_property
    def factor(self) -> Array:
        """L of shape (D, R) with L L^T = cov."""
        return _factor(self.cov)


def frechet_distance(made: Moments | Reference, real: Reference) -> float:
    """The squared distance above: finite and >= 0 for any two Gaussians.

    With S1 = L1 L1^T and S2 = L2 L2^T, tr (S1 S2)^(1/2) is the sum of the singular values of
    L1^T L2. Unlike a matrix square root, and unlike the roots of eigenvalues, this keeps full
    precision for covariances without full rank, as a few samples in many dimensions have.

    Identical sets give exactly 0: a distance below 1e-12 of the total variance (plus 1e-28 of the
    squared means, the rounding of a mean) is rounding, and reported as 0.

    Raises:
        ValueError: For another number of features, or fewer than 2 samples.
    """
    gaussian = made if isinstance(made, Reference) else Reference.of(made)
    if gaussian.mean.shape != real.mean.shape:
        raise ValueError(f"{len(gaussian.mean)} features against {len(real.mean)}")
    shift = float(((gaussian.mean - real.mean) ** 2).sum())
    variance = float(np.trace(gaussian.cov) + np.trace(real.cov))
    overlap = float(np.linalg.svd(gaussian.factor.T @ real.factor, compute_uv=False).sum())
    distance = shift + variance - 2 * overlap
    lengths = float((gaussian.mean**2).sum() + (real.mean**2).sum())
    rounding = _ROUNDING * variance + _MEAN_ROUNDING**2 * lengths
    return distance if distance > rounding else 0.0


def _factor(cov: Array) -> Array:
    """L with L L^T = cov: Cholesky's, or from eigenvectors where cov has not full rank."""
    try:
        return np.asarray(np.linalg.cholesky(cov), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(cov)
        # what is smaller is rounding of a zero, and its root would not be small
        real = values > len(values) * np.finfo(np.float64).eps * values.max()
        return np.asarray(vectors[:, real] * np.sqrt(values[real]))


def grouped_moments(features: Any, groups: int) -> list[Moments]:
    """Moments of `groups` random groups of equal size (up to one sample); see `fixed_order`."""
    x = as_float64(features, "features")
    order = fixed_order(len(x))
    return [Moments.of(x[order[g::groups]]) for g in range(groups)]


def leave_one_out(parts: list[Moments]) -> list[Moments]:
    """The moments of all parts but one, for each; merges only, so nothing cancels."""
    empty = Moments.empty(len(parts[0].mean))
    before = list(accumulate(parts[:-1], initial=empty))
    after = list(accumulate(parts[:0:-1], initial=empty))[::-1]
    return [head + tail for head, tail in zip(before, after, strict=True)]


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The distance, with a jackknife over groups of samples; the reference counts as exact."""
    assert real is not None
    reference = Reference.of(Moments.of(real.features))
    n = len(made.features)
    if n < 3:  # without one of 2 samples there is no covariance, so no jackknife
        return Score(value=frechet_distance(Moments.of(made.features), reference), n=n)
    groups = min(GROUPS, n)
    parts = grouped_moments(made.features, groups)
    value = frechet_distance(sum(parts[1:], parts[0]), reference)
    without = [frechet_distance(rest, reference) for rest in leave_one_out(parts)]
    stderr, ci95 = delete_group_jackknife(value, without)
    method = f"jackknife, {groups} groups of samples"
    return Score(value=value, stderr=stderr, ci95=ci95, n=n, method=method)


METRIC = Metric("fd", "FD", "lower", needs=("features",), reference=("features",), score=score)
