"""CelebA in its own layout: aligned faces, 40 attributes, and the split that comes with them."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genbench.data import files, listing
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.files import TABLE, read_text
from genbench.spec import ConfigError

__all__ = ["ATTRIBUTES", "IMAGES", "PARTITION", "read"]

IMAGES, ATTRIBUTES, PARTITION = (
    *("img_align_celeba", "list_attr_celeba.txt"),
    "list_eval_partition.txt",
)
_PARTS = {"0": "train", "1": "validation", "2": "test"}


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of CelebA, with the annotation `attributes`, bool (N, 40).

    `img_align_celeba/` holds the images; `list_attr_celeba.txt` a line with their number, one with
    the names of the attributes, and a row of -1 and 1 for each image; `list_eval_partition.txt`
    its part: 0 is train, 2 is test, 1 (validation) is in neither split.

    Source: Liu, Luo, Wang, Tang, "Deep learning face attributes in the wild" (arXiv 1411.7766).

    Raises:
        ConfigError: A missing file, rows that fit neither the count, the names nor the images.
    """
    for name in (ATTRIBUTES, PARTITION, IMAGES):
        if not os.path.lexists(folder / name):
            raise ConfigError(
                f"celeba: there is no {folder / name}; unpack CelebA so that {IMAGES}/, "
                f"{ATTRIBUTES} and {PARTITION} are side by side"
            )
    names, rows = _attributes(folder / ATTRIBUTES)
    parts = _partition(folder / PARTITION)
    there = {path.name for path in listing.below(folder / IMAGES)}
    _check_same(folder, there, set(rows), ATTRIBUTES)
    _check_same(folder, there, set(parts), PARTITION)
    mine = sorted(name for name, part in parts.items() if part == split)
    if not mine:
        raise ConfigError(f"split {split!r} of {folder} holds no image, says {PARTITION}")
    paths = [folder / IMAGES / name for name in mine]
    headers = files.headers("celeba", folder / IMAGES, paths)
    if size is None:
        files.check_one_size("celeba", folder / IMAGES, (header.size for header in headers))
    images = files.pixels("celeba", folder / IMAGES, paths, "RGB", size)
    attributes = np.stack([rows[name] for name in mine])
    counts = {part: sum(p == part for p in parts.values()) for part in _PARTS.values()}
    notes: dict[str, Note] = {
        "source": "CelebA, aligned and cropped",
        "split_rule": f"{PARTITION}: 0 is train, 2 is test; 1, validation, is in neither",
        "train_count": counts["train"],
        "test_count": counts["test"],
        "left_out": counts["validation"],
    }
    notes |= files.told(folder / IMAGES, paths, headers)
    return Contents(images, None, (), notes, {"attributes": Annotation.of(attributes, names)})


def _attributes(path: Path) -> tuple[tuple[str, ...], dict[str, NDArray[np.bool_]]]:
    """Names of the attributes, and which of them each image has."""
    count, *lines = _lines(path) or [""]
    if not count.isdecimal() or not lines:
        raise ConfigError(
            f"celeba: {path} does not start with the number of images and the names of "
            "attributes; take the file that comes with CelebA"
        )
    names, values = tuple(lines[0].split()), {"-1": False, "1": True}
    rows: dict[str, NDArray[np.bool_]] = {}
    for number, line in enumerate(lines[1:], 3):
        name, *said = line.split()
        if len(said) != len(names) or not set(said) <= set(values):
            raise ConfigError(
                f"celeba: {path}, line {number}: {name} needs {len(names)} values of -1 or 1, "
                f"one for each attribute, and has {len(said)}: {_short(said)}"
            )
        if name in rows:
            raise ConfigError(f"celeba: {path}, line {number}: {name} is there twice; keep one")
        rows[name] = np.array([values[value] for value in said])
    if len(rows) != int(count):
        raise ConfigError(
            f"celeba: {path} says {int(count)} images and has {len(rows)} rows; the file is cut "
            "short, or its first line is wrong"
        )
    return names, rows


def _partition(path: Path) -> dict[str, str]:
    """The part of each image: train, validation or test."""
    parts: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        name, *part = line.split()
        if len(part) != 1 or part[0] not in _PARTS:
            raise ConfigError(
                f"celeba: {path}, line {number}: {name} needs one part, 0 (train), 1 (validation) "
                f"or 2 (test), not {_short(part)}"
            )
        parts[name] = _PARTS[part[0]]
    return parts


def _lines(path: Path) -> list[str]:
    try:
        lines = read_text(path, TABLE).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"celeba: {path} cannot be read ({error}); replace it") from error
    return [line.strip() for line in lines if line.strip()]


def _short(values: list[str]) -> str:
    return " ".join(values[:4]) + (" ..." if len(values) > 4 else "")


def _check_same(folder: Path, there: set[str], said: set[str], file: str) -> None:
    if lacking := sorted(there - said):
        raise ConfigError(
            f"celeba: {folder / file} has no row of {lacking[0]} ({len(lacking)} in all); add it, "
            f"or take the image out of {IMAGES}"
        )
    if lost := sorted(said - there):
        raise ConfigError(
            f"celeba: {folder / file} names {lost[0]}, which is not in {IMAGES} "
            f"({len(lost)} in all); add the image, or take its rows out of both lists"
        )
