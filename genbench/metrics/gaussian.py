"""Gaussians, and the Frechet distance between two of them.

    FD = |mu1 - mu2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

Dowson and Landau, *The Frechet Distance between Multivariate Normal Distributions*, 1982.
"""

from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.moments import Moments

__all__ = ["Reference", "frechet_distance", "sandwich"]

Array = NDArray[np.float64]

_ROUNDING = 1e-12  # of the variances, below which a distance is rounding and reported as 0
_MEAN_ROUNDING = 1e-14  # the same of the means
_WIDE = 256  # features above which eigenvalues are tried before singular values, 2.5x the time
_ENOUGH = 1e-6  # of a distance, the bound on its error with eigenvalues; errors are 1e-3 of it
_EPS = float(np.finfo(np.float64).eps)


class Reference:
    """A Gaussian; the factor of its covariance is made once, for any number of distances.

    Args:
        mean: Of shape (D,).
        cov: Of shape (D, D); its lower triangle is read.
    """

    def __init__(self, mean: Array, cov: Array) -> None:
        from scipy.linalg import lapack  # slow to import: listing metrics must not wait for it

        packed = lapack.dtrttf(np.asfortranarray(cov), uplo="L")[0]
        self._set(mean, packed, 1.0, len(mean))

    @classmethod
    def of(cls, moments: Moments) -> Self:
        """The Gaussian with these moments; shares their memory.

        Raises:
            ValueError: For fewer than 2 samples.
        """
        if moments.n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {moments.n}")
        gaussian = cls.__new__(cls)
        dim, freedom = len(moments.mean), moments.n - 1
        gaussian._set(moments.mean, moments.packed, 1 / freedom, min(dim, freedom))
        return gaussian

    def _set(self, mean: Array, packed: Array, scale: float, rank: int) -> None:
        self.mean, self.rank = mean, rank
        self._packed, self._scale = packed, scale

    def lower(self) -> Array:
        """A new array of shape (D, D), in Fortran's order; its lower triangle is the covariance's.

        Above the diagonal is whatever was in memory.
        """
        from scipy.linalg import lapack

        lower: Array = lapack.dtfttr(len(self.mean), self._packed, uplo="L")[0]
        for column in range(len(lower)):  # what lies above may overflow, or be no number
            lower[column:, column] *= self._scale
        return lower

    @cached_property
    def trace(self) -> float:
        """Total variance."""
        return float(np.trace(self.lower()))

    @cached_property
    def factor(self) -> Array:
        """L of shape (D, R) with L L^T = cov, in Fortran's order.

        Cholesky's, lower triangular; from eigenvectors where cov has not full rank.
        """
        from scipy.linalg import eigh, lapack

        factor, failed = lapack.dpotrf(self.lower(), lower=1, clean=1, overwrite_a=1)
        if not failed:
            return np.asarray(factor)
        del factor
        # in place but for the vectors, as many as the rank; above the diagonal is anything
        last, settings = len(self.mean) - 1, {"overwrite_a": True, "check_finite": False}
        subset = (last + 1 - self.rank, last)
        values, vectors = eigh(self.lower(), lower=True, subset_by_index=subset, **settings)
        # what is smaller is rounding of a zero, and its root would not be small
        real = values > len(values) * _EPS * values.max()
        return np.asfortranarray(vectors[:, real] * np.sqrt(values[real]))


def frechet_distance(made: Moments | Reference, real: Reference) -> float:
    """The squared distance above: finite and >= 0 for any two Gaussians.

    With S1 = L1 L1^T and S2 = L2 L2^T, tr (S1 S2)^(1/2) is the sum of the singular values of
    L1^T L2. Unlike a matrix square root, and unlike the roots of eigenvalues, this keeps full
    precision for covariances without full rank, as a few samples in many dimensions have. For
    more than 256 features the roots of the eigenvalues of L2^T S1 L2 are tried first; they are
    taken where their error is bounded by 1e-6 of the distance (it then measures below 1e-9).

    Identical sets give exactly 0: a distance below 1e-12 of the total variance (plus 1e-28 of the
    squared means, the rounding of a mean) is rounding, and reported as 0.

    Raises:
        ValueError: For another number of features, or fewer than 2 samples.
    """
    gaussian = made if isinstance(made, Reference) else Reference.of(made)
    if gaussian.mean.shape != real.mean.shape:
        raise ValueError(f"{len(gaussian.mean)} features against {len(real.mean)}")
    apart = float(((gaussian.mean - real.mean) ** 2).sum()) + gaussian.trace + real.trace
    lengths = float((gaussian.mean**2).sum() + (real.mean**2).sum())
    rounding = _ROUNDING * (gaussian.trace + real.trace) + _MEAN_ROUNDING**2 * lengths
    if len(real.mean) > _WIDE and min(gaussian.trace, real.trace) > 0:
        overlap, error = _overlap_by_eigenvalues(gaussian, real)
        if 2 * error <= _ENOUGH * (apart - 2 * overlap):
            return apart - 2 * overlap
    distance = apart - 2 * _overlap_by_singular_values(gaussian, real)
    return distance if distance > rounding else 0.0


def sandwich(made: Reference, real: Reference) -> Array:
    """L2^T S1 L2 over both total variances, of shape (R, R); only its lower triangle is set."""
    from scipy.linalg import blas, lapack

    middle, factor = made.lower(), real.factor
    for column in range(len(middle)):
        middle[column:, column] /= made.trace
        middle[column:, column] /= real.trace  # one after the other: the product may overflow
    if factor.shape[0] == factor.shape[1]:  # triangular: in place, and half the operations
        return np.asarray(lapack.dsygst(middle, factor, itype=2, lower=1, overwrite_a=1)[0])
    right = blas.dsymm(1.0, middle, factor, lower=1)
    del middle
    return np.asarray(blas.dgemm(1.0, factor, right, trans_a=1))


def _overlap_by_eigenvalues(made: Reference, real: Reference) -> tuple[float, float]:
    """tr (S1 S2)^(1/2), and its error."""
    from scipy.linalg import lapack

    middle = sandwich(made, real)
    values, _, failed = lapack.dsyevd(middle, compute_v=0, lower=1, overwrite_a=1)
    values = values[max(len(values) - made.rank, 0) :]  # ascending; the others are zeros
    if failed or values[0] < 0:
        return 0.0, np.inf
    scale = float(np.sqrt(made.trace) * np.sqrt(real.trace))
    # an eigenvalue is off by the rounding of the largest; its root by that over twice the root
    rounding = _EPS * values[-1]
    errors = np.minimum(rounding / (4 * np.maximum(values, rounding)), 1) * rounding
    return scale * float(np.sqrt(values).sum()), scale * float(np.sqrt(errors.sum()))


def _overlap_by_singular_values(made: Reference, real: Reference) -> float:
    """The same without squares: slower, and to the last digits."""
    from scipy.linalg import blas

    product = blas.dgemm(1.0, made.factor, real.factor, trans_a=1)
    return float(np.linalg.svd(product, compute_uv=False).sum())
