"""What every extractor is and gives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Extractor", "Features", "WeightsError"]


class WeightsError(RuntimeError):
    """Weights that are missing, or not the ones that the card describes."""


@dataclass(frozen=True)
class Features:
    """What a network says of N images.

    Attributes:
        features: float32 of shape (N, D).
        probs: Class probabilities, float32 of shape (N, K), or None for a network without classes.
    """

    features: "Tensor"
    probs: "Tensor | None"

    def cpu(self) -> "Features":
        """The same in the CPU's memory."""
        return Features(self.features.cpu(), None if self.probs is None else self.probs.cpu())


class Extractor(Protocol):
    """A fixed network. Its answer for an image depends on no other image of the batch.

    Attributes:
        name: Its name in metric ids, e.g. "digits-cnn".
        protocol: Named preprocessing, "" for a network that has only one.
        dim: Number of features D.
        classes: Number of classes K, 0 for a network without.
        sha256: Of the weights file.
    """

    name: str
    protocol: str
    dim: int
    classes: int
    sha256: str

    def __call__(self, images: "Tensor") -> Features:
        """Features of uint8 images of shape (B, C, H, W), on the network's device."""
        ...

    def to(self, device: "torch.device | str") -> Self:
        """Move the network to a device."""
        ...
