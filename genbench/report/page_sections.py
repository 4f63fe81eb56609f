"""The page's sections on results: summary, leaderboard, plots and samples."""

import math
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genbench.record import Record
from genbench.report.copies import DISTANCES, MARK, near_copies
from genbench.report.figures import Plot, quality
from genbench.report.notes import CAPTION, Note
from genbench.report.page_parts import (
    Block,
    Cards,
    Facts,
    Gallery,
    Head,
    Heading,
    Item,
    Notes,
    Section,
    Shot,
    Table,
    Words,
)
from genbench.report.page_pictures import plots as plot_block
from genbench.report.parts import Part
from genbench.report.rows import KINDS, Column, Row
from genbench.report.table import COUNTS, human
from genbench.report.text import compact, measured
from genbench.text import clean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Folder", "OnPage", "pictures", "summary", "tables", "totals"]

_NAME = 60  # characters of a row's name in the summary


@dataclass(frozen=True)
class OnPage:
    """One table and what stands around it.

    Attributes:
        part: Its rows and metrics.
        table: Its numbers, from `table.frame`.
        plots: See `figures.draw`.
        shots: Grids of samples.
        overview: The picture that compares its rows, where they answer questions.
        failures: For rows of which samples fail, a heading and sentences on what is wrong.
    """

    part: Part
    table: "pd.DataFrame"
    plots: Sequence[Plot] = ()
    shots: Sequence[Shot] = ()
    overview: Shot | None = None
    failures: Sequence[tuple[str, Sequence[str]]] = ()

    @property
    def anchor(self) -> str:
        """Where it stands on a page with several tables."""
        return f"table-{self.part.slug}"


@dataclass(frozen=True)
class Folder:
    """What a page is about.

    Attributes:
        suite: Its name, "" where no plan is stored.
        tables: One for each dataset and task.
        beside: Keys of the records that stand beside the page, so that it may link to them.
        notes: What is to be said of several tables together.
    """

    suite: str
    tables: Sequence[OnPage]
    beside: Set[str]
    notes: Sequence[Note] = ()

    @property
    def several(self) -> bool:
        """Whether there is more than one table."""
        return len(self.tables) > 1

    @property
    def rows(self) -> list[Row]:
        """The rows of all tables."""
        return [row for table in self.tables for row in table.part.rows]

    @property
    def named(self) -> list[tuple[str, Row]]:
        """The same with names that tell rows of several tables apart."""
        parts = [(table.part, row) for table in self.tables for row in table.part.rows]
        return [
            (f"{row.label}, {part.title}" if self.several else row.label, row)
            for part, row in parts
        ]

    @property
    def records(self) -> list[Record]:
        """All records of the tables."""
        return [record for row in self.rows for record in row.present]

    @property
    def datasets(self) -> list[str]:
        """Their names, in the tables' order."""
        return list(dict.fromkeys(row.cells[0].sample.train.dataset for row in self.rows))


def totals(folder: Folder) -> dict[str, int]:
    """How many cells ended how: "ok" and "failed" always, the others if there are any."""
    words = [
        r.status if (r := row.of(cell)) else "not run" for row in folder.rows for cell in row.cells
    ]
    others = ("timeout", "skipped", "not run")
    always = {"ok": words.count("ok"), "failed": words.count("failed")}
    return always | {name: words.count(name) for name in others if name in words}


# --- summary -------------------------------------------------------------------------------------


def summary(folder: Folder) -> Section:
    """The best, fastest and cheapest row of each kind; of several tables, what they are."""
    if folder.several:
        blocks: list[Block] = [_contents(folder)]
        blocks.append(Notes("Notes of all tables", folder.notes))
        return Section("Tables", "tables", blocks)
    cards = []
    for table in folder.tables:
        rows = table.part.rows
        column = quality(rows, table.part.columns)
        for kind in dict.fromkeys(row.kind for row in rows):
            mine = [row for row in rows if row.kind == kind]
            title = KINDS.get(kind, kind[:1].upper() + kind[1:])
            copies = set(near_copies(rows, table.part.columns))
            cards.append(Facts(title, list(_winners(mine, column, copies))))
    return Section("Summary", "summary", [Cards(cards)])


