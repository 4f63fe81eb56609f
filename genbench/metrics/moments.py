"""Count, mean and scatter of features: enough for a Gaussian, streamed, mergeable and exact."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import as_float64, checked

__all__ = ["LARGEST", "Moments", "SpatialMoments", "blocks", "check"]

LARGEST = 1e151  # feature whose square, summed, is still a float64
GATHERED = 512  # rows for one update of the scatter: reading and writing it costs more than few

Array = NDArray[np.float64]


class Moments:
    """Count, mean and centred scatter of a set of features; a `Sums`.

    Sets merge by `+` in any order or nesting (Chan, Golub and LeVeque, *Updating Formulae and a
    Pairwise Algorithm for Computing Sample Variances*, 1979). Unlike sums of squares this loses no
    digits where the mean is large against the spread. Rows are gathered until one matrix product
    is worth its while, and added in place; the scatter is kept as one triangle, in LAPACK's
    rectangular full packed format, which has the speed of whole matrices: 17 MB at D = 2048.
    """

    reads: ClassVar[str] = "features"

    def __init__(self, n: int, mean: Array, packed: Array) -> None:
        self._n, self._mean, self._packed = n, mean, packed
        self._gathered: Array | None = None
        self._waiting = 0

    @classmethod
    def empty(cls, dim: int) -> Self:
        """No samples yet, of `dim` features each."""
        return cls(0, np.zeros(dim), np.zeros(dim * (dim + 1) // 2))

    @classmethod
    def start(cls, total: int, width: int) -> Self:
        """No samples yet; how many will come does not matter here."""
        return cls.empty(width)

    @classmethod
    def of(cls, features: Any) -> Self:
        """Moments of features of shape (N, D); for errors see `update`."""
        width = as_float64(features[:0], "features").shape[1]
        return cls.empty(width).update(features)

    @classmethod
    def given(cls, n: int, mean: Array, cov: Array) -> Self:
        """Moments of n samples by their mean (D,) and covariance (D, D), with ddof = 1.

        Raises:
            ValueError: For a covariance that no samples have.
        """
        from scipy.linalg import lapack

        packed = lapack.dtrttf(np.asfortranarray(cov * (n - 1.0)), uplo="L")[0]
        _check_scatter(packed, len(mean))
        return cls(n, np.array(mean, np.float64), packed)

    def update(self, rows: Any, index: NDArray[np.int64] | None = None) -> Self:
        """These samples too, of shape (B, D); changes and returns itself.

        Raises:
            ValueError: For features that are not finite, of another width, or above `LARGEST`.
        """
        for block in blocks(rows, GATHERED):
            if block.shape[1] != len(self._mean):
                raise ValueError(f"{block.shape[1]} features against {len(self._mean)}")
            if np.abs(block).max(initial=0) > LARGEST:
                largest = np.abs(block).max()
                raise ValueError(f"features up to {largest:.0e}; the largest is {LARGEST:.0e}")
            self._gather(block)
        return self

    def _gather(self, block: Array) -> None:
        if self._waiting + len(block) > GATHERED:
            self._flush()
        if self._gathered is None:
            self._gathered = np.empty((GATHERED + 1, len(self._mean)))
        self._gathered[self._waiting : self._waiting + len(block)] = block
        self._waiting += len(block)

    def _flush(self) -> None:
        """Add the rows that wait to the mean and to the scatter."""
        if self._gathered is None or not self._waiting:
            return
        x = self._gathered[: self._waiting]
        mean = x.mean(0)
        x -= mean
        self._merge(self._waiting, mean, self._gathered[: self._waiting + 1])
        self._waiting = 0

    def _merge(self, n: int, mean: Array, rows: Array) -> None:
        """Add n samples: their mean, and rows whose products add up to their scatter.

        The last of these rows is free, and takes the distance between the two means.
        """
        from scipy.linalg import lapack  # slow to import: listing metrics must not wait for it

        total = self._n + n
        delta = mean - self._mean
        np.multiply(delta, np.sqrt(self._n / total * n), out=rows[-1])
        self._packed = lapack.dsfrk(
            len(mean), len(rows), 1.0, rows.T, 1.0, self._packed, uplo="L", overwrite_c=1
        )
        self._mean = self._mean + delta * (n / total)
        self._n = total

    def __add__(self, other: Self) -> Self:
        if len(self._mean) != len(other._mean):
            raise ValueError(f"{len(self._mean)} and {len(other._mean)} features do not merge")
        merged = type(self)(self.n, self.mean, self.packed.copy())
        if other.n:
            merged._merge(other.n, other.mean, np.empty((1, len(other.mean))))
            merged._packed += other.packed
        return merged

    @property
    def n(self) -> int:
        """Number of samples."""
        return self._n + self._waiting

    @property
    def mean(self) -> Array:
        """Mean, float64 of shape (D,)."""
        self._flush()
        return self._mean

    @property
    def packed(self) -> Array:
        """Lower triangle of the scatter, float64 of shape (D (D + 1) / 2,); not a copy."""
        self._flush()
        self._gathered = None  # whoever asks has seen all samples, and needs the memory
        return self._packed

    @property
    def scatter(self) -> Array:
        """Sum of (x - mean)(x - mean)^T, float64 of shape (D, D)."""
        from scipy.linalg import lapack

        lower = lapack.dtfttr(len(self.mean), self.packed, uplo="L")[0]
        lower = np.tril(lower)
        return np.asarray(lower + np.tril(lower, -1).T)

    @property
    def cov(self) -> Array:
        """Covariance with ddof = 1, of shape (D, D).

        Raises:
            ValueError: For fewer than 2 samples.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {self.n}")
        return self.scatter / (self.n - 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The moments as arrays, for files."""
        return {"n": np.asarray(self.n), "mean": self.mean, "packed": self.packed}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The moments that `arrays` gave these.

        Raises:
            ValueError: For arrays that are the moments of no set.
            LookupError: For one that is missing.
        """
        n = int(checked(arrays, "n", ()))
        mean = np.array(checked(arrays, "mean", (None,)), np.float64)
        dim = len(mean)
        packed = np.array(checked(arrays, "packed", (dim * (dim + 1) // 2,)), np.float64)
        if n < 0 or dim == 0:
            raise ValueError(f"moments of {n} samples with {dim} features")
        _check_scatter(packed, dim)
        return cls(n, mean, packed)


def _check_scatter(packed: Array, dim: int) -> None:
    """Raise ValueError where s_ii < 0 or s_ij^2 > s_ii s_jj, which no samples have."""
    from scipy.linalg import lapack

    lower = lapack.dtfttr(dim, packed, uplo="L")[0]
    diagonal = np.diagonal(lower)
    if diagonal.min() < 0:
        raise ValueError("'packed' has negative variances")
    spread = np.sqrt(diagonal)
    for column in range(dim):
        most = spread[column:] * (spread[column] * _ROUNDING)
        if (np.abs(lower[column:, column]) > most).any():
            raise ValueError("'packed' has covariances above what the variances allow")


_ROUNDING = 1 + 1e-6  # of a covariance of features that are multiples of each other


class SpatialMoments(Moments):
    """The same of features that keep positions."""

    reads: ClassVar[str] = "spatial"


def blocks(rows: Any, size: int, what: str = "features") -> Iterator[Array]:
    """Finite float64 rows of an array or of a tensor on the CPU, at most `size` at a time.

    Raises:
        ValueError: For another shape than (N, D), or for NaN and infinities, of which all are
            counted.
    """
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ValueError(f"{what} must have shape (N, D), got {array.shape}")
    for start in range(0, len(array), size):
        block = np.asarray(array[start : start + size], dtype=np.float64)
        if not np.isfinite(block).all():
            as_float64(array, what)  # raises, and says how many of all
        yield block


def check(rows: Any) -> None:
    """Raise what `blocks` raises for features that are no numbers."""
    for _ in blocks(rows, GATHERED):
        pass
