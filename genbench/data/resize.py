"""The one rule by which every dataset with an `@SIZE` is resized."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["RULE", "resize", "resize_all"]

RULE = "centre crop to a square, then Pillow bicubic (antialiased)"


def resize(image: Image.Image, size: int) -> Image.Image:
    """Crop the largest centred square, then scale it to `size` x `size`.

    An odd margin leaves its extra row below and its extra column on the right. An image that has
    the size already comes back as it is.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def resize_all(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """`resize` for an array of shape (N, H, W, C), C = 1 or 3."""
    if images.shape[1:3] == (size, size):
        return images
    flat = images[..., 0] if images.shape[-1] == 1 else images
    made = np.stack([np.asarray(resize(Image.fromarray(image), size)) for image in flat])
    return made.reshape(len(images), size, size, images.shape[-1])
