"""The version of the code that every training and sampling runs through: contract, loop, noise,
tasks, data.

Families have versions of their own (`genbench.versions`), which are part of a cell's key. This one
is not: it stands in every artifact and record, so that a table can tell two codes apart and a
change of the loop does not make a folder of results unfindable. Needs no torch.
"""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from genbench.versions import parsed

__all__ = ["MODULES", "code_of", "digest"]

# files and folders below genbench/ whose code the bits of weights and samples depend on
MODULES = (
    *(
        "api.py",
        "data",
        "dist.py",
        "drawing.py",
        "flops.py",
        "hashed_file.py",
        "images",
        "inputs/pixels.py",
    ),
    *("loop.py", "noise.py", "sample.py", "stepper.py", "tasks", "train.py"),
)


@lru_cache
def digest() -> str:
    """16 hex digits; comments, layout, docstrings and the version of Python do not change it."""
    return digest_of(Path(__file__).parent)


def digest_of(root: Path) -> str:
    """The digest of the modules below `root`.

    Raises:
        ConfigError: For a file that cannot be read as Python.
    """
    found = hashlib.sha256()
    for path in sorted(file for name in MODULES for file in _files(root / name)):
        found.update(f"\0{path.relative_to(root).as_posix()}\0".encode())
        found.update(_canonical(parsed(path)).encode())
    return found.hexdigest()[:16]


def code_of(stages: dict[str, str]) -> str:
    """What tells the code of a record from that of others; empty where it does not say."""
    return "+".join(dict.fromkeys(stages.values()))


def _files(path: Path) -> list[Path]:
    return list(path.rglob("*.py")) if path.is_dir() else [path]


def _canonical(tree: ast.AST) -> str:
    """A syntax tree as text without its empty fields, whose number grows with Python's version."""
    parts: list[str] = []
    todo: list[Any] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            parts.append("[")
            todo += [_Name("]"), *reversed(node)]
        elif isinstance(node, ast.AST):
            parts.append(f"({type(node).__name__}")
            todo.append(_END)
            for name in reversed(node._fields):
                value = getattr(node, name, None)
                if value is not None and value != [] and name not in _SAID_ELSEWHERE:
                    todo += [value, _Name(name)]
        else:
            parts.append(node if type(node) is _Name else ")" if node is _END else repr(node))
    return " ".join(parts)


class _Name(str):
    """The name of a field, beside strings of the code, which are quoted."""


_END = object()  # of a node
_SAID_ELSEWHERE = {"ctx"}  # whether a name is read or written follows from its place
