"""What is known of a reference, kept in a cache by the content of its images."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from genbench import files
from genbench.evaluation.kept import Known, Told, check_whole, damage, lacks, pack, unpack
from genbench.features import Extractor
from genbench.inputs import Source
from genbench.spec import content_key
from genbench.store import Artifact, Store, StoreError

__all__ = ["Cache", "Origin", "cache", "cached", "keep", "origin"]

FORMAT = 1
_WAY_ON = (
    "no score is affected, but the next run has to look at these images again; set "
    "GENBENCH_CACHE to a folder that can be written and has room"
)


class Origin(BaseModel):
    """Identifies what statistics were computed from; equal for equal statistics.

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
    n: int = Field(ge=1)
    extractor: str
    protocol: str
    weights: str
    settings: dict[str, str] = {}
    format: int = FORMAT


def origin(source: Source, name: str, extractor: Extractor) -> Origin:
    """What statistics of this source through this network are computed from."""
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


# --- the cache -----------------------------------------------------------------------------------


class Cache(Store):
    """A store that saves time and holds no result: where it cannot be used, it says so once.

    Args:
        root: The folder.
        warn: Called with one sentence for each damaged file, and for the first that cannot be
            read or written.
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
            if files.homeless(self.root):
                raise StoreError(f"there is no home folder to keep references in; {_WAY_ON}")
            super().put(stage, key, tensors, info)
        except StoreError as error:
            self._stop(error)

    def get(self, stage: str, key: str) -> Artifact | None:
        """An artifact if there is one that can be read."""
        try:
            return super().get(stage, key)
        except StoreError as error:
            self._stop(error)
            return None

    def _artifacts(self, stage: str, key: str) -> list[Path]:
        try:
            return super()._artifacts(stage, key)
        except StoreError as error:
            self._stop(error)
            return []

    def _stop(self, error: StoreError) -> None:
        if self._works:
            self._works = False
            self._warn(str(error))

    def drop(self, stage: str, key: str) -> None:
        """Forget the artifacts of one stage and key if the folder can be written."""
        with suppress(OSError):  # what stays is right all the same
            super().drop(stage, key)


def cache(warn: Callable[[str], None]) -> Cache:
    """Where references are kept: the folder GENBENCH_CACHE, or the user's cache folder."""
    folder = os.environ.get("GENBENCH_CACHE") or "~/.cache/genbench/reference"
    return Cache(files.expanded(folder), warn)


def cached(store: Store, of: Origin, needs: set[Any]) -> Known | None:
    """What the cache knows of a reference, if it is all that is needed."""
    found = store.get("reference", _key(of))
    if found is None:
        return None
    try:
        with damage():
            told = Told.model_validate(found.info.get("told", {}))
            known = unpack(of.n, found.tensors, "reference")
            check_whole(known)
    except ValueError:  # of another version of genbench
        return None
    return None if lacks(known, needs) else Known(known, told)


def keep(store: Store, of: Origin, known: Known, needs: set[Any]) -> None:
    """Put a reference into the cache, beside what other metrics needed of it before."""
    before = store.get("reference", _key(of))
    arrays = {} if before is None else before.tensors
    info = {**of.model_dump(), "told": known.told.model_dump()}
    store.put("reference", _key(of), {**arrays, **pack(known.features, needs)}, info)


def _key(of: Origin) -> str:
    return content_key(of.model_dump(exclude={"name"}))  # the same images under another name
