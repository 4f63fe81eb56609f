"""Who runs cells: `inline` in this process, `local` in worker processes on this machine.

An executor takes cells and yields their records as they finish, a record for every cell, also for
one that crashed. It decides when and where, never what.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from genbench.record import Record
from genbench.runtime import Progress, Runtime
from genbench.spec import Cell, ConfigError, nearest
from genbench.store import Store

__all__ = ["Executor", "Watch", "make", "names"]

Watch = Callable[[Cell, Progress], None]


class Executor(Protocol):
    """Runs cells."""

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """The records of the cells, as they finish.

        Raises:
            KeyboardInterrupt: When the user stops it; what was computed is kept.
            StoreError: When the results folder cannot be written.
        """
        ...


def names() -> list[str]:
    """The executors that can be asked for."""
    return ["inline", "local"]


def make(name: str, store: Store, runtime: Runtime, watch: Watch, slots: int = 1) -> Executor:
    """The executor of that name.

    Args:
        name: "inline" or "local".
        store: Where results go.
        runtime: The circumstances of every cell.
        watch: Called with the progress of running cells.
        slots: Cells that run at the same time (local only).
    """
    if name == "inline":
        from genbench.executors.inline import Inline

        return Inline(store, runtime, watch)
    if name == "local":
        from genbench.executors.local import Local

        return Local(store, runtime, watch, slots)
    raise ConfigError(f"unknown executor {name!r}; {nearest(name, names())}")
