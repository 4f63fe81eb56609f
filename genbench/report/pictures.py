"""The pictures of a folder: a grid for each row, and a sheet that compares the rows of a table."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genbench.report.grid import Images, fitting, font, grid, sheet, stacked
from genbench.report.parts import Part
from genbench.report.questions import Shown, brought, picture, question_strip, read, strips
from genbench.report.rows import KINDS, Row
from genbench.report.text import slug
from genbench.store import Store, atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Drawn", "PartPictures", "draw", "failures"]

_SHOWN = 64  # samples in a row's own grid
_LISTED = 20  # failures that are told in words


@dataclass(frozen=True)
class PartPictures:
    """The pictures of one table.

    Attributes:
        names: The file of each row, whether it was drawn or not.
        overview: The file that compares the rows.
        failures: For rows of which samples fail, a heading and sentences on what is wrong.
    """

    names: tuple[str, ...]
    overview: str
    failures: list[tuple[str, list[str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    """What was drawn: the files, and what belongs to each part."""

    paths: list[Path]
    parts: list[PartPictures]


def draw(store: Store, parts: Sequence[Part], out: Path, log: Callable[[str], None]) -> Drawn:
    """Draw what the store has samples of.

    Args:
        store: The results.
        parts: The tables of the folder.
        out: Where the files go.
        log: Called with a sentence for every picture that is skipped.
    """
    drawn = Drawn([], _names(parts))
    sheets = []
    room = max((_width(row) for part in parts for row in part.rows), default=0)
    room = room if len(parts) > 1 else 0
    for part, names in zip(parts, drawn.parts, strict=True):
        title = part.title if len(parts) > 1 else ""
        found = _rows(store, part, names, title, out, drawn.paths, log)
        if not found:
            continue
        sheets.append(_overview(found, part.task, title, room))
        if len(parts) > 1:
            drawn.paths.append(_save(sheets[-1], out / names.overview))
    if sheets:
        whole = sheets[0] if len(sheets) == 1 else stacked(sheets)
        drawn.paths.append(_save(whole, out / "overview.png"))
    return drawn


def _rows(
    store: Store,
    part: Part,
    names: PartPictures,
    title: str,
    out: Path,
    paths: list[Path],
    log: Callable[[str], None],
) -> list[tuple[Row, Shown]]:
    """Draw each row; what is needed of them to compare them."""
    found, missing = [], []
    on = f" ({title})" if title else ""
    for row, name in zip(part.rows, names.names, strict=True):
        images, shown = _samples(store, row, on, log)
        if images is None:
            missing.append(row.label)
            continue
        try:
            if shown is None:
                drawn = grid(images, columns=8, scale=fitting(max(images.shape[2:], default=1)))
            else:
                drawn = picture(shown, part.task)
        except ValueError as error:
            log(f"no picture of {row.label}{on}: {error}")
            continue
        paths.append(_save(drawn, out / name))
        if shown is not None:
            names.failures.extend(failures(row, shown))
        found.append((row, Shown(images) if shown is None else shown))
    if missing:
        log(f"no picture of {', '.join(missing)}{on}: no samples are stored")
    return found


def _samples(
    store: Store, row: Row, on: str, log: Callable[[str], None]
) -> tuple[Images | None, Shown | None]:
    """The first samples of the row's first seed that has any, and what they were asked for."""
    for cell in row.cells:
        artifact = store.get("sample", cell.sample.key)
        if artifact is None or "images" not in artifact.tensors:
            continue
        images: Images = np.array(artifact.tensors["images"][:_SHOWN])
        asked = store.get("shown", cell.key)
        try:
            return images, None if asked is None else read(images, asked)
        except ValueError as error:
            log(f"no questions beside the samples of {row.label}{on}: {error}")
            return images, None
    return None, None


def failures(row: Row, shown: Shown) -> list[tuple[str, list[str]]]:
    """A heading and the first sentences on what is wrong with a row's samples, if anything is."""
    wrong = [i for i in range(len(shown.made)) if shown.reason(i)]
    if not wrong:
        return []
    lines = [
        f"Sample {i}{f', {shown.texts[i]}' if shown.texts else ''}: {shown.reason(i)}"
        for i in wrong[:_LISTED]
    ]
    if len(wrong) > _LISTED:
        lines.append(f"And {len(wrong) - _LISTED} more.")
    return [(f"{row.label}: {len(wrong)} of the first {len(shown.made)} samples fail", lines)]


# --- the comparison ------------------------------------------------------------------------------


_RIGHT, _REAL = "right answer", "real image"  # labels of strips


def _width(row: Row) -> int:
    return round(max(font(15).getlength(label) for label in (row.label, _RIGHT)))


def _overview(found: Sequence[tuple[Row, Shown]], task: str, title: str, room: int) -> "Image":
    """A strip for each row; between the questions and the right answers, where they are known."""
    known = next((shown for _, shown in found if shown.asked is not None or shown.texts), None)
    if known is None:
        plain = [(row.label, shown.made) for row, shown in found]
        groups = [KINDS.get(row.kind, row.kind) for row, _ in found]
        return sheet(plain, groups=groups, title=title, room=room)
    every = range(min(len(shown.made) for _, shown in found))  # equal questions in all strips
    chosen, tile = strips(known.of(every), task)
    asked = known.of(chosen)
    rows = [(row.label, brought(shown.made[chosen], tile)) for row, shown in found]
    quiet = []
    question = question_strip(asked, tile)
    if question is not None:
        rows.insert(0, ("asked", question))
        quiet.append(0)
    if asked.truth is not None:
        quiet.append(len(rows))
        rows.append((_RIGHT if asked.aligned else _REAL, brought(asked.truth, tile)))
    return sheet(rows, title=title, quiet=quiet, room=room)


# --- files ---------------------------------------------------------------------------------------


def _names(parts: Sequence[Part]) -> list[PartPictures]:
    """File names, no two equal and none that is the overview's."""
    taken = {"overview"}

    def free(base: str) -> str:
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        return f"{name}.png"

    several = len(parts) > 1
    found = []
    for part in parts:
        before = f"{part.slug}-" if several else ""
        names = tuple(free(before + slug(row.label)[:100]) for row in part.rows)
        overview = free(f"overview-{part.slug}") if several else "overview.png"
        found.append(PartPictures(names, overview))
    return found


def _save(drawn: "Image", path: Path) -> Path:
    buffer = io.BytesIO()
    drawn.save(buffer, format="PNG")
    atomic_write(path, buffer.getvalue())
    return path
