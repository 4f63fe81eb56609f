"""What is known of a set of images, as arrays for a file and back; checked when it is read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from genbench import files, metrics
from genbench.inputs.containers import ARCHIVE_ERRORS
from genbench.metrics import FeatureSet, Metric
from genbench.metrics.metric import ARRAYS, checked

__all__ = ["Known", "Told", "check_whole", "damage", "lacks", "pack", "unpack"]


class Told(BaseModel):
    """What a pass over images told besides.

    Attributes:
        shape: Channels, height and width of the images, None where nobody noted it.
        warnings: What the images gave rise to, one sentence each.
    """

    model_config = ConfigDict(frozen=True)

    shape: tuple[int, int, int] | None = None
    warnings: tuple[str, ...] = Field((), max_length=100)


@dataclass(frozen=True)
class Known:
    """A set of images that does not have to be looked at again."""

    features: FeatureSet
    told: Told


def _kinds(needs: str) -> dict[str, type[Any]]:
    """Every class of `Sums` that a metric reads of one side, or of both, by name."""
    found = (metrics.find(name) for name in metrics.groups() if name in metrics.names())
    read = {
        need
        for metric in found
        if isinstance(metric, Metric)
        for need in (*(metric.needs if needs == "both" else ()), *metric.reference)
    }
    return {need.__name__: need for need in read if not isinstance(need, str)}


def pack(known: FeatureSet, needs: set[Any], rows: int | None = None) -> dict[str, NDArray[Any]]:
    """What is needed of a set, as arrays for a file; of whole arrays the first `rows`."""
    arrays: dict[str, NDArray[Any]] = {}
    for need in needs:
        if isinstance(need, str):
            arrays[f"array/{need}"] = np.asarray(known.array(need))[:rows]
        else:
            for name, array in known.sums(need).arrays().items():
                arrays[f"sums/{need.__name__}/{name}"] = array
    return arrays


def unpack(n: int, arrays: Mapping[str, NDArray[Any]], of: str = "both") -> FeatureSet:
    """The set that `pack` made arrays of.

    Args:
        n: Number of images.
        arrays: By name; those of statistics that no metric reads are passed over.
        of: "reference" for what metrics read of a reference only.

    Raises:
        ValueError: For arrays that are not those of a set.
        LookupError: For one that is missing.
    """
    plain: dict[str, NDArray[Any]] = {}
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        head, _, name = key.partition("/")
        if head == "array" and name in ARRAYS:
            plain[name] = checked(arrays, key, (None, None))
        elif head == "sums":
            kind, _, field = name.partition("/")
            parts.setdefault(kind, {})[field] = array
    kinds = {name: kind for name, kind in _kinds(of).items() if name in parts}
    sums = {kind: _restored(name, kind, parts[name]) for name, kind in kinds.items()}
    return FeatureSet(n, plain, sums)


def _restored(name: str, kind: type[Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    try:
        return kind.restore(arrays)
    except (ValueError, LookupError) as error:
        raise ValueError(f"{name}: {error.args[0] if error.args else error}") from None


def check_whole(known: FeatureSet) -> None:
    """Raise ValueError where a statistic is of another number of images than its set."""
    for what, n in known.numbers().items():
        if n != known.n:
            raise ValueError(f"{what} is of {n:,} images, not of {known.n:,}")


def lacks(known: FeatureSet, needs: set[Any]) -> list[str]:
    """What of the needs a set does not give."""
    return sorted(
        need if isinstance(need, str) else need.reads for need in needs if not known.gives(need)
    )


@contextmanager
def damage() -> Iterator[None]:
    """Turn whatever content that is not as expected raises into a ValueError with one line."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its description"
        raise ValueError(f"{where}: {first['msg']}") from None
    except OSError:
        raise
    except (SafetensorError, *ARCHIVE_ERRORS, *files.MALFORMED) as error:
        raise ValueError(str(error) or type(error).__name__) from None
