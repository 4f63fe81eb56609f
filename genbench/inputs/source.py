"""What every source of images is: counted, named by its content, read in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Note

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "Source"]


@dataclass(frozen=True)
class Batch:
    """Some images of a source.

    Attributes:
        index: Which of the source's images these are, int64 of shape (B,).
        images: uint8 of shape (B, C, H, W), C = 1 or 3; one shape throughout a source.
    """

    index: NDArray[np.int64]
    images: "Tensor"


class Source(Protocol):
    """A set of images of one shape.

    Attributes:
        name: Short, without a path: "cifar10:test", "samples.npz", "photos".
        n: Number of images, known before they are decoded.
        digest: sha256 of the files' bytes, or of the arrays.
        dataset: The id of a split that genbench knows by its own name; "" for anybody's images,
            whatever they are called.
        keys: A name for each image, unique, by which pairs are matched: the path below the folder
            without its suffix. None where images have no names; pairs then go by position.
        lossy: Whether the images come from lossy files, such as JPEG.
        notes: What a reader of a number must know: the resizing rule, files that were skipped.
        warnings: What the user should know, one sentence each; complete once all was read.
    """

    name: str
    n: int
    digest: str
    dataset: str
    keys: tuple[str, ...] | None
    lossy: bool
    notes: dict[str, Note]
    warnings: list[str]

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, `size` at a time; every call reads them anew.

        Raises:
            ConfigError: For an image that cannot be used, with its name and the way on.
        """
        ...
