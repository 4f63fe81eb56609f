"""Plots of a speed result: quality against time, time against NFE, quality against steps.

matplotlib is imported inside functions; nothing touches its global state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from genbench.report.grid import Images, sheet
from genbench.report.plotting import (
    DPI,
    FAINT,
    INK,
    Entry,
    Style,
    add_key,
    default_style,
    dot,
    key_width,
    log_axis,
    place,
    png,
    shown,
    span,
    style_of,
    tidy,
)
from genbench.report.speed_rows import Metric, front, labels, pareto, quality, series
from genbench.report.text import compact, measured
from genbench.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from genbench.speed.result import SpeedResult

__all__ = ["Picture", "draw", "pareto", "strip"]

_PLOT, _HEIGHT = 5.3, 4.3  # inches of the axes
_STEP = 0.165  # inches that an entry of the key needs


@dataclass(frozen=True)
class Picture:
    """A plot: the stem of its file's name, a text for who cannot see it, the PNG file."""

    name: str
    alt: str
    png: bytes


class Curve(NamedTuple):
    """The rows of one curve, in order of their steps."""

    name: str
    style: Style
    rows: tuple[int, ...]


def draw(result: "SpeedResult") -> list[Picture]:
    """The plots that make sense for a result, none for a single row."""
    found = []
    with default_style():
        for name, figure, alt in (
            ("speed-quality", quality_plot(result), quality_alt(result)),
            ("speed-latency", latency_plot(result), latency_alt(result)),
            ("speed-steps", steps_plot(result), steps_alt(result)),
        ):
            if figure is not None:
                found.append(Picture(name, alt, png(figure)))
    return found


def curves(result: "SpeedResult") -> list[Curve]:
    """Rows joined by sampler, eta and spacing; a colour and a marker for each of the first two."""
    keys = series(result)
    names = list(dict.fromkeys(name for name, _ in keys))
    spacings = list(dict.fromkeys(spacing for _, spacing in keys))
    found = []
    for key in dict.fromkeys(keys):
        rows = [i for i, other in enumerate(keys) if other == key]
        rows.sort(key=lambda i: (result.rows[i].steps, result.rows[i].nfe))
        style = style_of(names.index(key[0]), spacings.index(key[1]))
        found.append(Curve(shown(" ".join(key).strip(), 30), style, tuple(rows)))
    return found


# --- quality against time ------------------------------------------------------------------------


def quality_plot(result: "SpeedResult") -> "Figure | None":
    """The metric over milliseconds per image, with the Pareto front; None for fewer than 2 rows.

    Points are labelled by their steps where there is room.
    """
    metric = quality(result)
    scored = _scored(result, metric)
    if metric is None or len(scored) < 2:
        return None
    x = {i: result.rows[i].ms_per_image for i in scored}
    lines = _kept(curves(result), scored)
    figure, axes = _figure([c.name for c in lines] + ["Pareto front"], len(lines) + 1)
    y = _quality_axis(result, metric, axes, scored)
    log_axis(axes, "x", list(x.values()))
    axes.set_xlabel(_time_label(result), fontsize=9, color=INK, parse_math=False)
    best = front(result, metric)
    steps = [(x[i], y[i]) for i in best]
    axes.step(*zip(*steps, strict=True), where="post", color=FAINT, lw=1, alpha=0.7, zorder=1.5)
    axes.plot(*zip(*steps, strict=True), "o", ms=10, mfc="none", mec=INK, mew=0.9, zorder=4)
    _draw_curves(result, metric, axes, lines, x)
    first = best + [c.rows[-1] for c in lines] + [c.rows[0] for c in lines] + scored
    order = [i for i in dict.fromkeys(first) if result.rows[i].sampler is not None]
    colour = {i: c.style.colour for c in lines for i in c.rows}
    paths = [[(x[i], y[i]) for i in c.rows] for c in lines]
    paths += [[(x[i], end) for end in ends] for i, ends in _bars(result, metric, scored).items()]
    place(
        axes, [(x[i], y[i]) for i in [*order, *(i for i in scored if i not in order)]],
        [str(result.rows[i].steps) for i in order], paths, [colour[i] for i in order],
        keen=len(set(best) & set(order)),
    )  # fmt: skip
    add_key(axes, [*_ends(lines, x, y), Entry("Pareto front", None)])
    told = "; numbers at points are steps" if order else ""
    _title(axes, f"Quality against time{told}")
    return figure


