"""Cells one after another in this process: for tests and debuggers."""

from collections.abc import Iterable, Iterator
from functools import partial

from genbench.executors import Tell, Watch
from genbench.record import Record
from genbench.runtime import Runtime
from genbench.spec import Cell
from genbench.store import Store

__all__ = ["Inline"]


class Inline:
    """Runs cells in this process, in order."""

    def __init__(self, store: Store, runtime: Runtime, watch: Watch, tell: Tell) -> None:
        self._store, self._runtime, self._watch, self._tell = store, runtime, watch, tell

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """See `Executor.run`."""
        from genbench.pipeline import run_cell
        from genbench.worker import configure, import_for

        configure(self._runtime)
        import_for(trains=False)
        from genbench.executors.shared_state import SharedState

        for cell in cells:
            import_for(trains=bool(cell.sample.train.budget.limits))
            before = SharedState()
            self._runtime.progress = partial(self._watch, cell)
            self._runtime.waits = partial(self._waits, cell)
            with self._runtime.interrupts.installed():
                record = run_cell(cell, self._store, self._runtime)
            changed = before.restore()
            if changed:
                self._tell(
                    cell,
                    f"changed what all rows share ({', '.join(changed)}); it was restored, and "
                    "--executor local keeps rows apart",
                )
            yield record

    def _waits(self, cell: Cell, sentence: str) -> None:
        if sentence:
            self._tell(cell, sentence)
