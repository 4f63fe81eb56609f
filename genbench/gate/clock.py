"""The wall-clock gate: two checkouts on one machine, in pairs of fresh processes.

Pairs go base head, head base, base head, ... so that a drift of the machine cancels. Of each
process the best call counts, because whatever else runs can only make a call slower. A time that
was stored is never compared.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genbench
from genbench.gate.bank import BankRow
from genbench.gate.rule import decide_paired
from genbench.gate.verdict import Finding
from genbench.report.rows import Row
from genbench.spec import ConfigError

__all__ = ["ALPHA", "MARGIN", "METRIC", "PAIRS", "ClockError", "Visit", "clock", "head", "visits"]

METRIC = "sampling_time"
MARGIN, ALPHA = 0.05, 0.01
PAIRS = (10, 20)  # and once more, with new processes, where the first do not decide
BATCH = 16
_PATIENCE = 600.0  # seconds that a process may take
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

Visit = Callable[[], float]


class ClockError(Exception):
    """A process gave no time; the message is one sentence."""


@dataclass(frozen=True)
class _Side:
    """A checkout and what is sampled with it."""

    checkout: Path
    request: Mapping[str, Any]
    version: str

    def visit(self) -> float:
        """Seconds of the best call, in a fresh process."""
        script = head() / "genbench" / "worker_clock.py"
        try:
            ran = subprocess.run(
                [sys.executable, "-P", str(script)],
                input=json.dumps(self.request),
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": str(self.checkout)},
            )
        except subprocess.TimeoutExpired:
            raise ClockError(f"a process took more than {_PATIENCE:.0f} s") from None
        if ran.returncode != 0:
            last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
            raise ClockError(f"a process of {self.checkout.name} failed: {last}")
        answer = json.loads(ran.stdout.splitlines()[-1])
        if Path(answer["folder"]) != self.checkout:
            raise ClockError(f"genbench was imported from {answer['folder']}")
        if answer["version"] != self.version:
            raise ClockError(
                f"the code in {self.checkout.name} is version {answer['version'][:8]}, the "
                f"records are of {self.version[:8]}"
            )
        return float(answer["seconds"])


def head() -> Path:
    """The folder that this genbench runs from."""
    return Path(genbench.__file__).resolve().parent.parent


def visits(base: Path, old: BankRow, row: Row, data: Mapping[str, Any]) -> tuple[Visit, Visit]:
    """What times the bank's row with the code in `base`, and the new row with the code at hand.

    Args:
        base: A checkout of the bank's version.
        old: The row in the bank.
        row: The new row.
        data: The fields of a DataSpec.

    Raises:
        ConfigError: When `base` is no checkout, or the bank's row has no specification.
    """
    base = base.resolve()
    if not (base / "genbench" / "__init__.py").is_file():
        raise ConfigError(f"--clock: {base} is no checkout of genbench")
    if old.record is None:
        raise ConfigError(f"--clock: {old.name!r} is plain numbers in the bank, nothing to run")
    sides = []
    for checkout, cell in ((base, old.record.cell), (head(), row.cells[0])):
        spec = cell.sample
        request = {"sample": spec.model_dump(mode="json"), "data": dict(data), "batch": BATCH}
        sides.append(_Side(checkout, request, spec.train.version))
    return sides[0].visit, sides[1].visit


def clock(
    name: str, base: Visit, new: Visit, say: Callable[[str], None] = lambda text: None
) -> Finding:
    """The finding on sampling time: 10 pairs, and 20 new ones where they do not decide.

    Args:
        name: The row.
        base: Gives seconds of the baseline, in a fresh process.
        new: Gives seconds of the candidate.
        say: Told how far it is.
    """
    place = Finding(name, METRIC, "MISSING", margin=MARGIN)
    for pairs in PAIRS:
        try:
            x = _pairs(base, new, pairs, say)
        except ClockError as error:
            return Finding(name, METRIC, "MISSING", margin=MARGIN, reason=str(error))
        found = decide_paired(x, MARGIN, ALPHA)
        reason = f"{pairs} pairs of processes, between {found.lower:+.1%} and {found.bound:+.1%}"
        place = Finding(
            name,
            METRIC,
            found.outcome,
            change=found.change,
            bound=found.bound,
            detectable=found.detectable,
            margin=MARGIN,
            reason=reason,
        )
        if found.outcome != "INCONCLUSIVE":
            break
    return place


def _pairs(base: Visit, new: Visit, pairs: int, say: Callable[[str], None]) -> list[float]:
    """log(new / base) of each pair; the order within pairs alternates."""
    x = []
    for k in range(pairs):
        if k % 2:
            second = new()
            first = base()
        else:
            first = base()
            second = new()
        x.append(math.log(second / first))
        if (k + 1) % 5 == 0:
            say(f"{k + 1} of {pairs} pairs of processes timed")
    return x
