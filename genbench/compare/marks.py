"""From two numbers with their uncertainty to a mark, as asv has them.

A change is *real* where a two-sided t-test over training seeds says so at 5 %, or, where a side
has one training only, where the 95 % intervals do not overlap. It is *large* beyond a factor.
Better and worse take both; what is large and not shown to be real has only moved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genbench.report.ranking import Direction, Interval
from genbench.report.rows import Value
from genbench.stats import mean_interval, student_t

__all__ = ["BETTER", "FAILS", "FIXED", "MOVED", "SAME", "UNLIKE", "WORDS", "WORSE"]
__all__ += ["Change", "change", "mark"]

BETTER, WORSE, MOVED, SAME, FAILS, FIXED, UNLIKE = "+", "-", "~", " ", "!", "*", "x"
WORDS = {
    BETTER: "better",
    WORSE: "worse",
    MOVED: "moved",
    SAME: "same",
    FAILS: "fails",
    FIXED: "fixed",
    UNLIKE: "not comparable",
}


@dataclass(frozen=True)
class Change:
    """How one number differs from another.

    Attributes:
        ratio: New over old; None where a value is 0 or below. Over seeds it is a ratio of
            geometric means.
        ci95: 95 % interval of the ratio.
        up: Whether the new value is the higher one.
        real: Whether it differs by more than chance; None where nothing tells how large chance is.
    """

    ratio: float | None
    ci95: Interval | None
    up: bool
    real: bool | None


def change(old: Value, new: Value, before: Sequence[float], after: Sequence[float]) -> Change:
    """The change from `old` to `new`.

    With two trainings or more on both sides: Student's t with the pooled variance over them, of
    the logarithms where all values are positive,

        D = mean log new - mean log old,   se^2 = s^2 (1/a + 1/b),   df = a + b - 2.

    Else by the intervals of both values; the ratio's interval then adds their relative halves in
    quadrature: it takes the two errors as independent, to first order.

    Args:
        old: What the older table shows.
        new: What the newer one shows.
        before: The older values, one for each training.
        after: The newer ones.
    """
    if len(before) < 2 or len(after) < 2:
        return _by_intervals(old, new)
    logs = min(*before, *after) > 0
    first, second = ([math.log(v) if logs else v for v in side] for side in (before, after))
    difference, half = _pooled(first, second)
    real = abs(difference) > half
    if not logs:
        return Change(None, None, difference > 0, real)
    ends = math.exp(difference - half), math.exp(difference + half)
    return Change(math.exp(difference), ends, difference > 0, real)


def _pooled(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Difference of the means, and half its 95 % interval."""
    a, b = len(first), len(second)
    one, two = mean_interval(first), mean_interval(second)
    squares = one[1] ** 2 * a * (a - 1) + two[1] ** 2 * b * (b - 1)  # stderr^2 = SS / n (n - 1)
    df = a + b - 2
    return two[0] - one[0], student_t(df) * math.sqrt(squares / df * (1 / a + 1 / b))


def _by_intervals(old: Value, new: Value) -> Change:
    up = new.value > old.value
    real: bool | None = None
    if old.ci95 is not None and new.ci95 is not None:
        real = old.ci95[1] < new.ci95[0] or new.ci95[1] < old.ci95[0]
    if min(old.value, new.value) <= 0:
        return Change(None, None, up, real)
    ratio = new.value / old.value
    if old.ci95 is None or new.ci95 is None:
        return Change(ratio, None, up, real)
    half = math.hypot(*((v.ci95[1] - v.ci95[0]) / 2 / v.value for v in (old, new) if v.ci95))
    return Change(ratio, (ratio * math.exp(-half), ratio * math.exp(half)), up, real)


def mark(found: Change, better: Direction | None, factor: float) -> str:
    """One character for a change; see `WORDS`.

    Args:
        found: The change.
        better: The better direction; None where nobody knows: then nothing is better or worse.
        factor: Above 1: what is within old / factor to old * factor is no change. Values of 0 or
            below have no ratio: then what is real is large enough.
    """
    ratio = found.ratio
    large = bool(found.real) if ratio is None else max(ratio, 1 / ratio) > factor
    if not large:
        return SAME
    if not found.real or better is None:
        return MOVED
    return BETTER if found.up == (better == "higher") else WORSE
