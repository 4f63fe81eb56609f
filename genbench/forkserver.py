"""Serves cells to an executor: each in a clean child of a process that has torch imported.

    python -m genbench.forkserver CONTROL PARENT SETTINGS         serve
    python -m genbench.forkserver --cell CHANNEL SETTINGS CELL    one cell, in a fresh process

CONTROL and CHANNEL are numbers of inherited sockets that keep messages apart (SOCK_SEQPACKET);
PARENT is the process that hands out cells, SETTINGS and CELL are JSON.

The server holds no device and runs no code of a family, so that a child begins in the same state
as every other and nothing that a family changes outlives it. On the CPU a cell is a fork, which
costs milliseconds; where it opens a device, it is a fresh process, as a device cannot be forked.
A cell leads a session of its own, reads nothing from standard input, and dies with the server.
The server is the reaper of whatever a cell leaves behind, also of what left its session.

On CONTROL the server gets a cell as JSON together with its CHANNEL, and answers with
`{"begin": true}` when it takes the cell up, `{"pid": N}`, and `{"ended": STATUS, "left": [NAME]}`
when nothing of it is left. On its CHANNEL a cell says `{"begin": true}`, `{"waits": SENTENCE}`,
`{"progress": {...}}`, `{"warning": SENTENCE}`, `{"record": KEY}` once its record is saved, and
`{"fatal": SENTENCE}` when the results folder cannot be used.
"""

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, NoReturn

from genbench.environment import checkout, machine, packages
from genbench.orphans import adopt, die_with_parent, sweep
from genbench.own_code import digest
from genbench.runtime import Runtime
from genbench.spec import Cell
from genbench.store import Store, StoreError
from genbench.text import shortened
from genbench.worker import configure, import_for

__all__ = ["LONGEST", "main"]

LONGEST = 65_536  # bytes of a message
_LONGEST_CELL = 1_000_000
_LONGEST_TEXT = 4_000  # characters of a sentence in it
_STOP_SECONDS = 1.0  # to save a checkpoint when the parent is gone


def main(argv: list[str]) -> NoReturn:
    """Run the command line that the module's docstring shows."""
    if argv[0] == "--cell":
        _, channel, settings, cell = argv
        _run(Cell.model_validate_json(cell), Runtime.parse(settings), _socket(channel))
    control, parent, settings = argv
    _Server(_socket(control), int(parent), settings).serve()


def _socket(number: int | str) -> socket.socket:
    opened = socket.socket(fileno=int(number))
    opened.set_inheritable(False)
    return opened


