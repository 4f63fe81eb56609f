"""What plots share: figures without global state, colours, ticks, and labels that do not overlap.

matplotlib is imported inside functions: tables answer without it.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genbench.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "DPI",
    "INK",
    "Entry",
    "Style",
    "add_key",
    "default_style",
    "dot",
    "key_width",
    "log_axis",
    "log_ticks",
    "place",
    "png",
    "shown",
    "span",
    "style_of",
    "tidy",
]

DPI = 150
INK, FAINT, GRID = "#1c1e22", "#7a7e86", "#e6e6e2"
# Okabe and Ito's palette (Color Universal Design, 2008) without yellow, which white drowns.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # 9 and 7 share no factor: 63 pairs
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_SMALL = 7.5  # points, of labels and ticks
_STEP = 0.155  # inches between entries of a key
_FEW = 6  # entries that lines can lead to without a tangle


@dataclass(frozen=True)
class Style:
    """How one curve is drawn."""

    colour: str
    marker: str
    dash: "str | tuple[float, tuple[float, ...]]"


@dataclass(frozen=True)
class Entry:
    """A line of the key: its text, its style (None: a ring), and the point that it belongs to."""

    text: str
    style: Style | None
    at: tuple[float, float] | None = None


@contextmanager
def default_style() -> Iterator[None]:
    """matplotlib's own defaults, whatever a user's matplotlibrc says, for equal files anywhere."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def style_of(colour: int, dash: int) -> Style:
    """The style number `colour` (a sampler) and `dash` (its spacing)."""
    return Style(
        _COLOURS[colour % len(_COLOURS)],
        _MARKERS[colour % len(_MARKERS)],
        _DASHES[dash % len(_DASHES)],
    )


def shown(text: str, limit: int | None = None) -> str:
    """One line in characters that matplotlib's own font has; others become "?"."""
    line = clean(text, limit)
    return "".join(c if ord(c) < 0x250 or c in "Δσηβ–…↓↑±²" else "?" for c in line)


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file: equal figures give equal bytes, on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


# --- axes ----------------------------------------------------------------------------------------


def span(values: Sequence[float]) -> float:
    """Largest over smallest; infinite where a logarithm is impossible, 1 for no values."""
    if not values:
        return 1.0
    return max(values) / min(values) if min(values) > 0 else math.inf


