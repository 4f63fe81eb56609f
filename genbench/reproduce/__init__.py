"""Do results come out again? Reads records, plans them with today's code, compares what came."""

from genbench.reproduce.compare import EXPLAINED, RULE, Compared, Outcome, Verdict, outcome
from genbench.reproduce.output import Reproduction, markdown, summary, text
from genbench.reproduce.source import Entry, Source, read, select
from genbench.reproduce.today import Attempt, attempt

__all__ = [
    "EXPLAINED",
    "RULE",
    "Attempt",
    "Compared",
    "Entry",
    "Outcome",
    "Reproduction",
    "Source",
    "Verdict",
    "attempt",
    "markdown",
    "outcome",
    "read",
    "select",
    "summary",
    "text",
]
