"""Cells one after another in this process: for tests and debuggers."""

from collections.abc import Iterable, Iterator
from functools import partial

from genbench.executors import Watch
from genbench.record import Record
from genbench.runtime import Runtime
from genbench.spec import Cell
from genbench.store import Store

__all__ = ["Inline"]


class Inline:
    """Runs cells in this process, in order."""

    def __init__(self, store: Store, runtime: Runtime, watch: Watch) -> None:
        self._store, self._runtime, self._watch = store, runtime, watch

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """See `Executor.run`."""
        from genbench.pipeline import run_cell
        from genbench.worker import configure

        configure(self._runtime)
        for cell in cells:
            self._runtime.progress = partial(self._watch, cell)
            with self._runtime.interrupts.installed():
                record = run_cell(cell, self._store, self._runtime)
            yield record
