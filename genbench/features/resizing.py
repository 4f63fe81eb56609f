"""The resizings that published scores were made with; each gives another FID of the same images.

All take uint8 or float images of shape (B, C, H, W) and give float32 (B, C, size, size) in the
same range, not rounded to whole numbers. H and W are scaled each on its own: the aspect ratio is
not kept.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["clean", "half_pixel", "tensorflow1"]


def tensorflow1(images: Tensor, size: int) -> Tensor:
    """Bilinear as in TensorFlow 1.x: no half-pixel centres, no antialiasing.

    Output x reads the source at s = x in/out: pixels floor(s) and floor(s) + 1, the latter clamped
    to the last one, with weights 1 - (s - floor(s)) and s - floor(s).

    Every source row is interpolated once, before rows are mixed; torch-fidelity interpolates two
    rows for each of the output. The arithmetic for an output pixel is the same in the same order,
    so that on the CPU the result is equal in every bit.

    Source: `tf.image.resize_bilinear(align_corners=False)`, `resize_bilinear_op.cc`.
    """
    height, width = images.shape[2:]
    top, bottom, dy = _grid(height, size, images.device)
    left, right, dx = _grid(width, size, images.device)
    if height > 2 * size:  # then some rows are read by no output
        rows, places = torch.unique(torch.cat((top, bottom)), return_inverse=True)
        images, top, bottom = images.index_select(2, rows), places[:size], places[size:]
    x = images.to(torch.float32)
    x = _mix(x.index_select(3, left), x.index_select(3, right), dx)
    return _mix(x.index_select(2, top), x.index_select(2, bottom), dy[:, None])


def half_pixel(images: Tensor, size: int) -> Tensor:
    """Bilinear with half-pixel centres, s = (x + 1/2) in/out - 1/2, and no antialiasing.

    Source: pytorch-fid 0.3.0, `F.interpolate(mode="bilinear", align_corners=False)`.
    """
    return F.interpolate(
        images.to(torch.float32), (size, size), mode="bilinear", align_corners=False
    )


def clean(images: Tensor, size: int) -> Tensor:
    """Bicubic (a = -1/2), antialiased, for values in [0, 255], clipped to that range.

    out = clip(V image U^T, 0, 255), where row x of U (size, W) holds the cubic kernel around
    (x + 1/2) W/size, widened by max(1, W/size) and normalised to sum 1; V (size, H) likewise.

    Source: Parmar, Zhang and Zhu, arXiv 2104.11222: Pillow's `resize(BICUBIC)` of one channel at a
    time in mode "F", which this agrees with to 1e-4 of 255.
    """
    across = _cubic(images.shape[3], size, images.device)
    down = _cubic(images.shape[2], size, images.device)
    rows = images.to(torch.float32) @ across.T
    return (down @ rows).clamp_(0, 255)


def _mix(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """first + (second - first) * weight, rounded after each of the three; overwrites `second`."""
    return second.sub_(first).mul_(weight).add_(first)


@lru_cache(maxsize=64)
def _grid(inside: int, out: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (out,) of the two source pixels of each output pixel, and the second's weight."""
    source = torch.arange(out, dtype=torch.float32) * torch.tensor(inside / out)
    first = source.long()
    second = (first + 1).clamp(max=inside - 1)
    return first.to(device), second.to(device), (source - first).to(device)


@lru_cache(maxsize=64)
def _cubic(inside: int, out: int, device: torch.device) -> Tensor:
    """Weights (out, inside) of the source pixels: what becomes of unit impulses, in float64."""
    impulses = torch.eye(inside, dtype=torch.float64)[None, None]
    answer = F.interpolate(impulses, (inside, out), mode="bicubic", antialias=True)
    return answer[0, 0].T.to(device, torch.float32).contiguous()
