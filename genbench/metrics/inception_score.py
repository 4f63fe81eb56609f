"""Inception Score: how sure a classifier is of each sample, and how varied its answers are.

    IS = mean over splits of exp( mean_i sum_c p_ic (log p_ic - log q_c) ),  q = split mean of p

Salimans et al., *Improved Techniques for Training GANs*, arXiv 1606.03498. Samples, splits and
precision as in torch-fidelity: a fixed permutation, 10 splits, float64. Between 1 and the number
of classes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import FeatureSet, Metric, NoOptions, checked, fixed_order
from genbench.metrics.moments import blocks
from genbench.spec import ConfigError
from genbench.stats import Score, mean_interval

__all__ = ["METRIC", "SPLITS", "SplitSums", "inception_score"]

SPLITS = 10
_BLOCK = 1024  # rows that are float64 at a time

Array = NDArray[np.float64]


class SplitSums:
    """Sums over the samples of each split: all that the score needs; a `Sums`.

    Attributes:
        total: Number of samples in the whole set, which fixes the split of each.
        count: Samples seen, int64 of shape (S,).
        probs: Sum of p, float64 of shape (S, K).
        entropy: Sum of p log p, float64 of shape (S,).
    """

    reads: ClassVar[str] = "probs"

    def __init__(self, total: int, count: NDArray[np.int64], probs: Array, entropy: Array) -> None:
        self.total, self.count, self.probs, self.entropy = total, count, probs, entropy
        bounds = [i * total // len(count) for i in range(len(count) + 1)]
        # the split of each sample: chunks of a fixed permutation
        self._split = np.empty(total, np.int64)
        self._split[fixed_order(total)] = np.repeat(np.arange(len(count)), np.diff(bounds))

    @classmethod
    def start(cls, total: int, width: int, splits: int = SPLITS) -> Self:
        """No samples yet, of `total` that will come, each with `width` probabilities.

        Raises:
            ConfigError: For fewer samples than splits.
        """
        if total < splits:
            raise ConfigError(
                f"the Inception Score needs at least {splits} samples, one for each split, "
                f"got {total}; draw more"
            )
        counts, entropy = np.zeros(splits, np.int64), np.zeros(splits)
        return cls(total, counts, np.zeros((splits, width)), entropy)

    def update(self, rows: Any, index: NDArray[np.int64]) -> Self:
        """These samples too; changes and returns itself.

        Args:
            rows: Class probabilities of shape (B, K); made to add up to 1 in float64.
            index: Which sample of the whole set each row is, int of shape (B,).

        Raises:
            ValueError: For rows that are no probabilities.
        """
        from scipy.special import xlogy  # slow to import: listing metrics must not wait for it

        done = 0
        for p in blocks(rows, _BLOCK, "class probabilities"):
            sums = p.sum(1, keepdims=True)
            if (p < 0).any() or (np.abs(sums - 1) > 1e-3).any():
                raise ValueError("class probabilities must be >= 0 and add up to 1; these do not")
            p = p / sums
            split = self._split[np.asarray(index)[done : done + len(p)]]
            belongs = (split == np.arange(len(self.count))[:, None]).astype(np.float64)
            self.count += belongs.sum(1).astype(np.int64)
            self.probs += belongs @ p  # by BLAS, ten times as fast as numpy's add.at
            self.entropy += belongs @ xlogy(p, p).sum(1)
            done += len(p)
        return self

    def __add__(self, other: Self) -> Self:
        if (self.total, self.probs.shape) != (other.total, other.probs.shape):
            raise ValueError("only sums over parts of the same set of samples merge")
        return type(self)(
            self.total,
            self.count + other.count,
            self.probs + other.probs,
            self.entropy + other.entropy,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays, for files."""
        total = np.asarray(self.total)
        return {"total": total, "count": self.count, "probs": self.probs, "entropy": self.entropy}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The sums that `arrays` gave these; for errors see `Sums.restore`."""
        count = np.array(checked(arrays, "count", (None,)), np.int64)
        probs = np.array(checked(arrays, "probs", (len(count), None)), np.float64)
        entropy = np.array(checked(arrays, "entropy", (len(count),)), np.float64)
        return cls(int(checked(arrays, "total", ())), count, probs, entropy)

    @property
    def n(self) -> int:
        """Samples seen so far."""
        return int(self.count.sum())

    @property
    def scores(self) -> list[float]:
        """exp of the mean divergence of each split.

        Raises:
            ValueError: While samples are missing.
        """
        from scipy.special import xlogy

        if self.n != self.total:
            raise ValueError(f"saw {self.n} of {self.total} samples")
        q = self.probs / self.count[:, None]
        # mean_i sum_c p_ic log q_c = sum_c q_c log q_c, so no second look at the samples
        divergence = self.entropy / self.count - xlogy(q, q).sum(1)
        return [float(value) for value in np.exp(divergence)]


def inception_score(sums: SplitSums) -> tuple[float, float]:
    """Mean and standard deviation (ddof = 0) over the splits, as papers print them."""
    return float(np.mean(sums.scores)), float(np.std(sums.scores))


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The score, with a Student interval over the splits and their spread."""
    sums = made.sums(SplitSums)
    value, stderr, ci95 = mean_interval(sums.scores)
    return Score(
        value=value,
        stderr=stderr,
        ci95=ci95,
        n=made.n,
        method=f"Student, {SPLITS} splits",
        spread=inception_score(sums)[1],
    )


METRIC = Metric("is", "IS", "higher", needs=(SplitSums,), score=score, least=SPLITS)
