"""What every image has: itself in grey, its edges, itself made smaller; by whole numbers, so that
they are equal anywhere.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from genbench.spec import ConfigError

__all__ = ["box_average", "grey", "outline"]

_LUMA = (19595, 38470, 7471)  # 0.299, 0.587 and 0.114 in units of 2^-16
_PIXELS = 1 << 20  # that are worked on at once: some 20 MB


def box_average(images: Tensor, factor: int) -> Tensor:
    """uint8 (N, C, S / factor, S / factor), the mean of each block, halves upwards.

    Raises:
        ConfigError: If the factor does not divide the size.
    """
    size = images.shape[-1]
    if factor < 1 or size % factor:
        fitting = ", ".join(str(f) for f in range(2, size // 4 + 1) if size % f == 0)
        raise ConfigError(
            f"factor {factor} does not divide {size} pixels; choose one of {fitting or 1}"
        )
    side = size // factor
    blocks = images.reshape(*images.shape[:-2], side, factor, side, factor)
    total = blocks.sum((-3, -1), dtype=torch.int32)
    area = factor * factor
    return torch.div(2 * total + area, 2 * area, rounding_mode="floor").to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """uint8 (N, 1, H, W), the luma of ITU-R BT.601, rounded; of grey images, the images.

    0.299 R + 0.587 G + 0.114 B with factors of 16 bits, as in Pillow's conversion to "L".
    """
    return images if images.shape[1] == 1 else _each(images, _luma)


def outline(images: Tensor) -> Tensor:
    """uint8 (N, 1, H, W), the edges of each image by Sobel's filter, black on white.

        255 - min(255, floor((|g_x| + |g_y|) / 2))

    where g_x and g_y are the sums of Sobel's 3 x 3 kernels over the grey image, whose border is
    repeated. A step of 128 grey levels or more gives a black line, two pixels wide, a lower one a
    grey line.

    Source: Sobel and Feldman, "A 3x3 isotropic gradient operator for image processing", 1968.
    """
    return _each(images, lambda part: _edges(grey(part)))


def _luma(images: Tensor) -> Tensor:
    red, green, blue = (images[:, c].int() * factor for c, factor in enumerate(_LUMA))
    return ((red + green + blue + (1 << 15)) >> 16).to(torch.uint8)[:, None]


def _edges(images: Tensor) -> Tensor:
    # padding repeats the border of floating-point tensors only; they hold these integers exactly
    x = pad(images.float(), (1, 1, 1, 1), mode="replicate").short()
    across = x[..., 2:] - x[..., :-2]
    down = x[..., 2:, :] - x[..., :-2, :]
    g_x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    g_y = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return (255 - ((g_x.abs() + g_y.abs()) // 2).clamp_(max=255)).to(torch.uint8)


def _each(images: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`make` in chunks, into one tensor of (N, 1, H, W)."""
    n, _, height, width = images.shape
    out = torch.empty((n, 1, height, width), dtype=torch.uint8)
    rows = max(1, _PIXELS // (height * width))
    for begin in range(0, n, rows):
        out[begin : begin + rows] = make(images[begin : begin + rows])
    return out
