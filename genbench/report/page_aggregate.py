"""The page's section on models over several datasets."""

from collections.abc import Sequence

from genbench.report.aggregate import Aggregate
from genbench.report.page_parts import Block, Head, Item, Notes, Section, Table, Words
from genbench.report.ranking import shown
from genbench.report.rows import KINDS
from genbench.report.text import DASH, measured

__all__ = ["section"]


def section(found: Sequence[Aggregate]) -> list[Section]:
    """The section, or none where nothing was aggregated; see `aggregate` for what IQM is."""
    blocks: list[Block] = []
    for one in found:
        blocks.append(Words(f"{one.header} on {', '.join(one.places)}; 0 is {one.reference}."))
        blocks.append(_table(one))
        left_out = [f"Not on every dataset: {text}" for text in one.left_out]
        if texts := [*one.notes, *left_out]:
            blocks.append(Notes("Notes of this table", [(text, "") for text in texts]))
    return [Section("Over datasets", "aggregate", blocks)] if blocks else []


def _table(one: Aggregate) -> Table:
    help_ = "probability that a training of this row beats one of that model on a dataset"
    heads = [Head("model"), Head("kind"), Head("rank", True), Head("IQM", True)]
    heads += [Head(f"P(better than {m.label})", True, help_) for m in one.models]
    rows = []
    for m in one.models:
        wins = [m.better_than.get(other.label) for other in one.models]
        rows.append(
            [
                Item(m.label),
                Item(KINDS.get(m.kind, m.kind)),
                Item(shown(m.rank), None if m.rank is None else m.rank.low),
                Item(measured(m.iqm, m.ci95), m.iqm),
                *(Item(DASH if p is None else f"{p:.2f}", p) for p in wins),
            ]
        )
    caption = (
        "IQM: interquartile mean of the logarithm of how many times better than the reference row "
        "a score is; higher is better."
    )
    return Table(caption, heads, rows)
