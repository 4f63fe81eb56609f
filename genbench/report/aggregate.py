"""One number for each model over several datasets of one task, as rliable does it for tasks.

For model m on dataset d with training seed s,

    x(m, d, s) = log(reference(d) / score)   where lower is better,
                 log(score / reference(d))   where higher is better,

with the reference row's score on the same dataset by the same metric id: 0 is as good as the
reference, higher is better. A model's number is the interquartile mean of its x over all datasets
and seeds; its interval is a percentile bootstrap that resamples training seeds within each
dataset. Source: Agarwal et al., *Deep Reinforcement Learning at the Edge of the Statistical
Precipice*, arXiv 2108.13264.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genbench.record import Record
from genbench.report.parts import Part, split
from genbench.report.ranking import Interval, Rank, ranks
from genbench.report.rows import Row, columns_of, facts
from genbench.spec import Cell, ConfigError, MetricSpec, canonical_json, nearest
from genbench.text import clean

__all__ = ["BASELINE", "Aggregate", "Model", "aggregates", "bootstrap", "improvement", "iqm"]

BASELINE = "gaussian"
_REPS = 10_000
_FEW = 5  # seeds; with fewer, a percentile bootstrap covers clearly less than it says

Floats = NDArray[np.float64]


# --- statistics ----------------------------------------------------------------------------------


def iqm(values: Floats) -> Floats:
    """Interquartile mean over the last axis: the mean of the middle half.

    Where a quarter of n is no whole number, the values at the edges count in part, so that half
    of the weight remains whatever n is. For n in multiples of 4 it is SciPy's `trim_mean` with
    0.25, which rliable takes for every n.
    """
    n = values.shape[-1]
    places = np.arange(n)
    kept = np.minimum(places + 1, 0.75 * n) - np.maximum(places, 0.25 * n)
    weights = np.clip(kept, 0, None) / (0.5 * n)
    found: Floats = np.sort(values, axis=-1) @ weights
    return found


def bootstrap(strata: Sequence[Floats], reps: int = _REPS, seed: int = 0) -> Interval:
    """95 % percentile interval of the IQM; each stratum's values are resampled within it.

    Args:
        strata: The values of each dataset, one for each training seed.
        reps: Number of resamples.
        seed: Of the resampling; every model has the same, so no row depends on others.
    """
    rng = np.random.default_rng(seed)
    drawn = [values[rng.integers(0, len(values), (reps, len(values)))] for values in strata]
    low, high = np.quantile(iqm(np.concatenate(drawn, axis=-1)), (0.025, 0.975))
    return float(low), float(high)


def improvement(mine: Sequence[Floats], other: Sequence[Floats]) -> float:
    """P(X > Y) + P(X = Y) / 2, the mean over datasets: Mann-Whitney's U / (n m) of each.

    Args:
        mine: For each dataset the values of one model; higher is better.
        other: Those of another one.
    """
    pairs = (x[:, None] - y for x, y in zip(mine, other, strict=True))
    return float(np.mean([np.mean((d > 0) + 0.5 * (d == 0)) for d in pairs]))


# --- models over datasets ------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A row of the aggregate table.

    Attributes:
        label: The row's name within a dataset's table.
        values: x by dataset, one for each training seed.
        ci95: None where a dataset has a single seed: then nothing tells how seeds scatter.
        rank: None without an interval.
        better_than: P(this model improves on another), by the other's label.
    """

    label: str
    kind: str
    values: tuple[Floats, ...]
    iqm: float
    ci95: Interval | None
    rank: Rank | None
    better_than: Mapping[str, float]


