"""What data and specifications alone rule out: refused in a sentence before anything is trained.

    the data         fewer questions than samples, a class that one split lacks, one domain
    the networks     images of a side that a family cannot make, one class
    the budget       less than one update
    the scores       classes that the extractor does not know

Models of families that ship are built for it; a plug-in's code runs in workers alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from genbench import data, features, registry
from genbench.api import ClassLabel, DataSpec, Unconditional
from genbench.data import Dataset
from genbench.metrics.matching import places, read_map
from genbench.spec import Budget, Cell, ConfigError, SampleSpec
from genbench.tasks import Task, asked, task
from genbench.train import build

__all__ = ["check"]

_DRAWN = "scenes"  # a dataset of ours that lacks no class, and takes long to draw

Load = Callable[[str], Dataset]


def check(cells: Iterable[Cell], data_root: Path | None = None) -> list[str]:
    """Refuse cells that cannot come to an end whatever training does.

    Args:
        cells: What is to run.
        data_root: See `data.load`.

    Returns:
        What is odd and yet runs, a sentence each: a warm-up that is longer than the budget.

    Raises:
        ConfigError: For the first cell that data or specifications rule out.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        train = cell.sample.train
        groups.setdefault((train.dataset, train.task), []).append(cell)
    told: dict[str, None] = {}
    for (name, wanted), mine in groups.items():
        told |= dict.fromkeys(_group(mine, task(wanted), partial(_loaded, name, data_root)))
    return list(told)


def _loaded(name: str, root: Path | None, split: str) -> Dataset:
    return data.load(name, split, root=root)


def _group(cells: Sequence[Cell], wanted: Task, load: Load) -> Iterator[str]:
    """Cells of one dataset and task."""
    test = load("test")
    if wanted.cond is not Unconditional:
        _questions(cells, wanted, load)
    described = wanted.data_spec(test)
    built = set()
    for cell in cells:
        spec = cell.sample
        train = spec.train
        known = (train.baseline, repr(train.config), train.budget)
        if known not in built:
            built.add(known)
            yield from _family(spec, described)


def _questions(cells: Sequence[Cell], wanted: Task, load: Load) -> None:
    """Whether the splits have what is trained on and asked for, and the extractor its classes."""
    test, cond = load("test"), wanted.cond
    drawn = data.parse_id(test.name).name == _DRAWN
    for shares in dict.fromkeys(cell.sample.shares for cell in cells):
        most = max(cell.sample.n for cell in cells if cell.sample.shares == shares)
        if not drawn or most > len(test):
            asked(wanted.name, load, shares=shares)(torch.tensor([most - 1]))
    if not drawn:
        wanted.check(load("train"), test)
    if cond is ClassLabel:
        for cell in cells:
            _classes(cell, wanted.class_names(test), test.name)


def _classes(cell: Cell, names: Sequence[str], dataset: str) -> None:
    """Whether the shipped network that tells accuracy knows these classes."""
    for spec in cell.metrics:
        if spec.name == "accuracy" and spec.extractor in features.names():
            card, chosen = features.card(spec.extractor), dict(spec.options)
            known, renamed = card.get("class_names", ()), read_map(str(chosen.get("map", "")))
            places(names, known, int(card["classes"]), renamed, (dataset, spec.extractor))


def _family(spec: SampleSpec, described: DataSpec) -> Iterator[str]:
    """Whether a family that ships can be built for the data, and what its budget allows."""
    train = spec.train
    if not registry.families()[train.baseline].module.startswith("baselines."):
        return
    cls = registry.load(train.baseline)
    config = cls.Config.model_validate(train.config)
    try:
        optimizers = build(cls, config, described, train.seed).optimizers()
    except ValueError as error:
        raise ConfigError(f"{train.baseline} on {train.dataset}: {error}") from error
    updates, sampled = len(optimizers), len(cls.sampled or optimizers)
    if not updates:
        return
    train.budget.check_step(train.baseline, updates)
    images = _images(train.budget, config.batch, updates, sampled)
    if images is not None and config.warmup > images:
        yield (
            f"{train.baseline}: its warm-up of {config.warmup:,} images is longer than its "
            f"training of {images:,}, so that the learning rate never reaches its full size; set "
            f"{train.baseline}.warmup={images // 10} or a larger budget"
        )


def _images(budget: Budget, batch: int, updates: int, sampled: int) -> int | None:
    """Image updates that a budget allows at most; None where only training can tell."""
    limits = [
        budget.images,
        None if budget.steps is None else budget.steps * batch * updates,
        None if budget.updates is None else budget.updates * batch * updates // sampled,
    ]
    return min((limit for limit in limits if limit is not None), default=None)
