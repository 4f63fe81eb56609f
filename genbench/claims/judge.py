"""From runs to verdicts: the values of a claim's rows, and what they say."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from genbench import metrics
from genbench.claims.expectation import Comparison, Side
from genbench.claims.file import LOSS, Claim, count
from genbench.claims.paired import compared, together
from genbench.claims.plan import Planned
from genbench.claims.result import Judged, Link, Verdict
from genbench.claims.runs import Runs
from genbench.record import Record
from genbench.spec import MetricSpec
from genbench.stats import mean_interval

__all__ = ["judge"]


class _Found(NamedTuple):
    """What the runs say of one claim: records by row and seed, values, and what is missing."""

    records: dict[str, dict[int, Record]]
    values: dict[str, dict[int, float]]
    missing: dict[str, str]


def judge(planned: Planned, records: Iterable[Record], *, exact: bool) -> list[Judged]:
    """The claims of a file in its order.

    Args:
        planned: The file and its cells.
        records: Where their runs are looked for.
        exact: Whether runs of today's code count alone; see `Runs`.
    """
    runs = Runs(records, exact=exact)
    return [_judged(planned, name, runs) for name in planned.file.claims]


def _judged(planned: Planned, name: str, runs: Runs) -> Judged:
    claim = planned.file.claims[name]
    metric, counted = planned.metrics.get(claim.measure), count(claim.measure)
    expected, rows = planned.file.expected(name), planned.file.compared(name)
    found = _find(planned, rows, claim.measure, metric, runs)
    stop = _unlike(found) if counted is not None and counted.timed else ""
    exact, values = counted is not None and counted.exact, _repeated(planned, found)
    links = []
    for one in expected:
        link = compared(one, values, exact=exact, links=len(expected))
        lacking = "; ".join(found.missing[row] for row in one.rows if row in found.missing)
        if not lacking and planned.references.issuperset(one.rows):
            lacking = "references have no training seeds to judge by"
        if lacking or stop:  # what failed is not missing by chance: no verdict without it
            update = {"verdict": "INCONCLUSIVE", "reason": lacking or stop}
            link = link.model_copy(update=update)
        links.append(link)
    signal = _signal(planned, claim, rows, runs)
    told = signal.verdict == "INCONCLUSIVE" and any(link.reason for link in links)
    return Judged(
        file=planned.file.name,
        claim=name,
        **claim.model_dump(exclude={"must_beat"}),
        must_beat=str(claim.must_beat),
        metric=metric,
        verdict=signal.verdict or together(links),
        reason="" if told else signal.reason,
        links=tuple(links),
        signal=signal.links,
        values=found.values,
        rows={row: _described(planned, row) for row in rows},
        scale=_scale(planned, rows),
        remarks=tuple(_remarks(planned, found, claim.measure)),
    )


# --- whether there is anything to compare --------------------------------------------------------


class _Signal(NamedTuple):
    """Whether rows beat what they must: a verdict that forestalls the claim's own, or None."""

    verdict: Verdict | None
    reason: str
    links: tuple[Link, ...]


def _signal(planned: Planned, claim: Claim, rows: Sequence[str], runs: Runs) -> _Signal:
    """Each row that must beat the reference, tested as a claim of its own.

    Where it is shown to be no better, or not shown to be better, there is nothing to measure;
    where a run is missing, or there are too few seeds, it remains open.
    """
    must = claim.must_beat
    if must is None or must.none:
        return _Signal(None, "", ())
    trained = [row for row in must.rows or rows if row not in planned.references]
    trained = [row for row in trained if row != must.row]
    needed = [*trained, must.row] if must.row else trained
    found = _find(planned, needed, must.measure, planned.metrics[must.measure], runs)
    values = _repeated(planned, found)
    kind = metrics.find(must.measure.partition("@")[0])
    links, weak, unknown = [], [], []
    for row in trained:
        alone, other = Side(row), Side(must.row, 1.0 if must.value is None else must.value)
        less, more = (alone, other) if kind.direction == "lower" else (other, alone)
        sign = "<" if kind.direction == "lower" else ">"
        link = compared(Comparison(less, more, f"{alone} {sign} {other}"), values)
        lacking = [found.missing[r] for r in (row, must.row) if r in found.missing]
        if lacking or link.reason:
            why = f"no {kind.label}: {'; '.join(lacking)}" if lacking else link.reason
            link = link.model_copy(update={"verdict": "INCONCLUSIVE", "reason": why})
            unknown.append(why)
        elif link.verdict != "REPRODUCED":
            against = _number(values[must.row].values()) if must.row else f"{must.value:g}"
            told = f"{must.row}'s {against}" if must.row else against
            weak.append(
                f"{row}: {kind.label} {_number(values[row].values())} does not beat {told}"
            )
        links.append(link)
    if weak:
        return _Signal("NOT MEASURABLE", "; ".join(weak), tuple(links))
    if unknown:
        told = "; ".join(dict.fromkeys(unknown))
        return _Signal("INCONCLUSIVE", f"whether {must} is beaten is open: {told}", tuple(links))
    return _Signal(None, "", tuple(links))


