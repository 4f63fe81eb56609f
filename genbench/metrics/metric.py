"""What every metric is: a pure function of one or two sets of features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genbench.spec import ConfigError
from genbench.stats import Score

__all__ = ["FeatureSet", "Metric", "as_float64", "fixed_order"]


class FeatureSet(Protocol):
    """What an extractor gave for N images: NumPy arrays or tensors in the CPU's memory."""

    @property
    def features(self) -> Any:
        """Features of shape (N, D)."""
        ...

    @property
    def probs(self) -> Any:
        """Class probabilities of shape (N, K), or None for a network without classes."""
        ...


@dataclass(frozen=True)
class Metric:
    """A metric; a module of this package defines one as `METRIC`.

    Attributes:
        name: Short name in metric ids, e.g. "fd".
        label: What tables print, e.g. "FD".
        direction: Which values are better.
        needs: What it reads of a feature set.
        reference: Whether it compares with real images.
        least: The fewest samples that it can score.
        score: The function; called by way of `metric(made, real)`, which checks its input.
    """

    name: str
    label: str
    direction: Literal["lower", "higher"]
    needs: Literal["features", "probs"]
    reference: bool
    score: Callable[[FeatureSet, FeatureSet | None], Score]
    least: int = 2

    def __call__(self, made: FeatureSet, real: FeatureSet | None = None) -> Score:
        """Score the samples `made`, against `real` images where the metric has a reference.

        Raises:
            ConfigError: A missing reference, an extractor without classes, too few samples.
            ValueError: Features that are not finite, or whose shapes do not fit.
        """
        if self.reference and real is None:
            raise ConfigError(f"metric {self.name!r} needs a reference; name one, DATASET:SPLIT")
        if self.needs == "probs" and made.probs is None:
            raise ConfigError(
                f"metric {self.name!r} needs class probabilities, which this extractor does not "
                "give; choose an extractor with classes"
            )
        return self.score(made, real if self.reference else None)


def as_float64(rows: Any, what: str) -> NDArray[np.float64]:
    """A finite float64 array of shape (N, D), from an array or from a tensor on the CPU.

    Raises:
        ValueError: For another number of dimensions or for NaN and infinities.
    """
    array = np.asarray(rows, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{what} must have shape (N, D), got {array.shape}")
    bad = len(array) - int(np.isfinite(array).all(1).sum())
    if bad:
        raise ValueError(f"{what} of {bad} of {len(array)} samples are not finite")
    return array


def fixed_order(n: int) -> NDArray[np.int64]:
    """A fixed permutation of n samples, the one that torch-fidelity makes its splits by.

    Samples often come sorted by class, or cycle through the classes: groups taken by position
    would then hold one class each.
    """
    # RandomState, since its stream is frozen and others use it too; 2020 is torch-fidelity's seed
    return np.random.RandomState(2020).permutation(n).astype(np.int64)
