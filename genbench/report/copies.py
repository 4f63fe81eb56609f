"""Rows whose samples are near copies of training images, which flatters their distances.

AuthPct is the share of samples that are no closer to a training image than its own neighbours are.
A row is marked where AuthPct is clearly and much below that of the real images in its table: both
intervals apart, and less than 0.8 of theirs.
"""

from collections.abc import Sequence

from genbench.report.rows import Column, Row, Value
from genbench.report.text import compact

__all__ = ["DISTANCES", "MARK", "near_copies"]

DISTANCES = ("fd", "fid", "fd_infinity", "sfid", "kid", "cmmd", "class_fd")
MARK = "near copies"
_REAL = "real"  # the family whose row says what AuthPct test images have
_MUCH = 0.8


def near_copies(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, str]:
    """The rows of a table that are marked, by label, with a sentence on each."""
    found: dict[str, str] = {}
    for column in (c for c in columns if c.spec.name == "auth_pct"):
        scored = [(row, value) for row in rows if (value := row.score(column.spec)) is not None]
        real = next((v for row, v in scored if row.cells[0].sample.train.baseline == _REAL), None)
        for row, value in scored if real is not None else ():
            if real is not None and value.value < _MUCH * real.value and _apart(value, real):
                found[row.label] = (
                    f"{row.label} gives {MARK}: {column.header} is {compact(value.value)}, where "
                    f"real images have {compact(real.value)}; its distances say less than they "
                    "seem to."
                )
    return found


def _apart(low: Value, high: Value) -> bool:
    """Whether the first interval lies below the second; a value without one is a point."""
    top = low.value if low.ci95 is None else low.ci95[1]
    bottom = high.value if high.ci95 is None else high.ci95[0]
    return top < bottom
