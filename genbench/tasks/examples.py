"""One split of a dataset as a task sees it: images, and the condition of each.

Everything is kept as the dataset has it (uint8 images, integers); a condition's images become
floats in [-1, 1] when a batch is taken.
"""

from typing import Self

import torch
from torch import Tensor

from genbench.api import (
    Caption,
    ClassLabel,
    Condition,
    Edit,
    Layout,
    LowRes,
    Noise,
    Paired,
    ToDomain,
    Unconditional,
)

__all__ = [
    "Captions",
    "Domains",
    "Edits",
    "Examples",
    "Labels",
    "Layouts",
    "Pairs",
    "Reduced",
    "to_float",
]


def to_float(images: Tensor) -> Tensor:
    """uint8 in [0, 255] to float32 in [-1, 1]: x / 127.5 - 1."""
    return images.to(torch.float32).mul_(1 / 127.5).sub_(1.0)


class Examples:
    """Images and nothing else: the task without a condition, and the base of the others.

    Attributes:
        images: uint8 (N, C, H, W), the x of each example: what a sample for its condition should
            look like.
        rows: int64 (N,), which image of the dataset an example belongs to.
        aligned: Whether x is the one right answer, so that samples can be held against it pixel
            by pixel.
        endless: Whether questions begin anew after the last one.
    """

    aligned = False
    endless = False

    def __init__(self, images: Tensor, rows: Tensor | None = None) -> None:
        self.images = images
        self.rows = torch.arange(len(images)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.images)

    def condition(self, index: Tensor) -> Condition:
        """The conditions of these examples."""
        return Unconditional()

    def draw(self, index: Tensor, noise: Noise) -> tuple[Tensor, Condition]:
        """x (uint8) and the conditions of a training batch.

        Args:
            index: Which examples, int64 (B,).
            noise: For tasks that choose at random, such as an image of another domain.
        """
        return self.images[index], self.condition(index)

    def taken(self, order: Tensor) -> Self:
        """The same examples in another order, or some of them."""
        self.__dict__.update(
            {k: v[order] for k, v in self.__dict__.items() if isinstance(v, Tensor)}
        )
        return self

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        self.__dict__.update(
            {k: v.to(device) for k, v in self.__dict__.items() if isinstance(v, Tensor)}
        )
        return self


class Labels(Examples):
    """`ClassLabel`: int64 labels (N,)."""

    endless = True

    def __init__(self, images: Tensor, labels: Tensor, rows: Tensor | None = None) -> None:
        super().__init__(images, rows)
        self.labels = labels

    def condition(self, index: Tensor) -> ClassLabel:
        """The classes of these images."""
        return ClassLabel(self.labels[index % len(self)])


class Captions(Examples):
    """`Caption`: int64 tokens (N, length)."""

    def __init__(self, images: Tensor, tokens: Tensor) -> None:
        super().__init__(images)
        self.tokens = tokens

    def condition(self, index: Tensor) -> Caption:
        """The captions of these images."""
        return Caption(self.tokens[index])


class Pairs(Examples):
    """`Paired`: a source (N, C, H, W) of each image, uint8; or class ids (N, H, W), one-hot.

    Class ids become one channel for each of `kinds` classes, 1 where a pixel is of it, else -1.
    """

    aligned = True

    def __init__(self, images: Tensor, sources: Tensor, kinds: int = 0) -> None:
        super().__init__(images)
        self.sources, self.kinds = sources, kinds

    def condition(self, index: Tensor) -> Paired:
        """The sources of these images."""
        found = self.sources[index]
        if not self.kinds:
            return Paired(to_float(found))
        ids = torch.arange(self.kinds, device=found.device)[:, None, None]
        return Paired((found[:, None] == ids).float() * 2 - 1)


class Reduced(Examples):
    """`LowRes`: each image and its reduced version, uint8 (N, C, h, w)."""

    aligned = True

    def __init__(self, images: Tensor, reduced: Tensor) -> None:
        super().__init__(images)
        self.reduced = reduced

    def condition(self, index: Tensor) -> LowRes:
        """The reduced versions of these images."""
        return LowRes(to_float(self.reduced[index]))


