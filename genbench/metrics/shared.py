"""Work that several metrics of one set share, planned once it is known which are wanted."""

from collections.abc import Mapping

import numpy as np

from genbench.metrics.kid import METRIC as KID
from genbench.metrics.kid import KidOptions, SharedSubsets, keep
from genbench.metrics.metric import FeatureSet
from genbench.metrics.neighbours import compare
from genbench.metrics.prdc import PrdcOptions
from genbench.spec import Spec

__all__ = ["prepare"]

_PRDC = ("precision", "recall", "density", "coverage")


def prepare(made: FeatureSet, real: FeatureSet, wanted: Mapping[str, Spec]) -> None:
    """Do what several metrics share before each is asked; no value changes beyond rounding.

    One pass over distances serves precision, recall, density, coverage and AuthPct; KID reads its
    subsets off the same products where that is cheaper than making its own. Calling this is never
    needed, and calling it with one metric does nothing.

    Args:
        made: Generated samples.
        real: The reference.
        wanted: Options of the metrics that will be asked for, by name; others are passed over.

    Raises:
        ConfigError: For options that do not fit the sizes of the sets.
    """
    near = [wanted[name] for name in _PRDC if name in wanted]
    if not near and "auth_pct" not in wanted:
        return
    prdc = near[0] if near else PrdcOptions()
    assert isinstance(prdc, PrdcOptions)
    options, dim = wanted.get("kid"), made.features.shape[1]
    looked = prdc.of(real)
    if isinstance(options, KidOptions) and looked is real:
        KID.check_numbers(made.n, real.n, options)
        if near and SharedSubsets.is_cheaper(made.n, real.n, dim, options):
            subsets = SharedSubsets(made.n, real.n, dim, options)
            with np.errstate(over="ignore", invalid="ignore"):  # told by the metric
                compare(made, real, prdc.k, visitor=subsets)
            keep(made, real, options, subsets.distances)
            return
    if near:
        compare(made, looked, prdc.k)
