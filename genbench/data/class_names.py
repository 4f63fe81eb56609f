"""The optional file `classes.txt`: names of classes by number, one in a line."""

import os
from pathlib import Path

from genbench.files import read_text
from genbench.spec import ConfigError

__all__ = ["FILE", "read"]

FILE = "classes.txt"


def read(kind: str, folder: Path) -> tuple[str, ...] | None:
    """The names, or None where the folder has no such file.

    Raises:
        ConfigError: An empty file or line, a name that is there twice.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    try:
        names = tuple(
            line.strip() for line in read_text(path, encoding="utf-8-sig").rstrip().split("\n")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{kind}: {path} cannot be read ({error}); replace it") from error
    for number, name in enumerate(names, 1):
        if not name:
            raise ConfigError(f"{kind}: {path}, line {number} is empty; write the class's name")
        if name in names[: number - 1]:
            raise ConfigError(f"{kind}: {path}, line {number}: {name!r} is there twice")
    return names
