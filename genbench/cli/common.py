"""What the commands share: where text goes, and how arguments are read."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genbench.spec import ConfigError
from genbench.store import Store
from genbench.stored import holds_results
from genbench.terminal import result, say

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
    "result",
    "say",
    "warn",
]

OK, REGRESSED, USAGE, CELLS_FAILED, INCONCLUSIVE, INCOMPARABLE = range(6)
INTERRUPTED = 130


def warn(message: str) -> None:
    """Something that a person should know, on stderr."""
    say(f"genbench: {message}")


def as_json(content: Any) -> str:
    """JSON in plain ASCII, which a terminal of any encoding and a CI runner take as it is."""
    return json.dumps(content, indent=1).replace("##[", r"##\u005b")


def count(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


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
    root = Path(roots[-1]).expanduser() if roots else None
    if root is not None and not root.is_dir():
        raise ConfigError(f"data.root={root} is not a folder")
    return root, [c for c in changes if not c.startswith("data.root=")]
