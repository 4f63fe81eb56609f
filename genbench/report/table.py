"""The leaderboard: records and the plan in, a data frame out, and its four printed forms.

The frame holds raw numbers under stable names, one row for each cell but its seeds. What only
people need (headers, notes) lies in `frame.attrs`, so that a frame can be filtered, then printed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from genbench.record import Record
from genbench.report.copies import DISTANCES, MARK, near_copies
from genbench.report.forms import Format, csv, listed, printed
from genbench.report.notes import CAPTION, Note, left_out, notes, origin, reason
from genbench.report.parts import Part, split
from genbench.report.ranking import NOTE, Rank, grouped, interval, shown
from genbench.report.rows import KINDS, Column, Row, collect, columns_of
from genbench.report.text import compact, measured
from genbench.spec import Cell
from genbench.text import clean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COUNTS", "Format", "common", "frame", "human", "leaderboard", "part_frame", "render"]

_WORDS = ("kind", "model", "status")  # the other columns are numbers
_ONE_SEED = (
    "Intervals of rows with one training seed are over samples alone: training again moves a "
    "score by more than they say."
)
_WHOLE = ("nfe", "params", "batch", "train_updates", "train_images", "train_data", "train_steps")
_EXACT = 2**53  # below it a float that is a whole number is exactly that
_REASON = 48  # characters of a failure's reason inside the table; the notes have all of it


class _Count(NamedTuple):
    """A column of exact numbers.

    Attributes:
        name: In the frame.
        header: For people; "" for a column that only the frame has.
        of: Where it comes from.
    """

    name: str
    header: str
    of: Callable[[Record], float | None]


def _batch(record: Record) -> float | None:
    """Images in a training step; None for a row that does not train, as its record tells."""
    batch = record.cell.sample.train.config.get("batch")
    return batch if isinstance(batch, int) and record.counters.train_steps else None


COUNTS = (
    _Count("nfe", "NFE", lambda r: r.counters.nfe),
    _Count("ms_per_image", "ms/image", lambda r: r.timings.ms_per_image),
    _Count("params", "params", lambda r: r.counters.params),
    _Count("batch", "batch", _batch),
    _Count("train_updates", "updates", lambda r: r.counters.train_updates),
    _Count("train_images", "image updates", lambda r: r.counters.train_images),
    _Count("train_data", "images of data", lambda r: r.counters.train_data),
    _Count("train_steps", "", lambda r: r.counters.train_steps),
    _Count("train_flops", "train FLOPs", lambda r: r.counters.train_flops),
    _Count("train_seconds", "train s", lambda r: r.timings.train),
)


# --- the frame -----------------------------------------------------------------------------------


def frame(
    records: Sequence[Record],
    order: Sequence[Cell] | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
) -> "pd.DataFrame":
    """The leaderboard as numbers.

    Columns: kind, model, baseline, dataset, task, weights, seeds (how many were asked for),
    seeds_ok, then ID, "ID ci95 low", "ID ci95 high", "ID rank low", "ID rank high" for each metric
    id (places by that metric, see `ranking`, of rows of one dataset and task), then nfe,
    ms_per_image, params, batch, train_updates, train_images, train_data, train_steps, train_flops,
    train_seconds (means over the seeds), ended_by, near_copies (see `copies`), status, reason,
    cells (keys). Missing numbers are NaN.

    Args:
        records: The results; their order does not matter.
        order: The plan: which cells belong to the table and in which order. Cells without a record
            are rows with the status "not run". None takes the cells of all records.
        kinds: Kind by family name, for families of which no record is there yet.
    """
    rows = collect(records, order, kinds or {})
    columns = columns_of(rows)
    shown = {cell.key for row in rows for cell in row.cells}
    rest = left_out(len({record.key for record in records} - shown))
    table = _framed(rows, columns)
    texts = [*_rank_notes(table, rows, columns), *notes(rows, columns, origin(rows)), *rest]
    table.attrs["notes"] = texts
    return table


def part_frame(part: Part) -> "pd.DataFrame":
    """The frame of one of several parts, with the notes that are of it alone."""
    table = _framed(part.rows, part.columns)
    ranked = _rank_notes(table, part.rows, part.columns, short=True)
    table.attrs["notes"] = [*ranked, *notes(part.rows, part.columns)]
    return table


def _framed(rows: Sequence[Row], columns: Sequence[Column]) -> "pd.DataFrame":
    import pandas as pd

    names = [n for c in columns for n in (*_names(c.name), *_rank_names(c.name))]
    head = ["kind", "model", "baseline", "dataset", "task", "weights", "seeds", "seeds_ok"]
    tail = [*(c.name for c in COUNTS), "ended_by", "near_copies", "status", "reason", "cells"]
    table = pd.DataFrame([_numbers(r, columns) for r in rows], columns=[*head, *names, *tail])
    for column in columns:
        places = _places(rows, column)
        low, high = _rank_names(column.name)
        table[low] = pd.array([None if p is None else p.low for p in places], dtype="Int64")
        table[high] = pd.array([None if p is None else p.high for p in places], dtype="Int64")
    for name in _WHOLE:
        counts = table[name].dropna()
        if ((counts % 1 == 0) & (counts < _EXACT)).all():  # counts print as such, not as "469.0"
            table[name] = table[name].astype("Int64")
    marked = near_copies(rows, columns)
    table["near_copies"] = [row.label in marked for row in rows]
    table.attrs["distances"] = [c.name for c in columns if c.spec.name in DISTANCES]
    table.attrs["metrics"] = {c.name: " ".join((c.header, c.arrow)).strip() for c in columns}
    return table


def _rank_notes(
    table: "pd.DataFrame", rows: Sequence[Row], columns: Sequence[Column], short: bool = False
) -> list[Note]:
    """What the places mean, where there are any; `short` where `_common` tells the rest."""
    if not columns or table[_rank_names(columns[0].name)[0]].count() < 2:
        return []
    if short:
        return [(f"rank: by {columns[0].header}.", "")]
    texts = [f"rank: by {columns[0].header}; {NOTE}."]
    if any(row.ranked and len(row.trainings) == 1 for row in rows):
        texts.append(_ONE_SEED)
    return [(text, "") for text in texts]


def common(parts: Sequence[Part], records: Sequence[Record]) -> list[Note]:
    """What is to be said of all tables of a folder together.

    Args:
        parts: Its tables.
        records: Everything that is in the folder.
    """
    rows = [row for part in parts for row in part.rows]
    notes = [(f"rank: {NOTE}.", "")]
    if any(row.ranked and len(row.trainings) == 1 for row in rows):
        notes.append((_ONE_SEED, ""))
    shown = {record.key for part in parts for record in part.records}
    rest = left_out(len({record.key for record in records} - shown))
    return [*notes, *origin(rows), *rest]


def _names(metric: str) -> tuple[str, str, str]:
    return metric, f"{metric} ci95 low", f"{metric} ci95 high"


def _rank_names(metric: str) -> tuple[str, str]:
    return f"{metric} rank low", f"{metric} rank high"


def _places(rows: Sequence[Row], column: Column) -> list[Rank | None]:
    """The places by one metric among rows of one dataset and task."""
    if column.better is None:
        return [None] * len(rows)
    values = [row.score(column.spec) if row.ranked else None for row in rows]
    ends = [None if v is None else interval(v.value, v.ci95) for v in values]
    trains = [row.cells[0].sample.train for row in rows]
    return grouped(ends, [(t.dataset, t.data, t.task) for t in trains], column.better)


def _numbers(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    sample = row.cells[0].sample
    numbers: dict[str, Any] = {
        "kind": row.kind,
        "model": row.label,
        "baseline": clean(sample.train.baseline),
        "dataset": clean(sample.train.dataset),
        "task": clean(sample.train.task),
        "weights": sample.weights,
        "seeds": len(row.cells),
        "seeds_ok": row.ok,
    }
    for column in columns:
        found = row.score(column.spec)
        if found is not None:
            low, high = found.ci95 or (None, None)
            numbers |= zip(_names(column.name), (found.value, low, high), strict=True)
    numbers |= {count.name: row.mean(count.of) for count in COUNTS}
    ended = {r.counters.ended_by for r in row.present if r.counters.ended_by}
    numbers["ended_by"] = clean("+".join(sorted(ended)))
    numbers["status"], numbers["reason"] = _status(row)
    numbers["cells"] = " ".join(cell.key for cell in row.cells)
    return numbers


def _status(row: Row) -> tuple[str, str]:
    """One word for all seeds, and the reason in one line."""
    found = [(r.status, reason(r)) if (r := row.of(c)) else ("not run", "") for c in row.cells]
    words = [status for status, _ in found]
    first = next((why for status, why in found if status != "ok" and why), "")
    if len(set(words)) == 1:
        return words[0], first
    counts = [f"{words.count(w)} {w}" for w in dict.fromkeys(words) if w != "ok"]
    return "partial", ", ".join(counts) + (f": {first}" if first else "")


# --- printed forms -------------------------------------------------------------------------------


def render(frame: "pd.DataFrame", fmt: Format) -> str:
    """A leaderboard as text that ends in a newline.

    "text", "markdown" and "latex" are for people: compact numbers, ± half-width, notes.
    "csv" is the frame: raw numbers, each metric as value and interval ends; words that a
    spreadsheet would run as a formula have an apostrophe before them.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return csv(frame)
    return printed(human(frame), fmt, _WORDS, CAPTION, frame.attrs.get("notes", []))