@dataclass(frozen=True)
class Aggregate:
    """One metric over several datasets.

    Attributes:
        name: The metric's short name.
        places: The datasets (with the task, where there are several).
        ids: The metric's id in each.
        reference: Label of the row that is 0.
        left_out: Sentences: which models are not in the table, and what they lack.
        notes: Sentences on what the numbers do not say.
        task: The task, where the folder has several: they are never mixed.
    """

    name: str
    header: str
    places: tuple[str, ...]
    ids: tuple[str, ...]
    reference: str
    models: tuple[Model, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    task: str = ""


def aggregates(
    records: Sequence[Record],
    order: Sequence[Cell] | None,
    *,
    kinds: Mapping[str, str] | None = None,
    baseline: str | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> list[Aggregate]:
    """An aggregate for each metric that all datasets of a task have; none for a single dataset.

    Args:
        records: Of all datasets.
        order: The plan; None takes the cells of all records.
        kinds: See `rows.collect`.
        baseline: Label of the row that others are measured against; None for "gaussian".
        log: Called with a sentence for every task that has several datasets and no aggregate.

    Raises:
        ConfigError: If no task has the row `baseline` on all of its datasets.
    """
    tasks: dict[str, list[Part]] = {}
    for part in split(records, order, kinds):
        tasks.setdefault(part.task, []).append(part)
    chosen = {task: parts for task, parts in tasks.items() if len(parts) > 1}
    label = BASELINE if baseline is None else baseline
    lacks = {task: _without(parts, label) for task, parts in chosen.items()}
    if baseline is not None and chosen and all(lacks.values()):
        part = next(part for part in lacks.values() if part is not None)
        near = clean(nearest(label, [row.label for row in part.rows]))
        raise ConfigError(f"report: {part.title} has no row {label!r} to compare to; {near}")
    aggregated = []
    for task, parts in chosen.items():
        lacking = lacks[task]
        found = [] if lacking else _of_task(parts, label, task if len(tasks) > 1 else "")
        if not found:
            why = "no metric that all of them have"
            why = f"{lacking.title} has no row {clean(label)}" if lacking else why
            log(f"no table over {', '.join(part.title for part in parts)}: {why}")
        aggregated += found
    return aggregated


def _without(parts: Sequence[Part], label: str) -> Part | None:
    """The first part that has no row of this name."""
    return next((p for p in parts if label not in [row.label for row in p.rows]), None)


def _of_task(parts: Sequence[Part], label: str, task: str) -> list[Aggregate]:
    """The aggregates of one task; `task` is told where a folder has several."""
    tables = {part.title: part.rows for part in parts}
    specs = [_first_of_name(rows) for rows in tables.values()]
    shared = [name for name in specs[0] if all(name in found for found in specs)]
    found = [_aggregate(name, tables, [s[name] for s in specs], label) for name in shared]
    return [replace(one, task=task) for one in found if one is not None]


def _first_of_name(rows: Sequence[Row]) -> dict[str, MetricSpec]:
    """Each metric by its short name; of several protocols the table's first."""
    found: dict[str, MetricSpec] = {}
    for column in columns_of(rows):
        if column.better is not None:
            found.setdefault(column.spec.name, column.spec)
    return found


def _aggregate(
    name: str, tables: Mapping[str, Sequence[Row]], specs: Sequence[MetricSpec], label: str
) -> Aggregate | None:
    tried = zip(tables.values(), specs, strict=True)
    found = [next(c for c in columns_of(rows) if c.spec == spec) for rows, spec in tried]
    sign = -1 if found[0].better == "lower" else 1
    by_place = [{row.label: row for row in rows} for rows in tables.values()]
    anchors = [rows[label].score(spec) for rows, spec in zip(by_place, specs, strict=True)]
    if any(anchor is None or anchor.value <= 0 for anchor in anchors):
        return None  # nothing to measure against, or no logarithm
    logs = [math.log(anchor.value) for anchor in anchors if anchor is not None]
    labels = dict.fromkeys(row.label for rows in by_place for row in rows.values())
    values: dict[str, tuple[Floats, ...]] = {}
    left_out = []
    for model in labels:
        lacks = [
            f"{place}: {why}"
            for place, rows, spec in zip(tables, by_place, specs, strict=True)
            if (why := _lack(rows.get(model), spec))
        ]
        if any(rows[model].kind == "reference" for rows in by_place if model in rows):
            continue
        if lacks:
            left_out.append(clean(f"{model} ({'; '.join(lacks)})"))
            continue
        scores = [list(r[model].trained(s).values()) for r, s in zip(by_place, specs, strict=True)]
        values[model] = tuple(
            sign * (np.log(np.array(mine)) - log) for mine, log in zip(scores, logs, strict=True)
        )
    kinds = {model: by_place[0][model].kind for model in values}
    return Aggregate(
        name,
        "/".join(dict.fromkeys(c.header.partition(" (")[0] for c in found)),
        tuple(tables),
        tuple(clean(spec.id) for spec in specs),
        label,
        _models(values, kinds),
        tuple(left_out),
        tuple(_remarks(values, by_place)),
    )


def _lack(row: Row | None, spec: MetricSpec) -> str:
    """Why a model has no number on a dataset; empty where it has."""
    if row is None:
        return "no such row"
    if row.ok < len(row.cells):
        return f"{row.ok} of {len(row.cells)} cells have a result"
    scores = row.trained(spec).values()
    if not scores:
        return f"no {spec.name}"
    return "a value of 0 or below has no logarithm" if min(scores) <= 0 else ""


def _models(
    values: Mapping[str, tuple[Floats, ...]], kinds: Mapping[str, str]
) -> tuple[Model, ...]:
    """The models, best first."""
    means = {model: float(iqm(np.concatenate(x))) for model, x in values.items()}
    ends = {model: bootstrap(x) if min(map(len, x)) > 1 else None for model, x in values.items()}
    places = ranks([ends[m] for m in values], "higher")
    found = [
        Model(
            label=model,
            kind=kinds[model],
            values=values[model],
            iqm=means[model],
            ci95=ends[model],
            rank=rank,
            better_than={o: improvement(values[model], values[o]) for o in values if o != model},
        )
        for model, rank in zip(values, places, strict=True)
    ]
    return tuple(sorted(found, key=lambda model: -model.iqm))


def _remarks(
    values: Mapping[str, tuple[Floats, ...]], by_place: Sequence[Mapping[str, Row]]
) -> list[str]:
    counts = {len(x) for mine in values.values() for x in mine}
    notes = []
    if 1 in counts:
        notes.append(
            "A model with one training seed on a dataset has neither interval nor place: nothing "
            "tells how far training it again would move it. P of single trainings is 0 or 1."
        )
    if any(1 < count < _FEW for count in counts):
        notes.append(
            "With fewer than 5 seeds a percentile bootstrap covers less than the 95 % that it "
            "says: on two datasets about 66 % with 2 seeds, 86 % with 3, 90 % with 5 (simulated, "
            "normal scores)."
        )
    if len(counts) > 1:
        notes.append("Seeds are not equally many: a dataset counts by the number of its seeds.")
    for model in values:
        rows = [rows[model] for rows in by_place]
        configs = [facts(row.cells[0]) for row in rows]
        names = dict.fromkeys(n for c in configs for n in c if n.startswith("config."))
        differ = [n for n in names if len({canonical_json(c.get(n)) for c in configs}) > 1]
        if differ:
            short = ", ".join(name.removeprefix("config.") for name in differ)
            notes.append(clean(f"{model} is not the same on every dataset: {short}."))
    return notes
