"""What a reader of files gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Annotation, Note

__all__ = ["Contents"]


@dataclass(frozen=True)
class Contents:
    """One split as arrays.

    Attributes:
        images: uint8 (N, H, W, C), C = 1 or 3.
        labels: int64 (N,), or None.
        classes: Names of the classes.
        notes: See `Dataset`.
        known: Annotations by name.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    notes: dict[str, Note]
    known: Mapping[str, Annotation] = field(default_factory=dict)
