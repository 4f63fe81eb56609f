"""The leaderboard: records and the plan in, a data frame out, and its four printed forms.

The frame holds raw numbers under stable names, one row for each cell but its seeds. What only
people need (headers, notes) lies in `frame.attrs`, so that a frame can be filtered, then printed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from genbench.record import Record
from genbench.report.notes import CAPTION, Note, notes, reason
from genbench.report.rows import KINDS, Column, Row, collect, columns_of
from genbench.report.text import clean, code, compact, latex, markdown, measured
from genbench.spec import Cell, ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Format", "frame", "render"]

Format = Literal["text", "markdown", "csv", "latex"]
_REASON = 48  # characters of a failure's reason inside the table; the notes have all of it


class _Count(NamedTuple):
    """A column of exact numbers: its name in the frame, its header, and where it comes from."""

    name: str
    header: str
    of: Callable[[Record], float | None]


_COUNTS = (
    _Count("nfe", "NFE", lambda r: r.counters.nfe),
    _Count("ms_per_image", "ms/image", lambda r: r.timings.ms_per_image),
    _Count("params", "params", lambda r: r.counters.params),
    _Count("train_images", "train images", lambda r: r.counters.train_images),
    _Count("train_steps", "steps", lambda r: r.counters.train_steps),
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
    seeds_ok, then ID, "ID ci95 low", "ID ci95 high" for each metric id, then nfe, ms_per_image,
    params, train_images, train_steps, train_flops, train_seconds (means over the seeds), ended_by,
    status, reason, cells (keys). Missing numbers are NaN.

    Args:
        records: The results; their order does not matter.
        order: The plan: which cells belong to the table and in which order. Cells without a record
            are rows with the status "not run". None takes the cells of all records.
        kinds: Kind by family name, for families of which no record is there yet.
    """
    import pandas as pd

    rows = collect(records, order, kinds or {})
    columns = columns_of(rows)
    shown = {cell.key for row in rows for cell in row.cells}
    left_out = len({record.key for record in records} - shown)
    names = [n for c in columns for n in _names(c.name)]
    head = ["kind", "model", "baseline", "dataset", "task", "weights", "seeds", "seeds_ok"]
    tail = [*(c.name for c in _COUNTS), "ended_by", "status", "reason", "cells"]
    table = pd.DataFrame([_numbers(r, columns) for r in rows], columns=[*head, *names, *tail])
    for name in ("nfe", "params", "train_images", "train_steps"):
        if (table[name].dropna() % 1 == 0).all():  # counts print as counts, not as "469.0"
            table[name] = table[name].astype("Int64")
    table.attrs = {
        "metrics": {c.name: " ".join((c.header, c.arrow)).strip() for c in columns},
        "notes": notes(rows, columns, left_out),
    }
    return table


def _names(metric: str) -> tuple[str, str, str]:
    return metric, f"{metric} ci95 low", f"{metric} ci95 high"


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
    numbers |= {count.name: row.mean(count.of) for count in _COUNTS}
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
    "csv" is the frame: raw numbers, each metric as value and interval ends.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    writers = {"text": _text, "markdown": _markdown, "latex": _latex}
    if fmt not in writers:
        raise ConfigError(f"report: no format {fmt!r}; {nearest(fmt, get_args(Format))}")
    return writers[fmt](_human(frame), frame.attrs.get("notes", []))


def _human(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same rows as strings that people read, unescaped."""
    import pandas as pd

    table: dict[str, list[str]] = {}
    shown = [KINDS.get(kind, kind) for kind in frame["kind"]]
    table["kind"] = ["" if i and shown[i - 1] == k else k for i, k in enumerate(shown)]
    table["model"] = list(frame["model"])
    if (frame["seeds"] > 1).any():
        pairs = zip(frame["seeds_ok"], frame["seeds"], strict=True)
        table["seeds"] = [str(n) if ok == n else f"{ok}/{n}" for ok, n in pairs]
    for metric, header in frame.attrs.get("metrics", {}).items():
        triples = zip(*(frame[name] for name in _names(metric)), strict=True)
        table[header] = [measured(v, None if pd.isna(a) else (a, b)) for v, a, b in triples]
    for name, header, _ in _COUNTS:
        table[header] = [compact(None if pd.isna(v) else float(v)) for v in frame[name]]
    states = zip(frame["status"], frame["reason"], strict=True)
    table["status"] = [f"{s}: {clean(why, _REASON)}" if why else s for s, why in states]
    return pd.DataFrame(table, dtype=object)


def _escaped(table: "pd.DataFrame", escape: Callable[[str], str]) -> "pd.DataFrame":
    return table.map(escape).rename(columns=escape)


def _left(table: "pd.DataFrame") -> list[bool]:
    """Which columns are words (left aligned); the others are numbers."""
    return [name in ("kind", "model", "status") for name in table.columns]


def _text(table: "pd.DataFrame", remarks: Sequence[Note]) -> str:
    if table.empty:
        return "No cells.\n"
    for name, left in zip(list(table.columns), _left(table), strict=True):
        if left:  # to_string aligns to the right: pad words, headers too
            width = max(len(name), *table[name].str.len())
            table[name] = table[name].str.ljust(width)
            table = table.rename(columns={name: name.ljust(width)})
    lines = [line.rstrip() for line in table.to_string(index=False, max_colwidth=None).split("\n")]
    lines += ["", CAPTION, *(" ".join(note).strip() for note in remarks)]
    return "\n".join(lines) + "\n"


def _markdown(table: "pd.DataFrame", remarks: Sequence[Note]) -> str:
    if table.empty:
        return "No cells.\n"
    align = ["left" if left else "right" for left in _left(table)]
    body = _escaped(table, markdown)
    # Without disable_numparse tabulate would rewrite numbers, and "1e5" as a name too.
    lines = [body.to_markdown(index=False, disable_numparse=True, colalign=align), "", CAPTION, ""]
    for text, command in remarks:
        lines.append(f"- {markdown(text)}" + (f" {code(command)}" if command else ""))
    return "\n".join(lines).rstrip("\n") + "\n"


def _latex(table: "pd.DataFrame", remarks: Sequence[Note]) -> str:
    align = "".join("l" if left else "r" for left in _left(table))
    body = _escaped(table, latex).style.hide(axis="index")
    caption = latex(CAPTION)
    tabular = body.to_latex(
        hrules=True, column_format=align, position_float="centering", caption=caption
    )
    # Comments need no escaping, only one line each; `clean` made every note one line.
    comments = [f"% {' '.join(note).strip()}" for note in remarks]
    return "\n".join(["% Needs \\usepackage{booktabs}.", *comments, tabular.rstrip("\n")]) + "\n"
