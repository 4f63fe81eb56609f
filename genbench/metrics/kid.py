"""Kernel Inception distance: the squared maximum mean discrepancy with a cubic kernel.

    k(x, y) = (gamma x.y + coef0)^degree,   gamma = 1/D, coef0 = 1, degree = 3
    KID = mean over subsets of  sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] / (m (m - 1))
                                - 2 sum_{i, j} k(x_i, y_j) / m^2

Binkowski, Sutherland, Arbel and Gretton, *Demystifying MMD GANs*, arXiv 1801.01401. Subsets as in
torch-fidelity: without replacement, from its generator with seed 2020, generated before real.
Unbiased, so that it may be negative; printed as it is, where papers often print 1,000 times that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genbench.metrics.gram import Array, as_rows
from genbench.metrics.metric import FeatureSet, Metric
from genbench.metrics.moments import check
from genbench.spec import Spec
from genbench.stats import Score, student_score

__all__ = ["METRIC", "KidOptions", "SharedSubsets", "draw", "subset_distances"]


class KidOptions(Spec):
    """Options of KID.

    Attributes:
        subset_size: Samples m of each side in a subset.
        subsets: Number of subsets.
        degree: Of the kernel.
        gamma: Of the kernel, None for 1/D.
        coef0: Of the kernel.
    """

    subset_size: int = Field(1000, ge=2, le=10**8)
    subsets: int = Field(100, ge=1, le=10**5)
    degree: int = Field(3, ge=1, le=16)
    gamma: float | None = Field(None, gt=0, allow_inf_nan=False)
    coef0: float = 1.0

    def kernel(self, products: Array, dim: int) -> Array:
        """k of products x.y, in their precision and in place."""
        products *= products.dtype.type(1 / dim if self.gamma is None else self.gamma)
        products += products.dtype.type(self.coef0)
        power = products.copy() if self.degree > 1 else products
        for _ in range(self.degree - 1):  # ten times as fast as a power
            power *= products
        return power


def draw(made: int, real: int, options: KidOptions) -> tuple[NDArray[np.int64], ...]:
    """Which samples each subset holds, of either side: two arrays of shape (subsets, m)."""
    # RandomState, since its stream is frozen and torch-fidelity draws from it, in this order
    rng, m = np.random.RandomState(2020), options.subset_size
    pairs = [
        [rng.choice(n, m, replace=False) for n in (made, real)] for _ in range(options.subsets)
    ]
    chosen = np.asarray(pairs, np.int64)
    return chosen[:, 0], chosen[:, 1]


def subset_distances(made: Array, real: Array, options: KidOptions) -> NDArray[np.float64]:
    """The squared discrepancy of each subset, from products of the subset's own samples."""
    values = []
    for x, y in zip(*draw(len(made), len(real), options), strict=True):
        a, b = made[x], real[y]
        sums = []
        for left, right in ((a, a), (b, b), (a, b)):
            k = options.kernel(left @ right.T, made.shape[1])
            own = np.trace(k, dtype=np.float64) if left is right else 0.0
            sums.append(float(k.sum(dtype=np.float64) - own))
        values.append(sums)
    return _discrepancy(np.asarray(values).T, options.subset_size)


def _discrepancy(sums: NDArray[np.float64], m: int) -> NDArray[np.float64]:
    """From sums of the kernel within, within and between the two sides, of shape (3, S)."""
    return np.asarray((sums[0] + sums[1]) / (m * (m - 1)) - 2 * sums[2] / (m * m))


class SharedSubsets:
    """All subsets' sums, read off blocks of products that somebody else makes: a `Visitor`.

    With W_is = 1 where sample i belongs to subset s, the sum of the kernel over a subset is that
    of W * (K W): one thin matrix product for all subsets.
    """

    def __init__(self, made: int, real: int, dim: int, options: KidOptions) -> None:
        self._options, self._dim = options, dim
        self._member = {}
        for side, n, chosen in zip(
            ("made", "real"), (made, real), draw(made, real, options), strict=True
        ):
            member = np.zeros((n, options.subsets))
            member[chosen, np.arange(options.subsets)[:, None]] = 1
            self._member[side] = member
        self._sums = {kind: np.zeros(options.subsets) for kind in ("made", "real", "both")}

    def __call__(self, kind: str, left: slice, right: slice, products: Array) -> None:
        """Add a block; see `Visitor`."""
        k = self._options.kernel(products, self._dim)
        rows = self._member["made" if kind == "both" else kind][left]
        columns = self._member["real" if kind == "both" else kind][right]
        if kind != "both" and left == right:
            np.fill_diagonal(k, 0)
        sums = np.einsum("is,is->s", rows, k @ columns)
        self._sums[kind] += sums if kind == "both" or left == right else 2 * sums

    @property
    def distances(self) -> NDArray[np.float64]:
        """The squared discrepancy of each subset, once all blocks were seen."""
        sums = np.stack([self._sums[kind] for kind in ("made", "real", "both")])
        return _discrepancy(sums, self._options.subset_size)

    @staticmethod
    def is_cheaper(made: int, real: int, dim: int, options: KidOptions) -> bool:
        """Whether this takes less time than products of every subset; nanoseconds, measured."""
        elements = (made**2 + real**2) / 2 + made * real
        shared = elements * (6 + 0.03 * options.subsets)
        direct = options.subsets * options.subset_size**2 * (0.015 * dim + 9)
        return shared < direct


@dataclass(frozen=True)
class _Key:
    real: Any
    options: KidOptions


def keep(made: FeatureSet, real: FeatureSet, options: KidOptions, values: Any) -> None:
    """Let the metric find subsets that were computed with something else."""
    made.cache[_Key(real, options)] = values


def score(made: FeatureSet, real: FeatureSet | None, options: KidOptions) -> Score:
    """The mean over subsets; their standard deviation (ddof = 0) is the `spread`.

    Subsets of m among N samples overlap, and their spread s is that of a set of m samples without
    what all have in common: Var(m of N) = Var(m) (1 - m/N). A statistic of N samples varies by
    m/N of that, so that stderr = s sqrt(m/N) / sqrt(1 - m/N) (Politis, Romano and Wolf,
    *Subsampling*, 1999), to which the s^2/S of having only S subsets is added. None for m = N,
    where all subsets are the same. With sides of two sizes, N is the smaller. Between sets that do
    not differ the spread falls faster than sqrt(m/N), and stderr is up to twice what it should be.
    """
    assert real is not None
    x, y = as_rows(made.features), as_rows(real.features)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} features against {y.shape[1]}")
    values = made.cache.get(_Key(real, options))
    if values is None:
        check(x)
        check(y)
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            values = subset_distances(x, y, options)
    if not np.isfinite(values).all():
        raise ValueError(f"features are too large for KID's kernel in {x.dtype}; scale them down")
    value, spread = float(np.mean(values)), float(np.std(values))
    share = options.subset_size / min(made.n, real.n)
    if share == 1 or options.subsets < 2:
        return Score(value=value, n=made.n, spread=spread)
    stderr = spread * float(np.sqrt(share / (1 - share) + 1 / options.subsets))
    method = f"subsampling, {options.subsets} subsets of {options.subset_size}"
    return student_score(value, stderr, options.subsets - 1, made.n, method, spread)


METRIC = Metric(
    "kid",
    "KID",
    "lower",
    needs=("features",),
    reference=("features",),
    score=score,
    options=KidOptions,
    sized_by="subset_size",
)
