"""Preparing uint8 images with Pillow, for networks whose protocol is defined by its resizing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from torch import Tensor

__all__ = ["check_images", "prepare"]


def check_images(images: Tensor, name: str) -> None:
    """Refuse anything but uint8 images of shape (B, C, H, W), C = 1 or 3.

    Raises:
        ValueError: For images of another type or shape, such as floats in [-1, 1].
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"{name} wants uint8 images of shape (B, 1 or 3, H, W), "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )


def prepare(images: Tensor, transform: Callable[[Image.Image], Tensor]) -> Tensor:
    """Each image as `transform` makes it of a Pillow image, stacked, on the CPU.

    Grey images are handed over in mode "L", which resizes as each channel of "RGB" does.

    Args:
        images: uint8 of shape (B, C, H, W), C = 1 or 3, B >= 1.
        transform: From a Pillow image to a tensor of one shape.
    """
    arrays = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    pictures = (Image.fromarray(a[..., 0] if a.shape[-1] == 1 else a) for a in arrays)
    # Pillow lets go of the interpreter while it resizes
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(transform, pictures)))
