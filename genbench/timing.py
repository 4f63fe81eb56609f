"""Times and their ratios: what a clock gave, kept raw, and what may be said of it. No torch."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, computed_field

from genbench.stats import student_t

__all__ = ["Fit", "Ratio", "Timing", "linear_fit", "paired_ratio"]

_TURNS = 8  # of a fixed point that is reached in two or three

_Visit = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class Timing(BaseModel):
    """Seconds that calls took, in the order in which they were made.

    Calls come in visits: variants that compete are visited in turn, and a short call is made
    several times in one visit.

    Attributes:
        visits: Seconds of each call, visit by visit.
        batch: Images that a call makes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    visits: tuple[_Visit, ...] = Field(min_length=1)
    batch: int = Field(1, ge=1)

    @property
    def samples(self) -> list[float]:
        """Seconds of every call."""
        return [seconds for visit in self.visits for seconds in visit]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def minimum(self) -> float:
        """Seconds of the best call."""
        return min(self.samples)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median(self) -> float:
        """Seconds of the middle call."""
        return float(np.median(self.samples))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def p95(self) -> float:
        """95 % of the calls took at most this many seconds (linear interpolation)."""
        return float(np.percentile(self.samples, 95))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def iqr(self) -> float:
        """Seconds between the quartiles of the calls."""
        low, high = np.percentile(self.samples, (25, 75))
        return float(high - low)


class Ratio(BaseModel):
    """A ratio of times.

    Attributes:
        value: How many times as long one takes as the other.
        ci95: 95 % interval.
        pairs: Rounds that it comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    ci95: tuple[float, float]
    pairs: int


def paired_ratio(over: Timing, under: Timing) -> Ratio:
    """How many times as long `over` takes as `under`, from visits that alternated.

    Rounds visit all variants in one order and then in the reverse (A B B A), so that a drift that
    is linear within a round cancels. With x_r = mean over the two visits of round r of
    log(best of over) - log(best of under), the ratio is exp(mean x) and its interval
    exp(mean x +- t(R - 1) sd(x) / sqrt(R)). Rounds are the unit because calls within a visit share
    its disturbance. Fewer than five make the interval wide: t(R - 1) / sqrt(R) is 2.5 for three,
    1.2 for five, 0.7 for ten.

    The best of a visit is its best single call for the slower of the two, and the best mean of k
    consecutive calls for the faster one, with k such that both last as long. Other processes take
    the processor for some milliseconds at a time: a call of one millisecond fits between, one of
    twenty never does, and the ratio of their best single calls would be of two machines, a quiet
    one and a busy one. A visit that has fewer than k calls is taken whole.

    Raises:
        ValueError: When the numbers of visits differ or are not two for each of R >= 2 rounds.
    """
    visits = len(over.visits), len(under.visits)
    rounds = visits[0] // 2
    if visits[0] != visits[1] or visits[0] % 2 or rounds < 2:
        raise ValueError(
            "a ratio needs two visits in each of at least 2 rounds, "
            f"got {visits[0]} and {visits[1]}"
        )
    x = _equally_exposed(over, under).reshape(rounds, 2).mean(axis=1)
    half = student_t(rounds - 1) * float(x.std(ddof=1)) / math.sqrt(rounds)
    mean = float(x.mean())
    return Ratio(
        value=math.exp(mean), ci95=(math.exp(mean - half), math.exp(mean + half)), pairs=rounds
    )


def _equally_exposed(over: Timing, under: Timing) -> NDArray[np.float64]:
    """log(best of over / best of under) of each pair of visits, over stretches of equal length.

    The number of calls in a stretch is the ratio that they are to give: a fixed point, near
    enough after a few turns, as only the order of magnitude matters.
    """
    calls = (1, 1)
    for _ in range(_TURNS):
        x = np.log(_bests(over, calls[0])) - np.log(_bests(under, calls[1]))
        ratio = math.exp(float(x.mean()))
        before, calls = calls, (max(1, round(1 / ratio)), max(1, round(ratio)))
        if calls == before:
            break
    return x


def _bests(timing: Timing, calls: int) -> list[float]:
    """The least mean of so many consecutive calls in each visit, or of all that there are."""
    bests = []
    for visit in timing.visits:
        n = min(calls, len(visit))
        total = np.concatenate(([0.0], np.cumsum(visit)))
        bests.append(float((total[n:] - total[:-n]).min()) / n)
    return bests


class Fit(BaseModel):
    """A straight line through times: seconds = start + slope * x.

    Attributes:
        start: Seconds at x = 0.
        slope: Seconds for each x.
        r2: 1 - residual sum of squares / total sum of squares.
        residuals: (measured - fitted) / measured, in the order of the points.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float
    slope: float
    r2: float
    residuals: tuple[float, ...]


def linear_fit(x: Sequence[float], seconds: Sequence[float]) -> Fit:
    """The line of least squares.

    Raises:
        ValueError: For fewer than three points or a single value of x, where any line fits.
    """
    if len(x) < 3 or len(set(x)) < 2:
        raise ValueError(f"a line needs at least 3 points at 2 places, got {len(x)}")
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    slope, start = np.polyfit(xs, ys, 1)
    rest = ys - (start + slope * xs)
    total = float(((ys - ys.mean()) ** 2).sum())
    r2 = 1 - float((rest**2).sum()) / total if total > 0 else 0.0
    return Fit(
        start=float(start), slope=float(slope), r2=r2, residuals=tuple((rest / ys).tolist())
    )
