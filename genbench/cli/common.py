"""What the commands share: where text goes, and how arguments are read."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from genbench.spec import ConfigError

__all__ = [
    "CELLS_FAILED",
    "INTERRUPTED",
    "OK",
    "USAGE",
    "count",
    "data_root",
    "result",
    "say",
    "warn",
]

OK, USAGE, CELLS_FAILED, INTERRUPTED = 0, 2, 3, 130


def say(message: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def warn(message: str) -> None:
    """Something that a person should know, on stderr."""
    say(f"genbench: {message}")


def result(text: str) -> None:
    """The result, on stdout."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def count(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def data_root(changes: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take `data.root=PATH` out of the changes: it says where data is, not what is run."""
    roots = [c.partition("=")[2] for c in changes if c.startswith("data.root=")]
    root = Path(roots[-1]).expanduser() if roots else None
    if root is not None and not root.is_dir():
        raise ConfigError(f"data.root={root} is not a folder")
    return root, [c for c in changes if not c.startswith("data.root=")]
