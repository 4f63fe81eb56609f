"""Metrics: pure functions of features. One module per metric, found by a scan; loads no torch.

A module of this package that defines `METRIC` is a metric, under that metric's name.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from genbench.metrics.metric import FeatureSet, Metric
from genbench.spec import ConfigError, nearest

__all__ = ["FeatureSet", "Metric", "get", "names"]


def names() -> list[str]:
    """Short names of the metrics, e.g. "fd"."""
    return sorted(_scan())


def get(name: str) -> Metric:
    """A metric by its short name; call it as `metric(made, real)`.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    if name not in _scan():
        raise ConfigError(f"unknown metric {name!r}; {nearest(name, _scan())}")
    return _scan()[name]


@cache
def _scan() -> dict[str, Metric]:
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    metrics = [m.METRIC for m in modules if hasattr(m, "METRIC")]
    return {metric.name: metric for metric in metrics}
