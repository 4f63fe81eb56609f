"""The tables of a folder: cells of one dataset and task stand in one, others are not compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from genbench.record import Record
from genbench.report.rows import Column, Row, collect, columns_of
from genbench.report.text import clean, slug
from genbench.spec import Cell, TrainSpec

__all__ = ["Part", "split"]


@dataclass(frozen=True)
class Part:
    """What stands in one table.

    Attributes:
        title: "paired:outline on scenes@32", or the dataset where a folder has one task only.
        slug: The title as part of a file's name or an anchor; no two parts have the same.
        dataset: Its name.
        task: Its name.
        records: Results of the part's cells.
        order: Its cells in plan order; None where there is no plan.
        kinds: Kind by family name.
    """

    title: str
    slug: str
    dataset: str
    task: str
    records: tuple[Record, ...]
    order: tuple[Cell, ...] | None
    kinds: Mapping[str, str]

    @cached_property
    def rows(self) -> list[Row]:
        """Its rows, with names that need no dataset and no task."""
        return collect(self.records, self.order, self.kinds)

    @cached_property
    def columns(self) -> list[Column]:
        """Its metrics."""
        return columns_of(self.rows)


def split(
    records: Sequence[Record],
    order: Sequence[Cell] | None,
    kinds: Mapping[str, str] | None = None,
) -> list[Part]:
    """The parts of a folder, in plan order, or sorted by title where there is no plan.

    Args:
        records: What is known; records of cells that are not in `order` are left out.
        order: The plan; None takes the cells of all records.
        kinds: Kind by family name, for families of which no record is there yet.
    """
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in [record.cell for record in records] if order is None else order:
        groups.setdefault(_place(cell), []).append(cell)
    titles = _titles(list(groups))
    told = {r.cell.sample.train.baseline: r.kind for r in records if r.kind}
    parts: list[Part] = []
    for (place, cells), name in zip(groups.items(), _slugs(titles), strict=True):
        keys = {cell.key for cell in cells}
        parts.append(
            Part(
                title=titles[len(parts)],
                slug=name,
                dataset=clean(place[0]),
                task=clean(place[1]),
                records=tuple(record for record in records if record.key in keys),
                order=None if order is None else tuple(cells),
                kinds={**(kinds or {}), **told},
            )
        )
    return sorted(parts, key=lambda part: part.title) if order is None else parts


def _place(cell: Cell) -> tuple[str, str, str]:
    train: TrainSpec = cell.sample.train
    return train.dataset, train.task, train.data


def _titles(places: Sequence[tuple[str, str, str]]) -> list[str]:
    """A title for each; the data's fingerprint tells folders of one name apart."""
    tasks = len({task for _, task, _ in places}) > 1
    titles = []
    for dataset, task, data in places:
        twins = sum(other[:2] == (dataset, task) for other in places) > 1
        title = f"{task} on {dataset}" if tasks else dataset
        titles.append(clean(f"{title} ({data[:8]})" if twins else title))
    return titles


def _slugs(titles: Sequence[str]) -> list[str]:
    found: list[str] = []
    for title in titles:
        name = base = slug(title).replace(".", "-")[:60].strip("-")
        count = 1
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found.append(name)
    return found