class Layouts(Examples):
    """`Layout`: boxes (N, K, 4) in [0, 1] and classes (N, K), -1 where there is no object."""

    def __init__(self, images: Tensor, boxes: Tensor, classes: Tensor) -> None:
        super().__init__(images)
        self.boxes, self.classes = boxes, classes

    def condition(self, index: Tensor) -> Layout:
        """The objects of these images."""
        return Layout(self.boxes[index], self.classes[index])


class Edits(Examples):
    """`Edit`: images before and after an edit; with amount a, x = before + a (after - before).

    In training the amount is drawn from U(0, 1); question i has amount (i mod 5) / 4.
    """

    aligned = True
    AMOUNTS = 5

    def __init__(self, before: Tensor, after: Tensor) -> None:
        index = torch.arange(len(before))
        self.before, self.after = before, after
        self.amounts = (index % self.AMOUNTS) / (self.AMOUNTS - 1)
        super().__init__(self._edited(index, self.amounts))

    def _edited(self, index: Tensor, amount: Tensor) -> Tensor:
        before, after = self.before[index].float(), self.after[index].float()
        mixed = torch.lerp(before, after, amount[:, None, None, None])
        return mixed.add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)

    def condition(self, index: Tensor) -> Edit:
        """The images before the edit, and how much is asked for."""
        return Edit(to_float(self.before[index]), self.amounts[index])

    def draw(self, index: Tensor, noise: Noise) -> tuple[Tensor, Edit]:
        """An amount for each of these images."""
        amount = noise.uniform()
        return self._edited(index, amount), Edit(to_float(self.before[index]), amount)


class Domains(Examples):
    """`ToDomain`, for training: images of several domains, in no pairs.

    Args:
        images: uint8 (N, C, H, W), of all domains.
        domain: int64 (N,), the domain of each.
        count: How many domains there are.
        masks: bool (N, K, H, W), the instances in each image, or None.
    """

    def __init__(
        self, images: Tensor, domain: Tensor, count: int, masks: Tensor | None = None
    ) -> None:
        super().__init__(images)
        self.domain, self.masks, self.count = domain, masks, count
        self.order = domain.argsort(stable=True)  # rows, one domain after the other
        self.sizes = domain.bincount(minlength=count)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def draw(self, index: Tensor, noise: Noise) -> tuple[Tensor, ToDomain]:
        """x and, for each, an image of another domain, both of the domain and it at random."""
        target = self.domain[index]
        chance = noise.uniform(2)
        step = 1 + (chance[:, 0] * (self.count - 1)).long().clamp_(max=self.count - 2)
        origin = (target + step) % self.count
        place = (chance[:, 1] * self.sizes[origin]).long().minimum(self.sizes[origin] - 1)
        row = self.order[self.starts[origin] + place]
        masks = None if self.masks is None else self.masks[row]
        return self.images[index], ToDomain(to_float(self.images[row]), origin, target, masks)


class Questions(Examples):
    """`ToDomain`, for sampling: images of the first domain, to be moved to the others in turn.

    Args:
        images: uint8 (N, C, H, W), the answer where `aligned`, else some image of the target.
        sources: uint8 (N, C, H, W).
        target: int64 (N,).
        rows: Of the sources.
        aligned: Whether `images` are the sources' own counterparts.
        masks: Of the sources, or None.
    """

    def __init__(
        self,
        images: Tensor,
        sources: Tensor,
        target: Tensor,
        rows: Tensor,
        aligned: bool,
        masks: Tensor | None = None,
    ) -> None:
        super().__init__(images, rows)
        self.sources, self.target, self.aligned, self.masks = sources, target, aligned, masks

    def condition(self, index: Tensor) -> ToDomain:
        """The sources, and where they go."""
        target = self.target[index]
        masks = None if self.masks is None else self.masks[index]
        return ToDomain(to_float(self.sources[index]), torch.zeros_like(target), target, masks)
