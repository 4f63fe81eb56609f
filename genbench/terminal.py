"""The one writer to standard output and standard error.

What is written there is cleaned, as names and messages come from files that others made. A stream
that takes nothing any more (a closed pipe, a full disk, no stream at all) ends the printing and
nothing else: work goes on, and the exit code stays what the command says. Needs no torch.
"""

import codecs
import errno
import io
import os
import select
import sys
import tempfile
import traceback
from typing import Any

from genbench.text import clean, screened

__all__ = ["FAULT", "command", "finish", "lines", "result", "say", "settle", "unexpected"]

FAULT = 70  # exit code: something that nobody thought of; sysexits.h calls it EX_SOFTWARE
_LONGEST = 4000  # characters of a sentence
_FALLBACK = "genbench.plain"  # the name of `_plain` among the handlers of encoding errors

# What tables and messages use beyond ASCII, for streams of another encoding.
_ASCII = str.maketrans(
    {
        "±": "+-",
        "–": "-",
        "—": "-",
        "−": "-",
        "…": "...",
        "×": "x",
        "·": "*",
        "→": "->",
        "←": "<-",
        "↑": "^",
        "↓": "v",
        "≤": "<=",
        "≥": ">=",
        "≈": "~",
        "²": "^2",
        "µ": "u",
        "μ": "mu",
        "σ": "sigma",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
        "•": "*",
    }
)


class _Outlet(io.FileIO):
    """A file descriptor that never fails: what it cannot take is dropped.

    Args:
        number: The descriptor.
        lost: Why nothing can be written, where that is known from the start.
    """

    def __init__(self, number: int, lost: OSError | None = None) -> None:
        super().__init__(number, "w", closefd=False)
        self.lost = lost

    def write(self, data: Any) -> int:
        """All of it, or the part that fits now; see `lost` for whether it arrived."""
        try:
            while self.lost is None:
                written = super().write(data)
                if written is not None:
                    return written
                select.select([], [self], [])  # whoever started us made the pipe non-blocking
        except OSError as error:
            self.lost = error
        return memoryview(data).nbytes


class _Streams:
    """Standard output and standard error of this process, and what was printed as its result."""

    def __init__(self) -> None:
        missing = _open_missing()
        self.out = _Outlet(1, missing.get(1))
        self.err = _Outlet(2, missing.get(2))
        self.printed: list[str] = []


_streams: _Streams | None = None  # as there is one pair of streams in a process


def _open_missing() -> dict[int, OSError]:
    """Put the null device where a standard stream was closed, or the next file would be there."""
    missing = {}
    for number in range(3):
        try:
            os.fstat(number)
        except OSError as error:
            missing[number] = error
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    return missing


def settle() -> None:
    """Make both streams of this process such that writing never fails, for libraries too."""
    global _streams
    codecs.register_error(_FALLBACK, _plain)
    _streams = _Streams()
    sys.stdout = _text(_streams.out, sys.stdout)
    sys.stderr = _text(_streams.err, sys.stderr)


def _text(outlet: _Outlet, before: Any) -> io.TextIOWrapper:
    lines = outlet.fileno() == 2 or (outlet.lost is None and outlet.isatty())
    encoding = getattr(before, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(outlet)
    return io.TextIOWrapper(buffer, encoding=encoding, errors=_FALLBACK, line_buffering=lines)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for characters that an encoding does not have: "+-", or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def say(message: str) -> None:
    """A line for people, on stderr."""
    _write(sys.stderr, clean(message, _LONGEST))


def lines(text: str) -> None:
    """Lines for people, laid out as they are, on stderr."""
    _write(sys.stderr, screened(text))


def command(line: str) -> None:
    """A line that a CI runner obeys, on stderr: its author has escaped what is in it."""
    _write(sys.stderr, line)


def result(text: str) -> None:
    """What the user asked for, on stdout."""
    text = screened(text.rstrip("\n"))
    if _streams is not None:
        _streams.printed.append(text)
    _write(sys.stdout, text)


def _write(stream: Any, text: str) -> None:
    stream.write(text + "\n")
    if stream is sys.stderr:
        stream.flush()


def finish() -> None:
    """Write what is still in buffers; a result that stdout did not take is kept in a file.

    Not where a pipe was closed: whoever closed it has seen enough.
    """
    if _streams is None:
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    lost = _streams.out.lost
    if lost is None or lost.errno == errno.EPIPE or not _streams.printed:
        return
    path = _keep("result", "\n".join(_streams.printed) + "\n")
    where = f"it is kept in {path}" if path else "nor could it be kept in a file"
    say(f"genbench: the result could not be printed ({lost.strerror}); {where}")
    sys.stderr.flush()


def unexpected(error: BaseException) -> int:
    """Say in one sentence that something went wrong that nobody thought of; keep the traceback.

    Returns:
        The exit code, `FAULT`.
    """
    text = "".join(traceback.format_exception(error))
    path = _keep("error", text)
    what = f"{type(error).__name__}: {clean(str(error), 500)}".removesuffix(": ")
    if path is not None:
        say(f"genbench: unexpected {what}; the traceback is in {path}, please report it")
    else:
        say(f"genbench: unexpected {what}; please report it with this traceback:")
        lines(text)
    return FAULT


def _keep(what: str, text: str) -> str | None:
    """Write a text that has no other place; the file's name, or None where that fails too."""
    try:
        handle, path = tempfile.mkstemp(prefix=f"genbench-{what}-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:  # no folder for temporary files, or a full one
        return None
    return path
