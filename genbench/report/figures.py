"""Plots of a leaderboard: quality against latency, training compute and steps, and over seeds.

Each is drawn once, as SVG with letters as outlines, in colours for a light page; the dark variant
is the same drawing with other colours. matplotlib is imported inside functions.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from genbench.report.plotting import (
    FAINT,
    GRID,
    INK,
    Style,
    default_style,
    dot,
    log_axis,
    place,
    shown,
    span,
    style_of,
    tidy,
)
from genbench.report.rows import Column, Row, Value, facts
from genbench.report.speed_rows import pareto
from genbench.report.text import compact, measured
from genbench.spec import canonical_json
from genbench.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PAPER", "PAPER_DARK", "Plot", "draw", "quality"]

PAPER, PAPER_DARK = "#fdfdfb", "#16181b"
_WIDTH, _HEIGHT = 4.9, 3.5  # inches
_QUIET = "#5f646c"  # of words that stay behind the others
_FONT = 8.5  # points, of the names of axes
_WORDS = 26  # characters of a row's name
# What becomes of each colour on a dark page: contrast with it is at least 4.5 (lines of the grid
# excepted).
_DARK = {
    PAPER: PAPER_DARK,
    INK: "#e4e4df",
    FAINT: "#9a9ea6",
    _QUIET: "#a4a8b0",
    GRID: "#2c2f34",
    "#0072b2": "#58a9e0",
    "#d55e00": "#f2894a",
    "#009e73": "#3ec49b",
    "#000000": "#d0d0d0",
}


@dataclass(frozen=True)
class Plot:
    """A plot, or the reason why there is none.

    Attributes:
        name: Stem of its file's name.
        title: Its heading.
        alt: What it shows, in words.
        light: The SVG file for a light page, empty where there is nothing to show.
        dark: The same for a dark page.
        missing: Why there is nothing to show, as a sentence.
    """

    name: str
    title: str
    alt: str = ""
    light: bytes = b""
    dark: bytes = b""
    missing: str = ""


class Point(NamedTuple):
    """A row of the table as a point."""

    row: Row
    x: float
    score: Value


def draw(
    rows: Sequence[Row], columns: Sequence[Column], on: str = "", ending: str = ""
) -> list[Plot]:
    """The four plots of a table, in a fixed order; equal rows give equal bytes.

    Args:
        rows: The table's rows.
        columns: Its metrics.
        on: What the table is of, for titles, where there are several.
        ending: What the plots' names end in, the same as part of a file's name.
    """
    column = quality(rows, columns)
    if column is None:
        return []
    with default_style():
        return _four(rows, column, on, ending)


def quality(rows: Sequence[Row], columns: Sequence[Column]) -> Column | None:
    """The metric that plots and summaries go by: the first Frechet distance that a row has, else
    the first metric with a direction. Of answers to questions always the latter."""
    scored = [c for c in columns if c.arrow and any(row.score(c.spec) for row in rows)]
    free = all(row.cells[0].sample.train.task == "unconditional" for row in rows)
    distances = [c for c in scored if c.spec.name in ("fd", "fid")] if free else []
    return next(iter(distances + scored), None)


def _four(rows: Sequence[Row], column: Column, on: str, ending: str) -> list[Plot]:
    measured_rows = [row for row in rows if row.kind != "reference"]
    floor = next((v for r in rows if _name(r) == "real" and (v := _score(r, column))), None)
    found = [
        _scatter("quality-latency", measured_rows, column, _LATENCY, floor),
        _scatter("quality-compute", measured_rows, column, _COMPUTE, floor),
        _steps(measured_rows, column),
        _seeds(measured_rows, column),
    ]
    if not on:
        return found
    return [replace(p, name=f"{p.name}-{ending}", title=f"{p.title}, {on}") for p in found]


def _name(row: Row) -> str:
    return row.cells[0].sample.train.baseline


def _score(row: Row, column: Column) -> Value | None:
    found = row.score(column.spec)
    return found if found is not None and math.isfinite(found.value) else None


# --- quality against a cost ----------------------------------------------------------------------


class Cost(NamedTuple):
    """What stands on the horizontal axis."""

    what: str
    axis: str
    unit: str
    of: Callable[[Row], float | None]


_LATENCY = Cost(
    "latency",
    "milliseconds per image, logarithmic",
    " ms",
    lambda row: row.mean(lambda r: r.timings.ms_per_image),
)
_COMPUTE = Cost(
    "training compute",
    "training FLOPs, logarithmic",
    " FLOPs",
    lambda row: row.mean(lambda r: r.counters.train_flops),
)


def _scatter(
    name: str, rows: Sequence[Row], column: Column, cost: Cost, floor: Value | None
) -> Plot:
    title = f"Quality against {cost.what}"
    points = [
        Point(row, x, score)
        for row in rows
        if (score := _score(row, column)) and (x := cost.of(row)) and 0 < x < math.inf
    ]
    if len({p.x for p in points}) < 2:
        why = f"{title}: not drawn, it needs two rows with a score and different {cost.what}."
        return Plot(name, title, missing=why)
    from matplotlib.ticker import FuncFormatter

    best = _front(points, column)
    styles = _styles(points)
    figure, axes = _figure()
    _quality_axis(axes, points, column, "y", None if floor is None else floor.value)
    log_axis(axes, "x", [p.x for p in points])
    axes.set_xlabel(cost.axis, fontsize=_FONT, color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    corners = [(p.x, p.score.value) for p in best]
    axes.step(*zip(*corners, strict=True), where="post", color=FAINT, lw=1, zorder=1.5)
    axes.plot(*zip(*corners, strict=True), "o", ms=9, mfc="none", mec=FAINT, mew=0.9, zorder=4)
    if floor is not None:
        _floor(axes, floor)
    for p in points:
        _bar(axes, p, styles)
        dot(axes, p.x, p.score.value, styles[_name(p.row)])
    first = [id(p) for p in best]
    _names(axes, sorted(points, key=lambda p: id(p) not in first), styles, len(best))
    told = "; ".join(
        f"{clean(p.row.label, 60)} at {compact(p.x)}{cost.unit} with {_value(p, column)}"
        for p in best
    )
    alt = f"{column.header} against {cost.what} of {len(points)} rows. Pareto front: {told}."
    return _plot(name, title, alt, figure)


def _front(points: Sequence[Point], column: Column) -> list[Point]:
    """The points that none beats in cost and quality, by rising cost."""
    sign = -1 if column.arrow == "↑" else 1
    return [points[i] for i in pareto([(p.x, sign * p.score.value) for p in points])]


def _floor(axes: "Axes", floor: Value) -> None:
    low, high = sorted(axes.get_ylim())
    if low <= floor.value <= high:
        axes.axhline(floor.value, color=FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1.2)
        axes.annotate(
            "real test data", (0.995, floor.value), xycoords=("axes fraction", "data"),
            xytext=(0, 2), textcoords="offset points", ha="right", fontsize=7, color=_QUIET,
        )  # fmt: skip


# --- quality against steps -----------------------------------------------------------------------


def _steps(rows: Sequence[Row], column: Column) -> Plot:
    name, title = "quality-steps", "Quality against steps"
    curves: dict[str, list[Point]] = {}
    for row in rows:
        steps = row.cells[0].sample.options.get("steps")
        score = _score(row, column)
        if isinstance(steps, int) and steps > 0 and score is not None:
            others = {k: v for k, v in facts(row.cells[0]).items() if k != "options.steps"}
            curves.setdefault(canonical_json(others), []).append(Point(row, steps, score))
    points = [p for curve in curves.values() for p in curve]
    if not any(len(curve) > 1 for curve in curves.values()):
        why = f"{title}: not drawn, no two rows differ in nothing but their steps."
        return Plot(name, title, missing=why)
    figure, axes = _figure()
    _quality_axis(axes, points, column, "y")
    log_axis(axes, "x", [p.x for p in points], only=[p.x for p in points])
    axes.set_xlabel("sampling steps, logarithmic", fontsize=_FONT, color=INK)
    told, ends = [], []
    for i, curve in enumerate(curves.values()):
        curve.sort(key=lambda p: p.x)
        style = style_of(i, 0)
        xs, ys = [p.x for p in curve], [p.score.value for p in curve]
        axes.plot(xs, ys, color=style.colour, lw=1.3, zorder=2)
        for p in curve:
            _bar(axes, p, {_name(p.row): style})
            dot(axes, p.x, p.score.value, style)
        ends.append(curve[0])
        values = [f"{_value(p, column)} at {p.x:g}" for p in (curve[0], *curve[1:][-1:])]
        told.append(f"{_curve(curve[0].row, 60)} {' to '.join(values)}")
    rest = [(p.x, p.score.value) for curve in curves.values() for p in curve[1:]]
    place(
        axes, [(p.x, p.score.value) for p in ends] + rest, [_curve(p.row, _WORDS) for p in ends],
        [[(p.x, p.score.value) for p in curve] for curve in curves.values()] + _ranges(points),
        [INK] * len(ends), keen=len(ends),
    )  # fmt: skip
    alt = f"{column.header} against sampling steps: {'; '.join(told)}."
    return _plot(name, title, alt, figure)


def _curve(row: Row, limit: int) -> str:
    sampler = row.cells[0].sample.options.get("sampler")
    return shown(f"{_name(row)}, {sampler}" if sampler else _name(row), limit)


# --- over seeds ----------------------------------------------------------------------------------


def _seeds(rows: Sequence[Row], column: Column) -> Plot:
    name, title = "seed-spread", "Spread over training seeds"
    every = [(row, _score(row, column), _by_seed(row, column)) for row in rows]
    lines = [(row, score, seeds) for row, score, seeds in every if score and len(seeds) > 1]
    if not lines:
        why = f"{title}: not drawn, no row has a score for more than one training seed."
        return Plot(name, title, missing=why)
    labels = [shown(row.label, _WORDS) for row, _, _ in lines]
    figure, axes = _figure(
        left=0.25 + 0.062 * max(map(len, labels)), height=0.85 + 0.27 * (len(lines) + 1)
    )
    styles = _styles([Point(row, 1.0, score) for row, score, _ in lines])
    spread = [Value(v, None, "") for _, _, found in lines for v in found.values()]
    points = [Point(row, 1.0, score) for row, score, _ in lines]
    _quality_axis(axes, [*points, *(Point(lines[0][0], 1.0, v) for v in spread)], column, "x")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(range(len(lines)), labels, parse_math=False)
    axes.grid(False, axis="y")
    for y, (row, score, found) in enumerate(lines):
        style = styles[_name(row)]
        if score.ci95 is not None:
            axes.hlines(y, *score.ci95, color=style.colour, lw=1.2, alpha=0.7, zorder=2)
        axes.plot([score.value] * 2, [y - 0.25, y + 0.25], color=style.colour, lw=1.6, zorder=3)
        for value in found.values():
            dot(axes, value, y, style)
    told = "; ".join(
        f"{clean(row.label, 60)} {measured(score.value, score.ci95)}, "
        f"seeds {' '.join(f'{v:.3g}' for v in found.values())}"
        for row, score, found in lines
    )
    alt = f"{column.header} of each training seed as points, mean and 95 % interval: {told}."
    return _plot(name, title, alt, figure)


def _by_seed(row: Row, column: Column) -> dict[int, float]:
    """The score of each training, the mean over its sampling seeds."""
    found: dict[int, list[float]] = {}
    for record in row.present:
        score = record.scores.get(column.spec.id)
        if score is not None and column.spec in record.cell.metrics and math.isfinite(score.value):
            found.setdefault(record.cell.sample.train.seed, []).append(score.value)
    return {seed: sum(v) / len(v) for seed, v in found.items()}


# --- parts ---------------------------------------------------------------------------------------


def _figure(left: float = 0.62, height: float = _HEIGHT) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), facecolor=PAPER)
    bottom, top, right = 0.5, 0.14, 0.14
    size = (1 - (left + right) / _WIDTH, 1 - (bottom + top) / height)
    axes = figure.add_axes((left / _WIDTH, bottom / height, *size), facecolor=PAPER)
    return figure, axes


def _styles(points: Sequence[Point]) -> dict[str, Style]:
    """A colour and a marker for each family."""
    names = dict.fromkeys(_name(p.row) for p in points)
    return {name: style_of(i, 0) for i, name in enumerate(names)}


def _ends(point: Point) -> tuple[float, float] | None:
    ends = point.score.ci95
    return ends if ends is not None and all(map(math.isfinite, ends)) else None


def _quality_axis(
    axes: "Axes", points: Sequence[Point], column: Column, which: str, floor: float | None = None
) -> None:
    """The metric's axis: logarithmic where values differ more than tenfold."""
    values = [p.score.value for p in points]
    every = values + [end for p in points for end in (_ends(p) or ())]
    if 10 < span(values) < math.inf:
        lowest = 0.5 * min(values)  # an interval may reach 0, which a logarithm has not
        log_axis(axes, which, [max(v, lowest) for v in every])
    else:
        every += [] if floor is None else [floor]
        room = 0.07 * (max(every) - min(every)) or 0.1 * abs(every[0]) or 1.0
        getattr(axes, f"set_{which}lim")(min(every) - room, max(every) + room)
        tidy(axes, which)
    label = axes.set_xlabel if which == "x" else axes.set_ylabel
    heading = shown(f"{column.header} {column.arrow}", 48)
    label(heading, fontsize=_FONT, color=INK, parse_math=False)


