"""From a results folder to what can be compared: rows of the bank, and rows that the bank has.

Rows find each other by their label in the table, so a row that was renamed is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genbench import differences, metrics
from genbench.gate.bank import COUNTERS, Bank, BankRow, Known, mixed
from genbench.gate.rule import Direction
from genbench.record import Record, Timings
from genbench.report.notes import reason
from genbench.report.rows import Row, collect, named_as
from genbench.spec import Cell, ConfigError, MetricSpec
from genbench.store import Store
from genbench.text import clean

__all__ = [
    "Pair",
    "by_label",
    "changed",
    "counters",
    "extractor",
    "harvest",
    "incomplete",
    "pair",
    "protocol",
    "rows_of",
]


@dataclass(frozen=True)
class Pair:
    """A metric of a row, in the bank and now.

    Attributes:
        id: The metric's id in the bank.
        values: The new ones, by training seed.
        differ: What makes the two incomparable, in words; empty where they are comparable.
    """

    id: str
    known: Known
    values: Mapping[int, float]
    differ: tuple[str, ...] = ()

    @property
    def mean(self) -> float | None:
        """Arithmetic mean of the new values."""
        return sum(self.values.values()) / len(self.values) if self.values else None


def rows_of(store: Store, bank: Bank | None = None) -> list[Row]:
    """The rows of a results folder, as its table has them; under the names of a bank if given."""
    plan = store.plan()
    rows = collect(store.records(), plan[1] if plan else None, {})
    return rows if bank is None else named_as(rows, bank.names)


def incomplete(row: Row) -> str | None:
    """Why a row cannot stand for its model, in one sentence: a seed that failed or never ran."""
    for cell in row.cells:
        found, seed = row.of(cell), cell.sample.train.seed
        if found is None:
            return f"seed {seed} is planned and has no record"
        if found.status != "ok":
            why = reason(found)
            return f"seed {seed}: {found.status}" + (f" in {why}" if why else "")
        for spec in cell.metrics:
            if spec.id not in found.scores:
                return f"seed {seed} has no value of {spec.id}"
    return None


# --- making a bank -------------------------------------------------------------------------------


def harvest(row: Row, margin: float | None = None) -> BankRow:
    """A row of the bank from a complete row of the table.

    Raises:
        ConfigError: When a seed is missing, or the seeds were not run in one way.
    """
    why = incomplete(row)
    if why is not None:
        raise ConfigError(
            f"{row.label!r} cannot go into a bank: {clean(why)}; a bank without its failures "
            "would be too good"
        )
    first = row.present[0]
    _of_one_kind(row, first)
    scored = {
        spec.id: (spec, direction)
        for spec in row.cells[0].metrics
        if (direction := metrics.find(spec.name).direction) != "none"  # nothing can get worse
    }
    if not scored:
        raise ConfigError(f"{row.label!r} cannot go into a bank: it has no metric")
    bare = first.model_copy(update={"scores": {}, "losses": {}, "timings": Timings()})
    return BankRow(
        name=row.label,
        kind=row.kind,
        record=bare,
        sample_seeds=_sample_seeds(row.cells),
        metrics={name: _known(row, *known) for name, known in scored.items()},
        counters=_shared_counters(row),
        peak_bytes=max((r.counters.peak_bytes or 0 for r in row.present), default=0) or None,
        margin=margin,
    )


def _known(row: Row, spec: MetricSpec, direction: Direction) -> Known:
    return Known(
        spec=spec,
        direction=direction,
        values=_values(row, spec),
        weights=extractor(row.present[0], spec),
    )


def _of_one_kind(row: Row, first: Record) -> None:
    for record in row.present:
        alike = first.model_copy(
            update={"cell": _with_sample_seed(first.cell, record.cell.sample.seed)}
        )
        differ = mixed(alike, record)
        if differ:
            raise ConfigError(
                f"{row.label!r} cannot go into a bank: its seeds were not run in one way "
                f"({clean(', '.join(differ))}); run them again on one machine with one version"
            )


def _with_sample_seed(cell: Cell, seed: int) -> Cell:
    sample = cell.sample.model_copy(update={"seed": seed})
    return cell.model_copy(update={"sample": sample})


def _values(row: Row, spec: MetricSpec) -> dict[int, float]:
    """By training seed; sampling seeds of one training share its weights and are averaged."""
    found: dict[int, list[float]] = {}
    for record in row.present:
        if spec in record.cell.metrics and spec.id in record.scores:
            seed = record.cell.sample.train.seed
            found.setdefault(seed, []).append(record.scores[spec.id].value)
    return {seed: sum(values) / len(values) for seed, values in sorted(found.items())}


def extractor(record: Record, spec: MetricSpec) -> str:
    """sha256 of the extractor's weights, as planned or else as the record met them."""
    return spec.weights or record.environment.hashes.get(spec.extractor, "")


