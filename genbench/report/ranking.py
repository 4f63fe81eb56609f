"""Places in a leaderboard, with ties where intervals overlap.

Row a is *clearly* better than row b where a's 95 % interval lies wholly on the better side of b's;
a row without an interval counts as a point. With n ranked rows, a row's place is the range

    1 + (rows that are clearly better)   to   n - (rows that are clearly worse).

"Clearly better" is transitive, overlapping is not: of three rows, the first may overlap the second
and the second the third while the first is clearly better than the third. So ranges overlap
instead of rows being put into groups, and rows that overlap can share their first place. Intervals
that do not overlap differ by more than a test of the two would ask for: a tie says "not shown to
differ", not "equal".
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from genbench.report.text import DASH

__all__ = ["NOTE", "Direction", "Interval", "Rank", "grouped", "interval", "ranks", "shown"]

Direction = Literal["lower", "higher"]
Interval = tuple[float, float]  # low <= high; a point where both are equal

NOTE = (
    "places run from 1 + the rows that are clearly better to n - the rows that are clearly worse "
    "(95 % intervals that do not overlap); rows that overlap share places. References, and rows "
    "of which a cell has no result, have none"
)


class Rank(NamedTuple):
    """A range of places, 1 is the best; `low == high` where every other row is told apart."""

    low: int
    high: int


def interval(value: float, ci95: Interval | None) -> Interval | None:
    """What is ranked: the interval, the value as a point without one, None without a value."""
    if math.isnan(value):
        return None
    if ci95 is None or not all(map(math.isfinite, ci95)):
        return value, value
    return ci95


def ranks(intervals: Sequence[Interval | None], direction: Direction) -> list[Rank | None]:
    """The places of rows that are measured by one metric, in the rows' order.

    Args:
        intervals: Of each row; None for a row that is not ranked.
        direction: Which values are better.
    """
    sign = 1 if direction == "lower" else -1
    turned = [None if i is None else tuple(sorted(sign * end for end in i)) for i in intervals]
    ranked = [i for i in turned if i is not None]
    return [
        None
        if mine is None
        else Rank(
            1 + sum(other[1] < mine[0] for other in ranked),
            len(ranked) - sum(other[0] > mine[1] for other in ranked),
        )
        for mine in turned
    ]


def grouped(
    intervals: Sequence[Interval | None], groups: Iterable[object], direction: Direction
) -> list[Rank | None]:
    """Like `ranks`, inside each group of rows: what is of different groups does not compare."""
    names = list(groups)
    found: list[Rank | None] = [None] * len(names)
    for group in dict.fromkeys(names):
        places = [i for i, name in enumerate(names) if name == group]
        for i, rank in zip(places, ranks([intervals[i] for i in places], direction), strict=True):
            found[i] = rank
    return found


def shown(rank: Rank | None) -> str:
    """For people: "2", "2–4", or a dash."""
    if rank is None:
        return DASH
    return str(rank.low) if rank.low == rank.high else f"{rank.low}–{rank.high}"
