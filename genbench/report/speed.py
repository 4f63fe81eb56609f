"""The report of `genbench speed`: one result in, its table in four forms, its files.

As for leaderboards, the frame holds raw numbers under stable names and people read compact ones.
"""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from genbench.report import forms, published
from genbench.report.curves import Picture, draw
from genbench.report.notes import CAPTION
from genbench.report.speed_grid import by_noise
from genbench.report.speed_notes import notes
from genbench.report.speed_rows import Metric, front, labels, metrics, quality, variance
from genbench.report.table import Format
from genbench.report.text import DASH, compact, latex, markdown, measured
from genbench.spec import ConfigError, nearest
from genbench.store import atomic_write
from genbench.text import clean

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from genbench.speed.result import Row, SpeedResult
    from genbench.stats import Score

__all__ = ["as_json", "frame", "render", "write"]

_ENDINGS: dict[Format, str] = {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex"}
_WORDS = ("model", "sampler", "spacing", "noise")  # columns that are aligned to the left
_PUBLISHED = "published fid cifar10"

Table = dict[str, list[str]]


# --- the frame -----------------------------------------------------------------------------------


def frame(result: "SpeedResult") -> "pd.DataFrame":
    """The result as numbers, a row for each row.

    Columns: label, sampler, spacing, steps, eta, variance, reference, nfe, ms_per_image,
    images_per_second, latency_ms (milliseconds for a single image), speedup, "speedup ci95 low",
    "speedup ci95 high", nfe_ratio; for each metric id ID, "ID ci95 low", "ID ci95 high",
    "ID change", "ID change ci95 low", "ID change ci95 high"; peak_bytes, pareto (whether no row
    beats it in time and quality, empty without a score), "published fid cifar10". Missing numbers
    are NaN.
    """
    import pandas as pd

    found = metrics(result)
    best, main = _front(result), quality(result)
    rows = []
    for i, (name, row) in enumerate(zip(labels(result), result.rows, strict=True)):
        scored = main is not None and main.id in row.scores
        rows.append(
            {
                "label": name,
                **_plain(row),
                **{k: v for m in found for k, v in _scores(row, m.id).items()},
                "peak_bytes": row.peak_bytes,
                "pareto": i in best if scored else None,
                _PUBLISHED: published.match(row),
            }
        )
    table = pd.DataFrame(rows)
    for name in ("steps", "peak_bytes"):
        table[name] = table[name].astype("Int64")  # counts print as counts, not as "469.0"
    return table


def _plain(row: "Row") -> dict[str, Any]:
    low, high = row.speedup_ci95 or (math.nan, math.nan)
    return {
        "sampler": None if row.sampler is None else clean(row.sampler),
        "spacing": _spacing(row, listed=True),
        "steps": row.steps,
        "eta": _float(row.eta),
        "variance": None if row.variance is None else clean(row.variance),
        "reference": row.reference,
        "nfe": row.nfe,
        "ms_per_image": row.ms_per_image,
        "images_per_second": row.images_per_second,
        "latency_ms": row.latency_ms,
        "speedup": _float(row.speedup),
        "speedup ci95 low": low,
        "speedup ci95 high": high,
        "nfe_ratio": _float(row.nfe_ratio),
    }


def _scores(row: "Row", name: str) -> dict[str, float]:
    numbers = {}
    score, change = row.scores.get(name), row.changes.get(name)
    for what, found in ((clean(name), score), (f"{clean(name)} change", change)):
        low, high = (found.ci95 if found else None) or (math.nan, math.nan)
        numbers[what] = math.nan if found is None else found.value
        numbers[f"{what} ci95 low"], numbers[f"{what} ci95 high"] = low, high
    return numbers


def _float(value: float | None) -> float:
    return math.nan if value is None else value


def _spacing(row: "Row", listed: bool = False) -> str | None:
    if isinstance(row.spacing, tuple):
        return " ".join(f"{t:g}" for t in row.spacing) if listed else "own steps"
    return None if row.spacing is None else clean(row.spacing)


def _front(result: "SpeedResult") -> list[int]:
    metric = quality(result)
    return [] if metric is None else front(result, metric)


def as_json(result: "SpeedResult") -> dict[str, Any]:
    """The result for machines: `{"rows": [...], "environment": ..., "settings": ..., ...}`.

    Every field of `SpeedResult` and of its rows under its own name, with `label`, `pareto` and
    `published` ({dataset, metric, value, source} or null) added to each row.
    """
    best, main = _front(result), quality(result)
    whole = result.model_dump(mode="json")
    rows = zip(labels(result), result.rows, whole["rows"], strict=True)
    for i, (name, row, dump) in enumerate(rows):
        value = published.match(row)
        dump["label"] = name
        dump["pareto"] = i in best if main is not None and main.id in row.scores else None
        dump["published"] = None
        if value is not None:
            told = {"dataset": published.DATASET, "metric": "fid", "source": published.SOURCE}
            dump["published"] = {**told, "value": value}
    return whole


# --- printed forms -------------------------------------------------------------------------------


def render(result: "SpeedResult", fmt: Format) -> str:
    """The result as text that ends in a newline; the forms are those of leaderboards.

    "text", "markdown" and "latex" are for people: compact numbers, ± half-width, notes; Markdown
    has a second table of measured beside published ratios. "csv" is the frame.

    Raises:
        ConfigError: If there is no format `fmt`.
    """
    if fmt == "csv":
        return forms.csv(frame(result))
    writers = {"text": _text, "markdown": _markdown, "latex": _latex}
    if fmt not in writers:
        raise ConfigError(f"speed: no format {fmt!r}; {nearest(fmt, get_args(Format))}")
    return writers[fmt](result)


def _human(result: "SpeedResult") -> Table:
    """Columns as strings that people read, unescaped; columns that say nothing are left out."""
    rows = result.rows
    known = [published.match(row) for row in rows]
    table = _ways(result) | {
        "NFE": [compact(r.nfe) for r in rows],
        "ms/image": [compact(r.ms_per_image) for r in rows],
        "images/s": [compact(r.images_per_second) for r in rows],
        "ms for 1 image": [compact(r.latency_ms) for r in rows],
        "speed-up": [_speedup(r) for r in rows],
        "NFE ratio": [compact(r.nfe_ratio) for r in rows],
    }
    for metric in metrics(result):
        table[metric.heading] = [_value(r.scores.get(metric.id)) for r in rows]
        table[f"Δ {metric.header}"] = [_change(r, metric) for r in rows]
    table[published.HEADER] = [DASH if v is None else f"{v:.2f}" for v in known]
    return {name: cells for name, cells in table.items() if set(cells) != {DASH}}


def _ways(result: "SpeedResult") -> Table:
    """The columns that say which way of sampling a row is."""
    rows = result.rows
    if all(row.sampler is None for row in rows):
        return {"model": labels(result)}
    named = [clean(r.sampler or result.sample.train.baseline) for r in rows]
    return {
        "sampler": [name + variance(row) for name, row in zip(named, rows, strict=True)],
        "spacing": [_spacing(r) or DASH for r in rows],
        "steps": [str(r.steps) for r in rows],
        "eta": [DASH if r.eta is None else f"{r.eta:g}" for r in rows],
        **_options(result),
    }


def _options(result: "SpeedResult") -> Table:
    """A column of options where nothing else tells rows apart."""
    more = []
    for name, row in zip(labels(result), result.rows, strict=True):
        own = clean(row.label)
        more.append(name.removeprefix(own).strip() if name.startswith(own) else "")
    return {"options": [text or DASH for text in more]}


def _speedup(row: "Row") -> str:
    if row.reference:
        return "reference"
    return DASH if row.speedup is None else measured(row.speedup, row.speedup_ci95)


def _value(score: "Score | None") -> str:
    return DASH if score is None else measured(score.value, score.ci95)


def _change(row: "Row", metric: Metric) -> str:
    change = row.changes.get(metric.id)
    if change is None or row.reference:
        return DASH
    text = measured(change.value, change.ci95)
    return f"+{text}" if change.value > 0 else text


def _printed(table: Table, style: str, escape: Callable[[str], str] = str) -> str:
    from tabulate import tabulate

    cells = [[escape(cell) for cell in row] for row in zip(*table.values(), strict=True)]
    align = ["left" if name in (*_WORDS, "options") else "right" for name in table]
    headers = [escape(name) for name in table]
    # Without disable_numparse tabulate would rewrite numbers, and "1e5" as a name too.
    text = tabulate(cells, headers, tablefmt=style, disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _text(result: "SpeedResult") -> str:
    return "\n".join([_printed(_human(result), "plain"), "", *notes(result)]) + "\n"


def _markdown(result: "SpeedResult") -> str:
    lines = [_printed(_human(result), "pipe", markdown), ""]
    lines += [f"- {markdown(note)}" for note in notes(result)]
    grid = by_noise(result)
    if grid:
        metric, table = grid
        about = f"{metric.header} {metric.arrow} by noise and steps; below, {published.SOURCE}."
        lines += ["", markdown(about), "", _printed(table, "pipe", markdown)]
    ratios = _ratios(result)
    if ratios:
        about = (
            f"Ratios to 1000 deterministic steps (ddim, eta 0), measured beside {published.SOURCE}"
            ": order and ratio compare, values do not. Intervals of measured ratios take the "
            "errors of both rows as independent, to first order."
        )
        lines += ["", markdown(about), "", _printed(ratios, "pipe", markdown)]
    return "\n".join(lines) + "\n"


def _latex(result: "SpeedResult") -> str:
    import pandas as pd

    table = _human(result)
    align = "".join("l" if name in (*_WORDS, "options") else "r" for name in table)
    body = pd.DataFrame(table, dtype=object).map(_tex).rename(columns=_tex)
    tabular = body.style.hide(axis="index").to_latex(
        hrules=True, column_format=align, position_float="centering", caption=latex(CAPTION)
    )
    # Comments need no escaping, only one line each; `clean` made every note one line.
    comments = [f"% {note}" for note in notes(result)]
    return "\n".join(["% Needs \\usepackage{booktabs}.", *comments, tabular.rstrip("\n")]) + "\n"


def _tex(text: str) -> str:
    return r"$\Delta$".join(latex(part) for part in text.split("Δ"))


# --- beside published figures --------------------------------------------------------------------


def _ratios(result: "SpeedResult") -> Table | None:
    """Ratios of a Frechet distance to that of ddim with eta 0 and 1000 steps; None without it."""
    metric = quality(result)
    if metric is None or metric.id.partition("@")[0] not in ("fd", "fid"):
        return None
    scored = [row for row in result.rows if metric.id in row.scores]
    bases = [r for r in scored if r.sampler == "ddim" and r.eta == 0 and r.steps == 1000]
    bases = [r for r in bases if r.scores[metric.id].value > 0]
    shown = [row for row in scored if published.ratio(row) is not None]
    if not bases or len(shown) < 2:
        return None
    pairs = [(r, next((b for b in bases if b.spacing == r.spacing), bases[0])) for r in shown]
    large = [" large" if r.variance == "large" else "" for r in shown]
    return {
        "sampler": [clean(f"{r.sampler}{more}") for r, more in zip(shown, large, strict=True)],
        "spacing": [_spacing(r) or DASH for r in shown],
        "steps": [str(r.steps) for r in shown],
        "eta": [DASH if r.eta is None else f"{r.eta:g}" for r in shown],
        f"{metric.header} ratio": [
            "1" if r is b else _ratio(r.scores[metric.id], b.scores[metric.id]) for r, b in pairs
        ],
        "published FID ratio": [f"{published.ratio(r):.2f}" for r in shown],
    }


def _ratio(over: "Score", under: "Score") -> str:
    """over / under; half-widths h add as (h / value)^2 = (h_o / over)^2 + (h_u / under)^2."""
    value = over.value / under.value
    if over.ci95 is None or under.ci95 is None or over.value <= 0:
        return measured(value, None)
    halves = [(s.ci95[1] - s.ci95[0]) / 2 / s.value for s in (over, under) if s.ci95]
    half = value * math.hypot(*halves)
    return measured(value, (value - half, value + half))


# --- files ---------------------------------------------------------------------------------------


def write(result: "SpeedResult", out: Path, strip: "Image | None" = None) -> list[Path]:
    """Write speed.{txt,md,csv,tex} and the pictures that make sense, each whole or not at all.

    Args:
        result: What was measured.
        out: The folder.
        strip: Samples side by side, see `curves.strip`; written as speed-samples.png.

    Returns:
        The files that were written.

    Raises:
        StoreError: When the folder cannot be written.
    """
    pictures = draw(result)
    if strip is not None:
        pictures.append(Picture("speed-samples", _SAMPLES, _png(strip)))
    written = []
    for fmt, ending in _ENDINGS.items():
        text = render(result, fmt)
        if fmt == "markdown":
            text += _links(pictures)
        written.append(_save(out / f"speed.{ending}", text.encode()))
    return written + [_save(out / f"{p.name}.png", p.png) for p in pictures]


_SAMPLES = "Samples of every row; a column starts from the same noise in each."


def _links(pictures: Sequence[Picture]) -> str:
    return "".join(f"\n![{markdown(p.alt)}]({p.name}.png)\n" for p in pictures)


def _png(picture: "Image") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _save(path: Path, data: bytes) -> Path:
    atomic_write(path, data)
    return path
