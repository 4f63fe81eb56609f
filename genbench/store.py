"""Where results live: content-addressed artifacts and records in one folder, written atomically.

    OUT/records/KEY.json                       one record for each cell
    OUT/artifacts/STAGE/KEY.DIGEST.safetensors the tensors and facts that a stage made
    OUT/plan.json                              the cells of the last run, in table order
    OUT/grids/NAME.png, OUT/leaderboard.*      what people look at
    OUT/logs/                                  what workers wrote to stderr

An artifact's name holds the sha256 of its content and a record holds its own, so a file that was
cut short or damaged is found out and never used. What reads a folder leaves it as it is; what runs
cells sets damaged files aside and makes them again. Needs no torch.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from genbench.record import Record
from genbench.spec import Cell, canonical_json
from genbench.stored import (
    Artifact,
    DamagedError,
    StoreError,
    digest,
    read_artifact,
    read_plan,
    read_record,
    record_paths,
)

__all__ = [
    "Artifact",
    "Store",
    "StoreError",
    "append",
    "atomic_write",
    "changing",
]


_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)


T = TypeVar("T")


_WAY_ON = (
    "make room or choose another folder with --out, then run the same command again: finished "
    "work is kept"
)


@contextmanager
def _writing(path: Path, way_on: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; {way_on}") from None


def atomic_write(path: Path, data: bytes, way_on: str = _WAY_ON) -> None:
    """Write a file so that it is either whole or not there: temporary file, fsync, rename.

    Args:
        path: The file; its folder is made.
        data: Its content.
        way_on: What a user can do when it cannot be written, as the end of a sentence.

    Raises:
        StoreError: When the disk is full, the folder is read-only, ...
    """
    with _writing(path, way_on):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp"
        )
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o666 & ~_UMASK)  # mkstemp's own mode keeps others from reading
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def _held(handle: int) -> Iterator[None]:
    """Hold a lock on an open file, then close it; the system frees it on any exit."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, waiting: Callable[[int], AbstractContextManager[None]]) -> None:
    """Lock an open file for this process, and leave its number for those who wait for it."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0)
        with waiting(int(holder) if holder.isdigit() else 0):
            fcntl.lockf(handle, fcntl.LOCK_EX)
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)


@contextmanager
def changing(path: Path, way_on: str = _WAY_ON) -> Iterator[None]:
    """Keep other processes from changing a file between reading and writing it.

    What is locked is its folder, so that no other file is left beside it, which may be under
    version control. Calls for files of one folder must not be nested.

    Raises:
        StoreError: When the folder cannot be made.
    """
    with _writing(path, way_on):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _held(handle):
        yield


def append(path: Path, text: str, way_on: str = _WAY_ON) -> None:
    """Add text to the end of a file, in one piece whoever else does so at the same time.

    Raises:
        StoreError: When the disk is full, the folder is read-only, ...
    """
    with _writing(path, way_on):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with _held(handle):
            data = memoryview(text.encode())
            while data:
                data = data[os.write(handle, data) :]


class Store:
    """The results folder. Safe for several processes; a reader never sees half a file.

    Args:
        root: The folder; made when something is first written.
        warn: Called with one sentence for each file that cannot be used, once.
        way_on: What a user can do when it cannot be written; see `atomic_write`.
        mends: Rename a damaged file that is in the way of a new one. Only what makes files again
            does so; for anybody else they stay as they are.
    """

    def __init__(
        self,
        root: Path | str,
        warn: Callable[[str], None] = lambda message: None,
        way_on: str = _WAY_ON,
        *,
        mends: bool = False,
    ) -> None:
        self.root = Path(root)
        self._warn, self._way_on, self._mends = warn, way_on, mends
        self._said: set[str] = set()

    # --- records ---------------------------------------------------------------------------------

    def record_path(self, key: str) -> Path:
        """Where the record of the cell `key` is or will be."""
        return self.root / "records" / f"{key}.json"

    def put_record(self, record: Record) -> Path:
        """Save a record with the checksum of its content."""
        body = record.model_dump(mode="json")
        text = {"sha256": digest(canonical_json(body).encode()), **body}
        path = self.record_path(record.key)
        atomic_write(path, (json.dumps(text, indent=1) + "\n").encode(), self._way_on)
        return path

    def record(self, key: str) -> Record | None:
        """The record of a cell, or None if there is none that can be used."""
        return self._read(self.record_path(key), f"record {key}.json", read_record, self._mends)

    def records(self) -> list[Record]:
        """All usable records, sorted by key.

        Raises:
            StoreError: When the folder cannot be read.
        """
        found = (
            self._read(path, f"record {path.name}", read_record, mends=False)
            for path in record_paths(self.root)
        )
        return [record for record in found if record is not None]

    # --- the plan --------------------------------------------------------------------------------

    def put_plan(self, suite: str, cells: list[Cell]) -> None:
        """Remember which cells belong to this folder's table, and in which order."""
        plan = {"suite": suite, "cells": [cell.model_dump(mode="json") for cell in cells]}
        text = json.dumps(plan, indent=1) + "\n"
        path = self.root / "plan.json"
        if path.is_dir():  # nothing else stands in the way of a rename
            self.plan()
        atomic_write(path, text.encode(), self._way_on)

    def plan(self) -> tuple[str, list[Cell]] | None:
        """The suite's name and its cells, or None where no run was planned."""
        return self._read(self.root / "plan.json", "plan.json", read_plan, self._mends)

    # --- artifacts -------------------------------------------------------------------------------

    def put(
        self, stage: str, key: str, tensors: Mapping[str, NDArray[Any]], info: Mapping[str, Any]
    ) -> None:
        """Save an artifact, then drop older ones of the same stage and key."""
        from safetensors.numpy import save

        arrays = {name: np.require(t, requirements="C") for name, t in tensors.items()}
        data = save(arrays, metadata={"info": json.dumps(info)})
        path = self.root / "artifacts" / stage / f"{key}.{digest(data)[:16]}.safetensors"
        atomic_write(path, data, self._way_on)
        self._forget(old for old in self._artifacts(stage, key) if old != path)

    def get(self, stage: str, key: str) -> Artifact | None:
        """An artifact whose content matches its name, or None if there is none."""
        found = (
            self._read(path, f"{stage} file {path.name}", read_artifact, self._mends)
            for path in self._artifacts(stage, key)
        )
        return next((artifact for artifact in found if artifact is not None), None)

    def has(self, stage: str, key: str) -> bool:
        """Whether an artifact is there, without reading it; in `key` a `*` stands for any text."""
        return any(path.is_file() for path in self._artifacts(stage, key))

    def drop(self, stage: str, key: str) -> None:
        """Forget the artifacts of one stage and key."""
        self._forget(self._artifacts(stage, key))

    def _artifacts(self, stage: str, key: str) -> list[Path]:
        folder = self.root / "artifacts" / stage
        try:
            return sorted(folder.glob(f"{key}.*.safetensors"))
        except OSError as error:
            raise StoreError(f"cannot read {folder}: {error.strerror}; {self._way_on}") from None

    def _forget(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if not path.is_dir() or path.is_symlink():  # a folder is not ours to empty
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(
        self,
        stage: str,
        key: str,
        waiting: Callable[[int], AbstractContextManager[None]] = lambda pid: nullcontext(),
    ) -> Iterator[None]:
        """Keep other processes from making the same artifact; freed by the system on any exit.

        The lock belongs to the process: what it forks does not hold it, and outlives it in vain.

        Args:
            stage: Of the artifact.
            key: Of the artifact.
            waiting: Entered while another process, whose number it is given, holds the lock.
        """
        path = self.root / "artifacts" / stage / f"{key}.lock"
        with _writing(path, self._way_on):
            path.parent.mkdir(parents=True, exist_ok=True)
            # for reading too, or a pipe of this name would wait for somebody to read it
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with _writing(path, self._way_on):
                _acquire(handle, waiting)
            yield
        finally:
            os.close(handle)
        # The file stays: unlinking it would let two holders lock two different files.

    # --- what cannot be used ---------------------------------------------------------------------

    def _read(self, path: Path, what: str, read: Callable[[Path], T], mends: bool) -> T | None:
        """What a file of ours holds; None where there is none, or none that can be used.

        Raises:
            StoreError: When the user may not read it, and it would have to be made again.
        """
        try:
            return read(path) if os.path.lexists(path) else None
        except DamagedError as error:
            if os.path.lexists(path):  # else another process has just replaced it
                self._tell_damage(path, what, error, mends)
        except OSError as error:
            if mends:
                raise StoreError(
                    f"cannot read {path}: {error.strerror}; make it readable, or take it away"
                ) from None
            self._tell(f"{what} cannot be read ({error.strerror}) and is left out")
        return None

    def _tell_damage(self, path: Path, what: str, error: "DamagedError", mends: bool) -> None:
        is_so = f"{what} {error.verdict} ({error.reason})"
        if not mends:
            self._tell(f"{is_so} and is left out; `genbench run` makes it again")
            return
        try:
            path.replace(_free(path.with_name(path.name + error.suffix)))
        except OSError as failure:  # a read-only folder, or another process was quicker
            self._tell(f"{is_so} and stays there ({failure.strerror})")
        else:
            self._warn(f"{is_so}; it was set aside and will be made again")

    def _tell(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._warn(message)


def _free(path: Path) -> Path:
    """A name that nothing has: this one, or the first with a number behind it."""
    names = (path, *(path.with_name(f"{path.name}-{i}") for i in range(2, 1000)))
    return next((name for name in names if not os.path.lexists(name)), path)
