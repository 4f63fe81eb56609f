"""What comes of a gate: a finding for everything that was asked, and one verdict for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["WORST_FIRST", "Finding", "Verdict", "overall"]

Verdict = Literal["PASS", "REGRESSED", "INCONCLUSIVE", "INCOMPARABLE", "MISSING"]
WORST_FIRST: tuple[Verdict, ...] = (
    "REGRESSED",
    "MISSING",
    "INCOMPARABLE",
    "INCONCLUSIVE",
    "PASS",
)


@dataclass(frozen=True)
class Finding:
    """One question and its answer.

    Attributes:
        cell: The row's name.
        metric: A metric's id, the name of a counter, or "row" for the row as a whole.
        change: Relative change, positive is worse; None where there is no such number.
        bound: One-sided upper confidence bound of the change.
        detectable: Smallest true regression that would have been found with 80 % power.
        margin: Change that is accepted.
        reason: One sentence, not yet cleaned for printing.
        old: The bank's number.
        new: The number now.
        quiet: An equal counter: counted, not printed in tables.
    """

    cell: str
    metric: str
    verdict: Verdict
    change: float | None = None
    bound: float | None = None
    detectable: float | None = None
    margin: float | None = None
    reason: str = ""
    old: float | None = None
    new: float | None = None
    quiet: bool = False


def overall(findings: Sequence[Finding]) -> Verdict:
    """The worst verdict that there is; INCOMPARABLE where nothing was gated."""
    found = {finding.verdict for finding in findings}
    return next((verdict for verdict in WORST_FIRST if verdict in found), "INCOMPARABLE")
