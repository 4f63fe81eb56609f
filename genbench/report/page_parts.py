"""What the page is made of: sections of blocks, as plain data. The template knows each form.

A module that wants a section of its own returns a `Section`; texts need no escaping, the template
does that, and makes every text one clean line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from genbench.report.text import DASH, compact

__all__ = [
    "Block",
    "Cards",
    "Facts",
    "Failed",
    "Gallery",
    "Head",
    "Heading",
    "Item",
    "Notes",
    "Plots",
    "Section",
    "Shot",
    "Table",
    "Words",
]


class Item(NamedTuple):
    """A cell of a table, or a fact.

    Attributes:
        text: What is shown.
        value: What a column of numbers is sorted by; None is missing and stands last.
        href: A relative link, or "".
        title: More of it, shown on hovering.
        code: Whether it is an id or a command.
    """

    text: str
    value: float | None = None
    href: str = ""
    title: str = ""
    code: bool = False


class Head(NamedTuple):
    """The head of a column."""

    text: str
    numeric: bool = False
    title: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    form: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    form: ClassVar[str] = "words"
    text: str


@dataclass(frozen=True)
class Notes:
    """Sentences, each with a command or "", folded under a summary."""

    form: ClassVar[str] = "notes"
    summary: str
    notes: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table that can be sorted; its first column stays in sight on a phone.

    Attributes:
        caption: What the table shows.
        heads: Of the columns.
        rows: Each as long as `heads`.
        groups: For each row the group that it can be filtered by; () for a table without filter.
    """

    form: ClassVar[str] = "table"
    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Item]]
    groups: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        caption: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | float | None]],
        groups: Sequence[str] = (),
    ) -> "Table":
        """A table of plain words and numbers: a column that has a number is one of numbers.

        Args:
            caption: See `Table`.
            columns: Names of the columns.
            rows: Words, or numbers; None and NaN are shown as a dash.
            groups: See `Table`.
        """
        numeric = [
            any(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))
        ]
        heads = [Head(name, n) for name, n in zip(columns, numeric, strict=True)]
        return cls(caption, heads, [[_item(value) for value in row] for row in rows], groups)


def _item(value: str | float | None) -> Item:
    if isinstance(value, str):
        return Item(value)
    if value is None or math.isnan(value):
        return Item(DASH)
    return Item(compact(value), value if math.isfinite(value) else None)


@dataclass(frozen=True)
class Facts:
    """Terms and what they are, under a small heading that may be empty."""

    form: ClassVar[str] = "facts"
    title: str
    pairs: Sequence[tuple[str, Item]]


@dataclass(frozen=True)
class Cards:
    """Facts side by side."""

    form: ClassVar[str] = "cards"
    cards: Sequence[Facts]


@dataclass(frozen=True)
class Plots:
    """Plots, each as (title, alternative text, data URI for light, data URI for dark)."""

    form: ClassVar[str] = "plots"
    plots: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class Shot:
    """A picture of samples; a wide one has words or questions in it and is shown large."""

    label: str
    caption: str
    alt: str
    uri: str
    width: int
    height: int
    wide: bool = False


@dataclass(frozen=True)
class Gallery:
    """Pictures that can be enlarged."""

    form: ClassVar[str] = "gallery"
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Failed:
    """A cell without scores: what failed, why, the command that runs it again, the traceback."""

    form: ClassVar[str] = "failed"
    title: str
    pairs: Sequence[tuple[str, Item]]
    traceback: Sequence[str] = ()


Block = Heading | Words | Notes | Table | Facts | Cards | Plots | Gallery | Failed


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; `id` is its anchor: a-z, 0-9 and dashes."""

    title: str
    id: str
    blocks: Sequence[Block]
