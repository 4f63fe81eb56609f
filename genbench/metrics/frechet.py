"""Frechet distance between Gaussians fitted to two sets of features ("FD"; in Inception's, "FID").

    FD = |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

Heusel et al., *GANs Trained by a Two Time-Scale Update Rule*, arXiv 1706.08500; covariances with
ddof = 1, as in torch-fidelity and pytorch-fid.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.gaussian import Reference, frechet_distance, sandwich
from genbench.metrics.metric import FeatureSet, Metric, NoOptions, checked, fixed_order
from genbench.metrics.moments import LARGEST, Moments, check
from genbench.stats import Score, delete_group_jackknife, student_score

__all__ = [
    "GROUPS",
    "KEPT",
    "LARGEST",
    "METRIC",
    "FrechetSums",
    "Moments",
    "Reference",
    "frechet_distance",
    "frechet_score",
    "gaussian",
    "grouped_moments",
    "influence",
    "leave_one_out",
]

GROUPS = 20  # of samples, for the jackknife
FEW = 256  # features up to which every group has a covariance of its own
KEPT = 1000  # samples whose influence is looked at, where there are more features

Array = NDArray[np.float64]


class FrechetSums:
    """Moments of samples, and what the standard error of their distance needs; a `Sums`.

    Up to 256 features: the moments of 20 random groups of equal size (up to one sample). More
    features: the moments of all, and the rows of up to 1,000 random samples. Which ones is fixed
    by `fixed_order`.

    Attributes:
        total: Number of samples that will come.
        parts: Moments of each group, of which there is one for more than 256 features.
        rows: The kept rows, of shape (min(total, 1000), D) or (0, D).
        seen: Which of them came already, bool.
    """

    reads: ClassVar[str] = "features"

    def __init__(
        self, total: int, parts: list[Moments], rows: NDArray[Any], seen: NDArray[np.bool_]
    ) -> None:
        self.total, self.parts, self.rows, self.seen = total, parts, rows, seen
        place = np.empty(total, np.int64)
        place[fixed_order(total)] = np.arange(total)
        self._place = place

    @classmethod
    def start(cls, total: int, width: int) -> Self:
        """Nothing seen yet of `total` samples with `width` features."""
        few = width <= FEW
        groups = min(GROUPS, total) if few and total > 2 else 1
        kept = 0 if few else min(KEPT, total)
        parts = [Moments.empty(width) for _ in range(groups)]
        return cls(total, parts, np.zeros((kept, width), np.float32), np.zeros(kept, np.bool_))

    def update(self, rows: Any, index: NDArray[np.int64]) -> Self:
        """These samples too, of shape (B, D); changes and returns itself.

        Raises:
            ValueError: For features that are not finite, of another width, or above `LARGEST`.
        """
        array, place = np.asarray(rows), self._place[index]
        if len(self.parts) == 1:
            self.parts[0].update(array)
        else:
            check(array)  # as a whole, so that an error counts all samples
            group = place % len(self.parts)
            for g, part in enumerate(self.parts):
                part.update(array[group == g])
        kept = place < len(self.rows)
        if kept.any():
            if array.dtype == np.float64:
                self.rows = self.rows.astype(np.float64, copy=False)
            self.rows[place[kept]] = array[kept]
            self.seen[place[kept]] = True
        return self

    def __add__(self, other: Self) -> Self:
        if (self.total, self.rows.shape) != (other.total, other.rows.shape):
            raise ValueError("only sums over parts of the same set of samples merge")
        parts = [a + b for a, b in zip(self.parts, other.parts, strict=True)]
        rows = np.where(other.seen[:, None], other.rows, self.rows)
        return type(self)(self.total, parts, rows, self.seen | other.seen)

    @property
    def n(self) -> int:
        """Samples seen so far."""
        return sum(part.n for part in self.parts)

    @property
    def moments(self) -> Moments:
        """Of all samples.

        Raises:
            ValueError: While samples are missing.
        """
        if self.n != self.total:
            raise ValueError(f"saw {self.n} of {self.total} samples")
        return sum(self.parts[1:], self.parts[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays, for files."""
        return {
            "total": np.asarray(self.total),
            "n": np.asarray([part.n for part in self.parts]),
            "mean": np.stack([part.mean for part in self.parts]),
            "packed": np.stack([part.packed for part in self.parts]),
            "rows": self.rows,
            "seen": self.seen,
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The sums that `arrays` gave these; for errors see `Moments.restore`."""
        shapes = {"n": (None,), "mean": (None, None), "packed": (None, None)}
        each = zip(*(checked(arrays, name, shape) for name, shape in shapes.items()), strict=True)
        parts = [Moments.restore({"n": n, "mean": m, "packed": p}) for n, m, p in each]
        rows = np.array(checked(arrays, "rows", (None, len(parts[0].mean))))
        seen = np.array(checked(arrays, "seen", (len(rows),)), np.bool_)
        return cls(int(checked(arrays, "total", ())), parts, rows, seen)


def grouped_moments(features: Any, groups: int) -> list[Moments]:
    """Moments of `groups` random groups of equal size (up to one sample); see `fixed_order`."""
    x = np.asarray(features)
    order = fixed_order(len(x))
    return [Moments.of(x[order[g::groups]]) for g in range(groups)]


def leave_one_out(parts: list[Moments]) -> list[Moments]:
    """The moments of all parts but one, for each; merges only, so nothing cancels."""
    empty = Moments.empty(len(parts[0].mean))
    before = [empty]
    for part in parts[:-1]:
        before.append(before[-1] + part)
    after = [empty]
    for part in parts[:0:-1]:
        after.append(after[-1] + part)
    return [head + tail for head, tail in zip(before, reversed(after), strict=True)]


def influence(rows: NDArray[Any], made: Reference, real: Reference) -> Array:
    """What each sample adds to the distance: N dFD/dw_i for its weight w_i, up to a constant.

        IF(x) = 2 (mu1 - mu2).(x - mu1) + (x - mu1)^T (I - T) (x - mu1)
        T = L2 (L2^T S1 L2)^(-1/2) L2^T,   S2 = L2 L2^T

    from d tr (S1 S2)^(1/2) = 1/2 tr T dS1; T maps N(mu1, S1) to N(mu2, S2). The root is taken in
    float32: eigenvalues below 1e-6 of the largest count as that, which changes little, since
    samples hardly vary along them. The constant does not matter for a variance.

    Args:
        rows: Features of shape (M, D).
        made: Gaussian of all generated samples.
        real: That of the real ones.

    Returns:
        float64 of shape (M,).
    """
    change = np.zeros(len(rows))
    if made.trace == 0:
        return change
    root = _root_of_transport(made, real)
    scale = float(np.sqrt(made.trace))
    shift = (made.mean - real.mean) / scale
    for start in range(0, len(rows), 256):
        x = (rows[start : start + 256] - made.mean) / scale
        moved = np.square(x.astype(np.float32) @ root, dtype=np.float64).sum(1)
        change[start : start + 256] = 2 * x @ shift + np.square(x).sum(1) - moved
    return change * scale * scale


def _root_of_transport(made: Reference, real: Reference) -> NDArray[np.float32]:
    """R of shape (D, R) with R R^T = T."""
    from scipy.linalg import blas, lapack  # slow to import: listing metrics must not wait

    if real.trace == 0:
        return np.zeros((len(made.mean), 0), np.float32)
    middle = sandwich(made, real).astype(np.float32)
    # in place but for the vectors; reads the lower triangle
    values, vectors, _, _, failed = lapack.ssyevr(middle, lower=1, overwrite_a=1)
    if failed:
        raise np.linalg.LinAlgError(
            "eigenvalues of the product of two covariances do not converge"
        )
    del middle
    vectors /= np.maximum(values, 1e-6 * values[-1]) ** 0.25
    # T = (L2 / sqrt(trace2)) (middle)^(-1/2) (L2 / sqrt(trace2))^T sqrt(trace2 / trace1)
    ratio = np.sqrt(np.sqrt(real.trace) / np.sqrt(made.trace)) / np.sqrt(real.trace)
    factor = np.empty(real.factor.shape, np.float32, order="F")
    np.multiply(real.factor, ratio, out=factor, casting="same_kind")
    if len(real.factor) == len(values):  # triangular
        return np.asarray(blas.strmm(1.0, factor, vectors, lower=1, overwrite_b=1))
    return np.asarray(factor @ vectors)


def gaussian(real: FeatureSet, kind: type[Moments] = Moments) -> Reference:
    """The reference's Gaussian, whose factor all sets that are scored against it share."""
    if ("gaussian", kind) not in real.cache:
        real.cache["gaussian", kind] = Reference.of(real.sums(kind))
    found: Reference = real.cache["gaussian", kind]
    return found


def frechet_score(made: FrechetSums, real: Reference) -> Score:
    """The distance with its standard error; the reference counts as exact.

    Up to 256 features: a jackknife over 20 groups of samples. More: the infinitesimal jackknife,
    stderr^2 = Var(IF) / N (Efron and Stein, *The Jackknife Estimate of Variance*, 1981; Jaeckel,
    *The Infinitesimal Jackknife*, 1972), the variance over up to 1,000 samples.
    Both are conservative, never too small: where the sets hardly differ they are up to sqrt(2)
    times the spread of a Gaussian's distance over new samples (1.6 times for skewed features).
    """
    moments, n = made.moments, made.total
    if n < 3:  # without one of 2 samples there is no covariance, so no jackknife
        return Score(value=frechet_distance(moments, real), n=n)
    if len(made.rows) == 0:
        value = frechet_distance(moments, real)
        without = [frechet_distance(rest, real) for rest in leave_one_out(made.parts)]
        stderr, ci95 = delete_group_jackknife(value, without)
        method = f"jackknife, {len(made.parts)} groups of samples"
        return Score(value=value, stderr=stderr, ci95=ci95, n=n, method=method)
    fitted = Reference.of(moments)
    value = frechet_distance(fitted, real)
    changes = influence(made.rows, fitted, real)
    largest = float(np.abs(changes).max()) or 1.0  # whose square may be no number
    stderr = largest * float((changes / largest).std(ddof=1)) / float(np.sqrt(n))
    method = f"infinitesimal jackknife, {len(changes)} samples"
    return student_score(value, stderr, len(changes) - 1, n, method)


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """See `frechet_score`."""
    assert real is not None
    return frechet_score(made.sums(FrechetSums), gaussian(real))


METRIC = Metric("fd", "FD", "lower", needs=(FrechetSums,), reference=(Moments,), score=score)
