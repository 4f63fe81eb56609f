"""Measured rows beside published ones: side by side, never ranked together.

A published figure stands in a column of its own metric. A measured one stands there too only if
it is that metric: a Frechet distance in another network's features is no FID and gets another
column.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genbench.record import Record
from genbench.report import literature
from genbench.report.forms import Format, csv, printed
from genbench.report.literature import METRICS, UNKNOWN
from genbench.report.notes import Note
from genbench.report.rows import Row, Value, collect, columns_of
from genbench.report.text import DASH, compact, measured
from genbench.spec import LIMITS, Cell, MetricSpec
from genbench.text import clean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Beside", "as_json", "beside", "frame", "render"]

_CAPTION = (
    "Published figures as their sources print them; they have no places, as hardly two share a "
    "protocol."
)
_INCEPTION = {"fd": "fid", "fid": "fid", "is": "is", "kid": "kid"}
_WORDS = ("family", "model", "variant", "protocol", "differs in", "source")
_OF_A_FIGURE = ("metric", "value", "spread", "printed", "note")
_HEAD = ("from", "family", "kind", "model", "variant", "steps")


@dataclass(frozen=True)
class Line:
    """One row: a measured one, or figures of one source with one protocol.

    Attributes:
        values: By column: a name of `METRICS`, or a measured metric's id.
        printed: The published ones with their source's digits.
        protocol: What the source tells, in words.
        differs: Where that is not what was measured.
    """

    measured: bool
    family: str
    kind: str
    model: str
    variant: str
    steps: float
    values: Mapping[str, Value]
    printed: Mapping[str, str]
    protocol: str
    differs: str
    source: str
    note: str


@dataclass(frozen=True)
class Beside:
    """The lines of a dataset, grouped by family; `headers` by column."""

    dataset: str
    lines: tuple[Line, ...]
    headers: Mapping[str, str]

    @property
    def compared(self) -> bool:
        """Whether there are measured rows."""
        return any(line.measured for line in self.lines)


def beside(
    dataset: str,
    records: Sequence[Record] = (),
    order: Sequence[Cell] | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
) -> Beside:
    """The published figures of a dataset, and the measured rows of it.

    Args:
        dataset: As in `literature.datasets()`; measured rows of another size of it belong to it.
        records: Results, of any dataset.
        order: Their plan.
        kinds: See `rows.collect`.

    Raises:
        ConfigError: For a dataset of which nothing is published.
    """
    table = literature.figures(dataset)
    rows = [r for r in collect(records, order, kinds or {}) if _is(r, dataset) and r.present]
    columns = columns_of(rows)
    names = {c.spec: _column(c.spec) for c in columns}
    mine = [_measured(row, names) for row in rows]
    shown = set(table["metric"]) | {n for n in names.values() if n in METRICS}
    headers = {name: header for name, header in METRICS.items() if name in shown}
    headers |= {
        names[c.spec]: " ".join((c.header, c.arrow)).strip()
        for c in columns
        if names[c.spec] not in METRICS
    }
    lines = sorted([*mine, *_published(table, rows)], key=lambda line: line.family)  # stable
    known = {line.family for line in mine}
    lines.sort(key=lambda line: (line.family not in known, line.family, not line.measured))
    return Beside(dataset, tuple(lines), headers)


def _is(row: Row, dataset: str) -> bool:
    mine = row.cells[0].sample.train.dataset
    return mine == dataset or mine.partition("@")[0] == dataset


def _column(spec: MetricSpec) -> str:
    """Where a measured metric stands: with the published ones only if it is the same thing."""
    if spec.extractor == "inception" and not spec.options and spec.name in _INCEPTION:
        return _INCEPTION[spec.name]
    return clean(spec.id)


# --- measured ------------------------------------------------------------------------------------


def _measured(row: Row, names: Mapping[MetricSpec, str]) -> Line:
    sample = row.cells[0].sample
    found = {name: v for spec, name in names.items() if (v := row.score(spec)) is not None}
    steps = sample.options.get("steps")
    facts = [f"{sample.n:,} images", f"weights {sample.weights}", "last checkpoint"]
    facts += [f"against {r}" for r in sorted(_references(row))]
    limits = sample.train.budget.limits
    facts += [f"trained for {compact(v)} {LIMITS[k]}" for k, v in limits.items()]
    return Line(
        measured=True,
        family=clean(sample.train.baseline),
        kind=row.kind,
        model=row.label,
        variant="",
        steps=float(steps) if isinstance(steps, int) else math.nan,
        values=found,
        printed={},
        protocol=clean("; ".join(facts)),
        differs="",
        source="measured",
        note="" if row.ok == len(row.cells) else f"{row.ok} of {len(row.cells)} cells",
    )


def _references(row: Row) -> set[str]:
    specs = (m for cell in row.cells for m in cell.metrics)
    return {m.compared[1] for m in specs if m.reference}


# --- published -----------------------------------------------------------------------------------


def _published(table: "pd.DataFrame", rows: Sequence[Row]) -> list[Line]:
    """A line for all figures of one source and one protocol."""
    shared = [str(c) for c in table.columns if c not in _OF_A_FIGURE]
    parts: dict[tuple[str, ...], list[dict[Any, Any]]] = {}
    for figure in table.to_dict("records"):
        parts.setdefault(tuple(str(figure[name]) for name in shared), []).append(figure)
    return [_line(group, rows) for part in parts.values() for group in _rounds(part)]


def _rounds(figures: list[dict[Any, Any]]) -> list[list[dict[Any, Any]]]:
    """Figures of one protocol; one line cannot hold two figures of one metric."""
    rounds: list[list[dict[Any, Any]]] = []
    for figure in figures:
        free = (r for r in rounds if all(figure["metric"] != other["metric"] for other in r))
        target = next(free, None)
        if target is None:
            rounds.append([figure])
        else:
            target.append(figure)
    return rounds


def _line(figures: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> Line:
    first = figures[0]
    values = {}
    for figure in figures:
        value, spread = float(figure["value"]), float(figure["spread"])
        ends = None if math.isnan(spread) else (value - spread, value + spread)
        values[figure["metric"]] = Value(value, ends, "as printed")
    own = [r for r in rows if r.cells[0].sample.train.baseline == first["family"]]
    notes = dict.fromkeys(str(f["note"]) for f in figures if f["note"])
    return Line(
        measured=False,
        family=first["family"] or first["model"].lower(),
        kind=first["kind"],
        model=first["model"],
        variant=first["variant"],
        steps=float(first["steps"]),
        values=values,
        printed={figure["metric"]: figure["printed"] for figure in figures},
        protocol=_protocol(first),
        differs=_differs(first, (own or rows)[0]) if rows else "",
        source=first["source"],
        note="; ".join(notes),
    )


def _protocol(figure: Mapping[str, Any]) -> str:
    facts = [] if math.isnan(figure["n_fake"]) else [f"{figure['n_fake']:,.0f} images"]
    facts += [f"against {figure['reference']}"] if figure["reference"] != UNKNOWN else []
    facts += [f"weights {figure['weights']}"] if figure["weights"] != UNKNOWN else []
    facts += [f"{figure['checkpoint']} checkpoint"] if figure["checkpoint"] != UNKNOWN else []
    facts += [f"scored by {figure['evaluator']}"] if figure["evaluator"] else []
    facts += [f"{figure['resize']} resizing"] if figure["resize"] else []
    facts += [f"trained for {figure['training']}"] if figure["training"] else []
    return "; ".join(facts) or "not told"


def _differs(figure: Mapping[str, Any], row: Row) -> str:
    """How a figure's protocol differs from a measured row's, and what nobody knows."""
    sample = row.cells[0].sample
    told, silent = [], []
    pairs = (
        ("reference split", figure["reference"], _one(_references(row))),
        ("weights", figure["weights"], sample.weights),
        ("checkpoint", figure["checkpoint"], "last"),
    )
    for what, theirs, ours in pairs:
        if theirs == UNKNOWN:
            silent.append(what)
        elif ours and theirs != ours:
            told.append(f"{what} {theirs}, here {ours}")
    if math.isnan(figure["n_fake"]):
        silent.append("number of images")
    elif figure["n_fake"] != sample.n:
        told.append(f"{figure['n_fake']:,.0f} images, here {sample.n:,}")
    if figure["evaluator"] and figure["evaluator"] not in ("torch-fidelity", "inception (TF)"):
        told.append(f"scored by {figure['evaluator']}, another program")
    told += _network(row)
    told += [f"{figure['resize']} resizing"] if figure["resize"] == "clean" else []
    size = sample.train.dataset.partition("@")[2]
    if size and not figure["dataset"].endswith(f"@{size}"):
        told.append(f"the dataset's own size, here {size}")
    ours = ", ".join(f"{compact(v)} {LIMITS[k]}" for k, v in sample.train.budget.limits.items())
    if figure["training"] and ours:
        told.append(f"trained for {figure['training']}, here {ours}")
    else:
        silent.append("training budget")
    return clean("; ".join([*told, *([f"unknown: {', '.join(silent)}"] if silent else [])]))


def _one(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""


def _network(row: Row) -> list[str]:
    """The network, where none of the row's metrics is inception's: then no value compares."""
    networks = {m.extractor for cell in row.cells for m in cell.metrics}
    if not networks or "inception" in networks:
        return []
    return [f"network: inception, here {', '.join(sorted(networks))}: values do not compare"]


# --- printed forms -------------------------------------------------------------------------------


def frame(found: Beside) -> "pd.DataFrame":
    """Raw values, a row for each line.

    Columns: from ("measured" or "published"), family, kind, model, variant, steps, then NAME,
    "NAME low", "NAME high" for each metric (a measured 95 % interval, or the ± that a source
    prints), protocol, "differs in", source, note.
    """
    import pandas as pd

    rows = []
    for line in found.lines:
        origin = "measured" if line.measured else "published"
        head = (origin, line.family, line.kind, line.model, line.variant, line.steps)
        row: dict[str, Any] = dict(zip(_HEAD, head, strict=True))
        for name in found.headers:
            value = line.values.get(name)
            low, high = (None, None) if value is None or value.ci95 is None else value.ci95
            row |= {name: value and value.value, f"{name} low": low, f"{name} high": high}
        row |= {"protocol": line.protocol, "differs in": line.differs}
        rows.append(row | {"source": line.source, "note": line.note})
    table = pd.DataFrame(rows)
    names = [n for m in found.headers for n in (m, f"{m} low", f"{m} high")]
    return table.astype(dict.fromkeys(names, "float64"))


def render(found: Beside, fmt: Format) -> str:
    """The table as text that ends in a newline.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return csv(frame(found))
    return printed(_human(found), fmt, _WORDS, _CAPTION, _notes(found))


