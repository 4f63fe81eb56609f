"""Metrics: of features, of pairs of images, of answers; found by a scan, without torch.

A module of this package that defines `METRIC` or `METRICS` (of sets), `PAIR_METRIC` or
`PAIR_METRICS` (of aligned pairs), `TASK_METRIC` or `TASK_METRICS` (of answers to the questions of
a conditional task) adds them, each under its own name.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from genbench.metrics.metric import FeatureSet, Metric, PairMetric
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError, nearest

__all__ = [
    "Answers",
    "AnyMetric",
    "FeatureSet",
    "Metric",
    "PairMetric",
    "TaskMetric",
    "called",
    "describe",
    "expand",
    "find",
    "get",
    "groups",
    "names",
]

AnyMetric = Metric | PairMetric | TaskMetric

_ALIASES = {"fid": "fd"}


def names() -> list[str]:
    """Short names of the metrics of sets, e.g. "fd"."""
    return sorted(name for name, metric in _scan().items() if isinstance(metric, Metric))


def describe() -> dict[str, str]:
    """One line about each metric of any kind, by name."""
    return {name: _line(metric) for name, metric in sorted(_scan().items())}


def _line(metric: AnyMetric) -> str:
    if isinstance(metric, PairMetric):
        return f"{metric.label}, of aligned pairs"
    group = f", in the group {metric.group}" if metric.group else ""
    if isinstance(metric, TaskMetric):
        return f"{metric.label}, for {metric.of}{group}"
    return metric.label + group


def get(name: str) -> Metric:
    """A metric of sets by its short name; call it as `metric(made, real)`.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    metric = _scan().get(_ALIASES.get(name, name))
    if not isinstance(metric, Metric):
        raise ConfigError(f"unknown metric {name!r}; {nearest(name, names())}")
    return metric


def find(name: str) -> AnyMetric:
    """A metric of any kind by its short name.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    name = _ALIASES.get(name, name)
    if name not in _scan():
        raise ConfigError(f"unknown metric {name!r}; {nearest(name, groups())}")
    return _scan()[name]


def expand(name: str) -> list[str]:
    """The metrics of a group, e.g. of "prdc", or the one metric of that name.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    if not name:
        raise ConfigError("one of the metrics has no name; take out the comma that is too much")
    members = [m.name for m in _scan().values() if _group(m) == name]
    return members or [find(name).name]


def groups() -> set[str]:
    """Every name that metrics can be asked for by: their own, and those of groups."""
    several = {_group(m) for m in _scan().values()} - {""}
    return set(_scan()) | several | set(_ALIASES)


def _group(metric: AnyMetric) -> str:
    return "" if isinstance(metric, PairMetric) else metric.group


def called(metric: AnyMetric, extractor: str) -> str:
    """A metric's name in ids: a Frechet distance is "fid" in Inception's features, and only there.

    Args:
        metric: The metric.
        extractor: The network's name without protocol, "" for a metric of pixels.
    """
    return "fid" if metric.name == "fd" and extractor == "inception" else metric.name


@cache
def _scan() -> dict[str, AnyMetric]:
    found: list[AnyMetric] = []
    for module in (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)):
        for kind in ("METRIC", "PAIR_METRIC", "TASK_METRIC"):
            found += [getattr(module, kind)] if hasattr(module, kind) else []
            found += getattr(module, f"{kind}S", ())
    return {metric.name: metric for metric in found}