def quality_alt(result: "SpeedResult") -> str:
    """What `quality_plot` shows, in words."""
    metric = quality(result)
    if metric is None or len(_scored(result, metric)) < 2:
        return ""
    names, best = labels(result), front(result, metric)
    told = [
        f"{names[i]} at {compact(result.rows[i].ms_per_image)} ms "
        f"with {_number(result, metric, i)}"
        for i in best
    ]
    what = f"{metric.header} against milliseconds per image, one curve per sampler."
    return clean(f"{what} Pareto front: {'; '.join(told)}.")


# --- time against NFE ----------------------------------------------------------------------------


def latency_plot(result: "SpeedResult") -> "Figure | None":
    """Milliseconds per image over NFE with the fitted line, its residuals below.

    None for fewer than two different NFE.
    """
    rows = result.rows
    x, y = [row.nfe for row in rows], [row.ms_per_image for row in rows]
    if len(set(x)) < 2 or min(x) <= 0:
        return None
    lines, fit = curves(result), result.fit
    figure, axes = _figure([c.name for c in lines], len(lines))
    log_axis(axes, "x", x, only=x)
    log_axis(axes, "y", y)
    below = None
    if fit is not None:
        below = _below(figure, axes, x)
        places = np.geomspace(min(x), max(x), 200)
        fitted = 1000 * (fit.start + fit.slope * places)
        axes.plot(places[fitted > 0], fitted[fitted > 0], color=FAINT, lw=1.2, zorder=1.5)
        _residuals(result, below)
    beside = _beside(result, lines)
    for curve in lines:
        for i in curve.rows:
            dot(axes, x[i], y[i], curve.style)
            if below is not None:
                dot(below, x[i] * beside[i], _residual(result, i), curve.style)
    lowest = axes if below is None else below
    lowest.set_xlabel(
        "NFE (network evaluations per image)", fontsize=9, color=INK, parse_math=False
    )
    axes.set_ylabel("ms per image", fontsize=9, color=INK, parse_math=False)
    add_key(axes, _ends(lines, x, y))
    _title(axes, "Time against network evaluations" + _fit_text(result))
    return figure


def latency_alt(result: "SpeedResult") -> str:
    """What `latency_plot` shows, in words."""
    nfe = [row.nfe for row in result.rows]
    text = f"Milliseconds per image against NFE, from {min(nfe):g} to {max(nfe):g}"
    return clean(text + _fit_text(result) + ".")


def _fit_text(result: "SpeedResult") -> str:
    fit = result.fit
    if fit is None:
        return ""
    sign = "-" if fit.start < 0 else "+"
    return f"; line: {1000 * fit.slope:.4g} NFE {sign} {abs(1000 * fit.start):.3g} ms"


def _below(figure: "Figure", axes: "Axes", x: Sequence[float]) -> "Axes":
    """A lower panel with the same horizontal axis."""
    box = axes.get_position()
    axes.set_position((box.x0, box.y0 + 0.36 * box.height, box.width, 0.64 * box.height))
    below = figure.add_axes((box.x0, box.y0, box.width, 0.28 * box.height))
    log_axis(below, "x", x, only=x)
    axes.tick_params(labelbottom=False)
    return below


def _residual(result: "SpeedResult", i: int) -> float:
    """(measured - fitted) / measured of a row, in percent."""
    fit, row = result.fit, result.rows[i]
    if fit is None:
        return 0.0
    if len(fit.residuals) == len(result.rows):
        return 100 * fit.residuals[i]
    return 100 * (1 - 1000 * (fit.start + fit.slope * row.nfe) / row.ms_per_image)


