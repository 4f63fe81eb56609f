"""Checks of layouts, wherever they come from."""

import torch
from torch import Tensor

from genbench.spec import ConfigError

__all__ = ["check_boxes"]


def check_boxes(boxes: Tensor, classes: Tensor, kinds: int) -> None:
    """Refuse layouts that no family could follow.

    Args:
        boxes: float (N, K, 4), x0, y0, x1, y1 in [0, 1] with x0 < x1 and y0 < y1; the values of
            unused places do not matter.
        classes: int64 (N, K) in [0, kinds), -1 where a place is unused.
        kinds: Number of classes.

    Raises:
        ConfigError: Other shapes or types, a box outside of the image or without area, a class
            that does not exist; names the first such image and object.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or not boxes.is_floating_point():
        raise ConfigError(f"boxes are float (N, K, 4), not {boxes.dtype} {tuple(boxes.shape)}")
    if classes.shape != boxes.shape[:2] or classes.dtype != torch.int64:
        raise ConfigError(
            f"classes of boxes are int64 {tuple(boxes.shape[:2])}, one for each box, "
            f"not {classes.dtype} {tuple(classes.shape)}"
        )
    wrong_class = (classes < -1) | (classes >= kinds)
    if bool(wrong_class.any()):
        i, k = _first(wrong_class)
        raise ConfigError(
            f"image {i}, object {k}: class {int(classes[i, k])} does not exist; valid: "
            f"0 to {kinds - 1}, or -1 for an unused place"
        )
    x0, y0, x1, y1 = boxes.unbind(-1)
    # written so that NaN is wrong too
    right = (x0 >= 0) & (y0 >= 0) & (x1 <= 1) & (y1 <= 1) & (x0 < x1) & (y0 < y1)
    wrong_box = ~right & (classes >= 0)
    if bool(wrong_box.any()):
        i, k = _first(wrong_box)
        numbers = ", ".join(f"{v:g}" for v in boxes[i, k].tolist())
        raise ConfigError(
            f"image {i}, object {k}: box {numbers} is outside of the image or has no area; boxes "
            "are x0, y0, x1, y1 with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1"
        )


def _first(wrong: Tensor) -> tuple[int, int]:
    i, k = wrong.nonzero()[0].tolist()
    return i, k
