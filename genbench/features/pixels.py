"""The pixels themselves as features: no network, so any images can be compared offline.

A Frechet distance here compares the means and covariances of raw pixels. It sees noise, contrast
and correlations between pixels; it does not see what images show: a Gaussian fitted to the pixels
(family `gaussian`) scores near 0, whatever its samples look like.
"""

import hashlib
from typing import Self

import torch
from torch import Tensor

from genbench.features.base import Features, check_images
from genbench.features.catalog import Request
from genbench.spec import ConfigError

__all__ = ["PixelExtractor", "load"]


class PixelExtractor:
    """An `Extractor`: x / 127.5 - 1, flattened; D = C H W, known after the first images.

    Images are not resized and colours are kept, so both sides must have one size and one number of
    channels.
    """

    name, protocol = "pixels", ""
    dim, classes = 0, 0
    class_names: tuple[str, ...] = ()
    # there are no weights: this names the formula
    sha256 = hashlib.sha256(b"pixels: uint8 / 127.5 - 1, channels first").hexdigest()
    official = True

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self._shape: tuple[int, ...] = ()

    def __call__(self, images: Tensor) -> Features:
        """Features in [-1, 1] of uint8 images of shape (B, C, H, W), C = 1 or 3.

        Raises:
            ConfigError: For images of another shape than those before.
            ValueError: For images of another type, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        shape = tuple(images.shape[1:])
        if self._shape not in ((), shape):
            raise ConfigError(
                f"pixels compare only between images of one shape, and these are {_named(shape)} "
                f"after {_named(self._shape)}; bring both sides to one size and one colour mode, "
                "or choose another extractor"
            )
        self._shape, self.dim = shape, images[0].numel()
        return Features(images.to(torch.float32).div_(127.5).sub_(1).flatten(1))

    def expect(self, shape: tuple[int, int, int]) -> None:
        """Refuse images of another shape (C, H, W) than the other side's, which is not shown."""
        self._shape = shape

    def to(self, device: torch.device | str) -> Self:
        """Nothing has to move."""
        return self


def _named(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"


def load(request: Request) -> PixelExtractor:
    """The extractor; see `features.load`."""
    if request.weights or request.compiled or request.dtype != "float32":
        raise ConfigError("pixels have no network: leave out weights, compile and dtype")
    return PixelExtractor()