def _beside(result: "SpeedResult", lines: Sequence[Curve]) -> dict[int, float]:
    """Factors that set the residuals of rows of one NFE side by side."""
    same: dict[float, list[int]] = {}
    for curve in lines:
        for i in curve.rows:
            same.setdefault(result.rows[i].nfe, []).append(i)
    found = {}
    for group in same.values():
        width = min(0.06, 0.35 / len(group))
        for n, i in enumerate(group):
            found[i] = float(np.exp((n - (len(group) - 1) / 2) * width))
    return found


def _residuals(result: "SpeedResult", axes: "Axes") -> None:
    # at least 0.1 %: less is rounding, not to be blown up
    largest = max(0.1, *(abs(_residual(result, i)) for i in range(len(result.rows))))
    axes.set_ylim(-1.25 * largest, 1.25 * largest)
    tidy(axes, "y")
    axes.locator_params(axis="y", nbins=4)
    axes.axhline(0, color=FAINT, lw=1.2, zorder=1.5)
    axes.set_ylabel("residual, %", fontsize=9, color=INK, parse_math=False)


# --- quality against steps -----------------------------------------------------------------------


def steps_plot(result: "SpeedResult") -> "Figure | None":
    """The metric over steps; None for fewer than two step counts."""
    metric = quality(result)
    scored = [i for i in _scored(result, metric) if result.rows[i].sampler is not None]
    x = {i: float(result.rows[i].steps) for i in scored}
    if metric is None or len(set(x.values())) < 2:
        return None
    lines = _kept(curves(result), scored)
    figure, axes = _figure([c.name for c in lines], len(lines))
    y = _quality_axis(result, metric, axes, scored)
    log_axis(axes, "x", list(x.values()), only=list(x.values()))
    axes.set_xlabel("steps", fontsize=9, color=INK, parse_math=False)
    _draw_curves(result, metric, axes, lines, x)
    add_key(axes, _ends(lines, x, y))
    _title(axes, "Quality against steps")
    return figure


def steps_alt(result: "SpeedResult") -> str:
    """What `steps_plot` shows, in words: each curve from its fewest to its most steps."""
    metric = quality(result)
    lines = _kept(curves(result), _scored(result, metric))
    if metric is None or not lines:
        return ""
    told = []
    for curve in lines:
        ends = dict.fromkeys((curve.rows[0], curve.rows[-1]))
        values = [f"{_number(result, metric, i)} at {result.rows[i].steps}" for i in ends]
        told.append(f"{curve.name} {' to '.join(values)}")
    return clean(f"{metric.header} against steps, one curve per sampler: {'; '.join(told)}.")


# --- samples -------------------------------------------------------------------------------------


def strip(images: Mapping[str, Images], nfe: Mapping[str, float] | None = None) -> "Image":
    """Samples of every row, one below the other: columns are the same noise.

    Args:
        images: For each label uint8 of shape (k, C, H, W), C = 1 or 3, with the same k in all.
        nfe: Network evaluations by label, which stand before the label.

    Raises:
        ValueError: Without images, for another shape or type, or for numbers that differ.
    """
    counts = {len(shots) for shots in images.values()}
    if len(counts) > 1:
        told = ", ".join(f"{clean(name)} has {len(shots)}" for name, shots in images.items())
        raise ValueError(f"columns share their noise, so rows need as many images each: {told}")
    rows = []
    for name, shots in images.items():
        evaluations = (nfe or {}).get(name)
        head = "" if evaluations is None else f"{evaluations:g} NFE  "
        rows.append((head + clean(name, 48), shots))
    return sheet(rows, columns=max(counts, default=1))


# --- parts of plots ------------------------------------------------------------------------------


