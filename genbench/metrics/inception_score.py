"""Inception Score: how sure a classifier is of each sample, and how varied its answers are.

    IS = mean over splits of exp( mean_i sum_c p_ic (log p_ic - log q_c) ),  q = split mean of p

Salimans et al., *Improved Techniques for Training GANs*, arXiv 1606.03498. Samples, splits and
precision as in torch-fidelity: a fixed permutation, 10 splits, float64. Between 1 and the number
of classes.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from genbench.metrics.metric import FeatureSet, Metric, NoOptions, as_float64, fixed_order
from genbench.spec import ConfigError
from genbench.stats import Score, mean_interval

__all__ = ["METRIC", "SPLITS", "SplitSums", "inception_score"]

SPLITS = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SplitSums:
    """Sums over the samples of each split: all that the score needs, and mergeable by `+`.

    Attributes:
        total: Number of samples in the whole set, which fixes the split of each.
        count: Samples seen, int64 of shape (S,).
        probs: Sum of p, float64 of shape (S, K).
        entropy: Sum of p log p, float64 of shape (S,).
    """

    total: int
    count: NDArray[np.int64]
    probs: Array
    entropy: Array

    @classmethod
    def empty(cls, total: int, classes: int, splits: int = SPLITS) -> Self:
        """No samples yet, of `total` that will come.

        Raises:
            ConfigError: For fewer samples than splits.
        """
        if total < splits:
            raise ConfigError(
                f"the Inception Score needs at least {splits} samples, one for each split, "
                f"got {total}; draw more"
            )
        return cls(
            total, np.zeros(splits, np.int64), np.zeros((splits, classes)), np.zeros(splits)
        )

    def update(self, probs: Any, index: Any) -> "SplitSums":
        """These samples and more.

        Args:
            probs: Class probabilities of shape (B, K); rows are made to add up to 1 in float64.
            index: Which sample of the whole set each row is, int of shape (B,).

        Raises:
            ValueError: For rows that are no probabilities.
        """
        p = as_float64(probs, "class probabilities")
        sums = p.sum(1, keepdims=True)
        if (p < 0).any() or (np.abs(sums - 1) > 1e-3).any():
            raise ValueError("class probabilities must be >= 0 and add up to 1; these do not")
        p = p / sums
        split = self._split_of()[np.asarray(index)]
        count, total, entropy = self.count.copy(), self.probs.copy(), self.entropy.copy()
        np.add.at(count, split, 1)
        np.add.at(total, split, p)
        np.add.at(entropy, split, xlogy(p, p).sum(1))
        return SplitSums(self.total, count, total, entropy)

    def __add__(self, other: "SplitSums") -> "SplitSums":
        if (self.total, self.probs.shape) != (other.total, other.probs.shape):
            raise ValueError("only sums over parts of the same set of samples merge")
        return SplitSums(
            self.total,
            self.count + other.count,
            self.probs + other.probs,
            self.entropy + other.entropy,
        )

    @property
    def scores(self) -> list[float]:
        """exp of the mean divergence of each split.

        Raises:
            ValueError: While samples are missing.
        """
        if self.count.sum() != self.total:
            raise ValueError(f"saw {self.count.sum()} of {self.total} samples")
        q = self.probs / self.count[:, None]
        # mean_i sum_c p_ic log q_c = sum_c q_c log q_c, so no second look at the samples
        divergence = self.entropy / self.count - xlogy(q, q).sum(1)
        return [float(value) for value in np.exp(divergence)]

    def _split_of(self) -> NDArray[np.int64]:
        """The split of each sample, int64 of shape (total,): chunks of a fixed permutation."""
        splits = len(self.count)
        bounds = [i * self.total // splits for i in range(splits + 1)]
        split = np.empty(self.total, np.int64)
        split[fixed_order(self.total)] = np.repeat(np.arange(splits), np.diff(bounds))
        return split


def inception_score(sums: SplitSums) -> tuple[float, float]:
    """Mean and standard deviation (ddof = 0) over the splits, as papers print them."""
    return float(np.mean(sums.scores)), float(np.std(sums.scores))


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The score, with a Student interval over the splits."""
    n, classes = made.probs.shape
    sums = SplitSums.empty(n, classes).update(made.probs, np.arange(n))
    value, stderr, ci95 = mean_interval(sums.scores)
    return Score(value=value, stderr=stderr, ci95=ci95, n=n, method=f"Student, {SPLITS} splits")


METRIC = Metric("is", "IS", "higher", needs=("probs",), score=score, least=SPLITS)
