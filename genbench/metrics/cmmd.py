"""CMMD: maximum mean discrepancy of CLIP's embeddings of two sets of images.

    CMMD = 1000 * MMD^2,  MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),
    k(a, b) = exp(-|a - b|^2 / 2 sigma^2),  sigma = 10,

over all pairs of embeddings of length 1, each with itself too: the biased estimate, never below 0
(Jayasumana et al., *Rethinking FID: Towards a Better Evaluation Metric for Image Generation*,
arXiv 2401.09603). Theirs are the embeddings of ViT-L/14 at 336 pixels with OpenAI's weights,
`open_clip:ViT-L-14-336:openai`; any other network gives another number.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genbench.metrics.clip_score import unit_rows
from genbench.metrics.metric import FeatureSet, Metric
from genbench.spec import Spec
from genbench.stats import Score, student_score

__all__ = ["METRIC", "CmmdOptions"]

BLOCK = 1024  # rows and columns of the kernel at a time: 8 MB of float64
_ROUNDING = 1e-7  # of what the kernel adds to its linear part, below which MMD^2 is rounding

Array = NDArray[np.float64]


class CmmdOptions(Spec):
    """Settings of CMMD.

    Attributes:
        sigma: Width of the kernel, for embeddings of length 1; below 0.5 products in float32 would
            be too coarse.
        scale: What MMD^2 is multiplied by.
    """

    sigma: float = Field(10.0, ge=0.5, allow_inf_nan=False)
    scale: float = Field(1000.0, gt=0, allow_inf_nan=False)


@dataclass(frozen=True)
class _Side:
    """Unit embeddings, float32 of shape (N, D), and the mean of them in float64."""

    rows: NDArray[np.float32]
    mean: Array

    @classmethod
    def of(cls, features: object) -> "_Side":
        rows = unit_rows(features, "features")
        return cls(rows, rows.mean(0, dtype=np.float64))


def cmmd(made: FeatureSet, real: FeatureSet | None, options: CmmdOptions) -> Score:
    """CMMD, with a jackknife over the generated samples; the reference counts as exact.

    Between vectors of length 1, |a - b|^2 / 2 sigma^2 = u = (1 - a.b) / sigma^2, and with
    sigma = 10 every k lies between 0.98 and 1: sums of k itself would keep few digits of MMD^2.
    k = 1 - u + r(u) is summed in parts instead. The ones cancel; the linear parts add up to
    |mean x - mean y|^2 / sigma^2, which means give in float64; only r(u) = exp(-u) - 1 + u, about
    u^2 / 2, needs all pairs. So products in float32 give MMD^2 to about 1e-9, and memory is the
    embeddings and one block of pairs. Identical sets give exactly 0: what is below 1e-7 of the
    means of r is rounding, and reported as 0.

    Leaving out sample i takes its row from the sum over (x, x') and its row from that over (x, y);
    both rows are at hand, so all N estimates without one sample cost nothing more:
    stderr^2 = (N - 1) / N * sum_i (theta_i - mean theta)^2, and the interval is
    value +- t(N - 1) stderr, neither corrected for the bias nor cut off at 0.

    Raises:
        ValueError: For embeddings that are not finite, are all zero, or have another length than
            those of the reference.
    """
    assert real is not None
    x, y = _Side.of(made.features), _Side.of(real.features)
    if x.rows.shape[1] != y.rows.shape[1]:
        raise ValueError(f"{x.rows.shape[1]} features against {y.rows.shape[1]}")
    inside, across = _row_sums(x.rows, x.rows, options), _row_sums(x.rows, y.rows, options)
    other = _row_sums(y.rows, y.rows, options)
    n, m = len(x.rows), len(y.rows)
    terms = (inside.sum() / n**2, other.sum() / m**2, across.sum() / (n * m))
    linear = float(((x.mean - y.mean) ** 2).sum()) / options.sigma**2
    value = linear + float(terms[0] + terms[1] - 2 * terms[2])
    value = options.scale * value if value > _ROUNDING * float(terms[0] + terms[1]) else 0.0
    stderr = options.scale * _jackknife(x, y, inside, across, options.sigma)
    return student_score(value, stderr, n - 1, n, f"jackknife, {n} samples")


def _row_sums(a: NDArray[np.float32], b: NDArray[np.float32], options: CmmdOptions) -> Array:
    """Sum over the rows of b of r(u), for each row of a; by symmetry where a is b."""
    sums, same = np.zeros(len(a)), a is b
    for i in range(0, len(a), BLOCK):
        for j in range(i if same else 0, len(b), BLOCK):
            r = _beyond_linear(a[i : i + BLOCK], b[j : j + BLOCK], options.sigma)
            if same and i == j:
                np.fill_diagonal(r, 0)  # of a vector with itself, but for rounding
            sums[i : i + BLOCK] += r.sum(1)
            if same and i != j:
                sums[j : j + BLOCK] += r.sum(0)
    return sums


def _beyond_linear(a: NDArray[np.float32], b: NDArray[np.float32], sigma: float) -> Array:
    """exp(-u) - 1 + u with u = (1 - a.b) / sigma^2, float64 of shape (A, B)."""
    minus_u: Array = np.subtract(a @ b.T, 1, dtype=np.float64)
    minus_u /= sigma**2
    r: Array = np.expm1(minus_u)
    r -= minus_u
    return r


def _jackknife(x: _Side, y: _Side, inside: Array, across: Array, sigma: float) -> float:
    """Standard error of MMD^2 over the samples x; rows are sums of r, as `_row_sums` gives."""
    n, m = len(x.rows), len(y.rows)
    # sums of k - 1 = -u + r over each row
    k_inside = inside - n * (1 - x.rows @ x.mean) / sigma**2
    k_across = across - m * (1 - x.rows @ y.mean) / sigma**2
    without = (k_inside.sum() - 2 * k_inside) / (n - 1) ** 2
    without -= 2 * (k_across.sum() - k_across) / ((n - 1) * m)
    return float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))


METRIC = Metric(
    "cmmd",
    "CMMD",
    "lower",
    needs=("features",),
    reference=("features",),
    score=cmmd,
    options=CmmdOptions,
)
