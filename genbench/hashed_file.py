"""A file that a family's settings name: what it holds is part of the run, not its name alone."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["HashedFile"]

_MARK = "#sha256="
_DIGITS = 16


@dataclass(frozen=True)
class HashedFile:
    """A field of `api.Config` or `api.Options` for a file, such as weights that a model loads.

        class Config(api.Config):
            weights: api.HashedFile

    Users write a path; specs and records hold `PATH#sha256=DIGEST`, so that other content at the
    same path is another run. A file that no longer holds what was planned is refused.

    Attributes:
        path: Where it is.
        digest: The first 16 hex digits of the sha256 of its content.
    """

    path: Path
    digest: str

    def __str__(self) -> str:
        return f"{self.path}{_MARK}{self.digest}"

    @classmethod
    def of(cls, given: object) -> "HashedFile":
        """The file of a path, or of what a record holds.

        Raises:
            ValueError: No file, one that cannot be read, or other content than was planned.
        """
        name, _, planned = str(given).partition(_MARK)
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no file {path}; check the path")
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        if planned and planned != digest:
            raise ValueError(f"{path} changed since this was planned; run the suite again")
        return cls(path, digest)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )
