"""The comparison: rows of two folders matched by their labels, metric by metric."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genbench import differences
from genbench.compare.marks import FAILS, FIXED, SAME, UNLIKE, change, mark
from genbench.record import Record
from genbench.report.notes import reason
from genbench.report.ranking import Interval
from genbench.report.rows import Column, Row, Value, collect, columns_of, named_as
from genbench.spec import Cell, ConfigError, MetricSpec, nearest
from genbench.text import clean

__all__ = ["FACTOR", "LATENCY", "Comparison", "Finding", "compare"]

FACTOR = 1.05
LATENCY = "ms_per_image"
_NOT_JUDGED = "not judged: stored times are of another moment or machine"
_COUNTERS = ("nfe", "params", "params_trained", "train_images", "train_steps", "train_flops")


@dataclass(frozen=True)
class Finding:
    """One metric of one row.

    Attributes:
        model: The row's label.
        metric: The metric's id, or "ms_per_image".
        header: The same for people.
        mark: See `marks.WORDS`.
        old: The older value, None without one.
        new: The newer one.
        ratio: New over old.
        ci95: 95 % interval of the ratio.
        reason: Why it is not compared or judged, or what else to know.
        changed: What differs between the two and leaves them comparable.
    """

    model: str
    metric: str
    header: str
    mark: str
    old: Value | None = None
    new: Value | None = None
    ratio: float | None = None
    ci95: Interval | None = None
    reason: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All findings, in the newer table's order.

    Attributes:
        only_old: Labels of rows that the newer folder does not have.
        only_new: Labels of rows that the older one does not have.
        everywhere: What changed in every row; each finding's `changed` has the rest.
        factor: Below it, a change is none.
    """

    findings: tuple[Finding, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    everywhere: tuple[str, ...]
    factor: float

    @property
    def comparable(self) -> bool:
        """Whether anything at all could be compared."""
        return any(f.mark != UNLIKE and f.metric != LATENCY for f in self.findings)


Side = tuple[Sequence[Record], Sequence[Cell] | None]  # records, and the plan if there is one


def compare(
    old: Side,
    new: Side,
    *,
    kinds: Mapping[str, str] | None = None,
    factor: float = FACTOR,
    metrics: Sequence[str] = (),
) -> Comparison:
    """Every metric of every row that both sides have.

    Args:
        old: Records and plan of the older folder.
        new: Those of the newer one.
        kinds: See `collect`.
        factor: Changes up to this factor are none; at least 1.
        metrics: Short names or ids of the metrics to compare; none stands for all.

    Raises:
        ConfigError: For a metric that neither side has, or a factor below 1.
    """
    if not 1 <= factor < math.inf:
        raise ConfigError(f"compare: factor {factor:g} must be a number from 1 on, e.g. 1.05")
    before, after = (collect(*side, kinds or {}) for side in (old, new))
    after = named_as(after, [row.label for row in before])
    columns = columns_of([*before, *after])
    wanted = _wanted(columns, metrics)
    past = {row.label: row for row in before}
    labels = {row.label for row in after}
    findings: list[Finding] = []
    for row in after:
        if row.label in past:
            findings += _row(past[row.label], row, columns, wanted, factor)
    every, findings = _everywhere(findings)
    return Comparison(
        tuple(findings),
        tuple(row.label for row in before if row.label not in labels),
        tuple(row.label for row in after if row.label not in past),
        every,
        factor,
    )


def _wanted(columns: Sequence[Column], names: Sequence[str]) -> set[MetricSpec]:
    known = {name for c in columns for name in (c.spec.name, c.spec.id)}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"compare: no metric {name!r} in either folder; {_near(name, known)}"
            )
    return {c.spec for c in columns if not names or {c.spec.name, c.spec.id} & set(names)}


def _near(name: str, known: set[str]) -> str:
    return clean(nearest(name, known))


# --- one row -------------------------------------------------------------------------------------


def _row(
    old: Row, new: Row, columns: Sequence[Column], wanted: set[MetricSpec], factor: float
) -> Iterator[Finding]:
    pairs = _pairs(old, new)
    unlike = _phrases(differences.protocol(*pair) for pair in pairs)
    changed = _changed(pairs)
    left, right = _specs(old), _specs(new)
    for column in columns:
        spec = column.spec
        if spec not in wanted or spec not in (*left, *right):
            continue
        partner = _partner(spec, right if spec in left else left)
        if spec not in left and partner is not None:
            continue  # told beside its partner
        was, now = (spec, partner) if spec in left else (None, spec)
        header = " ".join((column.header, column.arrow)).strip()
        base = Finding(old.label, clean(spec.id), header, UNLIKE, changed=changed)
        if was is None or now is None:
            side = "newer" if was is None else "older"
            yield replace(base, reason=f"only the {side} side has this metric")
            continue
        base = replace(base, old=old.score(was), new=new.score(now))
        texts = unlike + _phrases(differences.metric(*pair, was, now) for pair in pairs)
        yield _judged(base, old, new, was, column, texts, factor)
    if not unlike:
        yield from _latency(old, new, changed)


