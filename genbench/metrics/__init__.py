"""Metrics: pure functions of features, or of pairs of images; found by a scan, without torch.

A module of this package that defines `METRIC` or `METRICS` (of sets), `PAIR_METRIC` or
`PAIR_METRICS` (of aligned pairs) adds them, each under its own name.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from genbench.metrics.metric import FeatureSet, Metric, PairMetric
from genbench.spec import ConfigError, nearest

__all__ = [
    "FeatureSet",
    "Metric",
    "PairMetric",
    "called",
    "describe",
    "expand",
    "find",
    "get",
    "groups",
    "names",
]

_ALIASES = {"fid": "fd"}


def names() -> list[str]:
    """Short names of the metrics of sets, e.g. "fd"."""
    return sorted(name for name, metric in _scan().items() if isinstance(metric, Metric))


def describe() -> dict[str, str]:
    """One line about each metric of either kind, by name."""
    return {name: _line(metric) for name, metric in sorted(_scan().items())}


def _line(metric: Metric | PairMetric) -> str:
    if isinstance(metric, PairMetric):
        return f"{metric.label}, of aligned pairs"
    return metric.label + (f", in the group {metric.group}" if metric.group else "")


def get(name: str) -> Metric:
    """A metric of sets by its short name; call it as `metric(made, real)`.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    metric = _scan().get(_ALIASES.get(name, name))
    if not isinstance(metric, Metric):
        raise ConfigError(f"unknown metric {name!r}; {nearest(name, names())}")
    return metric


def find(name: str) -> Metric | PairMetric:
    """A metric of either kind by its short name.

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
    members = [m.name for m in _scan().values() if isinstance(m, Metric) and m.group == name]
    return members or [find(name).name]


def groups() -> set[str]:
    """Every name that metrics can be asked for by: their own, and those of groups."""
    several = {m.group for m in _scan().values() if isinstance(m, Metric) and m.group}
    return set(_scan()) | several | set(_ALIASES)


def called(metric: Metric | PairMetric, extractor: str) -> str:
    """A metric's name in ids: a Frechet distance is "fid" in Inception's features, and only there.

    Args:
        metric: The metric.
        extractor: The network's name without protocol, "" for a metric of pixels.
    """
    return "fid" if metric.name == "fd" and extractor == "inception" else metric.name


@cache
def _scan() -> dict[str, Metric | PairMetric]:
    found: list[Metric | PairMetric] = []
    for module in (import_module(f"{__name__}.{m.name}") for m in iter_modules(__path__)):
        found += [getattr(module, n) for n in ("METRIC", "PAIR_METRIC") if hasattr(module, n)]
        for several in ("METRICS", "PAIR_METRICS"):
            found += getattr(module, several, ())
    return {metric.name: metric for metric in found}
