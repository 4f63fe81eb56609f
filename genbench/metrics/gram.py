"""Products and squared distances of features by blocks: no N x N matrix, no copy of all.

Distances come from matrix products in the features' own precision,

    |x - y|^2 = |x|^2 + |y|^2 - 2 x.y,

of rows that are centred and scaled block by block. What cancels all the same, next to duplicates,
is computed again from the differences: duplicates have distance 0, exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.moments import LARGEST, blocks

__all__ = ["Frame", "as_rows", "distances", "frame", "k_smallest", "slices"]

Array = NDArray[Any]

BLOCK = 2048  # rows of a block: two of them and their products take 70 MB at D = 2048
_CANCELLED = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-10}  # of |x|^2 + |y|^2
_ZERO = 1e-12  # the same, below which a float64 product is rounding
_GROUP = 16  # columns of which the least stands for all when the k smallest are looked for


@dataclass(frozen=True)
class Frame:
    """Where the origin of the features lies, and their unit.

    Attributes:
        centre: Of shape (D,), in the features' precision.
        exponent: Features are multiplied by two to this power, which rounds nothing and keeps
            squares from overflowing.
    """

    centre: Array
    exponent: int

    @property
    def scale(self) -> Any:
        """Two to the power of `exponent`, in the features' precision."""
        return self.centre.dtype.type(2.0**self.exponent)

    def rows(self, features: Array, part: slice) -> Array:
        """Some rows, centred and scaled: a new array."""
        x = features[part] - self.centre
        x *= self.scale
        return np.asarray(x)

    def along(self, features: Array) -> NDArray[np.float64]:
        """Products of all features with the centre, of shape (N,)."""
        centre = self.centre.astype(np.float64)
        return np.concatenate([block @ centre for block in blocks(features, 512)])

    def products(
        self, gram: Array, rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Products of the features themselves.

        In float64, since a sum is more than its parts here: rounding what many pairs have in
        common would not average out.

        Args:
            gram: Products of centred and scaled rows, of shape (B, C).
            rows: What `along` says of the rows, of shape (B,).
            columns: And of the columns, of shape (C,).
        """
        plain = gram.astype(np.float64)
        if self.exponent:
            np.ldexp(plain, -2 * self.exponent, out=plain)
        centre = self.centre.astype(np.float64)
        plain += (rows - centre @ centre)[:, None]
        plain += columns
        return plain


def as_rows(features: Any) -> Array:
    """Features of shape (N, D) in float32 or float64: a view where they are that already."""
    array = np.asarray(features)
    return array if array.dtype in _CANCELLED else array.astype(np.float32)


def frame(features: Array, others: Array | None = None) -> Frame:
    """Centred on `features`; scaled so that these and `others` lie within 1 of the centre.

    Raises:
        ValueError: For features that are not finite, or above `LARGEST`.
    """
    total, n, lowest, highest = np.zeros(features.shape[1]), len(features), [], []
    for which in (features,) if others is None else (features, others):
        for block in blocks(which, 512):
            if which is features:
                total += block.sum(0) / n
            lowest.append(block.min(0))
            highest.append(block.max(0))
    centre = total.astype(features.dtype)
    low, high = np.min(lowest, 0), np.max(highest, 0)
    if max(-low.min(), high.max()) > LARGEST:
        raise ValueError(f"features beyond {LARGEST:.0e}, the largest whose square is a number")
    widest = float(np.maximum(high - centre, centre - low).max())
    exponent = -int(np.ceil(np.log2(widest))) if widest > 0 else 0
    largest = np.finfo(centre.dtype).maxexp - 2  # of a scale and of its inverse
    return Frame(centre, max(-largest, min(exponent, largest)))


def slices(n: int, size: int = BLOCK) -> list[slice]:
    """Parts of equal size (up to one), none above `size`."""
    bounds = np.linspace(0, n, -(-n // size) + 1).astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(bounds)]


def distances(gram: Array, left: Array, right: Array, same: bool = False) -> Array:
    """Squared distances between rows of shapes (B, D) and (C, D), whose products are known.

    Args:
        gram: left @ right.T
        left: Rows.
        right: Rows.
        same: Whether both are the same rows; a row's distance to itself is then infinite, so
            that it is nobody's neighbour.
    """
    a, b = (np.einsum("ij,ij->i", x, x) for x in (left, right))
    squared = gram * gram.dtype.type(-2)
    squared += a[:, None]
    squared += b
    if same:
        np.fill_diagonal(squared, np.inf)
    share = _CANCELLED[gram.dtype]
    rows = np.flatnonzero(squared.min(1) <= share * (a + b.max()))
    if len(rows):
        _again(squared, left, right, rows, share)
        if same:
            np.fill_diagonal(squared, np.inf)
    return np.asarray(squared)


def _again(squared: Array, left: Array, right: Array, rows: Array, share: float) -> None:
    """Compute what cancelled in these rows again, in place."""
    x, y = left[rows].astype(np.float64), right.astype(np.float64)
    lengths = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)
    i, j = np.nonzero(squared[rows] <= share * lengths)
    if len(i) > max(lengths.size // 100, 2 * len(rows)):  # much of a block: clumps of samples
        exact = lengths - 2 * (x @ y.T)
        exact[exact <= _ZERO * lengths] = 0
        squared[rows] = exact
        return
    for part in slices(len(i), 512):
        apart = x[i[part]] - y[j[part]]
        squared[rows[i[part]], j[part]] = np.einsum("ij,ij->i", apart, apart)


def k_smallest(values: Array, k: int) -> Array:
    """The k smallest values of each row, in no order, of shape (B, min(k, C)).

    They lie within the k groups of columns that have the smallest minima: partitioning those
    minima instead of all values takes a fraction of the time.
    """
    width = values.shape[1] // _GROUP
    if width <= k:
        return np.partition(values, min(k, values.shape[1]) - 1, axis=1)[:, :k]
    grouped = values[:, : width * _GROUP].reshape(len(values), _GROUP, width)
    chosen = np.argpartition(grouped.min(1), k - 1, axis=1)[:, :k]
    candidates = np.take_along_axis(grouped, chosen[:, None, :], axis=2).reshape(len(values), -1)
    candidates = np.concatenate((candidates, values[:, width * _GROUP :]), axis=1)
    return np.partition(candidates, k - 1, axis=1)[:, :k]


def pairs_of(parts: list[slice]) -> Iterator[tuple[slice, slice]]:
    """Each pair of parts of one set once."""
    for i, first in enumerate(parts):
        for second in parts[i:]:
            yield first, second
