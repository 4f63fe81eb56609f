"""Shares of samples, with their intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.stats import Score

__all__ = ["share_score"]

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
