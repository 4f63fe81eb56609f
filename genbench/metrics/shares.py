"""Shares of samples and means over them, with their intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.stats import Score, mean_interval

__all__ = ["mean_score", "share_score"]

_Z = 1.959963984540054  # the two-sided 95 % quantile of a normal distribution


def share_score(of: NDArray[np.bool_] | Any, n: int, over: str, unit: float = 1.0) -> Score:
    """The share of true values, with Wilson's 95 % interval.

    The interval stays within 0 and 1, and is not empty where the share is 0 or 1 (Wilson,
    *Probable Inference, the Law of Succession, and Statistical Inference*, 1927). stderr is
    sqrt(p (1 - p) / M).

    Args:
        of: M values.
        n: Number of generated samples, for the score.
        over: What the values belong to, e.g. "generated samples".
        unit: What a share of 1 is called: 100 for per cent.
    """
    m, share = len(of), float(np.mean(of))
    middle = (share + _Z**2 / (2 * m)) / (1 + _Z**2 / m)
    half = _Z / (1 + _Z**2 / m) * math.sqrt(share * (1 - share) / m + _Z**2 / (4 * m * m))
    # at shares of 0 and 1 an end is the share itself, but for rounding
    low, high = min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
    return Score(
        value=unit * share,
        stderr=unit * math.sqrt(share * (1 - share) / m),
        ci95=(unit * low, unit * high),
        n=n,
        method=f"Wilson, {over}",
    )


def mean_score(values: NDArray[np.float64] | Any, n: int, over: str) -> Score:
    """The mean of M independent values, with its standard error and 95 % Student interval.

    Args:
        values: Of shape (M,); a single one has no interval.
        n: Number of generated samples, for the score.
        over: What the values belong to, e.g. "samples".

    Raises:
        ValueError: For no values, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = len(array) - int(np.isfinite(array).sum())
    if not len(array) or bad:
        raise ValueError(f"values of {bad} of {len(array)} {over} are not finite")
    if len(array) == 1:
        return Score(value=float(array[0]), n=n, method=f"one of {over}, no interval")
    mean, stderr, ci95 = mean_interval(array.tolist())
    method = f"Student, {len(array)} {over}"
    return Score(value=mean, stderr=stderr, ci95=ci95, n=n, method=method)
