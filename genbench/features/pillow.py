"""Preparing uint8 images with Pillow, for networks whose protocol is defined by its resizing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from PIL import Image
from torch import Tensor

__all__ = ["prepare"]


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
