"""What every extractor is and gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Extractor",
    "Features",
    "ShapedExtractor",
    "TextExtractor",
    "WeightsError",
    "check_images",
]


class WeightsError(RuntimeError):
    """Weights that are missing, or not the ones that the card describes."""


@dataclass(frozen=True)
class Features:
    """What a network says of N images.

    Attributes:
        features: float32 of shape (N, D).
        probs: Class probabilities, float32 of shape (N, K), or None for a network without classes.
        spatial: Features that keep positions, float32 of shape (N, S), or None; sFID reads them.
    """

    features: "Tensor"
    probs: "Tensor | None" = None
    spatial: "Tensor | None" = None

    def cpu(self) -> "Features":
        """The same in the CPU's memory."""
        rest = (None if t is None else t.cpu() for t in (self.probs, self.spatial))
        return Features(self.features.cpu(), *rest)


class Extractor(Protocol):
    """A fixed network. Its answer for an image depends on no other image of the batch.

    Attributes:
        name: Its name in metric ids, e.g. "digits-cnn", "open_clip:ViT-B-32:openai".
        protocol: Named preprocessing, "" for a network that has only one.
        dim: Number of features D.
        classes: Number of classes K, 0 for a network without.
        class_names: What they are called, by number; () where nobody says.
        sha256: Of the weights file.
        official: Whether these are the weights that the name stands for; others are named in ids.
        settings: What else changes the last digits: {"dtype": "bfloat16", "compiled": "yes"}.
    """

    name: str
    protocol: str
    dim: int
    classes: int
    class_names: tuple[str, ...]
    sha256: str
    official: bool
    settings: dict[str, str]

    def __call__(self, images: "Tensor") -> Features:
        """Features of uint8 images of shape (B, C, H, W), C = 1 or 3, on the network's device."""
        ...

    def to(self, device: "torch.device | str") -> Self:
        """Move the network to a device."""
        ...


class TextExtractor(Extractor, Protocol):
    """An extractor that maps text into the same space as images."""

    def text(self, captions: Sequence[str]) -> "Tensor":
        """Features of captions, float32 of shape (B, D)."""
        ...

    def too_long(self, captions: Sequence[str]) -> list[int]:
        """Positions of the captions that the network reads only in part."""
        ...


class ShapedExtractor(Extractor, Protocol):
    """An extractor whose answers compare only between images of one shape."""

    def expect(self, shape: tuple[int, int, int]) -> None:
        """Refuse images of another shape (C, H, W) from now on."""
        ...


def check_images(images: "Tensor", name: str) -> None:
    """Refuse what the network of this name cannot read.

    Raises:
        ValueError: For anything but uint8 (B, 1 or 3, H, W), such as floats in [-1, 1].
    """
    import torch

    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"{name} wants uint8 images of shape (B, 1 or 3, H, W), got {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
