"""Judged claims as a table in four forms, and as a section of the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.claims.result import Judged, Link, read
from genbench.report.forms import ENDINGS, Format, csv, printed
from genbench.report.notes import Note
from genbench.report.page_parts import Block, Head, Item, Notes, Section, Table
from genbench.report.rows import header
from genbench.report.text import DASH, measured
from genbench.store import atomic_write
from genbench.text import clean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame", "render", "section", "write"]

_WORDS = ("verdict", "claim", "expected", "measure", "values", "difference or ratio", "source")
_CAPTION = (
    "REPRODUCED: the 95 % interval lies wholly on the claimed side; NOT REPRODUCED: wholly on the "
    "other; INCONCLUSIVE: neither; NOT MEASURABLE: a row does not beat the reference that it "
    "must, so that there is nothing to compare. Differences are positive as claimed, ratios stand "
    "beside what is claimed of them. Intervals: Student t over training seeds, paired by seed; of "
    "ratios by logarithms. A verdict holds at the scale that is named, and nowhere else."
)
_WIDE = 50  # characters that a cell of the page shows for certain
_LONGEST = 300  # characters of a reason, which may be an error's message


def render(found: Sequence[Judged], fmt: Format) -> str:
    """The claims as text that ends in a newline.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return csv(frame(found))
    return printed(_human(found, fmt), fmt, _WORDS, _CAPTION, _notes(found), "No claims.\n")


def write(found: Sequence[Judged], folder: Path) -> list[Path]:
    """Write claims.{txt,md,csv,tex}."""
    paths = {fmt: folder / f"claims.{ending}" for fmt, ending in ENDINGS.items()}
    for fmt, path in paths.items():
        atomic_write(path, render(found, fmt).encode())
    return list(paths.values())


def frame(found: Sequence[Judged]) -> "pd.DataFrame":
    """Raw numbers: a row for each comparison of each claim."""
    import pandas as pd

    names = ["file", "claim", "statement", "source", "published", "measure", "verdict"]
    names += ["comparison", "form", "estimate", "ci95 low", "ci95 high", "factor"]
    names += ["seeds", "verdict of the comparison", "reason", "scale", "must beat"]
    rows = []
    for one in found:
        texts = (one.file, one.claim, one.statement, one.source, one.published, _id(one))
        for link in one.links:
            low, high = link.ci95 or (None, None)
            numbers = (link.estimate, low, high, link.factor)
            why = "; ".join(filter(None, (one.reason, link.reason)))
            ends = (len(link.seeds), link.verdict, why, one.scale, one.must_beat)
            rows.append((*texts, one.verdict, link.text, link.form, *numbers, *ends))
    lines = [[clean(v) if isinstance(v, str) else v for v in row] for row in rows]
    return pd.DataFrame(lines, columns=names).astype(dict.fromkeys(names[9:13], "float64"))


def _id(one: Judged) -> str:
    return one.measure if one.metric is None else one.metric.id


def _human(found: Sequence[Judged], fmt: Format) -> "pd.DataFrame":
    """Strings; text has names for the statements, which stand below it."""
    import pandas as pd

    table = {
        "verdict": [one.verdict for one in found],
        "claim": [clean(one.name if fmt == "text" else one.statement) for one in found],
        "measure": [_measure(one) for one in found],
        "expected": [clean(one.expect) for one in found],
        "values": [_values(one) for one in found],
        "difference or ratio": [_evidence(one) for one in found],
        "seeds": [_seeds(one) for one in found],
    }
    if fmt != "text":
        table["source"] = [clean(one.source) for one in found]
    return pd.DataFrame(table, dtype=object)


def _measure(one: Judged) -> str:
    return header(one.metric) if one.metric is not None else clean(one.measure.replace("_", " "))


def _values(one: Judged) -> str:
    """The mean of each row, in the order of the claim."""
    told = []
    for row in one.rows:
        mine = one.values.get(row, {})
        mean = measured(sum(mine.values()) / len(mine), None) if mine else DASH
        told.append(f"{row} {mean}")
    return clean(", ".join(told))


def _evidence(one: Judged) -> str:
    several = len(one.links) > 1
    told = [f"{link.text}: {_tested(link)}" if several else _tested(link) for link in one.links]
    if one.verdict == "NOT MEASURABLE":  # what the rows say of each other would mislead
        told = [one.reason]
    elif one.reason:
        told.append(one.reason)
    return clean("; ".join(told), _LONGEST * len(told))


def _tested(link: Link) -> str:
    """The estimate with its interval, and why it decides nothing."""
    parts = []
    if link.estimate is not None:
        shown = measured(link.estimate, link.ci95)
        against = "" if link.factor is None else f", claimed {link.side} {link.factor:g}"
        parts.append(f"{shown}{against}")
    if link.reason:
        parts.append(clean(link.reason, _LONGEST))
    return "; ".join(parts) or DASH


def _seeds(one: Judged) -> str:
    counts = sorted({len(link.seeds) for link in one.links})
    return clean("–".join(map(str, dict.fromkeys((counts[0], counts[-1])))))


def _notes(found: Sequence[Judged]) -> list[Note]:
    """For each claim what it says, who says so, and what was compared where."""
    return [(text, "") for one in found for text in (_told(one),)]


def _told(one: Judged) -> str:
    rows = "; ".join(f"{row} is {what}" if row != what else row for row, what in one.rows.items())
    parts = [f"{one.name}: {one.statement} ({one.source})."]
    parts += [f"Published: {one.published}."] if one.published else []
    must = [f"must beat {one.must_beat}"] if one.must_beat else []
    parts += [f"Here: {'; '.join((one.scale, _id(one), rows, *must))}.", *one.remarks]
    return clean(" ".join(parts))


def section(folders: Sequence[Path]) -> list[Section]:
    """The page's section on the claims that were judged on these folders; none without any.

    Raises:
        StoreError: If a folder's file of claims cannot be read.
    """
    found = [one for folder in folders for one in read(folder)]
    if not found:
        return []
    columns = ["claim", "verdict", "difference or ratio", "seeds", "measure", "expected"]
    columns += ["must beat", "values", "scale", "statement", "source", "published"]
    rows = [
        [
            *(one.name, one.verdict, _evidence(one), _seeds(one), _measure(one), one.expect),
            *(one.must_beat or DASH, _values(one)),
            *(one.scale, one.statement, one.source, one.published or DASH),
        ]
        for one in found
    ]
    # the page cuts long cells off: hovering shows the whole
    items = [[Item(text, title=text if len(text) > _WIDE else "") for text in row] for row in rows]
    blocks: list[Block] = [Table(_CAPTION, [Head(name) for name in columns], items)]
    blocks.append(Notes("What was compared", _notes(found)))
    return [Section("Claims", "claims", blocks)]
