"""Masks of objects: what draws them, and what puts them into their boxes (arXiv 1908.07500)."""

import torch
from torch import Tensor, nn

__all__ = ["MASK", "MaskNet", "paste"]

MASK = 16  # side of a mask before it is put into its box


class MaskNet(nn.Sequential):
    """Styles of objects (N, d) to masks (N, 16, 16) in (0, 1)."""

    def __init__(self, d: int, c: int = 16) -> None:
        super().__init__(
            nn.Linear(d, c * 4 * 4),
            nn.Unflatten(1, (c, 4, 4)),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(c, c, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(c, 1, 3, padding=1),
            nn.Sigmoid(),
            nn.Flatten(0, 1),
        )


def paste(masks: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Masks (B, K, m, m) put into their boxes (B, K, 4): (B, K, size, size), 0 outside.

    A pixel has the mask's bilinear value at the place of its centre in the box, which is a sum
    over rows and columns of the mask: Y M X^T, with the weights Y of rows and X of columns.
    """
    x0, y0, x1, y1 = boxes.unbind(-1)
    X, Y = (_weights(*ends, masks.shape[-1], size) for ends in ((x0, x1), (y0, y1)))
    return Y @ masks @ X.transpose(-1, -2)


def _weights(low: Tensor, high: Tensor, cells: int, size: int) -> Tensor:
    """How much each cell of a mask counts for each pixel, along one axis.

    Args:
        low: Where the boxes begin, (B, K).
        high: Where they end.
        cells: Of the mask.
        size: Pixels of the image.

    Returns:
        (B, K, size, cells): two neighbouring cells share a pixel of the box; 0 outside.
    """
    centres = (torch.arange(size, device=low.device) + 0.5) / size
    place = (centres - low[..., None]) / (high - low).clamp(min=1e-6)[
        ..., None
    ]  # in [0, 1] inside
    inside = (place >= 0) & (place <= 1)
    cell = (place * cells - 0.5).clamp(0, cells - 1)  # beyond the outermost centres: their value
    distance = (cell[..., None] - torch.arange(cells, device=low.device)).abs()
    return (1 - distance).clamp(min=0) * inside[..., None]
