"""What the commands share: where text goes, and how arguments are read."""

import argparse
import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genbench import files
from genbench.runtime import MOST_THREADS
from genbench.spec import ConfigError
from genbench.store import Store
from genbench.stored import holds_results
from genbench.terminal import result, say
from genbench.text import shortened

__all__ = [
    "CELLS_FAILED",
    "INCOMPARABLE",
    "INCONCLUSIVE",
    "INTERRUPTED",
    "OK",
    "REGRESSED",
    "USAGE",
    "as_json",
    "count",
    "data_root",
    "folder",
    "kinds",
    "refuse_empty",
    "result",
    "say",
    "thread_count",
    "to_path",
    "warn",
]

_MOST = 10**9
OK, REGRESSED, USAGE, CELLS_FAILED, INCONCLUSIVE, INCOMPARABLE = range(6)
INTERRUPTED = 130


def warn(message: str) -> None:
    """Something that a person should know, on stderr."""
    say(f"genbench: {message}")


def as_json(content: Any) -> str:
    """JSON in plain ASCII, which a terminal of any encoding and a CI runner take as it is."""
    return json.dumps(content, indent=1).replace("##[", r"##\u005b")


def count(text: str, most: int = _MOST) -> int:
    """A whole number from 1 to `most`, for argparse."""
    if not (text.isdecimal() and len(text) < 20 and 1 <= int(text) <= most):
        raise argparse.ArgumentTypeError(
            f"{shortened(text, 80)!r} is not a whole number from 1 to {most}"
        )
    return int(text)


def thread_count(text: str) -> int:
    """A number of threads or of processes, for argparse."""
    return count(text, MOST_THREADS)


def to_path(text: str) -> Path:
    """A path, for argparse: neither empty nor longer than names can be, `~` made a home folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path names nothing")
    found = files.expanded(text)
    try:
        found.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise argparse.ArgumentTypeError(
                f"{shortened(text, 80)!r} is longer than a path can be"
            ) from None  # that it is not there, whoever opens it says
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shortened(text, 80)!r}: {error}") from None
    return found


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse empty arguments, which a variable of a shell gives that is not set.

    Raises:
        ConfigError: With what stands before the first.
    """
    for before, text in zip(("", *arguments), arguments, strict=False):
        if not text or (text.startswith("--") and text.endswith("=")):
            where = text.rstrip("=") or before
            raise ConfigError(
                f"an argument is empty{f', beside {where}' if where else ''}; write a value, or "
                "leave it out"
            )


def folder(path: Path) -> Store:
    """A results folder that is there, with records or a plan in it.

    Raises:
        ConfigError: If it is not.
    """
    if not holds_results(path):
        raise ConfigError(f"{path} holds no records; name a folder that `genbench run` wrote")
    return Store(path, warn)


def kinds() -> dict[str, str]:
    """The group of every family that has no record yet, by the folder that its file stands in."""
    from genbench import registry

    return {family.name: family.folder for family in registry.families().values()}


def data_root(changes: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take `data.root=PATH` out of the changes: it says where data is, not what is run."""
    roots = [c.partition("=")[2] for c in changes if c.startswith("data.root=")]
    if "" in roots:
        raise ConfigError("data.root= is empty; name a folder, or leave it out")
    root = files.expanded(roots[-1]) if roots else None
    if root is not None and not root.is_dir():
        raise ConfigError(f"data.root={root} is not a folder")
    return root, [c for c in changes if not c.startswith("data.root=")]