def _send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Tell whoever listens; a family may have closed the socket, and the listener may be gone.

    Both are seen by watching processes, so neither is an error here.
    """
    with suppress(OSError):
        channel.send(json.dumps(message).encode()[:LONGEST])


# --- the server ----------------------------------------------------------------------------------


class _Server:
    """One slot: takes cells, one after the other, until its parent is gone or hangs up."""

    def __init__(self, control: socket.socket, parent: int, settings: str) -> None:
        self._control, self._settings = control, settings
        self._runtime = Runtime.parse(settings)
        self._parent = os.pidfd_open(parent)

    def serve(self) -> NoReturn:
        """Serve until there is nobody to serve."""
        adopt(True)
        faulthandler.enable()
        if not self._runtime.fresh:
            _warm()
        while self._control in self._wait(self._control):
            data, descriptors, _, _ = socket.recv_fds(self._control, _LONGEST_CELL, 1)
            if not descriptors:  # the other end is closed
                break
            self._serve_one(data, _socket(descriptors[0]))
        os._exit(0)  # taking torch down in order would take a while

    def _wait(self, *what: Any, seconds: float | None = None) -> list[Any]:
        """What is ready of the given; nothing when the parent is gone or the time is over."""
        ready, _, _ = select.select([*what, self._parent], [], [], seconds)
        return [] if self._parent in ready else ready

    def _serve_one(self, data: bytes, channel: socket.socket) -> None:
        cell = None if self._runtime.fresh else Cell.model_validate_json(data)
        if cell is not None:  # imports are part of the start, no limit of the cell's counts them
            import_for(trains=bool(cell.sample.train.budget.limits))
            gc.freeze()
        begin = time.monotonic()
        if cell is not None:
            _send(self._control, {"begin": True})
            _preload(cell, self._runtime)
        pid = os.fork()
        if pid == 0:
            self._become(data, channel, time.monotonic() - begin)
        channel.close()
        _send(self._control, {"pid": pid})
        process = os.pidfd_open(pid)
        try:
            if process not in self._wait(process):
                self._interrupt(process)
        finally:
            os.close(process)
        _, status = os.waitpid(pid, 0)
        _send(self._control, {"ended": os.waitstatus_to_exitcode(status), "left": sweep()})

    def _interrupt(self, process: int) -> None:
        """The parent is gone: let the cell save and stop, as after Ctrl-C, then end it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGINT)
            select.select([process], [], [], _STOP_SECONDS)
            signal.pidfd_send_signal(process, signal.SIGKILL)

    def _become(self, data: bytes, channel: socket.socket, spent: float) -> NoReturn:
        """The child: leave the server's session and descriptors, and run the cell."""
        server = os.getppid()
        os.setsid()
        die_with_parent()
        if os.getppid() != server:  # it died before it could be followed
            os._exit(1)
        os.close(self._parent)
        self._control.close()
        if self._runtime.fresh:
            channel.set_inheritable(True)
            command = [sys.executable, "-P", "-m", "genbench.forkserver", "--cell"]
            os.execv(
                sys.executable,
                [*command, str(channel.fileno()), self._settings, data.decode()],
            )
        if self._runtime.timeout is not None:
            self._runtime.timeout = max(1.0, self._runtime.timeout - spent)
        _run(Cell.model_validate_json(data), self._runtime, channel)


def _warm() -> None:
    """Import what every cell needs, with one thread: those of a pool would not survive a fork."""
    import torch

    torch.set_num_threads(1)
    import_for(trains=False)
    for fact in (checkout, machine, packages, digest):  # each remembers its answer
        fact()
    gc.collect()
    gc.freeze()  # a child's collector would touch, and so copy, every object


def _preload(cell: Cell, runtime: Runtime) -> None:
    """Read the cell's images here, where the next cells find them; a child cannot change them.

    Data that are not at hand, which a cell downloads or reports, are left to it.
    """
    from genbench import data

    name = cell.sample.train.dataset
    with suppress(Exception):  # the cell meets the same and says so in its record
        if data.available(name, runtime.data_root):
            for split in ("train", "test"):
                data.load(name, split, root=runtime.data_root)


# --- one cell ------------------------------------------------------------------------------------


def _run(cell: Cell, runtime: Runtime, channel: socket.socket) -> NoReturn:
    """Run a cell in this process, which ends with it, whatever threads or handlers it has left."""
    me, code = os.getpid(), 1

    def tell(kind: str, content: Any) -> None:
        if os.getpid() == me:  # what a family forks speaks for nobody
            short = shortened(content, _LONGEST_TEXT) if isinstance(content, str) else content
            _send(channel, {kind: short})

    runtime.progress = lambda progress: tell("progress", asdict(progress.cut(_LONGEST_TEXT)))
    runtime.waits = partial(tell, "waits")
    try:
        with runtime.interrupts.installed():
            from genbench.pipeline import run_cell

            configure(runtime)
            tell("begin", True)
            store = Store(runtime.out, partial(tell, "warning"), mends=True)
            record = run_cell(cell, store, runtime)
        tell("record", record.key)
        code = 0
    except StoreError as error:
        tell("fatal", str(error))
        code = 2
    except KeyboardInterrupt:
        code = 130
    finally:
        if code == 1:
            traceback.print_exc()  # into the log, of which the record shows the end
        with suppress(OSError, ValueError):  # a family may have closed it
            sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
