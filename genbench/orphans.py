"""Processes whose parents have ended: who gets them, and how they are ended. Linux only."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genbench.text import shortened

__all__ = ["TOKEN", "adopt", "adopting", "die_with_parent", "sweep"]

TOKEN = "GENBENCH_SLOT"  # the variable by which processes of one slot are known
_MOST_NAMES = 20
_DEATH_SIGNAL, _SUBREAPER, _IS_SUBREAPER = 1, 36, 37  # of prctl(2)


def _prctl(option: int, value: object) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def adopt(really: bool) -> None:
    """Whether descendants of this process become its children when their parents end."""
    _prctl(_SUBREAPER, int(really))


@contextmanager
def adopting() -> Iterator[None]:
    """Adopt descendants inside the block."""
    before = ctypes.c_int()
    _prctl(_IS_SUBREAPER, ctypes.byref(before))
    adopt(True)
    try:
        yield
    finally:
        adopt(bool(before.value))


def die_with_parent() -> None:
    """Be killed when the parent ends, for whatever reason."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def sweep(token: str = "") -> list[str]:
    """End the children of this process, and all that become its children by that.

    Args:
        token: Those alone that have it in their environment.

    Returns:
        What those were that had not ended by themselves: command lines and numbers, the first few.
    """
    names: dict[int, str] = {}
    while mine := [pid for pid in _children() if token.encode() in _read(pid, "environ")]:
        for pid in mine:
            names.setdefault(pid, _name(pid))
            os.kill(pid, signal.SIGKILL)
        for pid in mine:
            os.waitpid(pid, 0)
    return [name for name in names.values() if name][:_MOST_NAMES]


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def _read(pid: int, what: str) -> bytes:
    """What the system says of a process; nothing of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""


def _name(pid: int) -> str:
    """What a process is called; "" for one that has ended by itself."""
    command = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    # a fork has the command line of the server
    name = "a fork" if "genbench.forkserver" in command else shortened(command, 100)
    return f"{name} (process {pid})" if command else ""
