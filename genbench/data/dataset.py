"""What a dataset is once it is loaded: images, and what is known of each of them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["NOT_PUBLISHED", "SPLITS", "Annotation", "Dataset", "Note", "content_hash"]

SPLITS = ("train", "test")
NOT_PUBLISHED = "files"  # the note of a set whose files are not the published ones of its name

Note = str | int | float


@dataclass(frozen=True)
class Annotation:
    """Something that is known of every image.

    Attributes:
        make: Gives the tensor; row i belongs to image i. Called once at most.
        words: What its numbers stand for, by number; () where they are no names.
    """

    make: "Callable[[], Tensor]"
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, array: "NDArray[np.generic]", words: tuple[str, ...] = ()) -> Self:
        """An annotation that is at hand."""
        import torch

        return cls(lambda: torch.from_numpy(array), words)


@dataclass(frozen=True)
class Dataset:
    """One split of a dataset, whole in memory. The tensors are shared: do not write to them.

    Attributes:
        name: The dataset's id, e.g. "mnist@32".
        split: "train" or "test".
        images: uint8 of shape (N, C, H, W), C = 1 or 3, H = W unless a folder holds other shapes.
        labels: int64 of shape (N,) in [0, len(classes)), or None for data without classes.
        classes: Names of the classes, () for data without.
        hash: sha256 of the images and labels, shapes and values.
        notes: What a reader of a number must know: the split rule, its seed, the resizing rule.
        known: Annotations by name, besides `grey` and `outline`, which every image has.
    """

    name: str
    split: str
    images: "Tensor"
    labels: "Tensor | None"
    classes: tuple[str, ...]
    hash: str
    notes: dict[str, Note]
    known: Mapping[str, Annotation] = field(default_factory=dict, repr=False, compare=False)
    _made: "dict[str, Tensor]" = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def size(self) -> int:
        """Height in pixels, which is the width too for square images."""
        return self.images.shape[2]

    @property
    def annotations(self) -> tuple[str, ...]:
        """Names of the annotations at hand, sorted."""
        return tuple(sorted(self._all()))

    def annotation(self, name: str) -> "Tensor":
        """What is known of the images under that name, made once and kept; row i is of image i.

            tokens       int64 (N, L), a caption: places of its words, 0 after the last one
            boxes        float32 (N, K, 4), x0, y0, x1, y1 in [0, 1]; zeros where unused
            box_classes  int64 (N, K), -1 where unused
            label_map    uint8 (N, H, W)
            masks        bool (N, K, H, W), the visible pixels of each object
            source       uint8 (N, C, H, W), the other image of a pair
            domain       int64 (N,)
            attributes   bool (N, A)
            outline      uint8 (N, 1, H, W), black lines on white
            grey         uint8 (N, 1, H, W)
            style/NAME   uint8 (N, 3, H, W), the same picture in another style
            edit/NAME    uint8 (N, 3, H, W), the same picture with one thing changed

        Raises:
            ConfigError: For an annotation that this dataset does not have, with the nearest one.
        """
        found = self._find(name)
        if name not in self._made:
            self._made[name] = found.make()
        return self._made[name]

    def words(self, name: str) -> tuple[str, ...]:
        """What the numbers of an annotation stand for: the vocabulary, the names of classes.

        Raises:
            ConfigError: For an annotation that this dataset does not have, with the nearest one.
        """
        return self._find(name).words

    def _find(self, name: str) -> Annotation:
        if name not in (known := self._all()):
            hint, _, listed = nearest(name, known).partition("valid: ")
            raise ConfigError(f"dataset {self.name!r} has no {name}; {hint}it has {listed}")
        return known[name]

    def _all(self) -> dict[str, Annotation]:
        from genbench.data import filters  # loads torch

        drawn = {
            "grey": Annotation(lambda: filters.grey(self.images)),
            "outline": Annotation(lambda: filters.outline(self.images)),
        }
        return drawn | dict(self.known)


def content_hash(images: "Tensor", labels: "Tensor | None") -> str:
    """sha256 of shapes and values, the same on every machine."""
    digest = hashlib.sha256()
    for tensor in (images, labels):
        if tensor is None:
            digest.update(b"none")
            continue
        array = tensor.contiguous().numpy()
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
