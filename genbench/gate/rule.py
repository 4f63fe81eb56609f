"""The decision rule: numbers in, a decision out.

Replicates are training seeds. With y = log value where lower is better and y = -log value where
higher is, B seeds in the bank and n of the candidate,

    D = mean y_new - mean y_bank,  s^2 = pooled variance,  df = B + n - 2,
    se = s sqrt(1/B + 1/n),        delta = log(1 + margin),  t = t(1 - alpha, df):

    REGRESSED     iff  D - t se > delta     (one-sided test of H0: D <= delta, at alpha)
    PASS          iff  D + t se < delta     (non-inferior)
    INCONCLUSIVE  else.

Several cells that are gated together share alpha by Holm's method.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genbench.stats import student_t

__all__ = [
    "LEAST_MARGIN",
    "Decision",
    "Direction",
    "cov",
    "decide",
    "decide_paired",
    "default_margin",
    "detectable",
    "holm",
    "interval",
    "logs",
]

Direction = Literal["lower", "higher"]
Outcome = Literal["PASS", "REGRESSED", "INCONCLUSIVE"]
Array = NDArray[np.float64]

LEAST_MARGIN = 0.05
_SPREADS = 3  # times the bank's spread: a margin below would be lost in the noise
_POWER = 0.8


@dataclass(frozen=True)
class Decision:
    """What the numbers of one cell say on their own.

    Attributes:
        outcome: By the rule above.
        change: exp(D) - 1: relative change of the geometric mean, positive is worse.
        lower: One-sided lower confidence bound of it, at 1 - alpha.
        bound: One-sided upper confidence bound of it.
        p: Of H0: D <= delta.
        detectable: See `detectable`; inf where no regression would be seen.
    """

    outcome: Outcome
    change: float
    lower: float
    bound: float
    p: float
    detectable: float


def logs(values: Sequence[float] | Array, direction: Direction) -> Array:
    """y: logarithms, with the sign that makes larger worse.

    Raises:
        ValueError: For a value that has no logarithm: 0, below, NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError("a value that is not above 0 has no logarithm")
    return np.log(array) if direction == "lower" else -np.log(array)


def interval(bank: Array, new: Array, alpha: float) -> tuple[Array, Array, Array]:
    """D, its standard error and t(1 - alpha, df), over the last axis of `logs`.

    Raises:
        ValueError: For fewer than two values on either side.
    """
    b, n = bank.shape[-1], new.shape[-1]
    if b < 2 or n < 2:
        raise ValueError(f"the rule needs 2 seeds on both sides, got {b} and {n}")
    shift = new.mean(-1) - bank.mean(-1)
    variance = (bank.var(-1) * b + new.var(-1) * n) / (b + n - 2)
    se = np.sqrt(variance * (1 / b + 1 / n))
    return shift, se, np.asarray(student_t(b + n - 2, 1 - 2 * alpha))


def decide(
    bank: Sequence[float],
    new: Sequence[float],
    margin: float,
    alpha: float = 0.05,
    *,
    direction: Direction = "lower",
    tests: int = 1,
) -> Decision:
    """Decide on one cell.

    Args:
        bank: Values of the baseline, one for each training seed, at least 2.
        new: Values of the candidate, at least 2.
        margin: Relative loss that is accepted: 0.05 for 5 %.
        alpha: Of this look at this cell.
        direction: Which values are better.
        tests: Cells that share alpha; only `detectable` depends on it.

    Raises:
        ValueError: For values that have no logarithm, and for too few.
    """
    old, candidate = logs(bank, direction), logs(new, direction)
    shift, se, _ = (float(x) for x in interval(old, candidate, alpha))
    return _decision(shift, se, len(bank) + len(new) - 2, margin, alpha, tests)


def decide_paired(x: Sequence[float], margin: float, alpha: float) -> Decision:
    """Decide on pairs: x_k = log(new / old) of pair k, larger is worse.

    REGRESSED iff a one-sided paired t test of H0: mean x <= log(1 + margin) rejects at alpha, PASS
    iff the upper bound of the mean is below log(1 + margin).

    Raises:
        ValueError: For fewer than two pairs.
    """
    if len(x) < 2:
        raise ValueError(f"the rule needs 2 pairs, got {len(x)}")
    values = np.asarray(x, dtype=np.float64)
    se = float(values.std(ddof=1)) / math.sqrt(len(x))
    return _decision(float(values.mean()), se, len(x) - 1, margin, alpha, 1)


def _decision(
    shift: float, se: float, df: int, margin: float, alpha: float, tests: int
) -> Decision:
    from scipy.special import stdtr

    t, delta = student_t(df, 1 - 2 * alpha), math.log1p(margin)
    p = 0.0 if shift > delta else 1.0  # where all values are equal, the shift is known exactly
    if se > 0:
        p = float(stdtr(df, (delta - shift) / se))
    outcome: Outcome = "INCONCLUSIVE"
    if shift - t * se > delta:
        outcome = "REGRESSED"
    elif shift + t * se < delta:
        outcome = "PASS"
    return Decision(
        outcome=outcome,
        change=math.expm1(shift),
        lower=math.expm1(shift - t * se),
        bound=math.expm1(shift + t * se),
        p=p,
        detectable=_seen(se, df, margin, alpha / tests),
    )


def holm(p: Mapping[str, float], alpha: float) -> set[str]:
    """The hypotheses that Holm's step-down method rejects at family-wise level alpha.

    The i-th smallest of m values (i = 0, 1, ...) is compared with alpha / (m - i), until one is
    not below (Holm, *Scand. J. Statist.* 6, 1979).
    """
    rejected = set()
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        if p[name] >= alpha / (len(p) - i):
            break
        rejected.add(name)
    return rejected


def detectable(sd: float, bank: int, new: int, margin: float, alpha: float = 0.05) -> float:
    """The smallest true regression that would be called REGRESSED with 80 % power.

    A true shift Delta makes (D - delta) / se noncentral t with
    nc = (Delta - delta) / (sd sqrt(1/B + 1/n)); nc is solved for P(T > t(1 - alpha, df)) = 0.8.

    Args:
        sd: Standard deviation of log values between training seeds.
        bank: Seeds in the bank.
        new: Seeds of the candidate.
        margin: Relative loss that is accepted.
        alpha: One-sided.

    Returns:
        As a fraction; inf where there are too few seeds for any decision.
    """
    if bank < 2 or new < 2:
        return math.inf
    return _seen(sd * math.sqrt(1 / bank + 1 / new), bank + new - 2, margin, alpha)


def _seen(se: float, df: int, margin: float, alpha: float) -> float:
    from scipy.special import nctdtrinc

    nc = float(nctdtrinc(df, 1 - _POWER, student_t(df, 1 - 2 * alpha)))
    return (1 + margin) * math.exp(nc * se) - 1


def cov(values: Sequence[float]) -> float | None:
    """Spread between seeds: the standard deviation (ddof = 1) of the logarithms.

    Near the coefficient of variation where it is small. None where it does not exist: fewer than
    two values, or one that has no logarithm.
    """
    if len(values) < 2 or not all(0 < v < math.inf for v in values):
        return None
    return float(np.log(np.asarray(values)).std(ddof=1))


def default_margin(spread: float | None) -> float:
    """max(5 %, 3 spreads): what is accepted where nobody said more."""
    return max(LEAST_MARGIN, _SPREADS * (spread or 0.0))