def _contents(folder: Folder) -> Table:
    """A line for each table: where it stands, how much is in it, and its best row."""
    lines = []
    for table in folder.tables:
        rows = table.part.rows
        column = quality(rows, table.part.columns)
        models = [row for row in rows if row.kind != "reference"]
        copies = set(near_copies(rows, table.part.columns))
        best = None if column is None else _best(models, column, copies)
        asked = sum(len(row.cells) for row in rows)
        ok = sum(row.ok for row in rows)
        lines.append(
            [
                Item(table.part.title, href=f"#{table.anchor}"),
                Item(str(len(rows)), len(rows)),
                Item(str(ok) if ok == asked else f"{ok}/{asked}", ok),
                Item("" if column is None else f"{column.header} {column.arrow}"),
                Item(best or "no score"),
            ]
        )
    heads = [Head("table"), Head("rows", True), Head("cells", True), Head("by"), Head("best row")]
    return Table("The best row of each table by its first distance or metric.", heads, lines)


def _winners(
    rows: Sequence[Row], column: Column | None, copies: Set[str]
) -> Iterable[tuple[str, Item]]:
    best = None if column is None else _best(rows, column, copies)
    if column is not None:
        yield f"Best {column.header}", Item("no score" if best is None else best)
    costs: tuple[tuple[str, Callable[[Record], float | None], str], ...] = (
        ("Fastest", lambda r: r.timings.ms_per_image, "ms per image"),
        ("Cheapest training", lambda r: r.counters.train_flops or None, "FLOPs"),
    )
    for term, of, unit in costs if any(row.kind != "reference" for row in rows) else ():
        found = [(value, row) for row in rows if (value := row.mean(of)) is not None]
        if found:
            least = min(value for value, _ in found)
            names = ", ".join(_named(row) for value, row in found if value == least)
            yield term, Item(f"{names}: {compact(least)} {unit}")


def _best(rows: Sequence[Row], column: Column, copies: Set[str]) -> str | None:
    """The row with the best value, and those whose intervals overlap with its own.

    Labels of `copies` are marked where the column is a distance.
    """
    found = [(row, v) for row in rows if (v := row.score(column.spec)) and math.isfinite(v.value)]
    if not found:
        return None
    sign = -1 if column.arrow == "↑" else 1
    winner, value = min(found, key=lambda pair: sign * pair[1].value)
    low, high = value.ci95 or (value.value, value.value)
    level = []
    for row, other in found:
        start, end = other.ci95 or (other.value, other.value)
        if row is not winner and start <= high and low <= end:
            level.append(_named(row))
    text = f"{_named(winner)}: {measured(value.value, value.ci95)}"
    if column.spec.name in DISTANCES and winner.label in copies:
        text += f", {MARK}"
    return text + (f"; intervals overlap with {', '.join(level)}" if level else "")


def _named(row: Row) -> str:
    return clean(row.label, _NAME)


# --- the leaderboard -----------------------------------------------------------------------------


def tables(folder: Folder) -> list[Section]:
    """The leaderboard; of several tables a section for each, with its plots and pictures."""
    if not folder.several:
        blocks = [block for table in folder.tables for block in _leaderboard(table)]
        return [Section("Leaderboard", "leaderboard", blocks or [Words("No cells.")])]
    found = []
    for table in folder.tables:
        blocks = _leaderboard(table)
        if table.plots:
            blocks += [Heading("Plots"), *_plots(table)]
        if table.shots:
            blocks += [Heading("Samples"), *_samples(table)]
        found.append(Section(table.part.title, table.anchor, blocks))
    return found