def as_json(found: Beside) -> list[dict[str, Any]]:
    """The lines for machines: the columns of `frame`, with null for what is missing."""
    table = frame(found).astype(object)
    return [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def _human(found: Beside) -> "pd.DataFrame":
    import pandas as pd

    lines = found.lines
    families = [line.family for line in lines]
    table = {
        "family": ["" if i and families[i - 1] == f else f for i, f in enumerate(families)],
        "model": [("* " if line.measured else "") + line.model for line in lines],
        "variant": [line.variant for line in lines],
        "steps": [DASH if math.isnan(line.steps) else f"{line.steps:.0f}" for line in lines],
    }
    for name, header in found.headers.items():
        table[header] = [_shown(line, name) for line in lines]
    table["protocol"] = [line.protocol for line in lines]
    if found.compared:
        table["differs in"] = [line.differs for line in lines]
    table["source"] = [line.source for line in lines]
    return pd.DataFrame(table, dtype=object)


def _shown(line: Line, name: str) -> str:
    value = line.values.get(name)
    if value is None:
        return DASH
    return measured(value.value, value.ci95) if line.measured else line.printed[name]


def _notes(found: Beside) -> list[Note]:
    texts = [f"Dataset {found.dataset}; ± of a published figure is whatever its source means."]
    if found.compared:
        texts.append(
            "* is measured here, ± is half its 95 % interval; every other row is published. "
            '"differs in" compares a published row with the measured one of its family, else with '
            "the first."
        )
    doubts: dict[str, list[str]] = {}
    for line in found.lines:
        if line.note:
            doubts.setdefault(line.note, []).append(line.model)
    texts += [f"{', '.join(dict.fromkeys(m))}: {note}." for note, m in doubts.items()]
    return [(clean(text), "") for text in texts]
