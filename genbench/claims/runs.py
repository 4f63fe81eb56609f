"""Finding the runs of a planned cell among records, also of suites and of older code."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from genbench import registry
from genbench.record import Record
from genbench.spec import Cell, MetricSpec, SampleSpec

__all__ = ["Runs"]


class Runs:
    """Records that cells can be looked up in.

    Args:
        records: What is known.
        exact: Take runs of today's code alone. Otherwise the code may be another one, and settings
            that came since must have their defaults.
    """

    def __init__(self, records: Iterable[Record], *, exact: bool) -> None:
        self._exact = exact
        self._of: dict[str, list[Record]] = {}
        for record in records:
            self._of.setdefault(record.cell.sample.train.baseline, []).append(record)

    def find(self, cell: Cell, metric: MetricSpec | None) -> Record | None:
        """The run of a cell that has a score of `metric` (None: that ran at all).

        Of several those of today's code come first, then the last ones. Where none has it, one
        that failed; None where there is nothing.
        """
        train = cell.sample.train
        same = [r for r in self._of.get(train.baseline, ()) if self._same(cell, r)]
        same.sort(key=lambda r: (r.cell.sample.train.version == train.version, r.finished))
        ok = [r for r in same if r.status == "ok" and (metric is None or _scored(r, metric))]
        bad = [r for r in same if r.status != "ok"]
        return next(iter((*ok[::-1], *bad[::-1])), None)

    def _same(self, cell: Cell, record: Record) -> bool:
        there = record.cell.sample
        return there == cell.sample if self._exact else _like(cell.sample, there)


def _scored(record: Record, metric: MetricSpec) -> bool:
    return metric in record.cell.metrics and metric.id in record.scores


def _like(wanted: SampleSpec, there: SampleSpec) -> bool:
    """Whether a run is what is wanted, but for the version of its family's code."""
    a, b = wanted.train, there.train
    seeds = (wanted.seed, wanted.n, wanted.weights) == (there.seed, there.n, there.weights)
    data = (a.dataset, a.data, a.task, a.seed) == (b.dataset, b.data, b.task, b.seed)
    if not (seeds and data and a.budget == b.budget):
        return False
    cls = registry.load(a.baseline)
    return _agree(a.config, b.config, cls.Config) and _agree(
        wanted.options, there.options, cls.Options
    )


def _agree(wanted: Mapping[str, Any], there: Mapping[str, Any], usual: Callable[[], Any]) -> bool:
    """Equal settings; those that a record does not know yet must be the defaults."""
    if wanted == there:
        return True
    missing = wanted.keys() - there.keys()
    if there.keys() - wanted.keys() or any(wanted[k] != there[k] for k in there):
        return False
    defaults = usual().model_dump(mode="json")
    return all(wanted[name] == defaults[name] for name in missing)