def _judged(
    base: Finding,
    old: Row,
    new: Row,
    spec: MetricSpec,
    column: Column,
    unlike: tuple[str, ...],
    factor: float,
) -> Finding:
    """The finding with its mark: first what failed, then what does not compare, then numbers."""
    broken, was_broken = _broken(new), _broken(old)
    if broken and not was_broken:
        return replace(base, mark=FAILS, reason=broken)
    if unlike:
        return replace(base, reason=", ".join(unlike))
    if broken:
        return replace(base, reason=f"failed before and now: {broken}")
    if was_broken and base.new is not None:
        return replace(base, mark=FIXED, reason=f"failed before: {was_broken}")
    if base.old is None or base.new is None:
        side = "older" if base.old is None else "newer"
        return replace(base, reason=f"the {side} side has no value: not run yet")
    before, after = (list(row.trained(spec).values()) for row in (old, new))
    found = change(base.old, base.new, before, after)
    told = mark(found, column.better, factor)
    return replace(
        base, mark=told, ratio=found.ratio, ci95=found.ci95, reason=_remark(new, found.ratio)
    )


def _remark(row: Row, ratio: float | None) -> str:
    if row.kind == "reference" and ratio is not None and abs(ratio - 1) > 1e-3:
        return "a reference does not train: the measuring itself changed"
    missing = len(row.cells) - len(row.present)
    return f"{missing} of {len(row.cells)} cells not run yet" if missing else ""


def _latency(old: Row, new: Row, changed: tuple[str, ...]) -> Iterator[Finding]:
    was, now = (row.mean(lambda r: r.timings.ms_per_image) for row in (old, new))
    if was is not None and now is not None and was > 0:
        values = Value(was, None, ""), Value(now, None, "")
        yield Finding(
            old.label, LATENCY, "ms/image", SAME, *values, now / was, None, _NOT_JUDGED, changed
        )


def _broken(row: Row) -> str:
    """How many cells failed, and why the first did; empty where none did."""
    failed = [r for r in row.present if r.status != "ok"]
    if not failed:
        return ""
    why = next((text for r in failed if (text := reason(r))), failed[0].status)
    return clean(f"{len(failed)} of {len(row.cells)} cells: {why}", 200)


def _specs(row: Row) -> list[MetricSpec]:
    return list(dict.fromkeys(m for cell in row.cells for m in cell.metrics))


def _partner(spec: MetricSpec, others: Sequence[MetricSpec]) -> MetricSpec | None:
    """The same metric of the other side: by its whole spec, its id, then its name."""
    tests = (
        lambda o: o == spec,
        lambda o: o.id == spec.id,
        lambda o: (o.name, o.extractor) == (spec.name, spec.extractor),
        lambda o: o.name == spec.name,
    )
    return next((o for test in tests for o in others if test(o)), None)


# --- what differs --------------------------------------------------------------------------------


def _pairs(old: Row, new: Row) -> list[tuple[Record, Record]]:
    """Every record of the older row with the newer one that is most like it."""

    def seeds(record: Record) -> tuple[int, int]:
        return record.cell.sample.seed, record.cell.sample.train.seed

    def most_like(record: Record) -> Record:
        mine = seeds(record)
        return max(right, key=lambda r: (seeds(r)[0] == mine[0], seeds(r) == mine))

    left, right = (_useful(row) for row in (old, new))
    return [(record, most_like(record)) for record in left] if right else []


def _useful(row: Row) -> list[Record]:
    """Records that ran to their end, or all where none did: a failure knows little of itself."""
    return [r for r in row.present if r.status == "ok"] or row.present


def _changed(pairs: Sequence[tuple[Record, Record]]) -> tuple[str, ...]:
    return _phrases([*differences.changes(*pair), *_counters(*pair)] for pair in pairs)


def _counters(old: Record, new: Record) -> list[str]:
    """Counters that differ; they are the same on every machine."""
    pairs = [(n, getattr(old.counters, n), getattr(new.counters, n)) for n in _COUNTERS]
    return [
        f"{name} {was:.10g} -> {now:.10g}"
        for name, was, now in pairs
        if was is not None and now is not None and was != now
    ]


def _phrases(lists: Iterator[list[str]]) -> tuple[str, ...]:
    """All phrases once, cleaned, in the order in which they came up."""
    return tuple(dict.fromkeys(clean(text, 120) for texts in lists for text in texts))


def _everywhere(findings: Sequence[Finding]) -> tuple[tuple[str, ...], list[Finding]]:
    """Phrases that every finding has (where there are two rows or more), and findings without."""
    if len({f.model for f in findings}) < 2:
        return (), list(findings)
    common = [p for p in findings[0].changed if all(p in f.changed for f in findings)]
    rest = [replace(f, changed=tuple(p for p in f.changed if p not in common)) for f in findings]
    return tuple(common), rest
