"""Where results live: content-addressed artifacts and records in one folder, written atomically.

    OUT/records/KEY.json                       one record for each cell
    OUT/artifacts/STAGE/KEY.DIGEST.safetensors the tensors and facts that a stage made
    OUT/plan.json                              the cells of the last run, in table order
    OUT/grids/NAME.png, OUT/leaderboard.*      what people look at
    OUT/logs/                                  what workers wrote to stderr

An artifact's name holds the sha256 of its content and a record holds its own, so a file that was
cut short or damaged is found out, set aside and made again, never used. Needs no torch.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench import files
from genbench.record import SCHEMA, Record
from genbench.spec import Cell, canonical_json
from genbench.text import clean

__all__ = ["Artifact", "Store", "StoreError", "append", "atomic_write", "changing"]

_LONGEST = 300  # characters of a reason


_UMASK = os.umask(0)  # it can only be read by setting it
os.umask(_UMASK)


class StoreError(Exception):
    """The results folder cannot be used; the message is one sentence."""


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


@dataclass(frozen=True)
class Artifact:
    """What a stage made: arrays by name, and facts that JSON can hold."""

    tensors: dict[str, NDArray[Any]]
    info: dict[str, Any]


class Store:
    """The results folder. Safe for several processes; a reader never sees half a file.

    Args:
        root: The folder; made when something is first written.
        warn: Called with one sentence when a damaged file is found and set aside.
        way_on: What a user can do when it cannot be written; see `atomic_write`.
    """

    def __init__(
        self,
        root: Path | str,
        warn: Callable[[str], None] = lambda message: None,
        way_on: str = _WAY_ON,
    ) -> None:
        self.root = Path(root)
        self._warn, self._way_on = warn, way_on

    # --- records ---------------------------------------------------------------------------------

    def record_path(self, key: str) -> Path:
        """Where the record of the cell `key` is or will be."""
        return self.root / "records" / f"{key}.json"

    def put_record(self, record: Record) -> Path:
        """Save a record with the checksum of its content."""
        body = record.model_dump(mode="json")
        text = {"sha256": _digest(canonical_json(body).encode()), **body}
        path = self.record_path(record.key)
        atomic_write(path, (json.dumps(text, indent=1) + "\n").encode(), self._way_on)
        return path

    def record(self, key: str) -> Record | None:
        """The record of a cell, or None if there is none that can be used."""
        path = self.record_path(key)
        return self._read_record(path) if os.path.lexists(path) else None

    def records(self) -> list[Record]:
        """All usable records, sorted by key."""
        found = (self._read_record(p) for p in sorted((self.root / "records").glob("*.json")))
        return [record for record in found if record is not None]

    def _read_record(self, path: Path) -> Record | None:
        try:
            body = files.json_of(files.read(path))
            sha256 = body.pop("sha256")
            if sha256 != _digest(canonical_json(body).encode()):
                raise ValueError("its checksum does not match its content")
            if body["schema_version"] != SCHEMA:
                raise ValueError(f"it has schema {body['schema_version']}, this is {SCHEMA}")
            record = Record.model_validate(body)
            if record.cell.key != record.key:
                raise ValueError("its key is not the key of its cell")
        except files.MALFORMED as error:
            self._set_aside(path, f"record {path.name}", error)
            return None
        return record

    # --- the plan --------------------------------------------------------------------------------

    def put_plan(self, suite: str, cells: list[Cell]) -> None:
        """Remember which cells belong to this folder's table, and in which order."""
        plan = {"suite": suite, "cells": [cell.model_dump(mode="json") for cell in cells]}
        text = json.dumps(plan, indent=1) + "\n"
        atomic_write(self.root / "plan.json", text.encode(), self._way_on)

    def plan(self) -> tuple[str, list[Cell]] | None:
        """The suite's name and its cells, or None where no run was planned."""
        path = self.root / "plan.json"
        if not os.path.lexists(path):
            return None
        try:
            plan = files.json_of(files.read(path, files.TABLE))
            return str(plan["suite"]), [Cell.model_validate(cell) for cell in plan["cells"]]
        except files.MALFORMED as error:
            self._set_aside(path, "plan.json", error)
            return None

    # --- artifacts -------------------------------------------------------------------------------

    def put(
        self, stage: str, key: str, tensors: Mapping[str, NDArray[Any]], info: Mapping[str, Any]
    ) -> None:
        """Save an artifact, then drop older ones of the same stage and key."""
        from safetensors.numpy import save

        arrays = {name: np.require(t, requirements="C") for name, t in tensors.items()}
        data = save(arrays, metadata={"info": json.dumps(info)})
        folder = self.root / "artifacts" / stage
        path = folder / f"{key}.{_digest(data)[:16]}.safetensors"
        atomic_write(path, data, self._way_on)
        for old in folder.glob(f"{key}.*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)

    def get(self, stage: str, key: str) -> Artifact | None:
        """An artifact whose content matches its name, or None if there is none."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = self.root / "artifacts" / stage
        for path in sorted(folder.glob(f"{key}.*.safetensors")):
            try:
                files.check_safetensors(path)
                data = files.read(path, None)
            except (OSError, ValueError) as error:
                if not os.path.lexists(path):  # another process has just replaced it
                    continue
                self._set_aside(path, f"{stage} file {path.name}", error)
                continue
            if _digest(data)[:16] != path.name.split(".")[-2]:
                self._set_aside(path, f"{stage} file {path.name}", "checksum mismatch")
                continue
            try:
                return Artifact(load(data), _info(data))
            except (SafetensorError, *files.MALFORMED) as error:
                self._set_aside(path, f"{stage} file {path.name}", error)
        return None

    def has(self, stage: str, key: str) -> bool:
        """Whether an artifact is there, without reading it; in `key` a `*` stands for any text."""
        return any((self.root / "artifacts" / stage).glob(f"{key}.*.safetensors"))

    def drop(self, stage: str, key: str) -> None:
        """Forget the artifacts of one stage and key."""
        for path in (self.root / "artifacts" / stage).glob(f"{key}.*.safetensors"):
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

    def _set_aside(self, path: Path, what: str, why: object) -> None:
        reason = clean(str(why), _LONGEST) or type(why).__name__
        try:
            path.replace(_free(path.with_name(path.name + ".damaged")))
        except OSError as error:  # a read-only folder, or another process was quicker
            self._warn(f"{what} is damaged ({reason}) and stays there ({error.strerror})")
        else:
            self._warn(f"{what} is damaged ({reason}); it was set aside and will be made again")


def _free(path: Path) -> Path:
    """A name that nothing has: this one, or the first with a number behind it."""
    names = (path, *(path.with_name(f"{path.name}-{i}") for i in range(2, 1000)))
    return next((name for name in names if not os.path.lexists(name)), path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _info(data: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file, whose first part is a length and a JSON header."""
    length = int.from_bytes(data[:8], "little")
    header = files.json_of(data[8 : 8 + length])
    info: dict[str, Any] = files.json_of(header["__metadata__"]["info"])
    return info
