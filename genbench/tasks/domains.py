"""How images fall into domains: styles of one scene, folders, or whether an attribute holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.spec import nearest
from genbench.tasks import examples as kinds
from genbench.tasks.examples import Examples
from genbench.tasks.wanted import Wanted, class_labels

__all__ = ["count", "names", "questions", "training"]

MASKS = "masks"  # as an argument of to_domain: with the instances of each source


def names(wanted: Wanted) -> tuple[str, ...]:
    """What the domains are called."""
    return _split(wanted).names


def count(wanted: Wanted) -> int:
    """How many domains there are."""
    return _split(wanted).count


@dataclass(frozen=True)
class _Split:
    """How the images of a dataset fall into domains.

    Attributes:
        domain: int64 (N,).
        count: Number of domains.
        names: Of the domains.
        styles: Annotations that show the same scene in each domain; () where nothing does.
    """

    domain: Tensor
    names: tuple[str, ...]
    styles: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many domains there are."""
        return len(self.names)


def _split(wanted: Wanted) -> _Split:
    """The domains, two or more."""
    split = _found(wanted)
    if split.count < 2:
        raise wanted.refuse(
            f"there is nothing to move between in one domain, {', '.join(split.names)}; name two "
            f"or more, e.g. to_domain:A,B{_nearby(wanted)}"
        )
    return split


def _nearby(wanted: Wanted) -> str:
    there = wanted.dataset.annotations
    return f"; it has {', '.join(wanted.dataset.words('domain'))}" if "domain" in there else ""


def _found(wanted: Wanted) -> _Split:
    dataset, names = wanted.dataset, tuple(_domain_names(wanted))
    styles = tuple(f"style/{name}" for name in names)
    if names and all(style in dataset.annotations for style in styles):
        # no scene is shown in two domains: what a family sees is unpaired
        return _Split(torch.arange(len(dataset)) % len(names), names, styles)
    if len(names) == 1 and "attributes" in dataset.annotations:
        held = class_labels(Wanted(wanted.name, names[0], dataset))[0]
        return _Split(held, (f"not {names[0]}", names[0]))
    domain, there = dataset.annotation("domain"), dataset.words("domain")
    if names:
        if unknown := [name for name in names if name not in there]:
            raise wanted.refuse(f"no domain {unknown[0]!r}; {nearest(unknown[0], there)}")
        place = torch.full((len(there),), -1)
        place[[there.index(name) for name in names]] = torch.arange(len(names))
        return _Split(place[domain], names)
    return _Split(domain, there)


def _domain_names(wanted: Wanted) -> list[str]:
    names = [name for name in wanted.argument.split(",") if name and name != MASKS]
    if twice := [name for name in names if names.count(name) > 1]:
        raise wanted.refuse(f"domain {twice[0]!r} is named twice")
    return names


def _masks(wanted: Wanted) -> Tensor | None:
    asked_for = MASKS in wanted.argument.split(",")
    return wanted.dataset.annotation("masks") if asked_for else None


def training(wanted: Wanted) -> Examples:
    """Images of all domains, in no pairs."""
    split, masks = _split(wanted), _masks(wanted)
    images = wanted.dataset.images
    if split.styles:
        images = images.clone()
        for place, style in enumerate(split.styles):
            rows = split.domain == place
            images[rows] = wanted.dataset.annotation(style)[rows]
    kept = (split.domain >= 0).nonzero()[:, 0]
    domain = split.domain[kept]
    if empty := (domain.bincount(minlength=split.count) == 0).nonzero()[:, 0].tolist():
        raise wanted.refuse(
            f"split {wanted.dataset.split!r} holds no image of domain {split.names[empty[0]]!r}"
        )
    masks = None if masks is None else masks[kept]
    return kinds.Domains(images[kept], domain, split.count, masks)


def questions(wanted: Wanted) -> Examples:
    """Images of the first domain, and the domain that each is to move to."""
    dataset, split, masks = wanted.dataset, _split(wanted), _masks(wanted)
    if split.styles:
        index = torch.arange(len(dataset))
        target = 1 + index % (split.count - 1)
        answers = dataset.images.clone()
        for place, style in enumerate(split.styles):
            rows = target == place
            answers[rows] = dataset.annotation(style)[rows]
        sources = dataset.annotation(split.styles[0])
        return kinds.Questions(answers, sources, target, index, True, masks)
    rows = (split.domain == 0).nonzero()[:, 0]
    target = 1 + torch.arange(len(rows)) % (split.count - 1)
    answers = dataset.images[rows].clone()
    for place, name in enumerate(split.names):
        if not (split.domain == place).any():
            raise wanted.refuse(f"split {dataset.split!r} holds no image of domain {name!r}")
    for place in range(1, split.count):
        there, mine = (split.domain == place).nonzero()[:, 0], (target == place).nonzero()[:, 0]
        answers[mine] = dataset.images[there[torch.arange(len(mine)) % len(there)]]
    masks = None if masks is None else masks[rows]
    return kinds.Questions(answers, dataset.images[rows], target, rows, False, masks)
