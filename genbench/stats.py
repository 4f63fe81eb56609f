"""Uncertainty of a number: scores with intervals, and the estimators that make them."""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "Measured",
    "Score",
    "delete_group_jackknife",
    "mean_interval",
    "student_score",
    "student_t",
]


_EXTREME = 1e100  # float32 features give distances up to 1e80


def _measured(value: float) -> float:
    if value and math.isfinite(value) and not 1 / _EXTREME <= abs(value) <= _EXTREME:
        raise ValueError(f"nothing that was measured is {value:g}")
    return value


# A number of a file, where means, ratios and logarithms of such numbers are numbers too.
Measured = Annotated[float, AfterValidator(_measured)]


class Score(BaseModel):
    """A value with its uncertainty.

    Attributes:
        value: The metric's value.
        stderr: Standard error, or None where the method gives none.
        ci95: 95 % interval, or None.
        n: Number of samples that were scored.
        method: What the interval is over, e.g. "jackknife, 20 groups of samples".
        spread: Where a metric is defined as a mean over splits or subsets: their standard
            deviation (ddof = 0), which papers print beside it and which is no standard error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    stderr: float | None = None
    ci95: tuple[float, float] | None = None
    n: int = Field(ge=0, lt=2**63)
    method: str = ""
    spread: float | None = None


def student_t(df: int, level: float = 0.95) -> float:
    """The two-sided quantile of Student's t with `df` degrees of freedom: t(2) = 4.303 at 95 %."""
    from scipy.special import stdtrit  # scipy.stats takes 0.3 s and 60 MB to import

    return float(stdtrit(df, 0.5 + level / 2))


def student_score(
    value: float, stderr: float, df: int, n: int, method: str, spread: float | None = None
) -> Score:
    """A score with the 95 % interval value +- t(df) stderr.

    Args:
        value: Of the metric.
        stderr: Its standard error.
        df: Degrees of freedom of the standard error.
        n: See `Score`, as for the rest.
        method: What the interval is over.
        spread: Over splits or subsets.
    """
    ci95 = _around(value, stderr, df)
    return Score(value=value, stderr=stderr, ci95=ci95, n=n, method=method, spread=spread)


def _around(value: float, stderr: float, df: int) -> tuple[float, float]:
    half = student_t(df) * stderr
    return value - half, value + half


def mean_interval(values: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """Mean, standard error (ddof = 1) and 95 % Student interval of independent values.

    Raises:
        ValueError: For fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval needs at least 2 values, got {n}")
    mean = math.fsum(values) / n
    stderr = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean, stderr, _around(mean, stderr, n - 1)


def delete_group_jackknife(
    full: float, without: Sequence[float]
) -> tuple[float, tuple[float, float]]:
    """Standard error and 95 % interval from leaving out one of G equal groups at a time.

    stderr^2 = (G - 1)/G * sum_g (theta_g - mean theta)^2 (Shao and Tu, *The Jackknife and
    Bootstrap*, 1995, section 2.3); the interval is full +- t(G - 1) stderr, not bias corrected.

    Args:
        full: The statistic of all samples.
        without: The statistic without group g, for each of the G >= 2 groups.
    """
    groups = len(without)
    if groups < 2:
        raise ValueError(f"a jackknife needs at least 2 groups, got {groups}")
    mean = math.fsum(without) / groups
    stderr = math.sqrt((groups - 1) / groups * math.fsum((v - mean) ** 2 for v in without))
    return stderr, _around(full, stderr, groups - 1)
