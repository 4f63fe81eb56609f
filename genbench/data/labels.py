"""Labels of images that a file tells: StyleGAN's `dataset.json`, Hugging Face's `metadata`.

    dataset.json    {"labels": [["00000/img00000000.png", 6], ...]}, or null for none
    metadata.csv    a table with the columns file_name and label
    metadata.jsonl  lines {"file_name": ..., "label": ...}

A file stands in the dataset's folder or in one right below, and its names are relative to it.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short  # what a file says may be of any length
from typing import Any

from genbench.files import TABLE, is_folder, json_of, read_text
from genbench.spec import ConfigError

__all__ = ["FILES", "Labels", "read"]

FILES = ("dataset.json", "metadata.csv", "metadata.jsonl")
_KIND = "imagefolder"


@dataclass(frozen=True)
class Labels:
    """What files say of the classes of images.

    Attributes:
        files: Those that say it.
        of: The label of each image by its path below the folder; empty where there are none.
    """

    files: tuple[Path, ...]
    of: dict[str, str]


def read(folder: Path, images: Iterable[str]) -> Labels | None:
    """The labels of a folder's images, or None where no file says anything of labels.

    Args:
        folder: Of the dataset.
        images: Their paths below it.

    Raises:
        ConfigError: A file that is broken, an image that has no label or two, a label of an image
            that is not there.
    """
    places = [folder, *sorted(path for path in folder.iterdir() if is_folder(path))]
    paths = [place / name for place in places for name in FILES]
    told = {path: entries for path in paths if (entries := _entries(path)) is not None}
    if not told:
        return None
    there, found = set(images), dict[str, str]()
    for path, entries in told.items():
        for name, label in entries:
            relative = (path.parent.relative_to(folder) / name).as_posix()
            if relative not in there:
                raise _wrong(path, f"there is no image {short(name)}; add it, or take it out")
            if found.setdefault(relative, label) != label:
                raise _wrong(path, f"{short(name)} has two labels; keep one")
    if found and (lacking := sorted(there - found.keys())):
        raise ConfigError(
            f"{_KIND}: {folder} has no label of {short(lacking[0])} ({len(lacking)} in all) in "
            f"{next(iter(told)).name}; add it, or take the image out"
        )
    return Labels(tuple(told), found)


def _wrong(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{_KIND}: {path}: {why}")


def _entries(path: Path) -> list[tuple[str, str]] | None:
    """Names and labels that a file holds; None for no file, or one that is not of labels."""
    if not os.path.lexists(path):
        return None
    try:
        text = read_text(path, TABLE, "utf-8-sig")
        return {".json": _of_json, ".csv": _of_csv, ".jsonl": _of_lines}[path.suffix](path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"it cannot be read ({error}); replace it") from error
    except (ValueError, csv.Error) as error:
        if isinstance(error, ConfigError):
            raise
        raise _wrong(path, f"it is not what its name says ({error}); replace it") from error


def _of_json(path: Path, text: str) -> list[tuple[str, str]] | None:
    content = json_of(text)
    if not isinstance(content, dict) or "labels" not in content:
        return None
    labels = content["labels"]
    pairs = labels if isinstance(labels, list) else []
    if labels is not None and (pairs is not labels or any(not _is_pair(pair) for pair in pairs)):
        raise _wrong(path, 'labels is not a list of ["NAME.png", NUMBER]; write it so, or null')
    return [(name, _label(path, label)) for name, label in pairs]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)


def _of_csv(path: Path, text: str) -> list[tuple[str, str]] | None:
    rows = csv.DictReader(text.splitlines(), strict=True)
    if "label" not in (rows.fieldnames or ()):
        return None
    return list(_named(path, rows))


def _of_lines(path: Path, text: str) -> list[tuple[str, str]] | None:
    entries = [json_of(line) for line in text.split("\n") if line.strip()]
    if not any(isinstance(entry, dict) and "label" in entry for entry in entries):
        return None
    return list(_named(path, entries))


def _named(path: Path, entries: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for number, entry in enumerate(entries, 1):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            raise _wrong(path, f"entry {number} has no file_name; name the image")
        yield name, _label(path, entry.get("label"))


def _label(path: Path, value: Any) -> str:
    """A class's name: a number or a text."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        said = json.dumps(value)[:40]
        raise _wrong(path, f"{said} is not a label; write the number or name of one class")
    return str(value)
