"""Reads records, plans and artifacts of a results folder; changes nothing. Needs no torch."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from genbench import files
from genbench.record import SCHEMA, Record
from genbench.spec import Cell, canonical_json
from genbench.text import clean

__all__ = [
    "Artifact",
    "DamagedError",
    "StoreError",
    "digest",
    "holds_results",
    "read_artifact",
    "read_plan",
    "read_record",
    "record_paths",
]

_LONGEST = 300  # characters of a reason
_RECORD = re.compile(r"[0-9a-f]{16}\.json")  # other files beside records are somebody else's
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # links that lead nowhere


class StoreError(Exception):
    """The results folder cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Artifact:
    """What a stage made: arrays by name, and facts that JSON can hold."""

    tensors: dict[str, NDArray[Any]]
    info: dict[str, Any]


class DamagedError(Exception):
    """A file of a results folder that cannot be used.

    Attributes:
        reason: Why, as part of a sentence.
        verdict: What is wrong with it, after its name.
        suffix: What its name gets when it is set aside.
    """

    def __init__(
        self, reason: object, verdict: str = "is damaged", suffix: str = ".damaged"
    ) -> None:
        self.reason = clean(str(reason), _LONGEST) or type(reason).__name__
        self.verdict, self.suffix = verdict, suffix
        super().__init__(self.reason)


@contextmanager
def _content() -> Iterator[None]:
    """Around code that takes the content of a file apart."""
    try:
        yield
    except OSError as error:
        if isinstance(error, files.UnfitFile) or error.errno in _NO_FILE:
            raise DamagedError(error.strerror) from None
        raise  # no permission, a broken disk: the file may be as it should
    except files.MALFORMED as error:
        raise DamagedError(error) from None


def read_record(path: Path) -> Record:
    """The record that a file holds.

    Raises:
        DamagedError: Content that is not what was written, or of another version of genbench.
        OSError: When it cannot be read.
    """
    with _content():
        body = files.json_of(files.read(path))
        sha256 = body.pop("sha256")
        if sha256 != digest(canonical_json(body).encode()):
            raise ValueError("its checksum does not match its content")
        schema = body["schema_version"]
    if schema != SCHEMA:
        raise DamagedError(
            f"it has schema {schema}, this is {SCHEMA}",
            "is of another version of genbench",
            f".schema-{clean(str(schema), 20).replace('/', ' ')}",
        )
    with _content():
        record = Record.model_validate(body)
        if record.cell.key != record.key:
            raise ValueError("its key is not the key of its cell")
    return record


def read_plan(path: Path) -> tuple[str, list[Cell]]:
    """The suite's name and the cells of a plan; for errors see `read_record`."""
    with _content():
        plan = files.json_of(files.read(path, files.TABLE))
        return str(plan["suite"]), [Cell.model_validate(cell) for cell in plan["cells"]]


def read_artifact(path: Path) -> Artifact:
    """The artifact of a file whose name has the start of its sha256; see `read_record`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with _content():
        files.check_safetensors(path)
        data = files.read(path, None)
        if digest(data)[:16] != path.name.split(".")[-2]:
            raise ValueError("checksum mismatch")
        try:
            return Artifact(load(data), _info(data))
        except SafetensorError as error:
            raise DamagedError(error) from None


def record_paths(root: Path) -> list[Path]:
    """The files of a results folder whose names are those of records, sorted.

    Raises:
        StoreError: When the folder cannot be read.
    """
    folder = root / "records"
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        where = folder if os.access(root, os.X_OK) else root
        raise StoreError(f"cannot read {where}: {error.strerror}; make it readable") from None
    return [path for path in paths if _RECORD.fullmatch(path.name)]


def holds_results(root: Path) -> bool:
    """Whether this is a results folder: one with records of ours, or with a plan.

    Raises:
        StoreError: When its records cannot be read.
    """
    if record_paths(root):
        return True
    try:
        read_plan(root / "plan.json")
    except (DamagedError, OSError):
        return False
    return True


def digest(data: bytes) -> str:
    """sha256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _info(data: bytes) -> dict[str, Any]:
    """The metadata of a safetensors file, whose first part is a length and a JSON header."""
    length = int.from_bytes(data[:8], "little")
    header = files.json_of(data[8 : 8 + length])
    info: dict[str, Any] = files.json_of(header["__metadata__"]["info"])
    return info
