"""Nearest neighbours within and between two sets of features, in one pass over blocks.

Precision, recall, density, coverage and AuthPct all read the same distances: within the real set,
within the generated one, and between the two. Blocks of them are made once, and whoever wants the
products of the features too, as KID does, sees the same blocks.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.gram import (
    Array,
    as_rows,
    distances,
    frame,
    k_smallest,
    pairs_of,
    slices,
)
from genbench.metrics.metric import FeatureSet
from genbench.spec import ConfigError

__all__ = [
    "COVERAGE_K",
    "PRECISION_K",
    "Comparison",
    "Visitor",
    "Within",
    "authentic",
    "compare",
    "within",
]

PRECISION_K = 3  # neighbours whose distance is a radius, by the papers that define the metrics
COVERAGE_K = 5


class Visitor(Protocol):
    """Sees the products of features that a pass makes anyway."""

    def __call__(
        self, kind: str, left: slice, right: slice, products: NDArray[np.float64]
    ) -> None:
        """A block, its products x.y of shape (B, C), which are the visitor's to change.

        Args:
            kind: "real" or "made" for products within a set, of which the visitor sees those with
                left <= right only; "both" for generated rows against real columns.
            left: Which samples the rows are.
            right: Which the columns.
            products: Of the features themselves, not of centred ones.
        """
        ...


@dataclass(frozen=True)
class Within:
    """Squared distances of each sample to its nearest others, ascending, of shape (N, K).

    Attributes:
        squared: Of features multiplied by two to the power of `exponent`.
        exponent: See `Frame`.
    """

    squared: Array
    exponent: int

    def radii(self, k: int, exponent: int) -> Array:
        """Squared distances to the k-th neighbour, of features in the unit of that exponent."""
        with np.errstate(over="ignore", under="ignore"):  # next to sets 1e19 times as wide
            return np.asarray(np.ldexp(self.squared[:, k - 1], 2 * (exponent - self.exponent)))


@dataclass(frozen=True)
class Comparison:
    """What the metrics read of the distances between N generated and M real samples.

    Attributes:
        precise: Whether a generated sample lies within the ball of a real one, bool (N,); a ball
            reaches to the k-th neighbour, the sphere included, k = 3 unless it is set.
        recalled: Whether a real sample lies within such a ball of a generated one, bool (M,);
            empty where the pass left it out.
        balls: In how many real samples' balls each generated sample lies, int64 (N,); without the
            sphere, k = 5 unless it is set.
        covered: Whether any generated sample lies in the ball of a real one, the same balls (M,).
        authentic: Whether a generated sample is farther from its nearest real one than that is
            from its nearest real neighbour, bool (N,).
    """

    precise: NDArray[np.bool_]
    recalled: NDArray[np.bool_]
    balls: NDArray[np.int64]
    covered: NDArray[np.bool_]
    authentic: NDArray[np.bool_]


def within(features: FeatureSet, k: int, kind: str, visitor: Visitor | None = None) -> Within:
    """The k nearest others of each sample; kept in the set's cache.

    Raises:
        ValueError: For features that are not finite.
    """
    found: Within | None = features.cache.get("within")
    if found is not None and found.squared.shape[1] >= k and visitor is None:
        return found
    rows = as_rows(features.features)
    space = frame(rows)
    along = None if visitor is None else space.along(rows)
    nearest = np.full((len(rows), k), np.inf, rows.dtype)
    for left, right in pairs_of(slices(len(rows))):
        x = space.rows(rows, left)
        y = x if left == right else space.rows(rows, right)
        gram = x @ y.T
        if visitor is not None and along is not None:
            visitor(kind, left, right, space.products(gram, along[left], along[right]))
        squared = distances(gram, x, y, same=left == right)
        _nearer(nearest[left], squared)
        if left != right:
            _nearer(nearest[right], np.ascontiguousarray(squared.T))
    nearest.sort(axis=1)
    features.cache["within"] = Within(nearest, space.exponent)
    return Within(nearest, space.exponent)


def _nearer(nearest: Array, squared: Array) -> None:
    """Let new distances into the k smallest of each row, in place."""
    k = nearest.shape[1]
    both = np.concatenate((nearest, k_smallest(squared, k)), axis=1)
    nearest[:] = np.partition(both, k - 1, axis=1)[:, :k]


def compare(
    made: FeatureSet,
    real: FeatureSet,
    k: int | None = None,
    recall: bool = True,
    visitor: Visitor | None = None,
) -> Comparison:
    """Both sets' neighbours; kept in the cache of `made`.

    Args:
        made: Generated samples.
        real: Real ones.
        k: Neighbours whose distance is a radius, None for what each metric's paper has.
        recall: Whether to look at distances within `made`, which only recall needs.
        visitor: Sees the products of all three passes.

    Raises:
        ConfigError: For k that is not smaller than either set.
        ValueError: For sets of another width, or features that are not finite.
    """
    key = ("neighbours", real, k)
    found: Comparison | None = made.cache.get(key)
    if found is not None and visitor is None and (len(found.recalled) or not recall):
        return found
    ks = (k or PRECISION_K, k or COVERAGE_K)
    for side, n, needed in (("the reference", real.n, max(ks)), ("the samples", made.n, ks[0])):
        if needed >= n and (recall or side == "the reference"):
            raise ConfigError(
                f"prdc.k={needed} needs at least {needed + 1} images, and {side} are {n}; "
                f"the largest valid value is {min(made.n, real.n) - 1}"
            )
    if made.features.shape[1] != real.features.shape[1]:
        raise ValueError(f"{made.features.shape[1]} features against {real.features.shape[1]}")
    inner = within(real, max(*ks, min(COVERAGE_K, real.n - 1)), "real", visitor)
    outer = within(made, ks[0], "made", visitor) if recall else None
    made.cache[key] = _between(made, real, inner, outer, ks, visitor)
    result: Comparison = made.cache[key]
    return result


def authentic(made: FeatureSet, real: FeatureSet) -> NDArray[np.bool_]:
    """`Comparison.authentic`, which no k changes: of any comparison that there is."""
    for key, found in made.cache.items():
        if isinstance(found, Comparison) and key[1] is real:
            return found.authentic
    return compare(made, real, 1, recall=False).authentic


def _between(
    made: FeatureSet,
    real: FeatureSet,
    inner: Within,
    outer: Within | None,
    ks: tuple[int, int],
    visitor: Visitor | None,
) -> Comparison:
    x, y = as_rows(made.features), as_rows(real.features)
    space = frame(y, x)
    balls, narrow = (inner.radii(k, space.exponent) for k in (ks[0], ks[1]))
    around = None if outer is None else outer.radii(ks[0], space.exponent)
    precise, count = np.zeros(len(x), np.bool_), np.zeros(len(x), np.int64)
    recalled = np.zeros(0 if around is None else len(y), np.bool_)
    least, nearest = np.full(len(x), np.inf, x.dtype), np.zeros(len(x), np.int64)
    covering = np.full(len(y), np.inf, x.dtype)
    along = None if visitor is None else (space.along(x), space.along(y))
    for left in slices(len(x)):
        a = space.rows(x, left)
        for right in slices(len(y)):
            b = space.rows(y, right)
            gram = a @ b.T
            if visitor is not None and along is not None:
                seen = space.products(gram, along[0][left], along[1][right])
                visitor("both", left, right, seen)
            squared = distances(gram, a, b)
            precise[left] |= (squared <= balls[right]).any(1)
            count[left] += np.count_nonzero(squared < narrow[right], axis=1)
            covering[right] = np.minimum(covering[right], squared.min(0))
            column = squared.argmin(1)
            value = squared[np.arange(len(column)), column]
            closer = value < least[left]
            least[left] = np.where(closer, value, least[left])
            nearest[left] = np.where(closer, column + right.start, nearest[left])
            if around is not None:
                recalled[right] |= (squared <= around[left, None]).any(0)
    far = inner.radii(1, space.exponent)[nearest] < least
    return Comparison(precise, recalled, count, covering < narrow, far)
