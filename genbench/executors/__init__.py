"""Who runs cells: `inline` in this process, `local` in processes of their own on this machine.

An executor takes cells and yields their records as they finish, a record for every cell, also for
one that crashed. It decides when and where, never what.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from genbench.record import Record
from genbench.runtime import Progress, Runtime
from genbench.spec import Cell, ConfigError, nearest
from genbench.store import Store

__all__ = ["Executor", "Tell", "Watch", "make", "names"]

Watch = Callable[[Cell, Progress], None]
Tell = Callable[[Cell, str], None]


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


def _silent(cell: Cell, sentence: str) -> None:
    pass


def make(
    name: str,
    store: Store,
    runtime: Runtime,
    watch: Watch,
    slots: int = 1,
    tell: Tell = _silent,
) -> Executor:
    """The executor of that name.

    Args:
        name: "inline" or "local".
        store: Where results go.
        runtime: The circumstances of every cell.
        watch: Called with the progress of running cells.
        slots: Cells that run at the same time (local only).
        tell: Called with a sentence that a person should know of a cell.
    """
    if name == "inline":
        from genbench.executors.inline import Inline

        return Inline(store, runtime, watch, tell)
    if name == "local":
        from genbench.executors.local import Local

        return Local(store, runtime, watch, tell, slots)
    raise ConfigError(f"unknown executor {name!r}; {nearest(name, names())}")
