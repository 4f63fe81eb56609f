"""What people look at in a results folder: tables, pictures of samples, plots, and one page."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genbench.report import aggregate_table, figures, page, page_aggregate
from genbench.report.aggregate import Aggregate, aggregates
from genbench.report.figures import Plot
from genbench.report.forms import ENDINGS
from genbench.report.grid import Images, fitting, grid, sheet
from genbench.report.page_pictures import shots
from genbench.report.rows import KINDS, Row, collect, columns_of
from genbench.report.table import frame, render
from genbench.report.text import slug
from genbench.store import Store, atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PAGE", "write"]

PAGE = "report.html"

_SHOWN = 64  # samples in a row's own grid


def write(
    store: Store,
    out: Path,
    *,
    kinds: Mapping[str, str] | None = None,
    baseline: str | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> list[Path]:
    """Write leaderboard.{txt,md,csv,tex}, grids/*.png, plots/*.svg and report.html.

    A picture whose samples are not in the store is skipped, and an old one is left as it is: a
    folder that holds records only keeps its pictures.

    Args:
        store: The results; its plan, if it has one, says which cells belong to the table.
        out: Where the files go, usually the store's own folder.
        kinds: Kind by family name, for families of which no record is there yet.
        baseline: The row that others are measured against over datasets; see `aggregate`.
        log: Called with a sentence for every picture that is skipped.

    Returns:
        The files that were written.
    """
    records, plan = store.records(), store.plan()
    order = plan[1] if plan else None
    table = frame(records, order, kinds=kinds)
    written = []
    for fmt, ending in ENDINGS.items():
        path = out / f"leaderboard.{ending}"
        atomic_write(path, render(table, fmt).encode())
        written.append(path)
    over = aggregates(records, order, kinds=kinds, baseline=baseline)
    written += _aggregates(over, out)
    rows = collect(records, order, kinds or {})
    written += _pictures(store, rows, out / "grids", log)
    drawn = figures.draw(rows, columns := columns_of(rows))
    written += _plots(drawn, out / "plots")
    folder = page.Folder(
        suite=plan[0] if plan else "",
        rows=rows,
        columns=columns,
        table=table,
        plots=drawn,
        shots=shots(rows, _file_names(rows), columns, (out / "grids", store.root / "grids")),
        beside={r.key for r in records if (out / "records" / f"{r.key}.json").is_file()},
    )
    atomic_write(out / PAGE, page.render(folder, page_aggregate.section(over)).encode())
    return [*written, out / PAGE]


def _aggregates(found: Sequence[Aggregate], out: Path) -> list[Path]:
    """aggregate.*, where there are several datasets."""
    paths = [out / f"aggregate.{ending}" for ending in ENDINGS.values()] if found else []
    for path, fmt in zip(paths, ENDINGS, strict=False):
        atomic_write(path, aggregate_table.render(found, fmt).encode())
    return paths


def _plots(drawn: Sequence[Plot], out: Path) -> list[Path]:
    """Both variants of each plot; one that shows nothing any more is removed."""
    written = []
    for plot in drawn:
        for suffix, data in (("", plot.light), ("-dark", plot.dark)):
            path = out / f"{plot.name}{suffix}.svg"
            if data:
                atomic_write(path, data)
                written.append(path)
            else:
                path.unlink(missing_ok=True)
    return written


def _pictures(
    store: Store, rows: Sequence[Row], out: Path, log: Callable[[str], None]
) -> list[Path]:
    written, strips, groups, missing = [], [], [], []
    for row, name in zip(rows, _file_names(rows), strict=True):
        images = _samples(store, row)
        if images is None:
            missing.append(row.label)
            continue
        try:
            picture = grid(images, columns=8, scale=fitting(max(images.shape[2:], default=1)))
        except ValueError as error:
            log(f"no picture of {row.label}: {error}")
            continue
        written.append(_save(picture, out / name))
        strips.append((row.label, images))
        groups.append(KINDS.get(row.kind, row.kind))
    if missing:
        log(f"no picture of {', '.join(missing)}: no samples are stored")
    if strips:
        written.append(_save(sheet(strips, groups=groups), out / "overview.png"))
    return written


def _samples(store: Store, row: Row) -> Images | None:
    """The first samples of the row's first seed that has any."""
    for cell in row.cells:
        artifact = store.get("sample", cell.sample.key)
        if artifact is not None and "images" in artifact.tensors:
            images: Images = np.array(artifact.tensors["images"][:_SHOWN])
            return images
    return None


def _file_names(rows: Sequence[Row]) -> list[str]:
    """A file name for each row, no two equal and none that is the overview's."""
    taken = {"overview"}
    names = []
    for row in rows:
        name = base = slug(row.label)[:100]
        count = 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name)
        names.append(f"{name}.png")
    return names


def _save(picture: "Image", path: Path) -> Path:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    atomic_write(path, buffer.getvalue())
    return path
