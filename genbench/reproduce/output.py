"""The table of a reproduction, its notes and its one line of verdict."""

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from genbench.report.text import compact, measured
from genbench.report.text import markdown as escape
from genbench.reproduce.compare import EXPLAINED, RULE, Compared, Outcome, Verdict
from genbench.text import clean

__all__ = ["Reproduction", "markdown", "summary", "text"]

_HEAD = ("verdict", "model", "number", "then", "now", "change", "in SE")
_COUNTED = {  # how a verdict reads behind a count
    "equal": "equal within {tolerance:g} %",
    "failed then, ok now": "failed then and ok now",
    "failed then and now": "failed then and now",
}


class Reproduction(BaseModel):
    """What came out again.

    Attributes:
        source: Name of the results folder or record.
        tolerance: Largest relative difference that is called equal.
        rule: The rule in words.
        verdict: One line.
        cells: The cells of then, in the order of their table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    source: str
    tolerance: float
    rule: str
    verdict: str
    cells: tuple[Outcome, ...]

    @classmethod
    def of(cls, source: str, tolerance: float, cells: Sequence[Outcome]) -> "Reproduction":
        """The reproduction of a source, with its rule and line of verdict."""
        rule = RULE.format(tolerance=100 * tolerance)
        line = summary(cells, tolerance)
        return cls(source=source, tolerance=tolerance, rule=rule, verdict=line, cells=tuple(cells))


def summary(cells: Sequence[Outcome], tolerance: float) -> str:
    """One line, e.g. "9 rows: 7 identical, 2 equal within 2 %"."""
    rows = len({cell.row for cell in cells})
    several = f"{len(cells)} cells of {rows} row{'s' * (rows != 1)}"
    total = several if len(cells) != rows else f"{rows} row{'s' * (rows != 1)}"
    verdicts = [cell.verdict for cell in cells]
    counts = [f"{verdicts.count(v)} {_counted(v, tolerance)}" for v in EXPLAINED if v in verdicts]
    return f"{total}: {', '.join(counts)}"


def _counted(verdict: Verdict, tolerance: float) -> str:
    return _COUNTED.get(verdict, verdict).format(tolerance=100 * tolerance)


def text(found: Reproduction) -> str:
    """For a terminal: the table, the notes, the verdict."""
    from tabulate import tabulate

    table = tabulate(_lines(found), headers=_HEAD, disable_numparse=True, colalign=_ALIGN)
    notes = "\n".join(_notes(found))
    return f"{table}\n\n{notes}\n\n{found.verdict}\n"


_ALIGN = ("left", "left", "left", "right", "right", "right", "right")


def markdown(found: Reproduction) -> str:
    """The same as Markdown."""
    from tabulate import tabulate

    lines = _lines(found, escape)
    table = tabulate(lines, headers=_HEAD, tablefmt="pipe", disable_numparse=True, colalign=_ALIGN)
    notes = "\n".join(f"- {escape(note)}" for note in _notes(found))
    title = f"# Reproduction of {escape(found.source)}"
    return f"{title}\n\n{escape(found.verdict)}\n\n{table}\n\n{notes}\n"


def _lines(found: Reproduction, write: Callable[[str], str] = str) -> list[list[str]]:
    """A line for each number; counters only where they differ."""
    lines = []
    for cell in found.cells:
        shown = [n for n in cell.numbers if not n.counter or n.then != n.now]
        for number in shown:
            lines.append([number.verdict, cell.name, clean(number.name), *_figures(number)])
        if not shown:
            lines.append([cell.verdict, cell.name, "", "", "", "", ""])
    return [[write(entry) for entry in line] for line in lines]


def _figures(number: Compared) -> list[str]:
    if number.counter:
        pair = [compact(number.then), compact(number.now)]
        if pair[0] == pair[1]:  # they differ beyond the digits that are shown
            pair = [f"{v:,.17g}" for v in (number.then, number.now) if v is not None]
    else:
        pair = [
            "" if value is None else measured(value, interval)
            for value, interval in (
                (number.then, number.then_ci95),
                (number.now, number.now_ci95),
            )
        ]
    if number.now is None or number.now == number.then:
        return [*pair, "", ""]
    change = "" if number.change is None else f"{100 * number.change:+.2g} %"
    return [*pair, change, "" if number.in_stderr is None else f"{number.in_stderr:+.2g}"]


def _notes(found: Reproduction) -> list[str]:
    """The rule, then every reason, note and possible cause once, with the rows that it is of."""
    told: dict[str, list[str]] = {}
    for cell in found.cells:
        for reason in (*cell.reasons, *cell.notes):
            told.setdefault(f"{cell.verdict}, {reason}", []).append(cell.name)
    notes = [f"{', '.join(names)}: {reason}" for reason, names in told.items()]
    causes: dict[str, list[str]] = {}
    for cell in found.cells:
        if cell.causes:
            causes.setdefault("; ".join(cell.causes), []).append(cell.name)
    compared = [cell for cell in found.cells if cell.now and cell.numbers]
    for what, names in causes.items():
        whose = "" if len(names) == len(compared) else f" of {', '.join(names)}"
        notes.append(f"environment{whose}, which may cause a difference: {what}")
    return [*notes, f"{found.rule}; SE is the standard error then"]
