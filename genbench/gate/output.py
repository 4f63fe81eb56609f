"""A gate's outcome for people and machines: table, Markdown, JSON, JUnit, GitHub's annotations.

Names and reasons come from records and are hostile: whatever is printed is cleaned and escaped for
the place where it is printed.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from genbench.gate.bank import Bank, BankRow, Known
from genbench.gate.judge import Outcome
from genbench.gate.rule import detectable
from genbench.gate.verdict import WORST_FIRST, Finding, overall
from genbench.report.text import markdown
from genbench.text import clean

__all__ = [
    "annotations",
    "as_json",
    "bank_json",
    "bank_table",
    "junit",
    "one_line",
    "summary",
    "table",
]

_DASH = "–"
_NEW_SEEDS = 3  # what a candidate usually has
_HEADERS = (
    "verdict",
    "cell",
    "metric",
    "bank",
    "new",
    "change",
    "bound",
    "margin",
    "detectable",
    "reason",
)
_CAPTION = (
    "change, bound and detectable are relative, positive is worse; bound is the upper end of the "
    "change, detectable the smallest true regression that would be found with 80 % power."
)


def _plain(text: str) -> str:
    """One clean line that no CI runner takes for a command of its own."""
    return clean(text).replace("##[", "## [")


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return _DASH
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 100 else f"{value:.4g}"


def _percent(value: float | None, signed: bool = True) -> str:
    if value is None or not math.isfinite(value):
        return _DASH
    return f"{100 * value:{'+' if signed else ''}.1f} %"


def _short(metric: str) -> str:
    return metric.partition("@")[0]


def _cells(finding: Finding) -> list[str]:
    return [
        finding.verdict,
        _plain(finding.cell),
        _plain(_short(finding.metric)),
        _number(finding.old),
        _number(finding.new),
        _percent(finding.change),
        _percent(finding.bound),
        _percent(finding.margin, signed=False),
        _percent(finding.detectable, signed=False),
        _plain(finding.reason),
    ]


def _listed(outcome: Outcome) -> list[Finding]:
    """What tables show, worst first; `sorted` is stable, so the bank's order inside."""
    shown = [f for f in outcome.findings if not f.quiet]
    return sorted(shown, key=lambda f: WORST_FIRST.index(f.verdict))


def _counts(outcome: Outcome) -> str:
    """The summary line: how many findings of each verdict."""
    listed = [f.verdict for f in outcome.findings]
    parts = [f"{listed.count(v)} {v}" for v in WORST_FIRST if v in listed]
    equal = sum(f.quiet for f in outcome.findings)
    quiet = f" ({equal} equal counters, not listed)" if equal else ""
    return f"{overall(outcome.findings)}: {', '.join(parts) or 'nothing was gated'}{quiet}"


def _notes(outcome: Outcome) -> list[str]:
    ids = sorted({f.metric for f in _listed(outcome) if "@" in f.metric})
    notes = [f"{_short(name)} is {name}." for name in ids]
    for info in outcome.information:
        was, now = _number(info.old), _number(info.new)
        notes.append(f"Not gated: {info.cell}, {_short(info.metric)} {was} -> {now}.")
    if outcome.extra:
        notes.append(f"Not in the bank, no verdict: {', '.join(outcome.extra)}.")
    return [_plain(note) for note in notes]


def table(outcome: Outcome) -> str:
    """For a terminal."""
    from tabulate import tabulate

    rows = [_cells(finding) for finding in _listed(outcome)]
    lines = [tabulate(rows, _HEADERS, tablefmt="simple", disable_numparse=True), "", _CAPTION]
    lines = lines if rows else []
    return "\n".join([*lines, *_notes(outcome), _counts(outcome)])


