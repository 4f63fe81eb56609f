"""A record's cell as today's code would run it, and what forbids to compare the two."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genbench import data, features, metrics, registry, suite
from genbench.record import Record
from genbench.spec import Budget, Cell, ConfigError, MetricSpec, TrainSpec, parse
from genbench.text import clean

__all__ = ["Attempt", "attempt"]


@dataclass(frozen=True)
class Attempt:
    """A record of then, and how to make its numbers again.

    Attributes:
        then: The record, its budget in seconds replaced by the steps that it counts.
        cell: What to run today; None where that is impossible or would tell nothing.
        differs: What makes every number incomparable, whatever comes out.
        lacking: By metric id, why a metric cannot be computed here today.
        notes: What else a reader must know.
        at_hand: Whether the data lies here, so that no network is needed.
    """

    then: Record
    cell: Cell | None = None
    differs: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    at_hand: bool = True


def attempt(then: Record, data_root: Path | None = None) -> Attempt:
    """Plan the rerun of a record with the families, data and networks of today.

    The configuration, options and seeds stay as they are. The version of the family's code
    becomes today's, and a budget in seconds becomes the number of steps that it allowed then.
    """
    train = then.cell.sample.train
    try:
        _check(then.cell, data_root)
        fingerprint = data.fingerprint(train.dataset, data_root)
    except ConfigError as error:
        return Attempt(then, differs=(clean(str(error), 300),))
    if fingerprint != train.data:
        was, now = (text[:12] or "none" for text in (train.data, fingerprint))
        return Attempt(
            then, differs=(f"the data differs ({clean(train.dataset)}: {was} -> {now})",)
        )
    then, notes = _without_seconds(then)
    scored, lacking = _metrics(then.cell, data_root)
    if lacking and not scored:
        return Attempt(then, lacking=lacking, notes=notes)
    train = then.cell.sample.train
    version = registry.version(train.baseline)
    differs: tuple[str, ...] = ()
    if version != train.version:
        was, now = clean(train.version[:8]), version[:8]
        differs = (f"the family's code differs (version {was} -> {now})",)
    sample = then.cell.sample.model_copy(
        update={"train": train.model_copy(update={"version": version})}
    )
    cell = then.cell.model_copy(update={"sample": sample, "metrics": scored})
    return Attempt(then, cell, differs, lacking, notes, data.available(train.dataset, data_root))


def _check(cell: Cell, data_root: Path | None) -> None:
    """Whether today's code can run the cell at all.

    Raises:
        ConfigError: For a family, setting, option, task or dataset that is not there.
    """
    from genbench.tasks import task

    sample, train = cell.sample, cell.sample.train
    suite.settings(train.baseline, train.config, sample.options)
    task(train.task)
    data.check(train.dataset, data_root)


def _without_seconds(then: Record) -> tuple[Record, tuple[str, ...]]:
    """The record as if its budget had been steps, where it was a time and steps were counted."""
    sample, steps = then.cell.sample, then.counters.train_steps
    seconds = sample.train.budget.seconds
    if seconds is None or not steps:
        return then, ()
    train: TrainSpec = sample.train.model_copy(update={"budget": Budget(steps=steps)})
    cell = then.cell.model_copy(update={"sample": sample.model_copy(update={"train": train})})
    note = (
        f"its budget was a time ({seconds:g} s), which no machine keeps twice: rerun for the "
        f"{steps:,} steps that its record counts"
    )
    return then.model_copy(update={"cell": cell}), (note,)


def _metrics(cell: Cell, data_root: Path | None) -> tuple[tuple[MetricSpec, ...], dict[str, str]]:
    """The metrics that can be computed today, and why the others cannot."""
    scored, lacking = [], {}
    for spec in cell.metrics:
        try:
            metric = metrics.find(spec.name)
            parse(metric.options, dict(spec.options), f"options of {spec.name}")
            if not isinstance(metric, metrics.PairMetric):  # which bring their own networks
                features.parse(spec.network)
            if spec.reference:
                data.check(spec.compared[0], data_root)
        except ConfigError as error:
            lacking[spec.id] = clean(str(error), 300)
            continue
        shipped = spec.extractor in features.names()
        weights = features.card(spec.extractor)["sha256"] if shipped else spec.weights
        scored.append(spec.model_copy(update={"weights": weights}))
    return tuple(scored), lacking
