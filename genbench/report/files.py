"""What people look at in a results folder: tables, pictures of samples, plots, and one page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from genbench.report import aggregate_table, claims, figures, page, page_aggregate, pictures
from genbench.report.aggregate import Aggregate, aggregates
from genbench.report.figures import Plot
from genbench.report.forms import ENDINGS
from genbench.report.page_pictures import Album
from genbench.report.parts import split
from genbench.report.several import Several
from genbench.report.table import common, frame, leaderboard, part_frame
from genbench.store import Store, atomic_write

__all__ = ["PAGE", "write"]

PAGE = "report.html"


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
    written = []
    for fmt, ending in ENDINGS.items():
        path = out / f"leaderboard.{ending}"
        atomic_write(path, leaderboard(records, order, fmt, kinds=kinds).encode())
        written.append(path)
    over = aggregates(records, order, kinds=kinds, baseline=baseline, log=log)
    written += _aggregates(over, out)
    parts = split(records, order, kinds)
    several = len(parts) > 1
    drawn = pictures.draw(store, parts, out / "grids", log)
    written += drawn.paths
    album = Album((out / "grids", store.root / "grids"), sum(len(p.rows) for p in parts))
    shown = []
    for part, mine in zip(parts, drawn.parts, strict=True):
        named = (part.title, part.slug) if several else ()
        plots = figures.draw(part.rows, part.columns, *named)
        written += _plots(plots, out / "plots")
        table = part_frame(part) if several else frame(records, order, kinds=kinds)
        shots, whole = album.shots(part, mine.names), album.overview(part, mine.overview)
        shown.append(page.OnPage(part, table, plots, shots, whole, mine.failures))
    folder = page.Folder(
        suite=plan[0] if plan else "",
        tables=shown,
        notes=common(parts, records) if several else (),
        beside={r.key for r in records if (out / "records" / f"{r.key}.json").is_file()},
    )
    parts_of = store.parts if isinstance(store, Several) else (store,)
    extra = [*page_aggregate.section(over), *claims.section([part.root for part in parts_of])]
    atomic_write(out / PAGE, page.render(folder, extra).encode())
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
