"""The tables of a folder: cells of one dataset, task and kind of budget stand in one.

Others are not compared: after equal image updates and after equal FLOPs are two tables, of which
the second comes first, as it holds equal what training costs. References, which have no budget,
stand in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from genbench.record import Record
from genbench.report.rows import Column, Row, collect, columns_of
from genbench.report.text import slug
from genbench.spec import LIMITS, Cell
from genbench.text import clean

__all__ = ["Part", "split"]


_TWICE = " (a GAN's two updates count twice)"


@dataclass(frozen=True)
class Part:
    """What stands in one table.

    Attributes:
        title: "paired:outline on scenes@32", or the dataset where a folder has one task only; with
            the budget where a folder has several kinds.
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

    Of one dataset and task the table of equal training FLOPs comes first.

    Args:
        records: What is known; records of cells that are not in `order` are left out.
        order: The plan; None takes the cells of all records.
        kinds: Kind by family name, for families of which no record is there yet.
    """
    groups = _groups([record.cell for record in records] if order is None else order)
    if order is None:
        groups = dict(sorted(groups.items(), key=lambda one: _by_name(one[0])))
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
    return parts


Limits = tuple[str, ...]  # names of those that a budget has
Place = tuple[str, str, str, Limits]  # dataset, task, its fingerprint


def _by_name(place: Place) -> tuple[str, str, str, bool, Limits]:
    dataset, task, data, limits = place
    return task, dataset, data, "flops" not in limits, limits


def _groups(cells: Sequence[Cell]) -> dict[Place, list[Cell]]:
    """The cells of each table, those of one dataset and task together, equal FLOPs first."""
    limits: dict[tuple[str, str, str], dict[Limits, None]] = {}
    for cell in cells:
        train = cell.sample.train
        known = limits.setdefault((train.dataset, train.task, train.data), {})
        if given := tuple(train.budget.limits):
            known[given] = None
    groups: dict[Place, list[Cell]] = {
        (*where, each): []
        for where, known in limits.items()
        for each in sorted(known or {(): None}, key=lambda names: "flops" not in names)
    }
    for cell in cells:
        train = cell.sample.train
        where = (train.dataset, train.task, train.data)
        given = tuple(train.budget.limits)
        for each in (given,) if given else tuple(limits[where]) or ((),):
            groups[*where, each].append(cell)
    return groups


def _titles(places: Sequence[Place]) -> list[str]:
    """A title for each; the data's fingerprint tells folders of one name apart."""
    tasks = len({task for _, task, _, _ in places}) > 1
    titles = []
    for dataset, task, data, limits in places:
        same = [other for other in places if other[:2] == (dataset, task)]
        title = f"{task} on {dataset}" if tasks else dataset
        if len({other[2] for other in same}) > 1:
            title += f" ({data[:8]})"
        if len({other[3] for other in same}) > 1:
            title += f", equal {' and '.join(LIMITS[name] for name in limits)}"
            title += _TWICE if "images" in limits else ""
        titles.append(clean(title))
    return titles


def _slugs(titles: Sequence[str]) -> list[str]:
    found: list[str] = []
    for title in titles:
        name = base = slug(title.removesuffix(_TWICE)).replace(".", "-")[:60].strip("-")
        count = 1
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found.append(name)
    return found
