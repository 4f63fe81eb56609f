"""Opens files that may not be what their names say: links, pipes, devices, files far too large.

A reader that goes through `read` or `opened` is safe: a pipe never hangs, a device never fills the
memory, and what is wrong is an `OSError` whose `strerror` ends a sentence. Text is taken apart by
`json_of` and `toml_of`, which know no other error than `ValueError`. Needs no torch.
"""

import errno
import json
import os
import stat
import tomllib
from pathlib import Path
from typing import IO, Any

from genbench.spec import ConfigError

__all__ = [
    "MALFORMED",
    "TABLE",
    "TEXT",
    "UnfitFile",
    "check_safetensors",
    "expanded",
    "homeless",
    "is_folder",
    "json_of",
    "opened",
    "read",
    "read_text",
    "toml_of",
]

# Most bytes of a file, by what it is: some hundred times what a large one has.
TEXT = 64 << 20  # a record, a suite, a list of names
TABLE = 512 << 20  # one file for many rows: a plan, a bank, claims, captions
_HEADER = 100 << 20  # the longest header that the safetensors format allows

# What code that takes content apart raises where the content is not as expected.
MALFORMED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
    AssertionError,
)

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnfitFile(OSError):
    """A file that is there but cannot hold what its name says; `strerror` tells why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EINVAL, why, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def opened(path: Path | str, most: int | None = None) -> IO[bytes]:
    """A regular file for reading, at once: what is none is refused before anything waits for it.

    Args:
        path: The file; links are followed.
        most: The largest size in bytes that makes sense, None for any.

    Raises:
        UnfitFile: A folder, pipe, socket or device, or a file of more than `most` bytes.
        OSError: As `open`: no such file, no permission, a link that leads nowhere.
    """
    path = Path(path)
    try:
        _check_kind(path, path.stat().st_mode)  # opening a device may do something
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a name with a zero byte
        raise UnfitFile(path, str(error)) from None
    try:
        found = os.fstat(handle)
        _check_kind(path, found.st_mode)
        if most is not None and found.st_size > most:
            raise UnfitFile(
                path, f"it has {found.st_size:,} bytes, and {most:,} are the most that make sense"
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise UnfitFile(path, f"it is {kind}, not a file")


def expanded(path: Path | str) -> Path:
    """A path whose `~` or `~user` is a home folder; as it is where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or one without an entry and without HOME
        return Path(path)


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder.

    Raises:
        ConfigError: When that cannot be seen, for want of permission or for links in a circle.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last one: a zero byte
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); name a folder that can"
        ) from error


def homeless(path: Path) -> bool:
    """Whether a path in a home folder still begins with `~`, as there is none.

    Nothing is written there: it would land in a folder of that name below the current one.
    """
    return path.parts[:1] != () and path.parts[0].startswith("~")


def read(path: Path | str, most: int | None = TEXT) -> bytes:
    """The bytes of a file; for errors see `opened`."""
    with opened(path, most) as file:
        return file.read()


def read_text(path: Path | str, most: int | None = TEXT, encoding: str = "utf-8") -> str:
    """The text of a file, with line ends as "\\n"; for errors see `opened`, and UnicodeDecodeError
    for another encoding."""
    text = read(path, most).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_of(text: bytes | str) -> Any:
    """What JSON says.

    Raises:
        ValueError: No JSON, or values that are nested too deeply to be meant.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def toml_of(text: str) -> dict[str, Any]:
    """What TOML says.

    Raises:
        ValueError: No TOML, or values that are nested too deeply to be meant.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_safetensors(path: Path) -> None:
    """Whether a safetensors file is as long as its header says, without reading its tensors.

    So a file that is large and empty, or was cut short, is found out in no time.

    Raises:
        ValueError: It is not.
        OSError: See `opened`.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER, size - 8):
            raise ValueError("its header is missing or cut short")
        header = json_of(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not one of safetensors")
    header.pop("__metadata__", None)
    try:
        ends = [int(entry["data_offsets"][1]) for entry in header.values()]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise ValueError("its header is damaged") from None
    if size != 8 + length + max(ends, default=0):
        raise ValueError(f"it has {size:,} bytes, not as many as its header says")