def _scored(result: "SpeedResult", metric: Metric | None) -> list[int]:
    """Rows with a finite score and a time."""
    if metric is None:
        return []
    found = [row.scores.get(metric.id) for row in result.rows]
    return [i for i, s in enumerate(found) if s is not None and np.isfinite(s.value)]


def _kept(lines: Sequence[Curve], rows: Sequence[int]) -> list[Curve]:
    """Curves without the rows that are not in `rows`; empty ones are left out."""
    cut = [c._replace(rows=tuple(i for i in c.rows if i in rows)) for c in lines]
    return [c for c in cut if c.rows]


def _number(result: "SpeedResult", metric: Metric, i: int) -> str:
    score = result.rows[i].scores[metric.id]
    return f"{metric.header} {measured(score.value, score.ci95)}"


def _figure(names: Sequence[str], entries: int) -> "tuple[Figure, Axes]":
    """A figure with axes of a fixed size and room for a key at their right."""
    from matplotlib.figure import Figure

    left, bottom, top = 0.75, 0.6, 0.45
    right = key_width(names)
    height = max(_HEIGHT, entries * _STEP + bottom + top)
    width = left + _PLOT + right
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes(
        (left / width, bottom / height, _PLOT / width, 1 - (bottom + top) / height)
    )
    return figure, axes


def _ends(
    lines: Sequence[Curve],
    x: Mapping[int, float] | Sequence[float],
    y: Mapping[int, float] | Sequence[float],
) -> list[Entry]:
    """Entries of a key, each at the last point of its curve."""
    return [Entry(c.name, c.style, (x[c.rows[-1]], y[c.rows[-1]])) for c in lines]


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(shown(text), fontsize=9.5, color=INK, loc="left", pad=9, parse_math=False)


def _time_label(result: "SpeedResult") -> str:
    device = clean(result.environment.device, 30)
    return shown(f"ms per image, batch {result.settings.batch}{f', {device}' if device else ''}")


def _quality_axis(
    result: "SpeedResult", metric: Metric, axes: "Axes", rows: Sequence[int]
) -> dict[int, float]:
    """Sets up the vertical axis and returns the values by row."""
    y = {i: result.rows[i].scores[metric.id].value for i in rows}
    values = [*y.values(), *(e for bar in _bars(result, metric, rows).values() for e in bar)]
    if 10 < span(list(y.values())) < np.inf:
        lowest = 0.5 * min(y.values())  # an interval may reach 0, which a logarithm has not
        log_axis(axes, "y", [max(v, lowest) for v in values])
    else:
        room = 0.07 * (max(values) - min(values)) or 0.1 * abs(values[0]) or 1.0
        axes.set_ylim(min(values) - room, max(values) + room)
        tidy(axes, "y")
    axes.set_ylabel(shown(metric.heading, 48), fontsize=9, color=INK, parse_math=False)
    return y


def _bars(
    result: "SpeedResult", metric: Metric, rows: Sequence[int]
) -> dict[int, tuple[float, float]]:
    """Intervals by row, without those that no plot can show."""
    found = {i: result.rows[i].scores[metric.id].ci95 for i in rows}
    return {i: ends for i, ends in found.items() if ends is not None and np.isfinite(ends).all()}


def _draw_curves(
    result: "SpeedResult",
    metric: Metric,
    axes: "Axes",
    lines: Sequence[Curve],
    x: Mapping[int, float],
) -> None:
    for curve in lines:
        scores = [result.rows[i].scores[metric.id] for i in curve.rows]
        places, values = [x[i] for i in curve.rows], [s.value for s in scores]
        style, bars = curve.style, _bars(result, metric, curve.rows)
        for i, ends in bars.items():
            axes.vlines(x[i], *ends, color=style.colour, lw=0.9, alpha=0.6, zorder=2)
        axes.plot(places, values, color=style.colour, ls=style.dash, lw=1.3, alpha=0.9, zorder=2)
        for at, score in zip(places, scores, strict=True):
            dot(axes, at, score.value, style)
