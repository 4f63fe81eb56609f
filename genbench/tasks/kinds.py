"""The kinds of tasks, and what each makes of a dataset."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.api import (
    Caption,
    ClassLabel,
    Condition,
    Edit,
    Layout,
    LowRes,
    Paired,
    ToDomain,
    Unconditional,
)
from genbench.tasks import domains, examples
from genbench.tasks.examples import Examples
from genbench.tasks.wanted import Wanted, class_labels, class_names, shares, spread

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """How a kind of task is made of a dataset.

    Attributes:
        cond: The condition's type.
        make: Examples of a split.
        facts: Fields of `DataSpec`.
        ask: Questions of a split, where these are not the examples themselves.
        example: A small dataset that needs no files, and a task of this kind on it.
    """

    cond: type[Condition]
    make: Callable[[Wanted], Examples]
    example: tuple[str, str]
    facts: Callable[[Wanted], dict[str, int]] = lambda wanted: {}
    ask: Callable[[Wanted], Examples] | None = None


def _plain(wanted: Wanted) -> Examples:
    return Examples(wanted.dataset.images)


_QUESTIONS = 10_000  # at least, before they begin anew


def _labels(wanted: Wanted) -> Examples:
    labels, count = class_labels(wanted)
    if count < 2:
        raise wanted.refuse(f"it has one class, {class_names(wanted)[0]!r}; there is no choice")
    _refuse_lacking(wanted, labels.bincount(minlength=count) == 0)
    return examples.Labels(wanted.dataset.images, labels)


def _refuse_lacking(wanted: Wanted, lacking: Tensor) -> None:
    """Refuse classes of which a split that needs them has no image; bool (K,)."""
    if lacking.any():
        name = class_names(wanted)[int(lacking.nonzero()[0])]
        raise wanted.refuse(
            f"split {wanted.dataset.split!r} holds no image of class {name!r}; add some, or "
            "remove the class from the other split too"
        )


def _classes_asked(wanted: Wanted) -> Examples:
    """Questions about classes, in the shares of the split that they follow, at any n.

    Where each class is asked for equally often, question i asks for class i mod K. The answer is
    an image of the class, each image once before any comes again.
    """
    labels, count = class_labels(wanted)
    asked, there = shares(wanted), labels.bincount(minlength=count)
    _refuse_lacking(wanted, (there == 0) & (asked > 0))
    order = spread(asked)
    if wanted.like is not None:  # a large reference: its shares to a part in thousands will do
        order = order[: max(len(labels), _QUESTIONS)]
    rows = torch.empty_like(order)
    for c in range(count):
        mine, members = (order == c).nonzero()[:, 0], (labels == c).nonzero()[:, 0]
        rows[mine] = members[torch.arange(len(mine)) % max(len(members), 1)]
    return examples.Labels(wanted.dataset.images[rows], labels[rows], rows)


def _captions(wanted: Wanted) -> Examples:
    return examples.Captions(wanted.dataset.images, wanted.dataset.annotation("tokens"))


def _caption_facts(wanted: Wanted) -> dict[str, int]:
    tokens = wanted.dataset.annotation("tokens")
    return {"words": len(wanted.dataset.words("tokens")), "length": tokens.shape[1]}


def _source(wanted: Wanted) -> tuple[Tensor, int]:
    """The sources of `paired`, and the number of classes where they are class ids."""
    dataset = wanted.dataset
    name = wanted.argument or "source"
    if f"style/{name}" in dataset.annotations:
        name = f"style/{name}"
    found = dataset.annotation(name)
    if name == "label_map":
        return found, len(dataset.words(name))
    if found.dtype != torch.uint8 or found.ndim != 4:
        raise wanted.refuse(f"{name!r} is no picture; choose outline, grey, label_map or a style")
    return found, 0


def _pairs(wanted: Wanted) -> Examples:
    return examples.Pairs(wanted.dataset.images, *_source(wanted))


def _pair_facts(wanted: Wanted) -> dict[str, int]:
    sources, count = _source(wanted)
    return {"source": count or sources.shape[1]}


def _factor(wanted: Wanted) -> int:
    text, size = wanted.argument, wanted.dataset.size
    fitting = [f for f in range(2, size // 2 + 1) if size % f == 0]
    if not (text.isascii() and text.isdigit()) or int(text) not in fitting:
        listed = ", ".join(map(str, fitting)) or "none"
        raise wanted.refuse(f"factor {text!r} does not divide {size} pixels; valid: {listed}")
    return int(text)


def _reduced(wanted: Wanted) -> Examples:
    from genbench.data.filters import box_average

    images = wanted.dataset.images
    return examples.Reduced(images, box_average(images, _factor(wanted)))


def _layouts(wanted: Wanted) -> Examples:
    dataset = wanted.dataset
    boxes, classes = dataset.annotation("boxes"), dataset.annotation("box_classes")
    return examples.Layouts(dataset.images, boxes, classes)


def _layout_facts(wanted: Wanted) -> dict[str, int]:
    classes = wanted.dataset.annotation("box_classes")
    return {"kinds": len(wanted.dataset.words("box_classes")), "objects": classes.shape[1]}


def _edits(wanted: Wanted) -> Examples:
    name = f"style/{wanted.argument}"
    if name not in wanted.dataset.annotations:
        name = f"edit/{wanted.argument}"
    after = wanted.dataset.annotation(name)
    return examples.Edits(wanted.dataset.images, after)


KINDS = {
    "unconditional": Kind(Unconditional, _plain, ("digits", "unconditional")),
    "class_label": Kind(
        ClassLabel,
        _labels,
        ("digits", "class_label"),
        lambda wanted: {"classes": class_labels(wanted)[1]},
        ask=_classes_asked,
    ),
    "caption": Kind(Caption, _captions, ("scenes@16", "caption"), _caption_facts),
    "paired": Kind(
        Paired,
        _pairs,
        ("digits", "paired:outline"),
        _pair_facts,
    ),
    "to_domain": Kind(
        ToDomain,
        domains.training,
        ("scenes@16", "to_domain:day,night"),
        lambda wanted: {"domains": domains.count(wanted)},
        ask=domains.questions,
    ),
    "layout": Kind(
        Layout,
        _layouts,
        ("scenes@16", "layout"),
        _layout_facts,
    ),
    "low_res": Kind(
        LowRes,
        _reduced,
        ("digits", "low_res:2"),
        lambda wanted: {"factor": _factor(wanted)},
    ),
    "edit": Kind(
        Edit,
        _edits,
        ("scenes@16", "edit:night"),
    ),
}
