"""What stands below a table: what each number means, on what it was measured, and what failed."""

from collections import Counter
from collections.abc import Iterable, Sequence

from genbench.record import Environment, Record
from genbench.report.copies import near_copies
from genbench.report.rows import Column, Row
from genbench.spec import Cell
from genbench.text import clean

__all__ = ["CAPTION", "Note", "cells", "left_out", "machine", "notes", "origin", "reason"]

CAPTION = "± is half the width of the 95 % interval; ↓ lower is better, ↑ higher is better."

Note = tuple[str, str]  # a sentence, and the command that belongs to it or ""


def notes(
    rows: Sequence[Row], columns: Sequence[Column], between: Sequence[Note] = ()
) -> list[Note]:
    """What metrics and budgets of a table are, `between`, and what failed; each on one line."""
    lines: list[Note] = [(_metric(column, rows), "") for column in columns]
    lines += [(clean(text), "") for text in (*_budgets(rows), *_rising(rows))]
    lines += between
    lines += [(text, "") for text in near_copies(rows, columns).values()]
    lines += [failure for row in rows for failure in _failures(row)]
    lines += [(text, "") for text in _warnings(rows)]
    missing = sum(len(row.cells) - len(row.present) for row in rows)
    if missing:
        lines.append((f"Not run: {cells(missing)} of the plan.", ""))
    return lines


def origin(rows: Sequence[Row]) -> list[Note]:
    """On which data and machines rows were measured."""
    present = [record for row in rows for record in row.present]
    return [(clean(text), "") for text in (*_data(present), *_machines(present))]


def left_out(count: int) -> list[Note]:
    """That there are results of `count` cells that belong to no table; none for 0."""
    text = f"Left out: {cells(count)} of earlier runs that the last plan does not have."
    return [(text, "")] if count else []


def reason(record: Record) -> str:
    """Why a record has no scores, in one line; empty for a record that is well."""
    error = record.error
    if error is None:
        return ""
    head, message = f"{error.stage}: {error.type}", clean(error.message)
    return clean(f"{head}: {message}" if message else head)


def _metric(column: Column, rows: Sequence[Row]) -> str:
    text = f"{column.header} is {column.name}"
    if column.spec.weights:
        text += f", weights sha256 {column.spec.weights[:12]}"
    values = (row.score(column.spec) for row in rows)
    methods = dict.fromkeys(v.method for v in values if v is not None and v.ci95 and v.method)
    return clean(f"{text}; interval: {' or '.join(methods)}." if methods else f"{text}.")


_TWICE = (
    "every update counts its images, so a GAN's two updates count twice and it sees half as many "
    "images of data"
)


def _budgets(rows: Sequence[Row]) -> list[str]:
    """Each budget that rows have, in words."""
    budgets = dict.fromkeys(cell.sample.train.budget for row in rows for cell in row.cells)
    return [
        f"Budget: {budget.words}{f' ({_TWICE})' if budget.images else ''}."
        for budget in budgets
        if budget.limits
    ]


def _rising(rows: Sequence[Row]) -> list[str]:
    """Rows whose warm-up was longer than their training."""
    found = []
    for row in rows:
        warmup = row.cells[0].sample.train.config.get("warmup") or 0
        images = row.mean(lambda record: record.counters.train_images)
        if isinstance(warmup, int) and images and warmup > images:
            found.append(
                f"{row.label}: its learning rate was rising to the end, as the warm-up of "
                f"{warmup:,} images is longer than the training of {images:,.0f}."
            )
    return found


def _data(present: Iterable[Record]) -> list[str]:
    """What each dataset says of itself, once for every different answer."""
    texts = []
    for record in present:
        if record.data:
            said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in record.data.items())
            texts.append(f"Data {record.cell.sample.train.dataset}: {said}.")
    return list(dict.fromkeys(texts))


def _machines(present: Iterable[Record]) -> list[str]:
    """Machines and versions; how many cells each ran where there are several."""
    counts = Counter(machine(r.environment) for r in present if r.environment != Environment())
    several = len(counts) > 1
    return [
        f"Machine: {text}{f' ({cells(count)})' if several else ''}."
        for text, count in sorted(counts.items())
    ]


def machine(environment: Environment) -> str:
    """Processor, device, threads, torch and commit, in one line."""
    facts = environment.machine
    parts = [str(facts[name]) for name in ("processor", "cpu") if name in facts][:1]
    if "cores" in facts:
        parts.append(f"{facts['cores']} cores")
    if environment.device not in ("", "cpu"):
        parts.append(environment.device)
    if environment.threads:
        parts.append(f"{environment.threads} thread{'s' if environment.threads > 1 else ''}")
    if torch := environment.packages.get("torch"):
        parts.append(f"torch {torch}")
    if environment.commit:
        changed = " with uncommitted changes" if environment.dirty else ""
        parts.append(f"commit {environment.commit[:12]}{changed}")
    return ", ".join(parts)


def _failures(row: Row) -> list[Note]:
    found = []
    for cell in row.cells:
        record = row.of(cell)
        if record is None or (record.status == "ok" and record.error is None):
            continue
        why = reason(record)
        text = f"{row.label}, {_seed(cell)}, {record.status}{f' in {why}' if why else ''}"
        rerun = clean(record.error.rerun) if record.error else ""
        found.append((f"{text}. Rerun:" if rerun else f"{text}.", rerun))
    return found


def _warnings(rows: Sequence[Row]) -> list[str]:
    """What was noticed while rows were made, each once."""
    found = (f"{row.label}: {text}." for row in rows for r in row.present for text in r.warnings)
    return [clean(text) for text in dict.fromkeys(found)]


def _seed(cell: Cell) -> str:
    train, sample = cell.sample.train.seed, cell.sample.seed
    return f"seed {train}" + (f", sampling seed {sample}" if sample != train else "")


def cells(count: int) -> str:
    """`1 cell`, `2 cells`."""
    return f"{count} cell{'s' if count > 1 else ''}"
