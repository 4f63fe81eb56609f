"""What a dataset is once it is loaded."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SPLITS", "Dataset", "Note", "content_hash"]

SPLITS = ("train", "test")

Note = str | int | float


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
    """

    name: str
    split: str
    images: "Tensor"
    labels: "Tensor | None"
    classes: tuple[str, ...]
    hash: str
    notes: dict[str, Note]

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
