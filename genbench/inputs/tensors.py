"""Images that a program holds or makes as a source: tensors, arrays, iterables, functions."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from genbench.inputs.arrays import Arrays, in_memory
from genbench.inputs.pixels import (
    ValueRange,
    check_range,
    check_value_range,
    nchw,
    to_uint8,
)
from genbench.spec import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Images", "from_tensors"]

Images = Union[
    "Tensor", NDArray[Any], Iterable[Union["Tensor", NDArray[Any]]], Callable[[int], "Tensor"]
]

_DRAWN = 64  # images that a function is asked for at a time


def from_tensors(
    images: Images,
    *,
    name: str,
    n: int | None = None,
    value_range: ValueRange = (-1.0, 1.0),
) -> Arrays:
    """Images in memory, kept as uint8; floats become levels by `pixels.to_uint8`.

    Args:
        images: uint8 or floats of shape (N, C, H, W), C = 1 or 3: a tensor on any device, an
            array, an iterable of such batches (read once), or a function that is called with a
            number of images until there are `n`.
        name: What tables and messages call them.
        n: Number of images to take; all by default, which a function does not have.
        value_range: What black and white are in floats: (-1, 1), (0, 1) or (0, 255).

    Raises:
        ConfigError: Too few images, a wrong shape or type, NaN, or values that look like another
            range.
    """
    black_white = check_value_range(value_range)
    if n is not None and n < 1:
        raise ConfigError(f"{name}: n={n}, but at least 1 image is needed")
    kept: list[NDArray[np.uint8]] = []
    low, high, count, kind = math.inf, -math.inf, 0, ""
    for batch in _batches(images, name, n):
        found = _kind(batch, name)
        if kind not in ("", found):
            raise ConfigError(f"{name}: batches of {kind} and of {found}; make them of one type")
        kind = found
        if n is not None:
            batch = batch[: n - count]
        if kind == "floats":
            least, most = _span(batch, count, name)
            low, high = min(low, least), max(high, most)
            batch = to_uint8(batch, black_white)
        array = batch.cpu().numpy()
        if kept and array.shape[1:] != kept[0].shape[1:]:
            raise ConfigError(
                f"{name}: images of shape {array.shape[1:]} after images of {kept[0].shape[1:]}; "
                "bring them to one shape"
            )
        kept.append(array)
        count += len(array)
        if count == n:
            break
    if not kept:
        raise ConfigError(f"{name}: there are no images; pass at least one batch")
    if n is not None and count < n:
        raise ConfigError(f"{name}: {count} images, but n={n}; pass more or lower n")
    warnings = check_range(low, high, black_white, name) if kind == "floats" else []
    joined = np.concatenate(kept)  # a copy: what the caller does to his tensor changes nothing
    # floats of an image that is black are no mistake: their range was looked at above
    source = Arrays(name, count, in_memory(joined), where=name, levels=kind != "floats")
    source.warnings += warnings
    return source


def _batches(images: Images, name: str, n: int | None) -> Iterator["Tensor"]:
    """The images as tensors (B, C, H, W) of at least one image."""
    import torch

    if isinstance(images, torch.Tensor | np.ndarray):
        parts: Iterable[Any] = [images]
    elif isinstance(images, Iterable):
        parts = images
    elif callable(images):
        if n is None:
            raise ConfigError(f"{name}: a function has no end; say how many images, n=NUMBER")
        parts = _drawn(images, name, n)
    else:
        raise ConfigError(
            f"{name}: {type(images).__name__} is no source of images; pass a tensor, an array, an "
            "iterable of batches or a function of a number of images"
        )
    for part in parts:
        if not isinstance(part, torch.Tensor | np.ndarray):
            raise ConfigError(
                f"{name}: a batch is a {type(part).__name__}; yield tensors of shape (B, C, H, W)"
            )
        tensor = torch.from_numpy(np.array(part)) if isinstance(part, np.ndarray) else part
        nchw(tuple(tensor.shape), name)
        yield tensor.detach()


def _drawn(function: Callable[[int], Any], name: str, n: int) -> Iterator[Any]:
    for start in range(0, n, _DRAWN):
        count = min(_DRAWN, n - start)
        part = function(count)
        if len(part) != count:
            raise ConfigError(
                f"{name}: the function gave {len(part)} images when asked for {count}; "
                "return as many as it is called with"
            )
        yield part


def _kind(batch: "Tensor", name: str) -> str:
    import torch

    if batch.dtype == torch.uint8:
        return "uint8"
    if batch.is_floating_point():
        return "floats"
    raise ConfigError(
        f"{name}: images of {batch.dtype}; pass uint8 levels 0 to 255, or floats and value_range"
    )


def _span(batch: "Tensor", before: int, name: str) -> tuple[float, float]:
    """The least and the highest value of floats, which must be finite."""
    low, high = (float(x) for x in batch.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = (~batch.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ConfigError(
            f"{name}: {len(bad)} images of a batch have NaN or infinite pixels (first: image "
            f"{before + bad[0]}); mend what made them"
        )
    return low, high
