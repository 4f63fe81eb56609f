"""Rows from what was timed and what was scored: speed-ups, changes of quality, the line of fit."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from genbench.environment import environment
from genbench.record import Record
from genbench.report.rows import Row as TableRow
from genbench.report.rows import collect
from genbench.spec import MetricSpec
from genbench.speed.measure import CONTROL, Measured, row_key
from genbench.speed.request import Plan, Wanted
from genbench.speed.result import Change, Row, SpeedResult
from genbench.stats import Score, mean_interval, student_t
from genbench.timing import Fit, linear_fit, paired_ratio

__all__ = ["assemble"]


def assemble(
    plan: Plan, measured: Measured, records: Mapping[str, Record], device: str
) -> SpeedResult:
    """The result of a plan.

    Args:
        plan: What was asked for.
        measured: What the clock gave.
        records: The records of the plan's cells, by key; empty where nothing was scored.
        device: "cpu", "cuda", ...
    """
    reference = next((row for row in plan.rows if row.reference), None)
    rows = tuple(_row(row, reference, measured, records) for row in plan.rows)
    batch = measured.settings.batch
    hashes = {k: v for r in records.values() for k, v in r.environment.hashes.items()}
    twice = (measured.timings[name][batch] for name in (CONTROL, measured.cheapest))
    return SpeedResult(
        key=measured.key,
        sample=(reference or plan.rows[0]).cells[0].sample,
        rows=rows,
        settings=measured.settings,
        sweep={str(size): timing for size, timing in measured.sweep.items()},
        control=paired_ratio(*twice),
        fit=_fit(rows),
        environment=environment(device, batch, hashes),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _row(
    row: Wanted, reference: Wanted | None, measured: Measured, records: Mapping[str, Record]
) -> Row:
    key, batch = row_key(row.options), measured.settings.batch
    timings = measured.timings[key]
    ms = 1000 * timings[batch].median / batch
    scores = _scores(row, records)
    content = {
        "nfe": measured.nfe[key],
        "options": row.options,
        "reference": row.reference,
        "ms_per_image": ms,
        "images_per_second": 1000 / ms,
        "latency_ms": 1000 * timings[1].median,
        "timings": {str(size): timing for size, timing in timings.items()},
        "stages": measured.stages[key],
        "peak_bytes": measured.peaks[key],
        "scores": scores,
        "seeds": tuple(c.sample.train.seed for c in row.cells) if scores else (),
        "cells": tuple(c.key for c in row.cells) if scores else (),
    }
    if reference is not None:
        base = row_key(reference.options)
        speedup = paired_ratio(measured.timings[base][batch], timings[batch])
        content |= {
            "speedup": speedup.value,
            "speedup_ci95": speedup.ci95,
            "speedup_single": paired_ratio(measured.timings[base][1], timings[1]),
            "nfe_ratio": measured.nfe[base] / measured.nfe[key],
            "changes": _changes(row, reference, records),
        }
    return Row.model_validate(_named(row.options) | content)


def _named(options: Mapping[str, object]) -> dict[str, object]:
    """Sampler, spacing, steps, eta and variance as a table shows them."""
    sampler = options.get("sampler")
    spacing = options.get("spacing")
    eta = options.get("eta")
    if sampler == "ddpm":
        eta = 1.0  # the posterior's noise is that of DDIM at eta = 1
    elif sampler is not None and sampler != "ddim":
        eta = 0.0
    return {
        "sampler": sampler,
        "spacing": tuple(spacing) if isinstance(spacing, list) else spacing,
        "steps": options.get("steps", 1),
        "eta": eta,
        "variance": options.get("variance") if sampler == "ddpm" else None,
    }


# --- quality -------------------------------------------------------------------------------------


def _table_row(row: Wanted, records: Mapping[str, Record]) -> TableRow:
    mine = [records[c.key] for c in row.cells if c.key in records]
    (found,) = collect(mine, row.cells, {})
    return found


def _scores(row: Wanted, records: Mapping[str, Record]) -> dict[str, Score]:
    scores = {}
    found = _table_row(row, records)
    for spec in row.cells[0].metrics:
        value = found.score(spec)
        if value is not None:
            scores[spec.id] = Score(
                value=value.value, ci95=value.ci95, n=spec.n, method=value.method
            )
    return scores


def _changes(row: Wanted, reference: Wanted, records: Mapping[str, Record]) -> dict[str, Change]:
    """Quality less that of the reference: paired over trainings, which both rows sample."""
    changes = {}
    for spec in row.cells[0].metrics:
        pairs = _pairs(row, reference, records, spec)
        if row.reference or not pairs:
            continue
        changes[spec.id] = _change(pairs)
    return changes


def _pairs(
    row: Wanted, reference: Wanted, records: Mapping[str, Record], spec: MetricSpec
) -> list[tuple[Score, Score]]:
    found = []
    for mine, other in zip(row.cells, reference.cells, strict=True):
        a, b = records.get(mine.key), records.get(other.key)
        if a is not None and b is not None and spec.id in a.scores and spec.id in b.scores:
            found.append((a.scores[spec.id], b.scores[spec.id]))
    return found


def _change(pairs: Sequence[tuple[Score, Score]]) -> Change:
    differences = [a.value - b.value for a, b in pairs]
    if len(differences) > 1:
        mean, _, interval = mean_interval(differences)
        method = f"paired t over {len(differences)} training seeds"
        return Change(value=mean, ci95=interval, method=method)
    (a, b), value = pairs[0], differences[0]
    if a.stderr is None or b.stderr is None:
        return Change(value=value)
    # the same noise and the same reference images in both make the true error smaller
    half = student_t(19) * math.hypot(a.stderr, b.stderr)
    method = "one training; the two errors over samples, as if independent"
    return Change(value=value, ci95=(value - half, value + half), method=method)


# --- the line ------------------------------------------------------------------------------------


def _fit(rows: Sequence[Row]) -> Fit | None:
    """Seconds per image against NFE, over the rows."""
    nfe = [row.nfe for row in rows]
    if len(rows) < 3 or len(set(nfe)) < 2:
        return None
    return linear_fit(nfe, [row.ms_per_image / 1000 for row in rows])