def summary(outcome: Outcome) -> str:
    """Markdown for the summary of a CI step."""
    from tabulate import tabulate

    rows = [[markdown(text) for text in _cells(finding)] for finding in _listed(outcome)]
    body = tabulate(rows, _HEADERS, tablefmt="pipe", disable_numparse=True) if rows else ""
    notes = "\n".join(f"- {markdown(note)}" for note in _notes(outcome))
    parts = [f"### genbench gate: {markdown(_counts(outcome))}", body, _CAPTION, notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def one_line(finding: Finding) -> str:
    """A finding as a sentence."""
    place = f"{finding.cell}, {finding.metric}"
    facts = [
        f"{name} {text}"
        for name, text in (
            ("change", _percent(finding.change)),
            ("bound", _percent(finding.bound)),
            ("margin", _percent(finding.margin, signed=False)),
            ("detectable", _percent(finding.detectable, signed=False)),
        )
        if text != _DASH
    ]
    inside = f" ({', '.join(facts)})" if facts else ""
    why = f": {finding.reason}" if finding.reason else ""
    return _plain(f"{finding.verdict} {place}{inside}{why}")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """For machines: the verdict and every finding, null where a number does not exist."""
    return {
        "verdict": overall(outcome.findings),
        "findings": [
            {
                "cell": clean(f.cell),
                "metric": clean(f.metric),
                "verdict": f.verdict,
                "change": f.change,
                "bound": f.bound,
                "detectable": f.detectable,
                "margin": f.margin,
                "old": f.old,
                "new": f.new,
                "reason": clean(f.reason),
            }
            for f in outcome.findings
        ],
        "information": [
            {"cell": clean(i.cell), "metric": clean(i.metric), "old": i.old, "new": i.new}
            for i in outcome.information
        ],
        "not_in_bank": [clean(label) for label in outcome.extra],
    }


def junit(outcome: Outcome) -> bytes:
    """JUnit's XML: a test for every finding; only PASS is green.

    REGRESSED, MISSING and INCONCLUSIVE are failures, INCOMPARABLE is an error: nothing was tested.
    A gate that tested nothing has one test, which is an error.
    """
    findings = outcome.findings or [
        Finding("gate", "row", "INCOMPARABLE", reason="nothing was gated")
    ]
    errors = sum(f.verdict == "INCOMPARABLE" for f in findings)
    failures = sum(f.verdict != "PASS" for f in findings) - errors
    counts = {"tests": str(len(findings)), "failures": str(failures), "errors": str(errors)}
    root = ElementTree.Element("testsuites", {"name": "genbench gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "genbench gate", **counts})
    for finding in findings:
        names = {"classname": f"genbench.{clean(finding.cell)}", "name": clean(finding.metric)}
        case = ElementTree.SubElement(suite, "testcase", names)
        if finding.verdict != "PASS":
            tag = "error" if finding.verdict == "INCOMPARABLE" else "failure"
            told = {"type": finding.verdict.lower(), "message": one_line(finding)}
            ElementTree.SubElement(case, tag, told).text = one_line(finding)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def annotations(outcome: Outcome) -> list[str]:
    """GitHub's workflow commands, one for everything that is not PASS."""
    found = []
    for finding in _listed(outcome):
        if finding.verdict != "PASS":
            level = "warning" if finding.verdict == "INCONCLUSIVE" else "error"
            title = _escape(f"genbench gate: {_plain(finding.cell)}", ":,")
            found.append(f"::{level} title={title}::{_escape(one_line(finding))}")
    return found


def _escape(text: str, more: str = "") -> str:
    """As GitHub's runner reads it back: "%" first, then what would end the line or a property."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def summary_path(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the Markdown goes: the file that was named, or GitHub's."""
    named = environment.get("GITHUB_STEP_SUMMARY")
    return given if given is not None or not named else Path(named)


# --- the bank ------------------------------------------------------------------------------------


def _smallest(row: BankRow, known: Known) -> float | None:
    """The smallest detectable regression with three seeds of the candidate, one cell, one look."""
    if not row.trains or known.spread is None:
        return None
    return detectable(known.spread, len(known.values), _NEW_SEEDS, row.accepted(known))


def _gated_rows(bank: Bank) -> Sequence[tuple[BankRow, str, Known]]:
    return [(row, name, known) for row in bank.rows for name, known in row.metrics.items()]


def bank_table(bank: Bank) -> str:
    """The bank for a terminal."""
    from tabulate import tabulate

    headers = ("cell", "metric", "seeds", "mean", "CoV", "margin", "detectable")
    rows, ids = [], set()
    for row, name, known in _gated_rows(bank):
        margin = _percent(row.accepted(known), signed=False)
        seeds = str(len(known.values)) if row.trains else "does not train"
        ids.add(name)
        rows.append(
            [
                _plain(row.name),
                _plain(_short(name)),
                seeds,
                _number(known.mean),
                _percent(known.spread, signed=False) if row.trains else _DASH,
                margin if row.trains else "exact",
                _percent(_smallest(row, known), signed=False),
            ]
        )
    text = tabulate(rows, headers, tablefmt="simple", disable_numparse=True)
    note = (
        f"CoV is the standard deviation of log values between training seeds; detectable is the "
        f"smallest true regression that {_NEW_SEEDS} new seeds show with 80 % power."
    )
    return "\n".join([text, "", note, *(_plain(f"{_short(n)} is {n}.") for n in sorted(ids))])


def bank_json(bank: Bank) -> dict[str, Any]:
    """The bank's table for machines."""
    return {
        "rows": [
            {
                "cell": clean(row.name),
                "metric": clean(name),
                "seeds": len(known.values) if row.trains else None,
                "mean": known.mean,
                "cov": known.spread,
                "margin": row.accepted(known) if row.trains else None,
                "detectable": _smallest(row, known),
            }
            for row, name, known in _gated_rows(bank)
        ]
    }