def _leaderboard(one: OnPage) -> list[Block]:
    """All rows with all numbers, and the notes of the printed table."""
    rows, text = one.part.rows, human(one.table)
    raw = {header: name for name, header in one.table.attrs["metrics"].items()}
    raw |= {count.header: count.name for count in COUNTS if count.header}
    if "rank" in text.columns and raw:
        raw["rank"] = f"{next(iter(one.table.attrs['metrics']))} rank low"
    costs = [count.header for count in COUNTS if count.header in text.columns]
    first = [c for c in text.columns if c not in ("model", "kind", "seeds", "status", *costs)]
    order = ["model", *first, "kind", *costs, "seeds", "status"]
    heads = [Head(name, name in raw or name == "seeds", _HELP.get(name, "")) for name in order]
    kinds = [KINDS.get(row.kind, row.kind) for row in rows]

    def item(i: int, name: str) -> Item:
        if name == "model":
            return Item(rows[i].label)
        if name == "kind":
            return Item(kinds[i])
        if name == "seeds":
            ok, asked = rows[i].ok, len(rows[i].cells)
            return Item(str(asked) if ok == asked else f"{ok}/{asked}", ok)
        shown = str(text[name].iloc[i])
        if name == "status":
            return Item(shown, title=str(one.table["reason"].iloc[i]))
        return Item(shown, _number(one.table[raw[name]].iloc[i]))

    cells = [[item(i, name) for name in order] for i in range(len(rows))]
    caption = f"{CAPTION} Numbers of several seeds are means."
    notes = Notes("Notes of this table", one.table.attrs["notes"])
    return [Table(caption, heads, cells, kinds), notes]


def _number(value: Any) -> float | None:
    """A number of the frame; its missing values (NaN, NA) are None."""
    import pandas as pd

    return None if pd.isna(value) or not math.isfinite(value) else float(value)


_HELP = {
    "rank": "place by the first metric; rows whose intervals overlap share places",
    "NFE": "network evaluations per image",
    "ms/image": "milliseconds per image",
    "params": "parameters of the networks that sampling calls",
    "batch": "images of one training step",
    "updates": "optimizer updates of the networks that are sampled",
    "image updates": "images of all updates: both updates of a GAN's step count theirs",
    "images of data": "images that training saw, each time anew",
    "train FLOPs": "floating-point operations of training",
    "train s": "seconds of training",
    "seeds": "cells that ran, of those that were asked for",
}


# --- plots and samples ---------------------------------------------------------------------------


def pictures(folder: Folder) -> list[Section]:
    """Plots and samples of a single table; several have them in their own sections."""
    if folder.several:
        return []
    none = "Not drawn: no row has a score of a metric with a better direction."
    drawn = [block for table in folder.tables if table.plots for block in _plots(table)]
    told = "No pictures: samples stand in the results folder after a run, not in its records."
    shown = [block for table in folder.tables if table.shots for block in _samples(table)]
    return [
        Section("Plots", "plots", drawn or [Words(none)]),
        Section("Samples", "samples", shown or [Words(told)]),
    ]


def _plots(one: OnPage) -> list[Block]:
    """The plots, and why the others are missing."""
    return [plot_block(one.plots), *(Words(plot.missing) for plot in one.plots if plot.missing)]


def _samples(one: OnPage) -> list[Block]:
    """The grids, in the table's order, and what is wrong with samples."""
    kind = one.part.task.partition(":")[0]
    words = _SAMPLES.get(kind, _ANSWERS)
    blocks: list[Block] = [Words(words)]
    if one.overview is not None:
        blocks.append(Gallery([one.overview]))
    blocks.append(Gallery(one.shots))
    for heading, lines in one.failures:
        blocks.append(Notes(heading, [(line, "") for line in lines]))
    return blocks


_SAMPLES = {
    "unconditional": "Samples are in the order of their sampling noise; none was chosen.",
    "class_label": "The first samples, none was chosen. Under the name of a class stand samples "
    "of it; a red frame is around those that a metric finds wrong.",
}
_ANSWERS = (
    "The first samples, none was chosen; each answers a question of its own. What a metric finds "
    "wrong with a sample stands below it in red."
)
