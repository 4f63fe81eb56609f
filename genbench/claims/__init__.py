"""Claims: statements from papers and notes, the runs that they compare, and the verdicts."""

from genbench.claims.file import Claim, ClaimFile, describe, load, names, select
from genbench.claims.judge import judge
from genbench.claims.plan import Planned, done, plan
from genbench.claims.result import Judged, Link, read, write

__all__ = [
    "Claim",
    "ClaimFile",
    "Judged",
    "Link",
    "Planned",
    "describe",
    "done",
    "judge",
    "load",
    "names",
    "plan",
    "read",
    "select",
    "write",
]
