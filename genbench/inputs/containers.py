"""Where image files lie: in a folder, or in a zip archive that is read as it is."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Protocol

from genbench.inputs.images import SUFFIXES, BrokenImage
from genbench.spec import ConfigError

__all__ = ["ARCHIVE_ERRORS", "Container", "Folder", "Zip", "key_of"]

Read = Callable[[str], bytes]

# what zipfile raises for damage, encryption and compression that it does not know
ARCHIVE_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class Container(Protocol):
    """Image files with names below a common root.

    Attributes:
        path: For messages.
        names: Paths below the root with "/", sorted; hidden files are left out.
    """

    path: Path
    names: list[str]

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that gives a file's bytes by its name; threads may call it.

        It raises `BrokenImage` for a file that cannot be read.
        """
        ...


class Folder:
    """The images of a folder and of the folders below.

    Raises:
        ConfigError: When there are none, or two that differ only in their suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = (p.relative_to(path).as_posix() for p in path.rglob("*") if _has_suffix(p.name))
        names = sorted(name for name in found if _is_visible(name) and (path / name).is_file())
        self.names = _checked(names, path, "folder")

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """See `Container`."""
        yield self._read

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise BrokenImage(error.strerror or str(error)) from error


class Zip:
    """The images of a zip archive, which is not unpacked.

    Raises:
        ConfigError: When it is damaged, holds none, or two that differ only in their suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _archive(path) as archive:
            found = [info.filename for info in archive.infolist() if not info.is_dir()]
        names = sorted(name for name in found if _has_suffix(name) and _is_visible(name))
        self.names = _checked(names, path, "zip archive")

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """See `Container`."""
        lock = Lock()  # members share one position in the file
        with _archive(self.path) as archive:

            def read(name: str) -> bytes:
                try:
                    with lock:
                        return archive.read(name)
                except ARCHIVE_ERRORS as error:
                    raise BrokenImage(str(error)) from error

            yield read


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except ARCHIVE_ERRORS as error:
        raise ConfigError(f"{path} is no whole zip archive ({error}); make it again") from error
    with archive:
        yield archive


def key_of(name: str) -> str:
    """The name by which an image is matched: its path without the suffix of an image."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


def _has_suffix(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _is_visible(name: str) -> bool:
    # macOS puts a shadow of every file into a folder of this name
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _checked(names: list[str], path: Path, what: str) -> list[str]:
    if not names:
        known = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ConfigError(f"{what} {path} holds no image ({known}); name one that does")
    seen: dict[str, str] = {}
    for name in names:
        key = key_of(name)
        if key in seen:
            raise ConfigError(
                f"{what} {path} holds {seen[key]} and {name}, which have the same name but for "
                "the suffix; rename one or take it out"
            )
        seen[key] = name
    return names
