"""What tables, notes and plots of a speed result share: names, metrics, the Pareto front."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from genbench.report import rows as leaderboard
from genbench.spec import Cell, MetricSpec
from genbench.text import clean

if TYPE_CHECKING:
    from genbench.speed.result import Row, SpeedResult

__all__ = ["Metric", "front", "labels", "metrics", "pareto", "quality", "series", "variance"]


class Metric(NamedTuple):
    """A metric of a result: its id, its header for people, the arrow of the better direction."""

    id: str
    header: str
    arrow: str

    @property
    def heading(self) -> str:
        """Header and arrow."""
        return f"{self.header} {self.arrow}".strip()


def labels(result: "SpeedResult") -> list[str]:
    """A name for each row, no two equal: rows that read the same show the options that differ."""
    names = [clean(_named(result, row.label)) for row in result.rows]
    found = list(names)
    for name in {n for n in names if names.count(n) > 1}:
        same = [i for i, other in enumerate(names) if other == name]
        options = [result.rows[i].options for i in same]
        keys = sorted(
            {k for o in options for k in o if len({repr(p.get(k)) for p in options}) > 1}
        )
        for count, i in enumerate(same, start=1):
            facts = [clean(f"{k}={result.rows[i].options.get(k)}", 24) for k in keys]
            found[i] = " ".join((name, *facts)) if keys else f"{name} #{count}"
    while len(set(found)) < len(found):  # e.g. options that differ beyond what is shown
        found = [n if found.index(n) == i else f"{n} #{i + 1}" for i, n in enumerate(found)]
    return found


def _named(result: "SpeedResult", label: str) -> str:
    """A family with one way to sample goes by its own name."""
    return result.sample.train.baseline if label == "sample" else label


def series(result: "SpeedResult") -> list[tuple[str, str]]:
    """For each row the curve that it belongs to: its sampler with eta and variance, its spacing.

    Rows of one curve differ in their steps.
    """
    several = len({_spacing(row) for row in result.rows if row.sampler}) > 1
    found = []
    for row in result.rows:
        name = row.sampler or result.sample.train.baseline
        if row.sampler == "ddim" and row.eta:
            name += f" eta {row.eta:g}"
        name += variance(row)
        found.append((clean(name), clean(_spacing(row)) if several and row.sampler else ""))
    return found


def variance(row: "Row") -> str:
    """What tells a variance of DDPM's noise from the usual one, as " large"."""
    return "" if row.variance in (None, "posterior") else f" {clean(row.variance)}"


def _spacing(row: "Row") -> str:
    return "own steps" if isinstance(row.spacing, tuple) else row.spacing or ""


def metrics(result: "SpeedResult") -> list[Metric]:
    """The metrics of all rows in order, with the headers that leaderboards give them."""
    ids = list(dict.fromkeys(name for row in result.rows for name in row.scores))
    specs = {name: spec for name in ids if (spec := _spec(name)) is not None}
    # The leaderboard names columns by the metrics of its rows' cells, and reads nothing else.
    cell = Cell.model_construct(sample=result.sample, metrics=tuple(specs.values()))
    columns = leaderboard.columns_of([leaderboard.Row("", "", (cell,), {})])
    named = {
        name: Metric(name, column.header, column.arrow)
        for name, column in zip(specs, columns, strict=True)
    }
    return [named.get(name) or Metric(name, clean(name), "") for name in ids]


def _spec(metric_id: str) -> MetricSpec | None:
    """The fields that an id such as `fd@digits-cnn/digits:train/n360` is made of, or None."""
    name, _, rest = metric_id.partition("@")
    extractor, *parts = rest.split("/")
    at = [i for i, part in enumerate(parts) if re.fullmatch(r"n[1-9]\d*", part)]
    if not (name and extractor and at):
        return None
    before, after = parts[: at[-1]], parts[at[-1] + 1 :]
    protocol = before.pop(0) if before and ":" not in before[0] and len(before) > 1 else ""
    return MetricSpec(
        name=name,
        extractor=extractor,
        protocol=protocol,
        reference="/".join(before),
        n=int(parts[at[-1]][1:]),
        notes=tuple(after),
    )


def quality(result: "SpeedResult") -> Metric | None:
    """The metric that plots show: the first Frechet distance, else the first with a direction."""
    known = [m for m in metrics(result) if m.arrow]
    distances = [m for m in known if m.id.partition("@")[0] in ("fd", "fid")]
    return next(iter(distances + known), None)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that none beats, by rising x: both coordinates are better when less.

    A point is beaten by one that is nowhere worse and somewhere better, so equal points stay
    together.
    """
    order = sorted(range(len(points)), key=lambda i: points[i])
    found: list[int] = []
    for i in order:
        if not found or points[i][1] < points[found[-1]][1] or points[i] == points[found[-1]]:
            found.append(i)
    return found


def front(result: "SpeedResult", metric: Metric) -> list[int]:
    """Rows that no row beats in time per image and in the metric, by rising time."""
    sign = -1 if metric.arrow == "↑" else 1
    scores = [row.scores.get(metric.id) for row in result.rows]
    places = [i for i, s in enumerate(scores) if s is not None and math.isfinite(s.value)]
    points = [
        (result.rows[i].ms_per_image, sign * result.rows[i].scores[metric.id].value)
        for i in places
    ]
    return [places[i] for i in pareto(points)]
