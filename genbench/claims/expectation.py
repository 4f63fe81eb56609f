"""What a claim expects of its rows, as a line of comparisons.

    "pix2pix < l1"                      one row below another
    "w0 > w0.5 < w8"                    a chain: every neighbouring pair is compared
    "ddim-50 < 1.2 * ddim-1000"         a ratio: at most 1.2 times
    "ddpm > 100 * dcgan"                at least 100 times
    "vae < 1"                           one row against a number

Words are apart from each other by spaces.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from genbench.spec import ConfigError, nearest

__all__ = ["ROW", "Comparison", "Side", "parse"]

ROW = re.compile(r"[a-z][a-z0-9_.-]*")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        row: A row's name, or "" for a number alone.
        number: What the row's value is multiplied by, or the number itself.
    """

    row: str
    number: float = 1.0

    def __str__(self) -> str:
        if not self.row:
            return f"{self.number:g}"
        return self.row if self.number == 1 else f"{self.number:g} * {self.row}"


@dataclass(frozen=True)
class Comparison:
    """`less < more`, whichever way round it was written.

    Attributes:
        less: The side that is claimed to be lower.
        more: The other one.
        text: As it was written.
    """

    less: Side
    more: Side
    text: str

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of the rows that are compared, one or two, as they are written."""
        return tuple(w for w in self.text.split() if w in (self.less.row, self.more.row))

    @property
    def scaled(self) -> bool:
        """Whether a row is compared with a multiple of another: a matter of their ratio."""
        return len(self.rows) == 2 and (self.less.number, self.more.number) != (1, 1)


def parse(text: str, rows: Collection[str]) -> tuple[Comparison, ...]:
    """The comparisons of a line, at least one.

    Args:
        text: The line.
        rows: Names of the rows that there are.

    Raises:
        ConfigError: For anything that is no chain of comparisons, with the nearest row.
    """
    words, sides, signs = text.split(), [], []
    while True:
        side, words = _side(words, rows, text)
        sides.append(side)
        if not words:
            break
        sign, *words = words
        if sign not in ("<", ">"):
            raise ConfigError(f"expect={text!r}: {sign!r} is not '<' or '>'")
        signs.append(sign)
    if not signs:
        raise ConfigError(f"expect={text!r} compares nothing; write 'ROW < ROW'")
    found = []
    for left, sign, right in zip(sides, signs, sides[1:], strict=False):
        less, more = (left, right) if sign == "<" else (right, left)
        found.append(Comparison(less, more, f"{left} {sign} {right}"))
    for one in found:
        _check(one, text)
    return tuple(found)


def _side(words: list[str], rows: Collection[str], text: str) -> tuple[Side, list[str]]:
    """The first side of what is left, and the words behind it."""
    if not words:
        raise ConfigError(f"expect={text!r} ends where a row or a number should stand")
    first, *rest = words
    number = _number(first)
    if number is not None and rest[:1] == ["*"]:
        if number <= 0:
            raise ConfigError(f"expect={text!r}: a row is multiplied by a number above 0")
        side, rest = _side(rest[1:], rows, text)
        if not side.row or side.number != 1:
            raise ConfigError(f"expect={text!r}: after {first} * comes a row's name")
        return Side(side.row, number), rest
    if number is not None:
        return Side("", number), rest
    if first not in rows:
        raise ConfigError(f"expect={text!r}: unknown row {first!r}; {nearest(first, rows)}")
    return Side(first), rest


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _check(one: Comparison, text: str) -> None:
    if not one.rows:
        raise ConfigError(f"expect={text!r} compares two numbers; name a row")
    if len(set(one.rows)) < len(one.rows):
        raise ConfigError(f"expect={text!r} compares {one.rows[0]!r} with itself")
    if one.less.number != 1 and one.more.number != 1 and len(one.rows) == 2:
        raise ConfigError(f"expect={text!r}: one side of a comparison is multiplied, not both")
