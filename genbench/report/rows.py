"""From cells and records to the rows and columns of a table: who belongs together, and its name.

Cells that differ only in their seeds are one row. A metric has a column of its own for everything
that changes its value.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genbench import differences, registry
from genbench.own_code import code_of
from genbench.record import Record
from genbench.report.ranking import Direction
from genbench.report.text import natural
from genbench.spec import Cell, MetricSpec, canonical_json, content_key
from genbench.stats import mean_interval
from genbench.text import clean

__all__ = ["KINDS", "Column", "Row", "Value", "collect", "columns_of", "header", "named_as"]

KINDS = {"gan": "GAN"}  # names for people; other kinds print as they are
_FIRST = ("gan", "autoencoder", "diffusion")
_ARROWS: dict[Direction, str] = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Value:
    """A number of a row: of one cell, or the mean over the seeds."""

    value: float
    ci95: tuple[float, float] | None
    method: str


@dataclass(frozen=True)
class Column:
    """One metric: equal columns have an equal protocol, so their values may be compared.

    Attributes:
        header: For people; "FID" is inception features only, other networks are named.
        name: For machines: the metric's id, with its weights where ids alone are ambiguous.
    """

    spec: MetricSpec
    header: str
    name: str

    @property
    def arrow(self) -> str:
        """The better direction; nothing where there is none, or this version lacks the metric."""
        return _describe(self.spec)[1]

    @property
    def better(self) -> Direction | None:
        """The better direction in a word; None where `arrow` is empty."""
        return next((word for word, arrow in _ARROWS.items() if arrow == self.arrow), None)


@dataclass(frozen=True)
class Row:
    """Cells that differ only in their seeds, with the records that exist.

    Attributes:
        label: Its name, no two of a table equal; the defining settings of its family stand in it.
        plain: The name without those, no two equal either.
    """

    label: str
    kind: str
    cells: tuple[Cell, ...]
    records: Mapping[str, Record]
    plain: str = ""

    def of(self, cell: Cell) -> Record | None:
        """The record of one of the row's cells."""
        return self.records.get(cell.key)

    @property
    def present(self) -> list[Record]:
        """The records that exist, in the order of the cells."""
        return [self.records[c.key] for c in self.cells if c.key in self.records]

    @property
    def ok(self) -> int:
        """How many cells ran to their end."""
        return sum(record.status == "ok" for record in self.present)

    @property
    def trainings(self) -> set[int]:
        """The training seeds."""
        return {cell.sample.train.seed for cell in self.cells}

    @property
    def ranked(self) -> bool:
        """Whether the row has a place among others: every cell ran, and it is no reference."""
        return self.kind != "reference" and self.ok == len(self.cells)

    def mean(self, field: Callable[[Record], float | None]) -> float | None:
        """Mean of a counter or timing over the seeds that have it."""
        values = [v for v in map(field, self.present) if v is not None]
        return sum(values) / len(values) if values else None

    def trained(self, spec: MetricSpec) -> dict[int, float]:
        """The metric by training seed: the mean over the sampling seeds that have it."""
        trainings: dict[int, list[float]] = {}
        for record in self.present:
            if _scored(record, spec):
                seed = record.cell.sample.train.seed
                trainings.setdefault(seed, []).append(record.scores[spec.id].value)
        return {seed: sum(values) / len(values) for seed, values in trainings.items()}

    def score(self, spec: MetricSpec) -> Value | None:
        """The metric over the seeds that have it.

        With several training seeds, sampling seeds of one training are averaged first: they share
        its weights, so only trainings are independent.
        """
        found = [(r, r.scores[spec.id]) for r in self.present if _scored(r, spec)]
        if not found:
            return None
        if len(found) == 1:
            score = found[0][1]
            return Value(score.value, score.ci95, score.method)
        means = list(self.trained(spec).values())
        what = "training" if len(means) > 1 else "sampling"
        values = means if len(means) > 1 else [score.value for _, score in found]
        mean, _, interval = mean_interval(values)
        return Value(mean, interval, f"Student t over {len(values)} {what} seeds")


def _scored(record: Record, spec: MetricSpec) -> bool:
    return spec in record.cell.metrics and spec.id in record.scores


