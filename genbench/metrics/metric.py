"""What every metric is: a pure function of what networks say of one or two sets of images.

A metric names what it needs of each side: whole arrays ("features", "probs", "spatial", "text"),
or `Sums`, statistics of fixed size that batches stream into and shards merge. Whoever drives it
(the pipeline of a suite, `genbench eval`) keeps only that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from genbench.spec import ConfigError, Spec
from genbench.stats import Score

__all__ = [
    "ARRAYS",
    "FeatureSet",
    "Metric",
    "NoOptions",
    "PairMetric",
    "Sums",
    "as_float64",
    "checked",
    "fixed_order",
    "options_changed",
]

ARRAYS = ("features", "probs", "spatial", "text")

S = TypeVar("S", bound="Sums")


class Sums(Protocol):
    """A statistic of a set of images that never holds the set.

    Attributes:
        reads: Which array of a network's answer it is of: one of `ARRAYS`.
    """

    reads: ClassVar[str]

    @classmethod
    def start(cls, total: int, width: int) -> Self:
        """Nothing seen yet, of `total` samples with `width` numbers each."""
        ...

    def update(self, rows: Any, index: NDArray[np.int64]) -> Self:
        """These samples too: rows (B, width), and which of all samples each is, (B,).

        May change and return itself.
        """
        ...

    def __add__(self, other: Self) -> Self:
        """Both, for disjoint parts of one set; leaves both as they are."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The statistic as arrays, for files."""
        ...

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The statistic that `arrays` gave these.

        Raises:
            ValueError: For arrays that no such statistic has.
            LookupError: For one that is missing.
        """
        ...

    @property
    def n(self) -> int:
        """Samples seen so far."""
        ...


class FeatureSet:
    """What one network says of N images: arrays, sums, or both.

    Arrays are NumPy arrays or tensors in the CPU's memory, of shape (N, width); sums that were not
    streamed are made of the arrays when they are first asked for.

    Attributes:
        n: Number of images N.
        cache: For what several metrics of this set share, e.g. distances to another set.
    """

    def __init__(
        self,
        n: int,
        arrays: Mapping[str, Any] | None = None,
        sums: Mapping[type[Any], Any] | None = None,
    ) -> None:
        self.n = n
        self._arrays = {k: v for k, v in (arrays or {}).items() if v is not None}
        self._sums: dict[type[Any], Any] = dict(sums or {})
        self.cache: dict[Any, Any] = {}

    @classmethod
    def of(cls, features: Any, probs: Any = None, spatial: Any = None, text: Any = None) -> Self:
        """A set of which all arrays are at hand; see `ARRAYS`."""
        arrays = {"features": features, "probs": probs, "spatial": spatial, "text": text}
        return cls(len(features), arrays)

    def gives(self, need: Any) -> bool:
        """Whether an array (by name) or a statistic (by class) is at hand or can be made."""
        if isinstance(need, str):
            return need in self._arrays
        return need in self._sums or need.reads in self._arrays

    def array(self, name: str) -> Any:
        """One of `ARRAYS`.

        Raises:
            ConfigError: When the network gives none, or it was not kept.
        """
        if name not in self._arrays:
            raise ConfigError(f"this extractor gives no {_SAID[name]}; choose one that does")
        return self._arrays[name]

    @property
    def features(self) -> Any:
        """Features of shape (N, D)."""
        return self.array("features")

    @property
    def probs(self) -> Any:
        """Class probabilities of shape (N, K)."""
        return self.array("probs")

    def numbers(self) -> dict[str, int]:
        """How many images each array and each statistic at hand is of, by its name."""
        of = {name: len(array) for name, array in self._arrays.items()}
        return of | {kind.__name__: sums.n for kind, sums in self._sums.items()}

    def sums(self, kind: type[S]) -> S:
        """A statistic of the whole set."""
        if kind not in self._sums:
            rows = self.array(kind.reads)
            self._sums[kind] = kind.start(self.n, rows.shape[1]).update(rows, np.arange(self.n))
        found: S = self._sums[kind]
        return found


_SAID = {
    "features": "features",
    "probs": "class probabilities",
    "spatial": "spatial features",
    "text": "features of text",
}


class NoOptions(Spec):
    """Of a metric that has no options."""


@dataclass(frozen=True)
class Metric:
    """A metric of sets; a module of this package defines one as `METRIC`, several as `METRICS`.

    Attributes:
        name: Short name in metric ids, e.g. "fd".
        label: What tables print, e.g. "FD".
        direction: Which values are better; "none" where neither high nor low ones are.
        needs: What it reads of the samples: names of `ARRAYS` and classes of `Sums`.
        reference: What it reads of the real images, () for a metric of the samples alone.
        score: The function; called by way of `metric(made, real)`, which checks its input.
        least: The fewest images of each side that it can work with.
        group: The name under which several metrics are asked for together, and that their options
            have on the command line, e.g. "prdc"; by default the metric's own name.
        options: Settings that change the value, with defaults.
        sized_by: The option, if any, that both sides must have as many images as: "subset_size".
        extractor: The one extractor that it reads, whatever the others do; "" for any.
    """

    name: str
    label: str
    direction: Literal["lower", "higher", "none"]
    needs: tuple[Any, ...]
    score: Callable[[FeatureSet, FeatureSet | None, Any], Score]
    reference: tuple[Any, ...] = ()
    least: int = 2
    group: str = ""
    options: type[Spec] = field(default=NoOptions)
    sized_by: str = ""
    extractor: str = ""

    @property
    def reads(self) -> set[str]:
        """Those of `ARRAYS` that it needs, as they are or streamed into sums."""
        return {getattr(need, "reads", need) for need in self.needs}

    def through(self, named: str, default: str) -> str:
        """The extractor to take, of NAME@EXTRACTOR and the one that others take.

        Raises:
            ConfigError: For another one than the metric reads.
        """
        if self.extractor and named not in ("", self.extractor):
            raise ConfigError(
                f"metric {self.name!r} is of {self.extractor}, not of {named!r}; write "
                f"{self.name} alone"
            )
        return self.extractor or named or default

    def fewest(self, options: Spec) -> int:
        """The fewest images that each side must have."""
        wanted: int = getattr(options, self.sized_by) if self.sized_by else 0
        return max(self.least, wanted)

    def check_numbers(self, made: int, real: int | None, options: Spec, called: str = "") -> None:
        """Refuse sets that are too small for the metric with these options.

        Args:
            made: Number of generated images.
            real: That of the reference, None where it is not known.
            options: Of the metric.
            called: What a user calls the metric; by default by its name.

        Raises:
            ConfigError: With the side, its number, and the option that asks for more.
        """
        numbers = {"generated": made}
        if self.reference and real is not None:
            numbers["reference"] = real
        fewest, all_have = self.fewest(options), min(numbers.values())
        hint = "add images"
        if self.sized_by and all_have >= self.least:
            hint += f", or set {self.group or self.name}.{self.sized_by}={all_have}"
        for side, n in numbers.items():
            if n < fewest:
                raise ConfigError(
                    f"metric {called or self.name!r} needs {fewest:,} {side} images or more, got "
                    f"{n:,}; {hint}"
                )

    def changed(self, options: Spec) -> tuple[tuple[str, str], ...]:
        """Options that differ from the defaults, for ids."""
        return options_changed(self.options, options)

    def __call__(
        self, made: FeatureSet, real: FeatureSet | None = None, options: Spec | None = None
    ) -> Score:
        """Score the samples `made`, against `real` images where the metric has a reference.

        Raises:
            ConfigError: A missing reference, an extractor that does not give what is needed, too
                few images.
            ValueError: Features that are not finite, or whose shapes do not fit.
        """
        if self.reference and real is None:
            raise ConfigError(f"metric {self.name!r} needs a reference; name one, DATASET:SPLIT")
        chosen = self.options() if options is None else options
        self.check_numbers(made.n, None if real is None else real.n, chosen)
        for need in self.needs:
            if not made.gives(need):
                array = need if isinstance(need, str) else need.reads
                raise ConfigError(
                    f"metric {self.name!r} needs {_SAID[array]}, which this extractor does not "
                    "give; choose another extractor"
                )
        return self.score(made, real if self.reference else None, chosen)


@dataclass(frozen=True)
class PairMetric:
    """A metric of aligned pairs of images: a value for each pair, and the mean of them.

    A module of this package defines one as `PAIR_METRIC`, several as `PAIR_METRICS`.

    Attributes:
        name: Short name in metric ids, e.g. "psnr".
        label: What tables print, e.g. "PSNR".
        direction: Which values are better.
        values: From uint8 images (B, C, H, W) of both sides and the options, float64 (B,).
        options: Settings that change the value, with defaults.
        weights: Name of the weights that the options ask for, None for a metric without.
    """

    name: str
    label: str
    direction: Literal["lower", "higher"]
    values: Callable[[Any, Any, Any], NDArray[np.float64]]
    options: type[Spec] = field(default=NoOptions)
    weights: Callable[[Any], str] | None = None

    def changed(self, options: Spec) -> tuple[tuple[str, str], ...]:
        """Options that differ from the defaults, for ids."""
        return options_changed(self.options, options)


def options_changed(kind: type[Spec], options: Spec) -> tuple[tuple[str, str], ...]:
    """Options that differ from their defaults, for ids."""
    usual = kind().model_dump()
    return tuple((k, str(v)) for k, v in options.model_dump().items() if v != usual[k])


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


def checked(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """One of the arrays of a statistic, of numbers that are finite.

    Args:
        arrays: By name.
        name: Which.
        shape: That it must have; None for any length.

    Raises:
        ValueError: For another type or shape, and for NaN and infinities.
        LookupError: For one that is missing.
    """
    if name not in arrays:
        raise LookupError(f"{name!r} is missing")
    array = np.asarray(arrays[name])
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        said = " x ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name!r} has shape {array.shape}, not {said or '()'}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} holds {array.dtype}, not numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} holds NaN or infinity")
    return array


def fixed_order(n: int) -> NDArray[np.int64]:
    """A fixed permutation of n samples, the one that torch-fidelity makes its splits by.

    Samples often come sorted by class, or cycle through the classes: groups taken by position
    would then hold one class each.
    """
    # RandomState, since its stream is frozen and others use it too; 2020 is torch-fidelity's seed
    return np.random.RandomState(2020).permutation(n).astype(np.int64)
