"""What is known of a reference, kept: in a cache by content, and in files that people share.

A file says of which network, protocol, weights and images it is; it is refused for any other.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from genbench import metrics
from genbench.features import Extractor
from genbench.inputs import Source
from genbench.metrics import FeatureSet, Metric
from genbench.spec import ConfigError, content_key
from genbench.store import Store, StoreError, atomic_write

__all__ = [
    "Cache",
    "Origin",
    "cache",
    "cached",
    "keep",
    "origin",
    "pack",
    "read_stats",
    "unpack",
    "write_stats",
]

FORMAT = 1
_WAY_ON = (
    "no score is affected, but the next run has to look at these images again; set "
    "GENBENCH_CACHE to a folder that can be written and has room"
)
_WORDS = {
    "extractor": "network",
    "protocol": "protocol",
    "weights": "weights",
    "settings": "type of numbers",
    "n": "number of images",
    "digest": "images",
    "prepared": "preparation of the images",
}


class Origin(BaseModel):
    """Of what a set of statistics is. Two sets are of the same only if all of this is equal.

    Attributes:
        name: What the reference is called in metric ids.
        digest: sha256 of its images or files.
        prepared: What was done to the images before the network: resizing, transparency.
        n: Number of images.
        extractor: Name of the network.
        protocol: Its preprocessing.
        weights: sha256 of its weights.
        settings: Type of numbers and the like.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    prepared: str
    n: int
    extractor: str
    protocol: str
    weights: str
    settings: dict[str, str] = {}
    format: int = FORMAT


def origin(source: Source, name: str, extractor: Extractor) -> Origin:
    """Of what statistics of this source through this network are."""
    notes = {k: v for k, v in source.notes.items() if k in ("resize", "alpha", "skipped")}
    return Origin(
        name=name,
        digest=source.digest,
        prepared=", ".join(f"{k}: {v}" for k, v in sorted(notes.items())),
        n=source.n,
        extractor=extractor.name,
        protocol=extractor.protocol,
        weights=extractor.sha256,
        settings=extractor.settings,
    )


# --- sets as arrays ------------------------------------------------------------------------------


def _kinds() -> dict[str, type[Any]]:
    """Every class of `Sums` that a metric reads, by name."""
    found = (metrics.find(name) for name in metrics.groups() if name in metrics.names())
    needs = {n for m in found if isinstance(m, Metric) for n in (*m.needs, *m.reference)}
    return {need.__name__: need for need in needs if not isinstance(need, str)}


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


def unpack(n: int, arrays: Mapping[str, NDArray[Any]]) -> FeatureSet:
    """The set that `pack` made arrays of."""
    plain = {k.removeprefix("array/"): v for k, v in arrays.items() if k.startswith("array/")}
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        if key.startswith("sums/"):
            _, kind, name = key.split("/", 2)
            parts.setdefault(kind, {})[name] = array
    kinds = _kinds()
    sums = {kinds[k]: kinds[k].restore(v) for k, v in parts.items() if k in kinds}
    return FeatureSet(n, plain, sums)


def _lacks(known: FeatureSet, needs: set[Any]) -> list[str]:
    return sorted(
        need if isinstance(need, str) else need.reads for need in needs if not known.gives(need)
    )


# --- the cache -----------------------------------------------------------------------------------


class Cache(Store):
    """A store that saves time and holds no result: where it cannot be written, it says so once.

    Args:
        root: The folder.
        warn: Called with one sentence for each damaged file, and for the first that cannot be
            written.
    """

    def __init__(self, root: Path, warn: Callable[[str], None]) -> None:
        super().__init__(root, warn, _WAY_ON, mends=True)
        self._works = True

    def put(
        self, stage: str, key: str, tensors: Mapping[str, NDArray[Any]], info: Mapping[str, Any]
    ) -> None:
        """Save an artifact if the folder can be written."""
        if not self._works:
            return
        try:
            super().put(stage, key, tensors, info)
        except StoreError as error:
            self._works = False
            self._warn(str(error))

    def drop(self, stage: str, key: str) -> None:
        """Forget the artifacts of one stage and key if the folder can be written."""
        with suppress(OSError):  # what stays is right all the same
            super().drop(stage, key)