def collect(
    records: Sequence[Record], order: Sequence[Cell] | None, kinds: Mapping[str, str]
) -> list[Row]:
    """The rows of a table, grouped by kind, in plan order inside a group.

    Args:
        records: What is known; records of cells that are not in `order` are left out.
        order: The plan; None takes the cells of all records, sorted by name.
        kinds: Kind by family name, for cells without a record that tells it.
    """
    known = {record.key: record for record in records}
    kinds = {**kinds, **{r.cell.sample.train.baseline: r.kind for r in records if r.kind}}
    cells = list(dict.fromkeys(_sorted(known) if order is None else (c.key for c in order)))
    by_key = {r.key: r.cell for r in records} | {c.key: c for c in order or ()}
    groups: dict[str, list[Cell]] = {}
    for key in cells:
        groups.setdefault(canonical_json(facts(by_key[key])), []).append(by_key[key])
    members = [one for group in groups.values() for one in _of_one_code(group, known)]
    first = [group[0] for group in members]
    codes = [_code(group, known) for group in members]
    names = zip(_labels(first, codes), _labels(first, codes, defining=False), strict=True)
    rows = []
    for (label, plain), group in zip(names, members, strict=True):
        kind = clean(kinds.get(group[0].sample.train.baseline, "")) or "other"
        mine = {c.key: known[c.key] for c in group if c.key in known}
        rows.append(Row(label, kind, tuple(group), mine, plain))
    return sorted(rows, key=lambda row: _rank(row.kind))  # stable: the plan's order inside


def _of_one_code(group: Sequence[Cell], known: Mapping[str, Record]) -> list[list[Cell]]:
    """The cells of a row, apart where genbench's own code changed between them: never averaged.

    Cells without a result stay with the first ones.
    """
    apart: dict[str, list[Cell]] = {}
    for cell in group:
        record = known.get(cell.key)
        if record is not None and record.status == "ok":
            apart.setdefault(code_of(record.code), [])
    if len(apart) < 2:
        return [list(group)]
    first = next(iter(apart))
    for cell in group:
        record = known.get(cell.key)
        ok = record is not None and record.status == "ok"
        apart[code_of(record.code) if record is not None and ok else first].append(cell)
    return list(apart.values())


def _code(group: Sequence[Cell], known: Mapping[str, Record]) -> str:
    """The code that made the cells of a row; empty where none of them says."""
    codes = (code_of(known[c.key].code) for c in group if c.key in known)
    return next((code for code in codes if code), "")


def named_as(rows: Sequence[Row], names: Iterable[str]) -> list[Row]:
    """The rows under the names that an earlier table or bank has for them.

    A family whose defining settings were not in its labels then, or that had no such settings, is
    found by its plain name.
    """
    known = set(names)
    taken = {row.label for row in rows}
    return [
        replace(row, label=row.plain)
        if row.label not in known and row.plain in known - taken
        else row
        for row in rows
    ]


def _rank(kind: str) -> tuple[int, str]:
    if kind in _FIRST:
        return _FIRST.index(kind), ""
    return (len(_FIRST) + (kind == "reference"), kind)


def _sorted(known: Mapping[str, Record]) -> list[str]:
    def place(record: Record) -> tuple[Any, ...]:
        sample = record.cell.sample
        name = natural(f"{sample.train.dataset} {_compose(*_base(record.cell, False), '')}")
        return name, sample.train.seed, sample.seed, record.key

    return [record.key for record in sorted(known.values(), key=place)]


# --- names of rows -------------------------------------------------------------------------------


def facts(cell: Cell) -> dict[str, Any]:
    """Everything in a cell but its seeds, flat: `{"config.lr": 0.001, "n": 360, ...}`."""
    dump = cell.model_dump(mode="json")
    del dump["sample"]["seed"], dump["sample"]["train"]["seed"]
    return {
        path.removeprefix("sample.").removeprefix("train."): value
        for path, value in differences.flat(dump).items()
    }


def _defining(cell: Cell) -> dict[str, Any]:
    """The defining settings and options of the family that the cell has, by their place in it."""
    sample, found = cell.sample, dict[str, Any]()
    for name in registry.defining(sample.train.baseline):
        for place, given in (("config", sample.train.config), ("options", sample.options)):
            if name in given:
                found[f"{place}.{name}"] = given[name]
    return found


def _base(cell: Cell, defining: bool) -> tuple[str, list[str]]:
    """The family's name and what always stands in the brackets behind it."""
    choices = [_choice(*fact) for fact in _defining(cell).items()] if defining else []
    options = cell.sample.options
    sampler, steps, eta = (options.get(name) for name in ("sampler", "steps", "eta"))
    if sampler is not None:
        parts = [f"{sampler}-{steps}" if steps is not None else str(sampler)]
    else:
        parts = [f"{steps} steps"] if steps is not None else []
    parts += [f"eta={_show(eta)}"] if eta else []
    return cell.sample.train.baseline, choices + parts


def _compose(baseline: str, parts: Iterable[str], dataset: str) -> str:
    inside = ", ".join(parts)
    label = f"{baseline} ({inside})" if inside else baseline
    return clean(f"{label} on {dataset}" if dataset else label)


