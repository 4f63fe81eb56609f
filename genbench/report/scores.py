"""The table of an evaluation: a line for each score, and what it depends on below."""

from typing import TYPE_CHECKING

from genbench.report.text import measured
from genbench.text import clean

if TYPE_CHECKING:
    from genbench.evaluation.result import Evaluation, Side

__all__ = ["render"]

_LONGEST = 1000  # characters of a reason


def render(found: "Evaluation") -> str:
    """Plain text for a terminal."""
    from tabulate import tabulate

    rows: list[list[object]] = []
    for name, score in found.scores.items():
        interval = "–" if score.ci95 is None else f"{score.ci95[0]:.4g} to {score.ci95[1]:.4g}"
        spread = "–" if score.spread is None else f"{score.spread:.4g}"
        value = measured(score.value, score.ci95)
        n = f"{score.n:,}"
        rows.append([found.labels[name], value, interval, spread, n, score.method or "–"])
    for name in found.failed:
        rows.append([found.labels[name], "failed", "–", "–", f"{found.generated.n:,}", "–"])
    headers = ["metric", "value", "95 % interval", "spread", "images", "interval over"]
    if all(row[3] == "–" for row in rows):  # only means over splits or subsets have one
        rows = [[*row[:3], *row[4:]] for row in rows]
        del headers[3]
    table = tabulate(rows, headers, disable_numparse=True, tablefmt="simple")
    return "\n".join([table, "", *_notes(found)])


def _notes(found: "Evaluation") -> list[str]:
    notes = [f"generated: {_side(found.generated)}"]
    if found.reference is not None:
        notes.append(f"reference: {_side(found.reference)}")
    for name, network in found.extractors.items():
        own = "" if network.official else ", not known to genbench"
        settings = "".join(f", {v if k == 'dtype' else k}" for k, v in network.settings.items())
        notes.append(f"{clean(name)}: weights {network.sha256[:12]}{own}{settings}")
    for name, why in found.failed.items():
        notes.append(f"{found.labels[name]} failed: {clean(why, _LONGEST)}")
    return [*notes, "ids:", *(f"  {clean(name)}" for name in found.scores)]


def _side(side: "Side") -> str:
    facts = [f"{clean(side.name)}, {side.n:,} images, sha256 {side.digest[:12]}"]
    facts += [f"{clean(k)}: {clean(str(v), 80)}" for k, v in side.notes.items()]
    return "; ".join(facts)
