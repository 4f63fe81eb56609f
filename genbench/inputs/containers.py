"""Where image files lie: in a folder, or in a zip archive that is read as it is."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from struct import error as StructError
from threading import Lock
from typing import Protocol

from genbench import images
from genbench.files import opened
from genbench.images import SUFFIXES, BrokenImage
from genbench.spec import ConfigError

__all__ = ["ARCHIVE_ERRORS", "Container", "Folder", "Zip", "archive_of", "key_of"]

Read = Callable[[str], bytes]

# what zipfile raises for damage, encryption and compression that it does not know
ARCHIVE_ERRORS = (
    *(OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError),
    *(StructError, LZMAError, OverflowError, MemoryError),
)
_HEAD = 32


class Container(Protocol):
    """Image files with names below a common root.

    Attributes:
        path: For messages.
        names: Paths below the root with "/", in natural order; hidden files are left out.
        others: Image files that are not read, as their suffix is not known.
        warnings: What else the user should know, one sentence each.
    """

    path: Path
    names: list[str]
    others: list[str]
    warnings: list[str]

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that gives a file's bytes by its name; threads may call it.

        It raises `BrokenImage` for a file that cannot be read.
        """
        ...


class Folder:
    """The images of a folder and of the folders below; links are followed.

    Raises:
        ConfigError: When there are none, or two that differ only in their suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = images.find(path)
        self._problems, self.others = found.problems, found.others
        self.names = _checked(found.names, path, "folder", found.others)
        self.warnings = []
        if found.loops:
            self.warnings.append(
                f"links that lead back to a folder above them were not followed: "
                f"{images.few([images.shown(name) for name in found.loops])}"
            )

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """See `Container`."""
        yield self._read

    def _read(self, name: str) -> bytes:
        if name in self._problems:
            raise BrokenImage(self._problems[name])
        return images.read(self.path / name)


class Zip:
    """The images of a zip archive, which is not unpacked.

    Raises:
        ConfigError: When it is damaged, holds none, or two that differ only in their suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        with archive_of(path) as archive:
            found = [name for name in archive.namelist() if not name.endswith("/")]
            there = [name for name in found if images.is_visible(name)]
            names = sorted(filter(images.has_suffix, there), key=images.natural)
            others = [name for name in there if not images.has_suffix(name)]
            self.others = [name for name in others if _is_image(archive, name)]
        self.names = _checked(names, path, "zip archive", self.others)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """See `Container`."""
        lock = Lock()  # members share one position in the file
        with archive_of(self.path) as archive:

            def read(name: str) -> bytes:
                try:
                    with lock, archive.open(name) as file:
                        return images.take(file, archive.getinfo(name).file_size)
                except ARCHIVE_ERRORS as error:
                    raise BrokenImage(" ".join(str(error).split())) from error

            yield read


def _is_image(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a member of an unknown suffix is an image."""
    try:
        with archive.open(name) as file:
            return images.is_image(file.read(_HEAD))
    except ARCHIVE_ERRORS:
        return False


@contextmanager
def archive_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive, open.

    Raises:
        ConfigError: When it is none, or damaged.
    """
    try:
        file = opened(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); name a file") from error
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except ARCHIVE_ERRORS as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{path} cannot be read as a zip archive ({reason}); write it again"
            ) from error
        with archive:
            yield archive


def key_of(name: str) -> str:
    """The name by which an image is matched: its path without the suffix of an image."""
    path = PurePosixPath(name)
    known = path.suffix.lower() in SUFFIXES
    return images.shown(str(path.with_suffix("")) if known else name)


def _checked(names: list[str], path: Path, what: str, others: list[str]) -> list[str]:
    if not names:
        known = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        other = f", only {images.few([images.shown(n) for n in others])}" if others else ""
        raise ConfigError(f"{what} {path} holds no image ({known}){other}; name one that does")
    seen: dict[str, str] = {}
    for name in names:
        key = key_of(name)
        if key in seen:
            both = f"{images.shown(seen[key])} and {images.shown(name)}"
            raise ConfigError(
                f"{what} {path} holds {both}, which have the same name but for the suffix; rename "
                "one or take it out"
            )
        seen[key] = name
    return names