def _labels(cells: Sequence[Cell], codes: Sequence[str], defining: bool = True) -> list[str]:
    """A name for each row, no two equal: rows that would read the same show what differs."""
    trains = [cell.sample.train for cell in cells]
    several = len({train.dataset for train in trains}) > 1
    on = [train.dataset if several else "" for train in trains]
    base = [_base(cell, defining) for cell in cells]
    said = [_defining(cell) if defining else {} for cell in cells]
    if len({train.task for train in trains}) > 1:
        base = [(b, [t.task, *parts]) for (b, parts), t in zip(base, trains, strict=True)]
    labels = [_compose(*b, o) for b, o in zip(base, on, strict=True)]
    for same in _repeated(labels):
        flat = [facts(cells[i]) | {"code": codes[i]} for i in same]
        names = [n for n in dict.fromkeys(n for f in flat for n in f) if _differ(n, flat)]
        for i, fact in zip(same, flat, strict=True):
            told = [
                name
                for name in names
                if name not in said[i] and not _no_limit(name, fact.get(name))
            ]
            parts = base[i][1] + [_fact(name, fact.get(name)) for name in told]
            labels[i] = _compose(base[i][0], parts, on[i])
    for same in _repeated(labels):
        for i in same:  # e.g. options that differ beyond the digits that are shown
            labels[i] += f" #{content_key(facts(cells[i]))[:6]}"
    return labels


def _repeated(labels: Sequence[str]) -> list[list[int]]:
    places: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        places.setdefault(label, []).append(i)
    return [same for same in places.values() if len(same) > 1]


def _differ(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    return len({canonical_json(f.get(name)) for f in flat}) > 1


def _no_limit(name: str, value: Any) -> bool:
    """Whether it is a limit that a budget does not have: the one that it has says enough."""
    return name.startswith("budget.") and value is None


def _choice(path: str, value: Any) -> str:
    """A defining setting: a word speaks for itself, a switch is its name, a number needs one."""
    name = path.partition(".")[2]
    if value == "none" or isinstance(value, bool):
        return name if value is True else f"no {name}"
    return value if isinstance(value, str) else _fact(path, value)


def _fact(name: str, value: Any) -> str:
    if name in ("weights", "task"):
        return str(value)
    if name == "code":
        return f"code {str(value)[:8]}" if value else "unknown code"
    if name == "version":
        return f"version {str(value)[:8]}"
    if name == "metrics":
        return "metrics " + "+".join(m["name"] for m in value)
    short = name.removeprefix("config.").removeprefix("options.")
    return f"{short}={_show(value)}"


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


# --- columns -------------------------------------------------------------------------------------


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """A column for every metric that a row has or was to have, in the order of the cells."""
    specs = list(dict.fromkeys(m for row in rows for cell in row.cells for m in cell.metrics))
    extra: list[list[str]] = [[] for _ in specs]
    for same in _repeated([_header(spec, ()) for spec in specs]):
        for what in ("protocol", "reference", "n", "weights"):
            if len({getattr(specs[i], what) for i in same}) > 1:
                for i in same:
                    extra[i].append(_part(specs[i], what))
    names = [spec.id for spec in specs]
    for same in _repeated(names):
        for i in same:  # an id does not hold the weights
            names[i] += f"/weights:{specs[i].weights[:12] or 'none'}"
    headers = [clean(_header(spec, more)) for spec, more in zip(specs, extra, strict=True)]
    for same in _repeated(headers):
        for i in same:  # e.g. "fd" and "fid" of one network
            headers[i] = f"{headers[i]} {names[i]}"
    found = zip(specs, headers, names, strict=True)
    return [Column(spec, clean(header), clean(name)) for spec, header, name in found]


def header(spec: MetricSpec) -> str:
    """The head of a metric's column where nothing has to tell it from others."""
    return clean(_header(spec, ()))


def _describe(spec: MetricSpec) -> tuple[str, str]:
    """Label and arrow of a metric."""
    from genbench import metrics  # a scan of many modules, which only tables need

    if spec.name not in metrics.groups():
        return spec.name, ""
    metric = metrics.find(spec.name)
    return metric.label, "" if metric.direction == "none" else _ARROWS[metric.direction]


def _parts(spec: MetricSpec) -> tuple[str, list[str]]:
    """The short name, and the network where the short name does not imply it."""
    name, _ = _describe(spec)
    if spec.extractor == "inception":
        return ("FID" if name == "FD" else name), []
    return name, [spec.extractor]


def _header(spec: MetricSpec, more: Iterable[str]) -> str:
    name, inside = _parts(spec)
    inside = [*inside, *(part for part in more if part)]
    return f"{name} ({', '.join(inside)})" if inside else name


def _part(spec: MetricSpec, what: str) -> str:
    if what == "n":
        return f"n={spec.n}"
    if what == "weights":
        return f"weights {spec.weights[:8] or 'none'}"
    return str(getattr(spec, what)) or f"no {what}"
