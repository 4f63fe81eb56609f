"""Which image files a folder holds, in natural order, and what of it cannot be read."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image

from genbench.files import UnfitFile, opened
from genbench.images.file import MOST_BYTES, SUFFIXES, is_image
from genbench.spec import ConfigError

__all__ = ["Found", "find", "has_suffix", "is_visible", "natural", "shown"]

_MOST_FOLDERS = 100_000  # links to links can name more folders than there are atoms
_NUMBER = re.compile(r"([0-9]+)")
_HEAD = 32
_NEW_FORMATS = (".avif", ".heic", ".heif", ".jxl")  # not every Pillow knows them

_Key = tuple[tuple[object, ...], ...]
_Places = tuple[tuple[int, int], ...]  # device and number of folders


@dataclass(frozen=True)
class Found:
    """What lies in a folder and in the folders below, as paths below it with "/".

    Attributes:
        names: Image files by their suffix, and what stands in the place of one or of a folder of
            them but cannot be read; in natural order.
        texts: Files of the names that were asked for.
        problems: Why some of `names` cannot be read.
        others: Image files that are not read, as their suffix is not known.
        loops: Links that lead back to a folder that holds them, and are not followed.
    """

    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)


def find(folder: Path, texts: tuple[str, ...] = ()) -> Found:
    """The images of a folder and of the folders below; links are followed, hidden files left out.

    Args:
        folder: Where to look.
        texts: Names of other files that are wanted too.

    Raises:
        ConfigError: For a folder that cannot be read, or that has no end.
    """
    found = Found()
    try:
        root = folder.stat()
        os.scandir(folder).close()
    except OSError as error:
        raise ConfigError(
            f"folder {shown(str(folder))} cannot be read ({_reason(error)}); name one that can"
        ) from error
    todo: list[tuple[str, str, _Places]] = [(str(folder), "", ((root.st_dev, root.st_ino),))]
    count = 0
    while todo:
        path, inside, above = todo.pop()
        count += 1
        if count > _MOST_FOLDERS:
            raise ConfigError(
                f"folder {shown(str(folder))} leads to more than {_MOST_FOLDERS:,} folders, e.g. "
                f"{shown(inside)[:200]}; take links to folders out"
            )
        before = len(found.names)
        folders = list(_entries(path, inside, above, texts, found))
        todo += [(f"{path}/{name}", f"{inside}{name}/", below) for name, below in folders]
        if not folders and len(found.names) == before and has_suffix(inside[:-1]):
            found.names.append(inside[:-1])
            found.problems[inside[:-1]] = "it is a folder, not a file"
    for names in (found.names, found.texts, found.others, found.loops):
        names.sort(key=natural)
    return found


def _entries(
    path: str,
    inside: str,
    above: _Places,
    texts: tuple[str, ...],
    found: Found,
) -> Iterator[tuple[str, _Places]]:
    """Note the files of one folder; gives the folders in it, and all that these lie in."""
    try:
        with os.scandir(path) as there:
            names = sorted(entry.name for entry in there if is_visible(entry.name))
    except OSError as error:
        found.names.append(inside[:-1])
        found.problems[inside[:-1]] = _reason(error)
        return
    for name in names:
        wanted = has_suffix(name) or name in texts
        try:
            status = Path(path, name).stat()
        except OSError as error:
            # a link without an end may have been a folder, of whatever name
            if wanted or not PurePosixPath(name).suffix:
                found.names.append(inside + name)
                found.problems[inside + name] = _reason(error)
            continue
        place = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            if place in above:
                found.loops.append(inside + name)
            else:
                yield name, (*above, place)
        elif name in texts:
            found.texts.append(inside + name)
        elif wanted:
            found.names.append(inside + name)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                found.problems[inside + name] = _unfit(f"{path}/{name}")
        elif _is_other_image(f"{path}/{name}"):
            found.others.append(inside + name)


def _unfit(path: str) -> str:
    """Why what is no file of a likely size cannot be read."""
    try:
        opened(path, MOST_BYTES).close()
    except OSError as error:
        return _reason(error)
    return "it changed while it was looked at"


def _is_other_image(path: str) -> bool:
    """Whether a file of an unknown suffix is an image."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _NEW_FORMATS or suffix in Image.registered_extensions():
        return True
    try:
        with opened(path) as file:
            return is_image(file.read(_HEAD))
    except OSError:
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, UnfitFile):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "a link to nothing"
    return error.strerror or str(error)


# --- names ---------------------------------------------------------------------------------------


def natural(name: str) -> _Key:
    """Sorts paths as people number files: 2.png before 10.png, folder by folder."""
    return (*(_natural(part) for part in name.split("/")), (name,))


def _natural(part: str) -> tuple[object, ...]:
    # text and number take turns, so that like is compared with like
    pieces = _NUMBER.split(part)
    pieces[1::2] = (digits.lstrip("0") for digits in pieces[1::2])
    return tuple((len(piece), piece) if i % 2 else piece for i, piece in enumerate(pieces))


def shown(name: str) -> str:
    """A file's name as text that can be printed and kept; bytes that are no UTF-8 as \\xff."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def has_suffix(name: str) -> bool:
    """Whether a name ends as one of an image file that is read."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_visible(name: str) -> bool:
    """Whether no part of a path is hidden."""
    # macOS puts a shadow of every file into a folder of this name
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