def cache(warn: Callable[[str], None]) -> Cache:
    """Where references are kept: the folder GENBENCH_CACHE, or the user's cache folder."""
    folder = os.environ.get("GENBENCH_CACHE") or "~/.cache/genbench/reference"
    return Cache(Path(folder).expanduser(), warn)


def cached(store: Store, of: Origin, needs: set[Any]) -> FeatureSet | None:
    """What the cache knows of a reference, if it is all that is needed."""
    found = store.get("reference", _key(of))
    if found is None:
        return None
    known = unpack(of.n, found.tensors)
    return None if _lacks(known, needs) else known


def keep(store: Store, of: Origin, known: FeatureSet, needs: set[Any]) -> None:
    """Put a reference into the cache, beside what other metrics needed of it before."""
    before = store.get("reference", _key(of))
    kept = {} if before is None else before.tensors
    store.put("reference", _key(of), {**kept, **pack(known, needs)}, of.model_dump())


def _key(of: Origin) -> str:
    return content_key(of.model_dump(exclude={"name"}))  # the same images under another name


# --- files ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stats:
    """A file of statistics.

    Attributes:
        of: What it is of.
        known: The statistics.
    """

    of: Origin
    known: FeatureSet


def write_stats(path: Path, of: Origin, known: FeatureSet, needs: set[Any]) -> None:
    """Save statistics of a reference, with all that they are of.

    Raises:
        StoreError: When the disk is full, the folder is read-only, ...
    """
    content = save(pack(known, needs), metadata={"genbench": of.model_dump_json()})
    atomic_write(path, content, "make room, or name another file with --save-stats")


def read_stats(path: Path) -> Stats:
    """The statistics of a file.

    Raises:
        ConfigError: A file that is missing, broken or of another program: others do not say of
            which protocol and how many images they are.
    """
    if not path.is_file():
        raise ConfigError(f"there is no statistics file {path}; make one with --save-stats {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            of = Origin.model_validate_json((file.metadata() or {}).get("genbench", ""))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValidationError, OSError, json.JSONDecodeError) as error:
        raise ConfigError(
            f"{path} is no statistics file of genbench ({str(error).splitlines()[0]}); files of "
            "other programs do not say which protocol and how many images they are of: make one "
            "with --save-stats"
        ) from None
    return Stats(of, unpack(of.n, arrays))


def check_stats(path: Path, stats: Stats, extractor: Extractor, needs: set[Any]) -> None:
    """Refuse statistics of another network, protocol, weights or type of numbers.

    Raises:
        ConfigError: What differs, and what is lacking.
    """
    wanted = {
        "extractor": extractor.name,
        "protocol": extractor.protocol,
        "weights": extractor.sha256,
        "settings": extractor.settings,
    }
    check_origin(path, stats.of, wanted)
    lacking = _lacks(stats.known, needs)
    if lacking:
        raise ConfigError(
            f"{path} lacks what these metrics need of the reference ({', '.join(lacking)}); save "
            "it again with all metrics named, or ask for fewer"
        )


def check_origin(path: Path, of: Origin, wanted: Mapping[str, Any]) -> None:
    """Refuse statistics whose origin differs from what is wanted.

    Raises:
        ConfigError: The first difference.
    """
    for field, value in wanted.items():
        found = getattr(of, field)
        if found != value:
            raise ConfigError(
                f"{path} holds statistics of another {_WORDS[field]}: {_short(found)}, wanted is "
                f"{_short(value)}; name the right file, or make one with --save-stats"
            )


def _short(value: object) -> str:
    text = str(value) or "(none)"
    return f"{text[:12]}..." if len(text) == 64 else text
