"""Watches one cell from the hand-over until nothing of it is left: its states and their limits.

    starting ---> working ---> ending ---> ended
                   ^   ^
                   |   '---> stopped
                   '-------> waiting

    state      begins when                            at the limit
    starting   the cell is handed over                its server is killed
    working    the worker takes it up                 the cell is killed: a time-out
    waiting    it says for which process it waits     the cell is killed
    stopped    somebody stopped its process           the cell is killed
    ending     its record is saved, or it is killed   the cell is killed, then its server
    ended      its server has ended all of it         -

What is spent in `stopped` counts in `working`, what is spent in `waiting` does not. Processes and
sockets are the executor's: it passes on what it hears, asks `due` what to kill, and is told why.
So every executor that has processes uses the same states.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["Limits", "State", "Supervisor"]


class State(StrEnum):
    """What a cell is doing; see the module's docstring."""

    STARTING = "starting"
    WORKING = "working"
    WAITING = "waiting"
    STOPPED = "stopped"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True)
class Limits:
    """Seconds that a cell may spend in each state."""

    starting: float = 300.0  # imports of torch on a machine that is busy
    working: float = math.inf
    waiting: float = 7 * 86_400.0  # somebody else's long training
    stopped: float = 300.0  # for whoever stopped it to let it go on
    ending: float = 10.0

    def of(self, state: State) -> float:
        """The limit of a state."""
        return math.inf if state is State.ENDED else float(getattr(self, state.value))


class Supervisor:
    """The state of one cell.

    Args:
        limits: Of every state.
        clock: Seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.state = State.STARTING
        self.overran: State | None = None
        self.said_done = False
        self._limits, self._clock = limits, clock
        self._since, self._worked = clock(), 0.0
        self._killed = False

    @property
    def deadline(self) -> float:
        """When the limit of the present state is reached, by the clock."""
        left = self._limits.working - self._worked
        if self.state is State.WORKING:
            return self._since + left
        limit = self._limits.of(self.state)
        return self._since + (min(limit, left) if self.state is State.STOPPED else limit)

    @property
    def reason(self) -> str | None:
        """Why the cell was killed, the end of a sentence; None where it was not."""
        if self.overran is None:
            return None
        limit = self._limits.of(self.overran)
        return {
            State.STARTING: f"did not start within {limit:g} s",
            State.WAITING: f"waited longer than {limit:g} s for another process",
            State.STOPPED: f"was stopped by a signal for longer than {limit:g} s",
            State.ENDING: f"did not end within {limit:g} s",
        }.get(self.overran, "ran too long")

    def begin(self) -> None:
        """The worker has taken the cell up."""
        if self.state is State.STARTING:
            self._to(State.WORKING)

    def wait(self, waits: bool) -> None:
        """The cell waits for a lock, or has it."""
        if self.state in (State.WORKING, State.WAITING):
            self._to(State.WAITING if waits else State.WORKING)

    def stop(self, stopped: bool) -> bool:
        """Its process is stopped, or runs; returns whether that is news of a stop."""
        if self.state is State.WORKING and stopped:
            self._to(State.STOPPED)
            return True
        if self.state is State.STOPPED and not stopped:
            self._to(State.WORKING)
        return False

    def done(self) -> None:
        """The cell says that its record is saved."""
        self.said_done = True
        self.end()

    def end(self) -> None:
        """The cell is to be gone soon."""
        if self.state not in (State.ENDING, State.ENDED):
            self._to(State.ENDING)

    def ended(self) -> None:
        """Nothing is left of it."""
        self._to(State.ENDED)

    def due(self) -> Literal["cell", "server"] | None:
        """What has to be killed now: its limit is reached."""
        if self._clock() < self.deadline:
            return None
        before, again = self.state, self._killed
        self._to(State.ENDING)
        if before is State.STOPPED and self._worked >= self._limits.working:
            before = State.WORKING
        self.overran, self._killed = self.overran or before, True
        return "server" if again or before is State.STARTING else "cell"

    def _to(self, state: State) -> None:
        now = self._clock()
        if self.state in (State.WORKING, State.STOPPED):
            self._worked += now - self._since
        self.state, self._since = state, now