def _sample_seeds(cells: Sequence[Cell]) -> tuple[int, ...]:
    return tuple(sorted({cell.sample.seed for cell in cells}))


def _shared_counters(row: Row) -> dict[str, float]:
    """Counters that are exact: equal for all seeds, and not what a clock allowed."""
    found = {}
    timed = "seconds" in row.cells[0].sample.train.budget.limits
    for name in COUNTERS:
        values = {getattr(record.counters, name) for record in row.present}
        if len(values) == 1 and None not in values and not (timed and name.startswith("train_")):
            found[name] = float(values.pop())
    return found


# --- comparing with it ---------------------------------------------------------------------------


def protocol(old: BankRow, row: Row) -> list[str]:
    """What makes a row incomparable with the bank's, in words; metrics are asked by `pair`."""
    if old.record is None:
        return ["the bank's row is plain numbers, which say nothing of how they were measured"]
    found: dict[str, None] = {}
    for record in row.present:
        alike = _with_sample_seed(record.cell, old.record.cell.sample.seed)
        now = record.model_copy(update={"cell": alike})
        found |= dict.fromkeys(differences.protocol(old.record, now))
    seeds = _sample_seeds(row.cells)
    if seeds != old.sample_seeds:
        was, now_ = (", ".join(map(str, s)) for s in (old.sample_seeds, seeds))
        found[f"sampling seeds {was} -> {now_}"] = None
    return list(found)


def changed(old: BankRow, row: Row) -> list[str]:
    """What the comparison is about: configuration, code, packages, machine."""
    if old.record is None or not row.present:
        return []
    return differences.changes(old.record, row.present[0])


def pair(old: BankRow, name: str, row: Row) -> Pair:
    """The metric `name` of the bank's row, and the same metric of the new row."""
    known = old.metrics[name]
    specs = row.cells[0].metrics
    same = [s for s in specs if s.id == name] or [
        s for s in specs if known.spec is not None and s.name == known.spec.name
    ]
    if not same:
        there = ", ".join(s.name for s in specs) or "none"
        return Pair(name, known, {}, (f"no metric {name} here, only: {there}",))
    spec, differ = same[0], dict[str, None]()
    for record in row.present:
        if old.record is not None and known.spec is not None:
            found = differences.metric(old.record, record, known.spec, spec)
            differ |= dict.fromkeys(found)
    return Pair(name, known, _values(row, spec), tuple(differ))


def counters(old: BankRow, row: Row) -> dict[str, tuple[float, float | None]]:
    """Exact numbers, then and now: the largest over the seeds, None where one is unknown."""
    found: dict[str, tuple[float, float | None]] = {}
    for name, was in old.counters.items():
        values = [getattr(record.counters, name) for record in row.present]
        known = [float(v) for v in values if v is not None]
        found[name] = was, max(known) if len(known) == len(values) and known else None
    return found


def by_label(rows: Sequence[Row], bank: Bank) -> tuple[dict[str, Row], list[str]]:
    """The rows that the bank has, and the labels of those that it does not have."""
    names = set(bank.names)
    return {r.label: r for r in rows if r.label in names}, [
        r.label for r in rows if r.label not in names
    ]
