"""A comparison as a table in four forms, and as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genbench.compare.findings import LATENCY, Comparison, Finding
from genbench.compare.marks import BETTER, FAILS, FIXED, MOVED, UNLIKE, WORDS, WORSE
from genbench.report.forms import Format, csv, printed
from genbench.report.notes import Note
from genbench.report.rows import Value
from genbench.report.text import DASH, measured

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_json", "render"]

_WORDS = ("mark", "model", "metric", "changed", "why")


def render(found: Comparison, fmt: Format) -> str:
    """The comparison as text that ends in a newline.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return csv(_frame(found))
    return printed(_human(found), fmt, _WORDS, _caption(found), _notes(found), _nothing(found))


def as_json(found: Comparison) -> dict[str, Any]:
    """For machines: `{"rows": [{"model", "metric", "mark", "old", "new", "ratio", "ci95",
    "reason", "changed"}], "only_old", "only_new", "changed_everywhere", "factor"}`.
    """
    rows = [
        {
            "model": f.model,
            "metric": f.metric,
            "mark": f.mark,
            "old": _number(f.old),
            "new": _number(f.new),
            "ratio": f.ratio,
            "ci95": f.ci95,
            "reason": f.reason,
            "changed": f.changed,
        }
        for f in found.findings
    ]
    return {
        "rows": rows,
        "only_old": found.only_old,
        "only_new": found.only_new,
        "changed_everywhere": found.everywhere,
        "factor": found.factor,
    }


def _number(value: Value | None) -> float | None:
    return None if value is None else value.value


def _frame(found: Comparison) -> "pd.DataFrame":
    """Raw numbers; marks are words, as a spreadsheet takes "+" and "-" for formulas."""
    import pandas as pd

    names = ["model", "metric", "mark", "old", "new", "ratio", "ratio ci95 low"]
    names += ["ratio ci95 high", "reason", "changed"]
    rows = []
    for f in found.findings:
        low, high = f.ci95 or (None, None)
        numbers = _number(f.old), _number(f.new), f.ratio, low, high
        texts = f.reason, "; ".join((*found.everywhere, *f.changed))
        rows.append((f.model, f.metric, WORDS[f.mark], *numbers, *texts))
    table = pd.DataFrame(rows, columns=names)
    return table.astype(dict.fromkeys(names[3:8], "float64"))


def _human(found: Comparison) -> "pd.DataFrame":
    """Columns of strings; `changed` and `why` only where they say something."""
    import pandas as pd

    findings = found.findings
    table = {
        "mark": [f.mark for f in findings],
        "model": [f.model for f in findings],
        "metric": [f.header for f in findings],
        "old": [_shown(f.old) for f in findings],
        "new": [_shown(f.new) for f in findings],
        "ratio": [DASH if f.ratio is None else measured(f.ratio, f.ci95) for f in findings],
        "changed": [_once(findings, i) for i in range(len(findings))],
        "why": ["" if f.metric == LATENCY else f.reason for f in findings],
    }
    for name in ("changed", "why"):
        if not any(table[name]):
            del table[name]
    return pd.DataFrame(table, dtype=object)


def _once(findings: Sequence[Finding], i: int) -> str:
    """What changed, beside the first line that a row has."""
    told = i > 0 and findings[i - 1].model == findings[i].model
    return "" if told else "; ".join(findings[i].changed)


def _shown(value: Value | None) -> str:
    return DASH if value is None else measured(value.value, value.ci95)


def _caption(found: Comparison) -> str:
    return (
        f"{BETTER} better, {WORSE} worse: beyond a factor of {found.factor:g} and more than "
        f"chance; {MOVED} beyond it and not shown to be more than chance; no mark: within it; "
        f"{FAILS} fails now; {FIXED} failed before; {UNLIKE} not comparable."
    )


def _notes(found: Comparison) -> list[Note]:
    texts = [
        "Chance: over training seeds, a two-sided t-test at 5 % with pooled variance, of "
        "logarithms; where a side has one training, intervals that do not overlap, which hold "
        "the samples' error alone. Ratio: new over old, with its 95 % interval. Marks are not "
        "corrected for their number: of 20 unchanged numbers, one may differ by chance."
    ]
    if any(f.metric == LATENCY for f in found.findings):
        texts.append(
            "ms/image is never marked: stored times are of another moment or another machine."
        )
    if found.everywhere:
        texts.append(f"Changed in every row: {'; '.join(found.everywhere)}.")
    texts += _only(found)
    return [(text, "") for text in texts]


def _only(found: Comparison) -> list[str]:
    sides = (("older", found.only_old), ("newer", found.only_new))
    return [f"Only in the {side} folder: {_listed(names)}." for side, names in sides if names]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _nothing(found: Comparison) -> str:
    return "\n".join(["No row is in both folders.", *_only(found)]) + "\n"
