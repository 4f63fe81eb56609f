"""How a cell is run, as opposed to what it is: device, threads, progress, interruption.

Nothing here is part of a spec. What changes the last digits of a result (device, number of
threads, images at a time) is named by the record.
"""

import json
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import FrameType
from typing import Self

from genbench.text import shortened

__all__ = [
    "MOST_THREADS",
    "CellTimeoutError",
    "Impatience",
    "Interrupts",
    "Progress",
    "Runtime",
    "is_stopped",
    "time_limit",
]

MOST_THREADS = 1024  # of a cell, and cells at the same time


@dataclass(frozen=True)
class Progress:
    """How far a stage is.

    Attributes:
        stage: "train", "sample" or "features".
        share: Done, in [0, 1].
        rate: Images per second.
        seconds_left: Estimate for this stage, or None before there is one.
        detail: What else a person may want to see, e.g. the losses.
    """

    stage: str
    share: float
    rate: float
    seconds_left: float | None = None
    detail: str = ""

    def cut(self, longest: int) -> "Progress":
        """The same with a detail of so many characters at most."""
        return replace(self, detail=shortened(self.detail, longest))


class Impatience:
    """Handles SIGINT for a command: the first raises KeyboardInterrupt, a second ends it at once.

    Workers see that their parent is gone, save, and end with all that they started.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """See the class."""
        if self.asked:
            os.write(2, b"\ngenbench: interrupted twice; what is done is kept\n")
            os._exit(130)
        self.asked = True
        raise KeyboardInterrupt


class Interrupts:
    """Turns SIGINT and SIGTERM into a stop that loses nothing.

    Outside `deferred`, the first signal raises KeyboardInterrupt at once. Inside, it only sets
    `requested`, so that a training loop can finish its step and save; a second one raises.

    Attributes:
        requested: Whether there was a signal.
        watching: Whether signals are handled, so that any other KeyboardInterrupt is not theirs.
    """

    def __init__(self) -> None:
        self.requested = False
        self.watching = False
        self._deferred = False
        self._below: object = None  # what handled SIGINT before

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals inside the block; does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(s, self._handle) for s in signals]
        self._below = before[0]
        self.watching = True
        try:
            yield
        finally:
            self.watching = False
            for s, handler in zip(signals, before, strict=True):
                signal.signal(s, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block, a first signal only sets `requested`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if signum == signal.SIGINT and isinstance(self._below, Impatience):
            if again:
                self._below(signum, frame)
            self._below.asked = True
        if again or not self._deferred:
            raise KeyboardInterrupt


class CellTimeoutError(Exception):
    """A cell ran past its time limit."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise CellTimeoutError inside the block when it runs longer than `seconds`.

    By the interval timer of the process, so that a traceback shows where the time went; does
    nothing for None or outside the main thread.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise CellTimeoutError(f"the cell ran longer than its limit of {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _limit_paused() -> Iterator[None]:
    """What is spent inside the block does not count against a `time_limit` around it."""
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, left)


def _silent(_: object) -> None:
    pass


@dataclass
class Runtime:
    """The circumstances of a run.

    Attributes:
        out: The results folder, as the user named it.
        device: "cpu", "cuda" or "cuda:N"; "auto" takes CUDA where there is one.
        threads: CPU threads of one worker; 0 leaves torch's own choice.
        data_root: Where datasets are looked for, or None for the default places.
        batch: Images sampled or scored at a time.
        timeout: Seconds that one cell may take, or None.
        checkpoint_seconds: Least time between two checkpoints of a training.
        fresh: Whether an executor starts a new interpreter for each cell instead of a fork, as it
            does wherever a device is opened.
        progress: Called now and then.
        waits: Told in one sentence what the cell waits for, and "" when it has it.
        interrupts: The stop button.
    """

    out: Path
    device: str = "auto"
    threads: int = 0
    data_root: Path | None = None
    batch: int = 256
    timeout: float | None = None
    checkpoint_seconds: float = 15.0
    fresh: bool = False
    progress: Callable[[Progress], None] = _silent
    waits: Callable[[str], None] = _silent
    interrupts: Interrupts = field(default_factory=Interrupts)

    @contextmanager
    def waiting(self, stage: str, holder: int) -> Iterator[None]:
        """Wait inside the block for a process that does the same work; no limit counts the time.

        Args:
            stage: What is waited for: "train" or "sample".
            holder: The number of the process, or 0 where it is not known.
        """
        who = f"process {holder}" if holder else "another process"
        work = {"train": "trains the same model", "sample": "draws the same samples"}[stage]
        way_on = f"; it is stopped: let it go on with `kill -CONT {holder}`, or end it"
        self.waits(f"waiting for {who}, which {work}{way_on if is_stopped(holder) else ''}")
        with _limit_paused():
            yield
        self.waits("")

    def settings(self) -> str:
        """What another process needs to know of this, as JSON."""
        known = {name: getattr(self, name) for name in _SETTINGS}
        return json.dumps({k: str(v) if isinstance(v, Path) else v for k, v in known.items()})

    @classmethod
    def parse(cls, settings: str) -> Self:
        """The circumstances that `settings` described."""
        known = json.loads(settings)
        root = known.pop("data_root")
        out = Path(known.pop("out"))
        return cls(out=out, data_root=None if root is None else Path(root), **known)

    def rerun(self, key: str) -> str:
        """The command that runs the one cell `key` again."""
        command = ["genbench", "run", "--out", str(self.out), "--cell", key]
        if self.data_root is not None:
            command.append(f"data.root={self.data_root}")
        return shlex.join(command)


_LIVE = {"progress", "waits", "interrupts"}  # of this process alone
_SETTINGS = [field.name for field in fields(Runtime) if field.name not in _LIVE]


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by Ctrl-Z; False where the system does not tell."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in "Tt"
