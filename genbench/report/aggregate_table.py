"""The table of models over several datasets, in the forms of a leaderboard."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genbench.report.aggregate import Aggregate
from genbench.report.forms import Format, csv, printed
from genbench.report.notes import Note
from genbench.report.ranking import shown
from genbench.report.rows import KINDS
from genbench.report.text import DASH, measured

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame", "render"]

_CAPTION = (
    "IQM: interquartile mean of the logarithm of how many times better than the reference row a "
    "score is, over datasets and training seeds; 0 is the reference, higher is better; ± or "
    "brackets: 95 % interval."
)


def frame(found: Sequence[Aggregate]) -> "pd.DataFrame":
    """Raw numbers: a row for each metric and model.

    Columns: task (where a folder has several), metric, kind, model, datasets, values (datasets
    times seeds), iqm, "iqm ci95 low", "iqm ci95 high", "rank low", "rank high", then
    "P(better than M)" for each model M.
    """
    import pandas as pd

    others = list(dict.fromkeys(m.label for one in found for m in one.models))
    rows = []
    for one in found:
        for m in one.models:
            low, high = m.ci95 or (None, None)
            row = {
                "metric": one.name,
                "kind": m.kind,
                "model": m.label,
                "datasets": len(m.values),
                "values": sum(map(len, m.values)),
                "iqm": m.iqm,
                "iqm ci95 low": low,
                "iqm ci95 high": high,
                "rank low": m.rank and m.rank.low,
                "rank high": m.rank and m.rank.high,
            }
            wins = {f"P(better than {o})": m.better_than.get(o) for o in others}
            rows.append(({"task": one.task} if one.task else {}) | row | wins)
    table = pd.DataFrame(rows)
    numbers = [n for n in map(str, table) if n.startswith(("iqm", "P("))]
    ranks = {name: "Int64" for name in ("rank low", "rank high") if name in table}
    return table.astype(dict.fromkeys(numbers, "float64") | ranks)


def render(found: Sequence[Aggregate], fmt: Format) -> str:
    """The tables as text that ends in a newline; one for each metric, below each other.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return csv(frame(found))
    words = ("kind", "model")
    empty = "No model has a number on every dataset.\n"
    return "\n".join(
        printed(_human(one), fmt, words, _CAPTION, _notes(one), empty) for one in found
    )


def _human(one: Aggregate) -> "pd.DataFrame":
    """The models, and in columns of letters the probability that one improves on another."""
    import pandas as pd

    models = one.models
    table = {
        "kind": [KINDS.get(m.kind, m.kind) for m in models],
        "model": [f"{_letter(i)} {m.label}" for i, m in enumerate(models)],
        "rank": [shown(m.rank) for m in models],
        f"IQM ({one.header})": [measured(m.iqm, m.ci95) for m in models],
    }
    for i, other in enumerate(models):
        wins = (m.better_than.get(other.label) for m in models)
        table[f"P(> {_letter(i)})"] = [DASH if p is None else f"{p:.2f}" for p in wins]
    return pd.DataFrame(table, dtype=object)


def _letter(i: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    text = ""
    i += 1
    while i:
        i, rest = divmod(i - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _notes(one: Aggregate) -> list[Note]:
    texts = [f"{place}: {name}" for place, name in zip(one.places, one.ids, strict=True)]
    texts = [
        f"{one.header} on {len(one.places)} datasets: {'; '.join(texts)}; 0 is {one.reference}.",
        "P(> X) is the chance that a training of the row beats one of model X on a dataset, the "
        "mean over datasets (Mann-Whitney). Intervals: percentile bootstrap over training seeds "
        "within each dataset; rank: where they overlap, places are shared.",
        *one.notes,
    ]
    if one.left_out:
        texts.append(f"Not on every dataset, left out: {'; '.join(one.left_out)}.")
    return [(text, "") for text in texts]
