"""Cells on this machine: a server of cells for each slot, watched from this process.

See `genbench.forkserver` for how a cell runs, and `supervisor` for its states.
"""

import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from genbench.executors import Tell, Watch
from genbench.executors.supervisor import Limits, State, Supervisor
from genbench.forkserver import LONGEST
from genbench.orphans import TOKEN, adopting, sweep
from genbench.record import Failure, Record
from genbench.runtime import Progress, Runtime, is_stopped
from genbench.spec import Cell
from genbench.store import Store, StoreError

__all__ = ["Local"]

_GRACE = 10.0  # seconds that a cell has to report its own time-out before it is killed
_STOP_SECONDS = 1.0  # to save a checkpoint after Ctrl-C
_LOOK_SECONDS = 0.5  # between two looks at limits and at stopped processes
_LOG_LINES = 30


class _Slot:
    """One server and the cell that it runs."""

    def __init__(self, runtime: Runtime, log: Path) -> None:
        self.log, self.token = log, uuid.uuid4().hex
        self.cell: Cell | None = None
        self.supervisor = Supervisor(Limits())
        self.before: Record | None = None
        self._mark = 0  # size of the log when the cell began
        self._channel: socket.socket | None = None
        self._child: int | None = None  # the cell's pidfd
        self.pid = 0  # of the cell
        log.parent.mkdir(parents=True, exist_ok=True)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "genbench.forkserver", str(theirs.fileno())]
        # what this process can import, its workers can, and nothing from the current folder
        path = os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)
        with theirs, log.open("ab") as errors:
            self.server = subprocess.Popen(
                [*command, str(os.getpid()), runtime.settings()],
                env={**os.environ, "PYTHONPATH": path, TOKEN: self.token},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on
            )
        self.watched = os.pidfd_open(self.server.pid)

    def hand_over(self, cell: Cell, limits: Limits, before: Record | None) -> None:
        """Give the server a cell.

        Args:
            cell: What to run.
            limits: Of its states.
            before: The record that it has already.
        """
        self.cell, self.before, self.pid = cell, before, 0
        self.supervisor = Supervisor(limits)
        self._mark = self.log.stat().st_size
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, suppress(BrokenPipeError, ConnectionResetError):  # its end is seen elsewhere
            data = cell.model_dump_json().encode()
            socket.send_fds(self.control, [data], [theirs.fileno()])

    def descriptors(self) -> list[int]:
        """What becomes readable when there is news."""
        more = [self._child, None if self._channel is None else self._channel.fileno()]
        return [self.control.fileno(), self.watched, *(fd for fd in more if fd is not None)]

    def heard(self) -> Iterator[dict[str, Any]]:
        """What the cell and then its server have said since the last call."""
        ended = list(_messages(self.control))
        if self._channel is not None:
            yield from _messages(self._channel)
        yield from ended

    def has_child(self, pid: int) -> None:
        """Watch the cell's own process."""
        self.pid = pid
        with suppress(ProcessLookupError):  # it is gone already, and its server will say so
            self._child = os.pidfd_open(pid)

    def look(self) -> None:
        """See whether the cell's process is gone, whatever its server says."""
        if self._child is not None and _readable(self._child):
            self.supervisor.end()
            self._forget_child()

    def running(self) -> bool:
        """Whether the cell's process is there."""
        return self._child is not None and not _readable(self._child)

    def signal(self, number: int) -> bool:
        """Send a signal to the cell's process; False where none is known."""
        if self._child is None:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._child, number)
        return True

    def kill_server(self) -> None:
        """End the server, and with it the cell, which dies with it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.watched, signal.SIGKILL)

    def clear(self) -> None:
        """The cell is over."""
        self.cell = None
        self.supervisor.ended()
        self._forget_child()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def close(self, seconds: float) -> list[str]:
        """Let the server end, and end it where that takes longer; with all that it left.

        Returns:
            What was left of the cell, where the server could not see to that any more.
        """
        self.signal(signal.SIGKILL)
        self.control.close()  # the server then has nobody to serve
        try:
            self.server.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_server()
            self.server.wait()
        left = [] if self.server.returncode == 0 else self._sweep()
        self.clear()
        os.close(self.watched)
        return left

    def _sweep(self) -> list[str]:
        """What this process has adopted of a server that was killed."""
        if self._child is not None:
            _readable(
                self._child, _STOP_SECONDS
            )  # it dies with its server; its children come then
            with suppress(ChildProcessError):  # it has ended, and its server has seen that
                os.waitpid(self.pid, os.WNOHANG)
        return sweep(self.token)

    def _forget_child(self) -> None:
        if self._child is not None:
            os.close(self._child)
            self._child = None

    def tail(self) -> str:
        """The last lines that were written to the log since the cell was handed over."""
        text = self.log.read_bytes()[self._mark :].decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-_LOG_LINES:])


def _readable(descriptor: int, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _messages(source: socket.socket) -> Iterator[dict[str, Any]]:
    """What has arrived; anything else that a family wrote into the socket is left out."""
    while _readable(source.fileno()):
        try:
            data = source.recv(LONGEST)
        except ConnectionResetError:
            return
        if not data:  # closed, which says nothing: processes are watched by themselves
            return
        with suppress(ValueError):
            message = json.loads(data)
            if isinstance(message, dict):
                yield message


class Local:
    """Runs cells in `slots` processes at the same time.

    Cells that share a training never run at the same time, so it is done once; an exclusive cell
    runs alone. Slots take the CUDA devices in turn.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        watch: Watch,
        tell: Tell,
        slots: int = 1,
        limits: Limits | None = None,
    ) -> None:
        self._store, self._runtime, self._watch, self._tell = store, runtime, watch, tell
        self._count = max(1, slots)
        self._slots: dict[int, _Slot] = {}
        working = math.inf if runtime.timeout is None else runtime.timeout + _GRACE
        self._limits = limits or Limits(working=working)

    def run(self, cells: Iterable[Cell]) -> Iterator[Record]:
        """See `Executor.run`."""
        todo = list(cells)
        with adopting():
            try:
                while todo or self._busy():
                    self._start(todo)
                    yield from self._next()
            except BaseException:
                self._stop()
                raise
            for slot in self._slots.values():
                slot.close(self._limits.ending)

    def _busy(self) -> list[_Slot]:
        return [slot for slot in self._slots.values() if slot.cell is not None]

    def _start(self, todo: list[Cell]) -> None:
        for number in range(self._count):
            slot = self._slots.get(number)
            if slot is not None and slot.cell is not None:
                continue  # busy
            cell = self._choose(todo)
            if cell is None:
                return
            todo.remove(cell)
            if slot is None:
                log = self._store.root / "logs" / f"worker-{number}.log"
                slot = self._slots[number] = _Slot(self._settings(number), log)
            slot.hand_over(cell, self._limits, self._store.record(cell.key))

    def _choose(self, todo: list[Cell]) -> Cell | None:
        """The next cell that may start now."""
        running = [slot.cell for slot in self._busy() if slot.cell is not None]
        if any(cell.exclusive for cell in running):
            return None
        training = {cell.sample.train.key for cell in running}
        for cell in todo:
            if cell.exclusive and running:
                return None  # let the others drain rather than overtake it for ever
            if cell.sample.train.key not in training:
                return cell
        return None

    def _settings(self, number: int) -> Runtime:
        """The circumstances of cells in this slot."""
        from genbench.worker import devices

        there = devices(self._runtime.device)
        device = there[number % len(there)]
        return replace(self._runtime, device=device, fresh=self._runtime.fresh or device != "cpu")

    # --- news ------------------------------------------------------------------------------------

    def _next(self) -> Iterator[Record]:
        """Wait a moment for something to happen; yields the records that it leads to."""
        poll = select.poll()
        for slot in self._slots.values():
            for descriptor in slot.descriptors():
                poll.register(descriptor, select.POLLIN)
        poll.poll(_LOOK_SECONDS * 1000)
        for number, slot in list(self._slots.items()):
            gone = slot.server.poll()  # before its messages are read: there are no more after it
            for message in slot.heard():
                yield from self._hear(slot, message)
            if gone is not None:
                yield from self._lost(number, slot, gone)
            elif slot.cell is not None:
                self._look(slot, slot.cell)

    def _hear(self, slot: _Slot, message: dict[str, Any]) -> Iterator[Record]:
        """What a cell or its server says; yields the record when it is the last word."""
        cell = slot.cell
        match message:
            case _ if cell is None:
                return
            case {"fatal": str(sentence)}:
                raise StoreError(sentence)
            case {"begin": _}:
                slot.supervisor.begin()
            case {"pid": int(pid)}:
                slot.has_child(pid)
            case {"waits": str(sentence)}:
                slot.supervisor.wait(bool(sentence))
                if sentence:
                    self._tell(cell, sentence)
            case {"warning": str(sentence)}:
                self._tell(cell, sentence)
            case {"progress": dict(progress)}:
                with suppress(TypeError):  # not what a worker of ours would say
                    self._watch(cell, Progress(**progress))
            case {"record": _}:
                slot.supervisor.done()
            case {"ended": int(code), "left": list(left)}:
                self._tell_left(cell, left)
                yield self._result(slot, cell, code)
            case _:
                return

    def _tell_left(self, cell: Cell, left: list[Any]) -> None:
        if left:
            self._tell(cell, f"left processes behind, which were ended: {_several(left)}")

    def _look(self, slot: _Slot, cell: Cell) -> None:
        """See to stopped processes and to limits."""
        slot.look()
        if slot.supervisor.stop(is_stopped(slot.pid)):
            pid = slot.pid
            self._tell(cell, f"process {pid} is stopped; `kill -CONT {pid}` lets it go on")
        due = slot.supervisor.due()
        if due == "server" or (due == "cell" and not slot.signal(signal.SIGKILL)):
            slot.kill_server()

    def _lost(self, number: int, slot: _Slot, code: int) -> Iterator[Record]:
        """A server is gone, and its cell with it."""
        cell = slot.cell
        del self._slots[number]
        left = slot.close(0)
        if cell is not None:
            self._tell_left(cell, left)
            yield self._result(slot, cell, code)

    # --- results ---------------------------------------------------------------------------------

    def _result(self, slot: _Slot, cell: Cell, code: int) -> Record:
        """The record of a cell of which nothing runs any more."""
        supervisor, tail = slot.supervisor, slot.tail()
        slot.clear()
        record = self._store.record(cell.key)
        if supervisor.said_done and record is None:
            return self._failure(cell, "RecordError", "its record could not be read back", tail)
        if record is not None and (supervisor.said_done or record != slot.before):
            return record
        if supervisor.overran is State.WORKING:
            limit = self._runtime.timeout
            message = f"the cell ran longer than its limit of {limit:g} s and was killed"
            return self._failure(cell, "CellTimeoutError", message, tail)
        if supervisor.reason is not None:
            message = f"the worker process {supervisor.reason} and was killed"
            return self._failure(cell, "WorkerCrash", message, tail)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = "; was it out of memory?" if code == -signal.SIGKILL else ""
        message = f"the worker process ended with {how} before the cell was done{hint}"
        return self._failure(cell, "WorkerCrash", message, tail)

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
        for slot in self._busy():
            slot.signal(signal.SIGINT)
        end = time.monotonic() + _STOP_SECONDS
        while any(s.running() for s in self._busy()) and time.monotonic() < end:
            time.sleep(0.02)
        for slot in self._slots.values():
            slot.close(_STOP_SECONDS)


def _several(names: list[Any], most: int = 5) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
