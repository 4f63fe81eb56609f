"""Progress for people, on stderr: a live bar on a terminal, else a line for each finished cell."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from genbench.record import Record
from genbench.report.rows import collect
from genbench.runtime import Progress
from genbench.spec import Cell
from genbench.terminal import lines
from genbench.text import clean

__all__ = ["Bar", "Console"]

_STAGE = 5.0  # seconds without news, after which the next stage gets one too
_HEARTBEAT = 60.0  # seconds without news, after which a log that nobody watches gets a line


_LONGEST = 500  # characters of a failure's message
_FORM = "{desc} {percentage:3.0f}% |{bar:30}| {postfix}"


class _Transient:
    """Something on the terminal that is gone when the work ends."""

    _bar: tqdm

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


class Console(_Transient):
    """Shows what is running and what has finished.

    Args:
        cells: All cells of the table; their labels tell them apart.
        total: How many of them will run.
    """

    def __init__(self, cells: list[Cell], total: int) -> None:
        self._labels = {c.key: row.label for row in collect([], cells, {}) for c in row.cells}
        self._total, self._done = total, 0
        self._live = sys.stderr.isatty()
        self._spoke = time.monotonic()
        self._bar = tqdm(
            total=total, disable=not self._live, leave=False, unit="cell", file=sys.stderr
        )

    def watch(self, cell: Cell, progress: Progress) -> None:
        """Show how far a running cell is."""
        left = (
            "" if progress.seconds_left is None else f", {_duration(progress.seconds_left)} left"
        )
        text = (
            f"{self._name(cell)}  {progress.stage} {progress.share:.0%}  "
            f"{progress.rate:,.0f} images/s{left}  {clean(progress.detail, _LONGEST)}"
        ).rstrip()
        if self._live:
            self._bar.set_description_str(text, refresh=True)
        elif time.monotonic() - self._spoke > _HEARTBEAT:
            self._line(f"[{self._done + 1}/{self._total}] {text}")

    def tell(self, cell: Cell, sentence: str) -> None:
        """Print something that a person should know of a running cell."""
        self._line(f"genbench: {self._name(cell)}: {clean(sentence, _LONGEST)}")

    def finished(self, record: Record) -> None:
        """Print the line of a finished cell."""
        self._done += 1
        scores = [
            f"{spec.name.upper()} {record.scores[spec.id].value:.4g}"
            for spec in record.cell.metrics
            if spec.id in record.scores
        ]
        seconds = "" if record.timings.total is None else _duration(record.timings.total)
        status: str = record.status
        if record.error is not None:
            first = clean(record.error.message.partition("\n")[0], _LONGEST)
            status += f" in {record.error.stage}: {first}\n    rerun: {clean(record.error.rerun)}"
        fields = [self._name(record.cell), *scores, seconds, status]
        self._line(f"[{self._done}/{self._total}] " + "  ".join(f for f in fields if f))
        for warning in record.warnings:
            self.tell(record.cell, f"warning: {warning}")
        self._bar.update()

    def _name(self, cell: Cell) -> str:
        train = cell.sample.train
        return f"{self._labels[cell.key]}  {train.dataset} seed={train.seed}"

    def _line(self, text: str) -> None:
        self._spoke = time.monotonic()
        if self._live:
            self._bar.clear()
        lines(text)


class Bar(_Transient):
    """A bar for one piece of work; where nobody watches, a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._spoke = time.monotonic()
        self._stage = ""
        self._bar = tqdm(
            total=1.0, disable=not self._live, leave=False, file=sys.stderr, bar_format=_FORM
        )

    def watch(self, progress: Progress) -> None:
        """Show how far it is: how much is done and, where known, how fast and how long still."""
        what = clean(progress.detail, _LONGEST) or progress.stage
        known = [f"{progress.rate:,.0f} images/s"] if progress.rate > 0 else []
        if progress.seconds_left is not None:
            known.append(f"{_duration(progress.seconds_left)} left")
        if self._live:
            self._bar.desc = what
            self._bar.postfix = ", ".join(known)
            self._bar.n = progress.share
            self._bar.refresh()
            return
        wait = _HEARTBEAT if self._stage == progress.stage else _STAGE
        if time.monotonic() - self._spoke > wait:
            self._spoke, self._stage = time.monotonic(), progress.stage
            lines("  ".join([what, f"{progress.share:.0%}", ", ".join(known)]).rstrip())


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
