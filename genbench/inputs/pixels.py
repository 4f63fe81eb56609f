"""Levels of pixels: the one rule from floats to uint8, and how arrays of images must look."""

from typing import TYPE_CHECKING

from genbench.images import CONVERSIONS, MOST_PIXELS
from genbench.spec import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ValueRange",
    "check_range",
    "check_value_range",
    "nchw",
    "nhwc",
    "seems",
    "to_uint8",
]

ValueRange = tuple[float, float]

_BEYOND = 1.5  # networks overshoot [-1, 1] a little and are clamped; this is another range
_CHANNELS = (1, 3)
_SHOWN = 80  # characters of a shape that messages have


def to_uint8(images: "Tensor", value_range: ValueRange = (-1.0, 1.0)) -> "Tensor":
    """Float images to uint8, round half up, clamped to 0..255.

    [-1, 1]: floor(127.5 x + 128); [0, 1]: floor(255 x + 0.5); [0, 255]: floor(x + 0.5).

    Args:
        images: Floats of any shape; left as they are.
        value_range: What black and white are: one of `CONVERSIONS`.

    Raises:
        ConfigError: For another range.
    """
    import torch

    low, high = check_value_range(value_range)
    scale = 255.0 / (high - low)
    half = images.dtype in (torch.float16, torch.bfloat16)  # too coarse to round levels in
    levels = (images.float() if half else images).mul(scale).add_(0.5 - scale * low)
    return levels.floor_().clamp_(0, 255).to(torch.uint8)


def check_value_range(value_range: ValueRange) -> ValueRange:
    """The range as floats, if it is one that images come in.

    Raises:
        ConfigError: For another range, with the valid ones.
    """
    known = {tuple(r): r for r in CONVERSIONS}
    if tuple(value_range) not in known:
        ranges = ", ".join(_text(r) for r in CONVERSIONS)
        raise ConfigError(f"value_range {value_range!r} is not known; valid: {ranges}")
    return known[tuple(value_range)]


def seems(low: float, high: float) -> ValueRange | None:
    """The range that floats from `low` to `high` seem to be meant in, or None if none fits."""
    if low >= 0:
        if high <= 1.0:
            return (0.0, 1.0)
        return (0.0, 255.0) if _BEYOND < high <= 255.0 else None
    return (-1.0, 1.0) if low >= -_BEYOND and high <= _BEYOND else None


def check_range(low: float, high: float, value_range: ValueRange, where: str) -> list[str]:
    """Whether floats from `low` to `high`, over the whole set, fit the range that was declared.

    Returns:
        A warning if some are a little beyond it and will be clamped, else nothing.

    Raises:
        ConfigError: If they look like another range, which is named.
    """
    black, white = value_range
    unit = white <= 1.0
    wrong = (
        (value_range == (-1.0, 1.0) and low >= 0)
        or (unit and (high > _BEYOND or low < -_BEYOND))
        or (black == 0 and low < -0.5)
        or (not unit and (high <= 1.0 or high > 255.0 * _BEYOND))
    )
    if wrong:
        likely = seems(low, high)
        looks = f"looks like {_text(likely)}" if likely else "fits no range of images"
        way = f"say value_range={_text(likely)}" if likely else "scale them to [-1, 1]"
        raise ConfigError(
            f"{where}: floats from {low:.4g} to {high:.4g} with value_range={_text(value_range)}: "
            f"this {looks}; {way}, or pass uint8 images"
        )
    slack = 0.01 * (white - black)
    if low < black - slack or high > white + slack:
        return [
            f"{where}: floats reach from {low:.4g} to {high:.4g}; what is beyond "
            f"{_text(value_range)} was clamped"
        ]
    return []


def _text(value_range: ValueRange) -> str:
    return "({:g}, {:g})".format(*value_range)


def nhwc(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int]:
    """(N, H, W, C) of an array file of shape (N, H, W, C), or (N, H, W) for grey images.

    Raises:
        ConfigError: For another shape; says what it looks like.
    """
    _check_numbers(shape, where)
    if len(shape) == 3:
        if shape[2] in (1, 3, 4):
            raise ConfigError(
                f"{where} has shape {shape}, which looks like one image (H, W, C); "
                "stack the images to (N, H, W, C)"
            )
        shape = (*shape, 1)
    if len(shape) != 4:
        raise ConfigError(f"{where} has shape {shape}; images have (N, H, W, C), C = 1 or 3")
    if shape[3] not in _CHANNELS:
        raise ConfigError(f"{where} has shape {shape}, {_mistake(shape, first=False)}")
    _check_size(shape[0], shape[1], shape[2], where)
    return shape[0], shape[1], shape[2], shape[3]


def nchw(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) of images in memory, which must have just this shape.

    Raises:
        ConfigError: For another shape; says what it looks like.
    """
    if len(shape) != 4:
        raise ConfigError(f"{where} has shape {shape}; images have (N, C, H, W), C = 1 or 3")
    if shape[1] not in _CHANNELS:
        raise ConfigError(f"{where} has shape {shape}, {_mistake(shape, first=True)}")
    _check_size(shape[0], shape[2], shape[3], where)
    return shape[0], shape[1], shape[2], shape[3]


def _mistake(shape: tuple[int, ...], first: bool) -> str:
    """What is wrong with channels that are neither 1 nor 3; `first` tells where they belong."""
    channels, other = (shape[1], shape[3]) if first else (shape[3], shape[1])
    if other in _CHANNELS:
        if first:
            return "which looks like (N, H, W, C); bring the channels forward: permute(0, 3, 1, 2)"
        return "which looks like (N, C, H, W); bring the channels back: transpose(0, 2, 3, 1)"
    if channels == 4:
        cut = "images[:, :3]" if first else "images[..., :3]"
        return f"so 4 channels; compose the alpha channel or drop it, {cut}"
    want = "(N, C, H, W)" if first else "(N, H, W, C)"
    return f"so {channels} channels; images have {want}, C = 1 or 3"


def _check_numbers(shape: tuple[int, ...], where: str) -> None:
    """Refuse what a damaged header may have for a shape."""
    if any(type(length) is not int or length < 0 for length in shape):
        raise ConfigError(
            f"{where} has shape {str(shape)[:_SHOWN]}, whose parts must be counts; write it again"
        )


def _check_size(n: int, height: int, width: int, where: str) -> None:
    if n == 0:
        raise ConfigError(f"{where} holds no images; write some into it first")
    if height == 0 or width == 0:
        raise ConfigError(f"{where} holds images of {width}x{height} pixels; write them again")
    if height * width > MOST_PIXELS:
        raise ConfigError(
            f"{where} holds images of {width}x{height} pixels, more than the {MOST_PIXELS:,} "
            "that are read; make them smaller"
        )
