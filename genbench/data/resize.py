"""The one rule by which every dataset with an `@SIZE` is resized."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["RULE", "crop_of", "resize", "resize_all"]

RULE = "centre crop to a square, then Pillow bicubic (antialiased)"


def crop_of(width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side of the largest centred square.

    An odd margin leaves its extra row below and its extra column on the right.
    """
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def resize(
    image: Image.Image, size: int, filter_: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Crop the largest centred square, then scale it to `size` x `size`.

    An image that has the size already comes back as it is. Maps of ids take the filter NEAREST.
    """
    left, top, side = crop_of(*image.size)
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), filter_)


def resize_all(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """`resize` for an array of shape (N, H, W, C), C = 1 or 3."""
    if images.shape[1:3] == (size, size):
        return images
    flat = images[..., 0] if images.shape[-1] == 1 else images
    made = np.stack([np.asarray(resize(Image.fromarray(image), size)) for image in flat])
    return made.reshape(len(images), size, size, images.shape[-1])