def _number(values: Iterable[float]) -> str:
    """The mean over seeds with its interval, "244 [236, 253]"; a constant alone."""
    numbers = list(values)
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.4g}"
    mean, _, (low, high) = mean_interval(numbers)
    return f"{mean:.4g} [{low:.3g}, {high:.3g}]"


# --- the runs ------------------------------------------------------------------------------------


def _find(
    planned: Planned, rows: Sequence[str], measure: str, metric: MetricSpec | None, runs: Runs
) -> _Found:
    found = _Found({}, {}, {})
    for row in rows:
        lacking, failed = [], ""
        for cell in planned.cells[row]:
            seed, record = cell.sample.train.seed, runs.find(cell, metric)
            value = _value(record, measure, metric)
            if record is not None and value is not None:
                found.records.setdefault(row, {})[seed] = record
                found.values.setdefault(row, {})[seed] = value
            elif record is not None and record.error is not None:
                error = record.error
                failed = failed or f"{row} failed, seed {seed}: {error.stage}: {error.message}"
            elif record is not None and record.status == "ok" and measure.startswith(LOSS):
                there = ", ".join(record.losses) or "nothing"
                failed = failed or f"{row} has no {measure}: its family logs {there}"
            else:
                lacking.append(str(seed))
        if failed:
            found.missing[row] = failed
        elif lacking:
            of = "" if row in planned.references else f" of seed {', '.join(lacking)}"
            found.missing[row] = f"{row} has no run{of}"
    return found


def _value(record: Record | None, measure: str, metric: MetricSpec | None) -> float | None:
    """The measure of a run, None where it has none."""
    if record is None or record.status != "ok":
        return None
    if metric is not None:
        return record.scores[metric.id].value
    if measure == "ms_per_image":
        return record.timings.ms_per_image
    if measure == "train_seconds":
        return record.timings.train
    if measure.startswith(LOSS):
        return record.losses.get(measure.removeprefix(LOSS))
    value: float | None = getattr(record.counters, measure)
    return value


def _repeated(planned: Planned, found: _Found) -> dict[str, dict[int, float]]:
    """The values, with that of a reference at every training seed."""
    values = found.values
    trained = {s for row, v in values.items() if row not in planned.references for s in v}
    return {
        row: dict.fromkeys(trained or {0}, *mine.values()) if row in planned.references else mine
        for row, mine in values.items()
    }


def _unlike(found: _Found) -> str:
    """Why times cannot be compared; "" where they can."""
    seen = [r.environment for mine in found.records.values() for r in mine.values()]
    for what in ("machine", "device", "threads", "batch"):
        if any(getattr(one, what) != getattr(seen[0], what) for one in seen):
            return f"times of runs with another {what} cannot be compared"
    return ""


# --- what it was tested on -----------------------------------------------------------------------


def _remarks(planned: Planned, found: _Found, measure: str) -> Iterable[str]:
    """What a reader of the numbers must know."""
    now = {row: cells[0].sample.train.version for row, cells in planned.cells.items()}
    old = [
        row
        for row, mine in found.records.items()
        if any(record.cell.sample.train.version != now[row] for record in mine.values())
    ]
    if old:
        yield f"Runs of {', '.join(old)} are of other code than today's."
    if fixed := [row for row in found.values if row in planned.references]:
        yield f"{', '.join(fixed)}: one value, whose own uncertainty the interval does not hold."
    if measure == "ms_per_image":
        yield "Times are those of the runs; genbench speed times rows in turn, which is precise."


def _described(planned: Planned, row: str) -> str:
    """A row's family, and what it sets: "ddpm with sampler=ddim, eta=1.0"."""
    of = planned.file.suite.rows[planned.file.rows.index(row)]
    told = [f"{of.preset} preset"] if of.preset else []
    told += [f"{name}={value}" for name, value in {**of.config, **of.options}.items()]
    if of.budget is not None:
        told.append(of.budget.words)
    if of.weights is not None:
        told.append(f"{of.weights} weights")
    return f"{of.baseline} with {', '.join(told)}" if told else of.baseline


def _scale(planned: Planned, rows: Sequence[str]) -> str:
    """Where the verdict holds: "digits, 600,000 image updates, n = 2,000"."""
    suite = planned.file.suite
    trained = [planned.cells[row][0].sample.train for row in rows]
    budgets = " and ".join(dict.fromkeys(b for t in trained if (b := t.budget.words)))
    task = "" if suite.task == "unconditional" else suite.task
    parts = [suite.dataset, task, budgets, f"n = {suite.n:,}"]
    return ", ".join(part for part in parts if part)
