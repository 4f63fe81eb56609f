"""Cells in worker processes on this machine, one process for each slot.

A worker serves cell after cell, so torch is imported once; when it dies or overruns its time, its
cell becomes a failed record and the next cell gets a new worker.
"""

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from genbench.executors import Watch
from genbench.record import Failure, Record
from genbench.runtime import Progress, Runtime
from genbench.spec import Cell
from genbench.store import Store, StoreError

__all__ = ["Local"]

_GRACE = 10.0  # seconds that a worker has to report its own time-out before it is killed
_STOP_SECONDS = 1.0  # to save a checkpoint after Ctrl-C
_LOG_LINES = 30


class _Worker:
    """One worker process and what it is doing."""

    def __init__(self, slot: int, command: list[str], log: Path, events: queue.Queue[Any]) -> None:
        self.slot, self.log, self.events = slot, log, events
        self.cell: Cell | None = None
        self.deadline = math.inf  # by the monotonic clock
        self.late = False
        self._mark = 0  # size of the log when the cell began
        log.parent.mkdir(parents=True, exist_ok=True)
        # what this process can import, its workers can, and nothing from the current folder
        path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self.process:  # closes the pipes
            for line in self.process.stdout or ():
                self.events.put((self, json.loads(line)))
        self.events.put((self, {"exit": self.process.returncode}))

    def start(self, cell: Cell) -> None:
        """Hand over a cell."""
        self.cell, self.deadline = cell, math.inf
        self._mark = self.log.stat().st_size
        with suppress(BrokenPipeError):  # it just died: its "exit" event says so
            if self.process.stdin is not None:
                self.process.stdin.write(cell.model_dump_json() + "\n")
                self.process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal to the worker and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def tail(self) -> str:
        """The last lines that the worker wrote to stderr since it took its cell up."""
        text = self.log.read_bytes()[self._mark :].decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-_LOG_LINES:])


class Local:
    """Runs cells in `slots` worker processes.

    Cells that share a training never run at the same time, so it is done once; an exclusive cell
    runs alone.
    """

    def __init__(self, store: Store, runtime: Runtime, watch: Watch, slots: int = 1) -> None:
        self._store, self._runtime, self._watch = store, runtime, watch
        self._slots = max(1, slots)
        self._workers: dict[int, _Worker] = {}
        self._events: queue.Queue[Any] = queue.Queue()

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """See `Executor.run`."""
        todo = list(cells)
        try:
            while todo or self._busy():
                self._start(todo)
                yield from self._next()
        except BaseException:
            self._stop()
            raise
        for worker in self._workers.values():
            if worker.process.stdin is not None:
                worker.process.stdin.close()  # the end of its input ends a worker
        for worker in self._workers.values():
            worker.process.wait()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.cell is not None]

    def _start(self, todo: list[Cell]) -> None:
        for slot in range(self._slots):
            worker = self._workers.get(slot)
            if worker is not None and worker.cell is not None:
                continue  # busy
            cell = self._choose(todo)
            if cell is None:
                return
            todo.remove(cell)
            if worker is None:
                log = self._store.root / "logs" / f"worker-{slot}.log"
                worker = _Worker(slot, self._command(), log, self._events)
                self._workers[slot] = worker
            worker.start(cell)

    def _choose(self, todo: list[Cell]) -> Cell | None:
        """The next cell that may start now."""
        running = [worker.cell for worker in self._busy() if worker.cell is not None]
        if any(cell.exclusive for cell in running):
            return None
        training = {cell.sample.train.key for cell in running}
        for cell in todo:
            if cell.exclusive and running:
                return None  # let the others drain rather than overtake it for ever
            if cell.sample.train.key not in training:
                return cell
        return None

    def _command(self) -> list[str]:
        r = self._runtime
        threads = r.threads or max(1, (os.cpu_count() or 1) // self._slots)
        command = [sys.executable, "-P", "-m", "genbench.worker", "--serve", "--out", str(r.out)]
        command += ["--device", r.device, "--threads", str(threads), "--batch", str(r.batch)]
        command += ["--checkpoint-seconds", str(r.checkpoint_seconds)]
        if r.data_root is not None:
            command += ["--data-root", str(r.data_root)]
        if r.timeout is not None:
            command += ["--timeout", str(r.timeout)]
        return command

    def _next(self) -> Iterator[Record]:
        """Wait a moment for something to happen; yields the records that it leads to."""
        self._kill_late()
        worker: _Worker
        try:
            worker, event = self._events.get(timeout=0.2)
        except queue.Empty:
            return
        if "fatal" in event:
            raise StoreError(event["fatal"])
        cell = worker.cell
        if "exit" in event:
            if self._workers.get(worker.slot) is worker:
                del self._workers[worker.slot]
            if cell is not None:
                yield self._crashed(worker, cell, event["exit"])
        elif "start" in event and self._runtime.timeout is not None:
            # the time counts from here: a new worker first spends seconds on importing torch
            worker.deadline = time.monotonic() + self._runtime.timeout + _GRACE
        elif "warning" in event:
            sys.stderr.write(f"genbench: {event['warning']}\n")
        elif "progress" in event and cell is not None:
            self._watch(cell, Progress(**event["progress"]))
        elif "record" in event and cell is not None:
            worker.cell, worker.deadline = None, math.inf
            record = self._store.record(cell.key)
            if record is None:
                record = self._failure(
                    cell, "RecordError", "its record could not be read back", ""
                )
            yield record

    def _kill_late(self) -> None:
        for worker in self._busy():
            if time.monotonic() > worker.deadline:
                worker.deadline, worker.late = math.inf, True
                worker.signal(signal.SIGKILL)

    def _crashed(self, worker: _Worker, cell: Cell, code: int) -> Record:
        if worker.late:
            limit = self._runtime.timeout
            message = f"the cell ran longer than its limit of {limit:g} s and was killed"
            return self._failure(cell, "CellTimeoutError", message, worker.tail())
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = "; was it out of memory?" if code == -signal.SIGKILL else ""
        message = f"the worker process ended with {how}{hint}"
        return self._failure(cell, "WorkerCrash", message, worker.tail())

    def _failure(self, cell: Cell, kind: str, message: str, log: str) -> Record:
        rerun = self._runtime.rerun(cell.key)
        error = Failure(stage="worker", type=kind, message=message, traceback=log, rerun=rerun)
        record = Record(
            key=cell.key,
            cell=cell,
            status="timeout" if kind == "CellTimeoutError" else "failed",
            error=error,
        )
        self._store.put_record(record)
        return record

    def _stop(self) -> None:
        """End every worker soon: ask, wait for checkpoints, then kill."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.signal(signal.SIGINT)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline and any(w.process.poll() is None for w in workers):
            time.sleep(0.02)
        for worker in workers:
            worker.signal(signal.SIGKILL)