def log_ticks(low: float, high: float, only: Sequence[float] = ()) -> list[float]:
    """Round numbers for a logarithmic axis, about 3 to 8 of them; `only` are the candidates.

    Candidates that would crowd their neighbour are left out, smaller ones first.
    """
    if only:
        found: list[float] = []
        for value in sorted(set(only), reverse=True):
            if not found or math.log(found[-1] / value) > 0.07 * math.log(high / low):
                found.append(value)
        return found[::-1]
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [float(f"{d}e{p}") for p in powers for d in digits]
        inside = [t for t in ticks if low <= t <= high]
        if len(inside) >= 3:
            return inside[:: -(-len(inside) // 9)]
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(s * step for s in (1, 2, 5, 10) if (high - low) / (s * step) <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def tidy(axes: "Axes", which: str, ticks: Sequence[float] | None = None) -> None:
    """Quiet axes: a light grid, small numbers as "0.5" and "1000", ticks where they are given."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(labelsize=_SMALL, colors=INK, length=3, color=FAINT)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axis = axes.xaxis if which == "x" else axes.yaxis
    if ticks is not None:
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def log_axis(
    axes: "Axes", which: str, values: Sequence[float], only: Sequence[float] = ()
) -> None:
    """A logarithmic axis with a little room at both ends; `only`: where ticks may be."""
    room = max(span(values), 1.2) ** 0.06
    low, high = min(values) / room, max(values) * room
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    tidy(axes, which, log_ticks(low, high, only))


def dot(axes: "Axes", x: float, y: float, style: Style) -> None:
    """A point of a curve."""
    axes.plot(
        [x], [y], marker=style.marker, color=style.colour, ms=4.8, mec="white", mew=0.5, zorder=3
    )


# --- the key -------------------------------------------------------------------------------------


def key_width(entries: Sequence[str]) -> float:
    """Inches that a key with these texts needs."""
    return 0.86 + 0.066 * max(map(len, entries), default=0)


def add_key(axes: "Axes", entries: Sequence[Entry]) -> None:
    """Names right of the axes.

    A few stand at the heights of the points they belong to, with a thin line to those near the
    right edge. Many would only tangle: they keep their order, from the top.
    """
    figure = axes.figure
    height = axes.get_position().height * figure.get_figheight()  # type: ignore[union-attr]
    inch = 1 / (axes.get_position().width * figure.get_figwidth())  # type: ignore[union-attr]
    to_axes = (axes.transData + axes.transAxes.inverted()).transform
    at = [(0.0, -1.0) if e.at is None else tuple(to_axes(e.at)) for e in entries]
    order, few = list(range(len(entries))), len(entries) <= _FEW
    if few:
        order.sort(key=lambda i: -at[i][1])
    wanted = [at[i][1] if few else 1.0 for i in order]
    x = 1 + 0.22 * inch
    for i, y in zip(order, spread(wanted, _STEP / height), strict=True):
        style = entries[i].style
        if few and at[i][0] > 0.8 and style is not None:
            axes.plot(
                [at[i][0], x - 0.03 * inch], [at[i][1], y], transform=axes.transAxes, lw=0.6,
                color=style.colour, alpha=0.45, clip_on=False, zorder=1,
            )  # fmt: skip
        _sample(axes, style, (x, x + 0.42 * inch), y)
        axes.text(
            x + 0.5 * inch, y, entries[i].text, transform=axes.transAxes, fontsize=_SMALL,
            color=INK, va="center", ha="left", parse_math=False,
        )  # fmt: skip


def _sample(axes: "Axes", style: Style | None, x: tuple[float, float], y: float) -> None:
    if style is None:
        axes.plot(
            [sum(x) / 2], [y], "o", transform=axes.transAxes, ms=8, mfc="none", mec=INK, mew=0.9,
            clip_on=False,
        )  # fmt: skip
        return
    axes.plot(
        [x[0], sum(x) / 2, x[1]], [y] * 3, transform=axes.transAxes, color=style.colour, lw=1.3,
        ls=style.dash, marker=style.marker, markevery=[1], ms=4.5, clip_on=False,
    )  # fmt: skip


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights as near to the wanted ones as a gap allows, in their order, from high to low.

    Neighbours that would collide are stacked around the mean of where they want to be; all are
    kept within 0 to 1 if there is room.
    """
    blocks: list[list[float]] = []  # [sum of wanted tops, number of members]
    for i, height in enumerate(wanted):
        blocks.append([min(max(height, 0.0), 1.0) + i * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] < blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    tops = [total / count for total, count in blocks for _ in range(int(count))]
    found = [top - i * gap for i, top in enumerate(tops)]
    if found:
        low = min(0.0, 1.0 - (len(found) - 1) * gap)
        for i in range(len(found)):  # not above the top: push down, then not below the bottom
            found[i] = min(found[i], 1.0 - i * gap)
        for i in reversed(range(len(found))):
            found[i] = max(found[i], low + (len(found) - 1 - i) * gap)
    return found


# --- labels at points ----------------------------------------------------------------------------

_AROUND = ((0, 1), (0, -1), (1, 0.6), (-1, 0.6), (1, -0.6), (-1, -0.6), (1, 0), (-1, 0))


def place(
    axes: "Axes",
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    curves: Sequence[Sequence[tuple[float, float]]],
    colours: Sequence[str],
    keen: int,
) -> None:
    """Write texts beside points so that none covers a point or another text; others are left out.

    Earlier points choose first. The first `keen` take the place that crosses the fewest curves,
    the others are left out where every place crosses one. Limits of the axes must be final.

    Args:
        axes: Where to.
        points: Positions in the coordinates of the data.
        texts: For the first points; the rest are only kept free.
        curves: Lines that texts should keep off, as lists of positions.
        colours: Of the texts.
        keen: How many texts may cross curves.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(axes.figure)  # type: ignore[arg-type]
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    scale = renderer.points_to_pixels(1.0)
    to_pixels = axes.transData.transform
    dots = to_pixels(np.asarray(points, dtype=np.float64))
    # In pixels, where a box is a box whatever the scales of the axes.
    lines = np.concatenate([_along(to_pixels(np.asarray(c))) for c in curves if len(c)])
    frame = axes.get_window_extent(renderer)
    size = 4.5 * scale
    boxes = [(x - size, y - size, x + size, y + size) for x, y in dots]
    for n, ((x, y), text, colour) in enumerate(zip(dots, texts, colours, strict=False)):
        width, height = _extent(axes, text, renderer)
        best: tuple[int, tuple[float, float, float, float]] | None = None
        for right, up in _AROUND:
            mx, my = x + right * (width / 2 + size + scale), y + up * (height / 2 + size + scale)
            box = (mx - width / 2, my - height / 2, mx + width / 2, my + height / 2)
            inside = frame.x0 <= box[0] and box[2] <= frame.x1
            inside = inside and frame.y0 <= box[1] and box[3] <= frame.y1
            if inside and not any(_overlap(box, other) for other in boxes):
                crossed = int(_within(lines, box).sum())
                if best is None or crossed < best[0]:
                    best = (crossed, box)
        if best is not None and (n < keen or best[0] == 0):
            box = best[1]
            boxes.append(box)
            spot = axes.transData.inverted().transform(
                ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            )
            _write(axes, tuple(spot), text, colour)


def _write(axes: "Axes", spot: tuple[float, float], text: str, colour: str) -> "Text":
    return axes.text(
        spot[0], spot[1], text, fontsize=_SMALL, color=colour, ha="center", va="center",
        parse_math=False,
    )  # fmt: skip


def _extent(axes: "Axes", text: str, renderer: object) -> tuple[float, float]:
    """Width and height in pixels."""
    probe = _write(axes, (1.0, 1.0), text, INK)
    extent = probe.get_window_extent(renderer)  # type: ignore[arg-type]
    probe.remove()
    return extent.width, extent.height


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points a few pixels apart on a line through corners (n, 2)."""
    if len(corners) < 2:
        return corners
    share = np.linspace(0, 1, 60)[:, None]
    return np.concatenate([a + share * (b - a) for a, b in pairwise(corners)])


def _within(
    points: NDArray[np.float64], box: tuple[float, float, float, float]
) -> NDArray[np.bool_]:
    x, y = points.T
    inside: NDArray[np.bool_] = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    return inside


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