def _bar(axes: "Axes", point: Point, styles: Mapping[str, Style]) -> None:
    if (ends := _ends(point)) is not None:
        colour = styles[_name(point.row)].colour
        axes.vlines(point.x, *ends, color=colour, lw=0.9, alpha=0.6, zorder=2)


def _ranges(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    low_high = [(p, ends) for p in points if (ends := _ends(p)) is not None]
    return [[(p.x, low), (p.x, high)] for p, (low, high) in low_high]


def _names(axes: "Axes", points: Sequence[Point], styles: Mapping[str, Style], keen: int) -> None:
    place(
        axes, [(p.x, p.score.value) for p in points], [shown(p.row.label, _WORDS) for p in points],
        _ranges(points) or [[(points[0].x, points[0].score.value)]],
        [INK] * len(points), keen=max(keen, min(len(points), 12)),
    )  # fmt: skip


def _value(point: Point, column: Column) -> str:
    return f"{column.header} {measured(point.score.value, point.score.ci95)}"


def _plot(name: str, title: str, alt: str, figure: "Figure") -> Plot:
    import matplotlib

    buffer = io.BytesIO()
    # Without a salt the ids in the file would be random.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(
            buffer, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None}
        )
    light = buffer.getvalue().replace(b"#ffffff", PAPER.encode())  # the rims of points
    dark = light
    for old, new in _DARK.items():
        dark = dark.replace(old.lower().encode(), new.encode())
    return Plot(name, title, clean(alt), light, dark)
