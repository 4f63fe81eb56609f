"""Pictures inside the page: data URIs of plots and of sample grids, kept small."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from genbench.report.figures import Plot, quality
from genbench.report.page_parts import Plots, Shot
from genbench.report.parts import Part
from genbench.report.rows import KINDS, Column, Row
from genbench.report.text import measured

__all__ = ["Album", "plots"]

_SHOWN = 64  # samples in a grid
_ONE, _ALL = 250_000, 3_000_000  # bytes of one grid, and of all of them
_LEAST = 60_000  # bytes that a grid may have, however many there are
_NARROW = ("unconditional", "class_label")  # tasks without words and questions beside the samples


def plots(drawn: Sequence[Plot]) -> Plots:
    """The plots that have something to show."""
    uris = [(p, _uri("svg+xml", p.light), _uri("svg+xml", p.dark)) for p in drawn if p.light]
    return Plots([(p.title, p.alt, light, dark) for p, light, dark in uris])


class Album:
    """Finds a folder's grids and makes them fit into its page.

    Args:
        folders: Where to look, in this order.
        rows: How many rows all tables have together.
    """

    def __init__(self, folders: Sequence[Path], rows: int) -> None:
        self.folders = tuple(folders)
        self.limit = max(_LEAST, min(_ONE, _ALL // max(1, rows)))

    def shots(self, part: Part, names: Sequence[str]) -> list[Shot]:
        """The grids of those rows that have one; `names` are their files."""
        found = []
        for row, name in zip(part.rows, names, strict=True):
            wide = part.task.partition(":")[0] not in _NARROW
            fitted = self._find(name, wide)
            if fitted is not None:
                alt = _alt(row, part.task)
                found.append(Shot(row.label, _caption(row, part.columns), alt, *fitted, wide))
        return found

    def overview(self, part: Part, name: str) -> Shot | None:
        """The sheet of a conditional task: the same questions, answered by every row."""
        fitted = None if part.task == "unconditional" else self._find(name, True)
        if fitted is None:
            return None
        alt = f"the same questions of {part.title}, answered by every row"
        return Shot("All rows", "the same questions to each of them", alt, *fitted, True)

    def _find(self, name: str, words: bool) -> tuple[str, int, int] | None:
        path = next((f / name for f in self.folders if (f / name).is_file()), None)
        return None if path is None else _fitted(path.read_bytes(), self.limit, words)


def _caption(row: Row, columns: Sequence[Column]) -> str:
    kind, column = KINDS.get(row.kind, row.kind), quality([row], columns)
    score = None if column is None else row.score(column.spec)
    if column is None or score is None:
        return kind
    return f"{kind}, {column.header} {measured(score.value, score.ci95)}"


def _alt(row: Row, task: str) -> str:
    sample = next((r.cell for r in row.present if r.status == "ok"), row.cells[0]).sample
    if task != "unconditional":
        return f"samples of {row.label} and what they were asked for, seed {sample.train.seed}"
    count = min(_SHOWN, sample.n)
    return f"{count} sample{'s' if count > 1 else ''} of {row.label}, seed {sample.train.seed}"


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _fitted(data: bytes, limit: int, words: bool = False) -> tuple[str, int, int] | None:
    """Data URI, width and height; None for a file that is no picture.

    A PNG file of more than `limit` bytes becomes a JPEG file, smaller until it fits; one with
    words in it first one of 256 colours, where words stay sharp.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    if len(data) <= limit:
        return _uri("png", data), picture.width, picture.height
    if words:
        buffer = io.BytesIO()
        few = picture.quantize(256, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True)
        if len(buffer.getvalue()) <= limit:
            return _uri("png", buffer.getvalue()), picture.width, picture.height
    while True:
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=85)
        if len(buffer.getvalue()) <= limit or max(picture.size) < 100:
            return _uri("jpeg", buffer.getvalue()), picture.width, picture.height
        picture = picture.resize([max(1, round(0.8 * side)) for side in picture.size])
