"""Quality by noise and step count in one grid, as papers print it, the published one below."""

from typing import TYPE_CHECKING

from genbench.report import published
from genbench.report.speed_rows import Metric, quality
from genbench.report.text import DASH, measured
from genbench.text import clean

if TYPE_CHECKING:
    from genbench.speed.result import Row, SpeedResult

__all__ = ["by_noise"]

Table = dict[str, list[str]]

_SAME = ("trailing", "leading", "uniform")  # one sequence where it has every level


def by_noise(result: "SpeedResult") -> tuple[Metric, Table] | None:
    """The metric of the plots by spacing and noise (rows) and steps (columns).

    Noise is DDIM's eta, or sigma-hat for DDPM with the large variance. With every level as a
    step, trailing, leading and uniform are one sequence, which is sampled once and shown for each.

    Returns:
        The metric and the table; None for fewer than two kinds of noise or two step counts.
    """
    metric = quality(result)
    if metric is None:
        return None
    rows = [row for row in result.rows if _noise(row) and metric.id in row.scores]
    noises = list(dict.fromkeys(map(_noise, rows)))
    steps = sorted({row.steps for row in rows})
    if len(noises) < 2 or len(steps) < 2:
        return None
    noises.sort(key=lambda noise: (noise == _LARGE, noise))
    spacings = list(dict.fromkeys(clean(str(row.spacing)) for row in rows))
    table: Table = {name: [] for name in ("spacing", "noise", *(f"{s} steps" for s in steps))}
    for spacing in spacings:
        for noise in noises:
            found = [_find(rows, spacing, noise, s) for s in steps]
            if any(found):
                table["spacing"].append(spacing)
                table["noise"].append(noise)
                for s, row in zip(steps, found, strict=True):
                    table[f"{s} steps"].append(_cell(row, metric))
    for noise in noises:
        row = next(row for row in rows if _noise(row) == noise)
        values = [published.match(row.model_copy(update={"steps": s})) for s in steps]
        if any(values):
            table["spacing"].append(f"published, {published.DATASET}")
            table["noise"].append(noise)
            for s, value in zip(steps, values, strict=True):
                table[f"{s} steps"].append(DASH if value is None else f"{value:g}")
    return metric, table


_LARGE = "σ̂"


def _noise(row: "Row") -> str:
    """The kind of noise that a row adds; "" for rows that are no part of the grid."""
    if row.sampler == "ddpm" and row.variance == "large":
        return _LARGE
    return f"η = {row.eta:g}" if row.sampler == "ddim" and row.eta is not None else ""


def _find(rows: "list[Row]", spacing: str, noise: str, steps: int) -> "Row | None":
    """The row of a cell of the grid; with all steps some spacings are one sequence."""
    mine = [row for row in rows if _noise(row) == noise and row.steps == steps]
    for row in mine:
        if clean(str(row.spacing)) == spacing:
            return row
    most = max(row.steps for row in rows)
    same = [row for row in mine if row.spacing in _SAME]
    return same[0] if same and spacing in _SAME and steps == most else None


def _cell(row: "Row | None", metric: Metric) -> str:
    if row is None:
        return DASH
    score = row.scores[metric.id]
    return measured(score.value, score.ci95)
