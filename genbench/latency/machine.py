"""The machine that is measured on: one measurement at a time, and how busy it is."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["load", "machine_lock"]


def _no_warning(text: str) -> None:
    pass


@contextmanager
def machine_lock(warn: Callable[[str], None] = _no_warning) -> Iterator[bool]:
    """Measure alone: measurements of one user on one machine take turns.

    An advisory lock on a file in the folder for temporary files, freed by the system on any exit.
    It does not keep other work away; `timing`'s intervals and `load` tell of that. It is not
    re-entrant: a measurement inside a measurement would wait for ever.

    Args:
        warn: Told when there is something to wait for, and when there can be no lock.

    Yields:
        Whether another measurement had to end first.
    """
    path = Path(tempfile.gettempdir()) / f"genbench-speed-{os.getuid()}.lock"
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        warn(
            f"{path} cannot be written ({error.strerror}): two measurements at a time "
            "would disturb each other unnoticed"
        )
        yield False
        return
    with os.fdopen(number, "r+") as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            warn("waiting for another measurement on this machine to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield waited
        # The file stays: unlinking it would let two holders lock two different files.


def load() -> float | None:
    """Processes that wanted to run, this one included: the mean over a minute; None if unknown."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # AttributeError: no such thing on this system
        return None