def leaderboard(
    records: Sequence[Record],
    order: Sequence[Cell] | None,
    fmt: Format,
    *,
    kinds: Mapping[str, str] | None = None,
) -> str:
    """A folder's leaderboard as text: a table for each dataset and task, below each other.

    One table has no heading. "csv" is one frame of all rows, see `frame`.

    Args:
        records: See `frame`.
        order: See `frame`.
        fmt: See `render`.
        kinds: See `frame`.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    parts = split(records, order, kinds)
    if len(parts) < 2 or fmt == "csv":
        return render(frame(records, order, kinds=kinds), fmt)
    said = common(parts, records)
    caption = CAPTION if fmt == "latex" else ""  # a float stands alone
    said = said if caption else [(CAPTION, ""), *said]
    texts = []
    for part in parts:
        table = part_frame(part)
        remarks = table.attrs["notes"]
        texts.append(printed(human(table), fmt, _WORDS, caption, remarks, title=part.title))
    return "\n".join([*texts, listed("All tables", said, fmt)])


def _rank(frame: "pd.DataFrame", metric: str) -> dict[str, list[str]]:
    """The column of places by one metric, where there are two rows to tell apart."""
    import pandas as pd

    low, high = _rank_names(metric)
    if low not in frame or frame[low].count() < 2:
        return {}
    ends = zip(frame[low].array, frame[high].array, strict=True)
    return {"rank": [shown(None if a is pd.NA else Rank(int(a), int(b))) for a, b in ends]}


def _told(frame: "pd.DataFrame") -> list[_Count]:
    """The counts that people are shown: where some are known, those that no row has are not."""
    known = {count.name for count in COUNTS if frame[count.name].notna().any()}
    return [c for c in COUNTS if c.header and (c.name in known or not known)]


def human(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same rows as strings that people read, unescaped."""
    import pandas as pd

    table: dict[str, list[str]] = {}
    shown = [KINDS.get(kind, kind) for kind in frame["kind"]]
    table["kind"] = ["" if i and shown[i - 1] == k else k for i, k in enumerate(shown)]
    table["model"] = list(frame["model"])
    if (frame["seeds"] > 1).any():
        pairs = zip(frame["seeds_ok"], frame["seeds"], strict=True)
        table["seeds"] = [str(n) if ok == n else f"{ok}/{n}" for ok, n in pairs]
    metrics = frame.attrs.get("metrics", {})
    table |= _rank(frame, next(iter(metrics), ""))
    for metric, header in metrics.items():
        triples = zip(*(frame[name] for name in _names(metric)), strict=True)
        table[header] = [measured(v, None if pd.isna(a) else (a, b)) for v, a, b in triples]
        if metric in frame.attrs.get("distances", ()):
            pairs = zip(table[header], frame["near_copies"], strict=True)
            table[header] = [f"{text}, {MARK}" if copied else text for text, copied in pairs]
    for name, header, _ in _told(frame):
        table[header] = [compact(None if pd.isna(v) else float(v)) for v in frame[name]]
    states = zip(frame["status"], frame["reason"], strict=True)
    table["status"] = [f"{s}: {clean(why, _REASON)}" if why else s for s, why in states]
    return pd.DataFrame(table, dtype=object)
