"""Pictures inside the page: data URIs of plots and of sample grids, kept small."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from genbench.report.figures import Plot, quality
from genbench.report.page_parts import Plots, Shot
from genbench.report.rows import KINDS, Column, Row
from genbench.report.text import measured

__all__ = ["plots", "shots"]

_SHOWN = 64  # samples in a grid
_ONE, _ALL = 250_000, 3_000_000  # bytes of one grid, and of all of them


def plots(drawn: Sequence[Plot]) -> Plots:
    """The plots that have something to show."""
    uris = [(p, _uri("svg+xml", p.light), _uri("svg+xml", p.dark)) for p in drawn if p.light]
    return Plots([(p.title, p.alt, light, dark) for p, light, dark in uris])


def shots(
    rows: Sequence[Row], names: Sequence[str], columns: Sequence[Column], folders: Sequence[Path]
) -> list[Shot]:
    """The grids of those rows that have one.

    Args:
        rows: The table's rows.
        names: The name of each row's file.
        columns: The metrics; captions tell the one that plots go by.
        folders: Where to look, in this order.
    """
    found = []
    limit = min(_ONE, _ALL // max(1, len(rows)))
    for row, name in zip(rows, names, strict=True):
        path = next((f / name for f in folders if (f / name).is_file()), None)
        fitted = None if path is None else _fitted(path.read_bytes(), limit)
        if fitted is not None:
            found.append(Shot(row.label, _caption(row, columns), _alt(row), *fitted))
    return found


def _caption(row: Row, columns: Sequence[Column]) -> str:
    kind, column = KINDS.get(row.kind, row.kind), quality([row], columns)
    score = None if column is None else row.score(column.spec)
    if column is None or score is None:
        return kind
    return f"{kind}, {column.header} {measured(score.value, score.ci95)}"


def _alt(row: Row) -> str:
    sample = next((r.cell for r in row.present if r.status == "ok"), row.cells[0]).sample
    count = min(_SHOWN, sample.n)
    return f"{count} sample{'s' if count > 1 else ''} of {row.label}, seed {sample.train.seed}"


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _fitted(data: bytes, limit: int) -> tuple[str, int, int] | None:
    """Data URI, width and height; None for a file that is no picture.

    A PNG file of more than `limit` bytes becomes a JPEG file, smaller until it fits.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    if len(data) <= limit:
        return _uri("png", data), picture.width, picture.height
    while True:
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=85)
        if len(buffer.getvalue()) <= limit or max(picture.size) < 100:
            return _uri("jpeg", buffer.getvalue()), picture.width, picture.height
        picture = picture.resize([max(1, round(0.8 * side)) for side in picture.size])
