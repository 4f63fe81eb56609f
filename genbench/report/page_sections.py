"""The page's sections on results: summary, leaderboard, plots and samples."""

import math
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genbench.record import Record
from genbench.report.figures import Plot, quality
from genbench.report.notes import CAPTION
from genbench.report.page_parts import (
    Block,
    Cards,
    Facts,
    Gallery,
    Head,
    Item,
    Notes,
    Section,
    Shot,
    Table,
    Words,
)
from genbench.report.page_pictures import plots as plot_block
from genbench.report.rows import KINDS, Column, Row
from genbench.report.table import COUNTS, human
from genbench.report.text import clean, compact, measured

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Folder", "leaderboard", "plots", "samples", "summary", "totals"]

_NAME = 60  # characters of a row's name in the summary


@dataclass(frozen=True)
class Folder:
    """What a page is about.

    Attributes:
        suite: Its name, "" where no plan is stored.
        rows: The table's rows.
        columns: Its metrics.
        table: Its numbers, from `table.frame`.
        plots: See `figures.draw`.
        shots: Grids of samples.
        beside: Keys of the records that stand beside the page, so that it may link to them.
    """

    suite: str
    rows: Sequence[Row]
    columns: Sequence[Column]
    table: "pd.DataFrame"
    plots: Sequence[Plot]
    shots: Sequence[Shot]
    beside: Set[str]

    @property
    def records(self) -> list[Record]:
        """All records of the table."""
        return [record for row in self.rows for record in row.present]

    @property
    def datasets(self) -> list[str]:
        """Their names, in the table's order."""
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
    """The best, fastest and cheapest row of each kind, dataset by dataset."""
    cards = []
    for dataset in folder.datasets:
        rows = [r for r in folder.rows if r.cells[0].sample.train.dataset == dataset]
        column = quality(rows, folder.columns)
        for kind in dict.fromkeys(row.kind for row in rows):
            title = KINDS.get(kind, kind[:1].upper() + kind[1:]) + (
                f", {dataset}" if len(folder.datasets) > 1 else ""
            )
            mine = [row for row in rows if row.kind == kind]
            cards.append(Facts(title, list(_winners(mine, column))))
    return Section("Summary", "summary", [Cards(cards)])


def _winners(rows: Sequence[Row], column: Column | None) -> Iterable[tuple[str, Item]]:
    best = None if column is None else _best(rows, column)
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


def _best(rows: Sequence[Row], column: Column) -> str | None:
    """The row with the best value, and those whose intervals overlap with its own."""
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
    return text + (f"; intervals overlap with {', '.join(level)}" if level else "")


def _named(row: Row) -> str:
    return clean(row.label, _NAME)


# --- the leaderboard -----------------------------------------------------------------------------


def leaderboard(folder: Folder) -> Section:
    """All rows with all numbers, and the notes of the printed tables."""
    rows, text = folder.rows, human(folder.table)
    raw = {header: name for name, header in folder.table.attrs["metrics"].items()}
    raw |= {count.header: count.name for count in COUNTS}
    if "rank" in text.columns and raw:
        raw["rank"] = f"{next(iter(folder.table.attrs['metrics']))} rank low"
    costs = [count.header for count in COUNTS]
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
            return Item(shown, title=str(folder.table["reason"].iloc[i]))
        return Item(shown, _number(folder.table[raw[name]].iloc[i]))

    cells = [[item(i, name) for name in order] for i in range(len(rows))]
    caption = f"{CAPTION} Numbers of several seeds are means."
    notes = Notes("Notes of this table", folder.table.attrs["notes"])
    return Section("Leaderboard", "leaderboard", [Table(caption, heads, cells, kinds), notes])


def _number(value: Any) -> float | None:
    """A number of the frame; its missing values (NaN, NA) are None."""
    import pandas as pd

    return None if pd.isna(value) or not math.isfinite(value) else float(value)


_HELP = {
    "rank": "place by the first metric; rows whose intervals overlap share places",
    "NFE": "network evaluations per image",
    "ms/image": "milliseconds per image",
    "params": "parameters of the networks that sampling calls",
    "train images": "images that training saw",
    "steps": "training steps",
    "train FLOPs": "floating-point operations of training",
    "train s": "seconds of training",
    "seeds": "cells that ran, of those that were asked for",
}


# --- plots and samples ---------------------------------------------------------------------------


def plots(folder: Folder) -> Section:
    """The plots, and why the others are missing."""
    blocks: list[Block] = [plot_block(folder.plots)]
    blocks += [Words(plot.missing) for plot in folder.plots if plot.missing]
    if not folder.plots:
        blocks = [Words("Not drawn: no row has a score of a metric with a better direction.")]
    return Section("Plots", "plots", blocks)


def samples(folder: Folder) -> Section:
    """The grids, in the table's order."""
    if not folder.shots:
        told = "No pictures: samples stand in the results folder after a run, not in its records."
        return Section("Samples", "samples", [Words(told)])
    words = Words("Samples are in the order of their sampling noise; none was chosen.")
    return Section("Samples", "samples", [words, Gallery(folder.shots)])
