"""Fidelity of aligned pairs of images, pixel by pixel and window by window: PSNR, SSIM, MS-SSIM.

Each gives a value for every pair; all are symmetric in the two images. Colour images count every
channel alike: nothing is converted to luminance. SSIM computes in float32 about mid-grey and sums
in float64, which leaves an error below 1e-6 in the SSIM of a pair and 1e-5 in its MS-SSIM, even
for white against black.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from genbench.metrics.metric import PairMetric
from genbench.spec import ConfigError, Spec
from genbench.stats import Score, mean_interval

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "PAIR_METRICS",
    "PsnrOptions",
    "SsimOptions",
    "check_pairs",
    "ms_ssim",
    "pair_score",
    "psnr",
    "ssim",
]

_RANGE = 255.0
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents, the finest scale first
_CHUNK = 2**16  # pixels looked at together: few enough for a core's cache to hold their maps


class PsnrOptions(Spec):
    """Settings of `psnr`.

    Attributes:
        cap: The most that a pair can score, in dB. Identical images have infinite PSNR, and count
            as this much in the mean.
    """

    cap: float = Field(100.0, gt=0, allow_inf_nan=False)


class SsimOptions(Spec):
    """Settings of `ssim` and `ms_ssim`.

    Attributes:
        window: Width of the Gaussian window in pixels, an odd number.
        sigma: Its standard deviation in pixels.
        borders: "reflect": windows are centred on every pixel, and the image is mirrored beyond
            its edges, as in torchmetrics. "valid": windows lie inside the image, as in the
            authors' code, scikit-image with `gaussian_weights` and TensorFlow.
    """

    window: int = Field(11, ge=3)
    sigma: float = Field(1.5, gt=0, allow_inf_nan=False)
    borders: Literal["reflect", "valid"] = "reflect"

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"must be odd, such as {window + 1}")
        return window


def psnr(made: "Tensor", real: "Tensor", options: PsnrOptions) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each pair, in dB; higher is better.

    PSNR = 10 log10(255^2 / MSE), MSE over all pixels and channels of one image, but at most
    `options.cap`. The mean over pairs is a mean of decibels: torchmetrics gives the same with
    `dim=(1, 2, 3)`, and by default the PSNR of the mean MSE instead, which is never larger.

    Args:
        made: uint8 of shape (B, C, H, W).
        real: Of the same shape.
        options: The cap.

    Returns:
        Values of shape (B,), <= cap; exact but for the logarithm.

    Raises:
        ValueError: For other types or unequal shapes.
    """
    check_pairs(made, real)
    if not len(made):
        return np.empty(0)
    # whole numbers up to 255^2 are exact in float32, and so is their sum in float64
    squares = (made.float() - real.float()).square().flatten(1).double().mean(1)
    decibels: NDArray[np.float64] = (10 * (_RANGE**2 / squares).log10()).cpu().numpy()
    return decibels.clip(max=options.cap)


def ssim(made: "Tensor", real: "Tensor", options: SsimOptions) -> NDArray[np.float64]:
    """Structural similarity of each pair: 1 for identical images, higher is better.

    SSIM = (2 m_x m_y + C1)(2 s_xy + C2) / ((m_x^2 + m_y^2 + C1)(s_x^2 + s_y^2 + C2)),
    C1 = (0.01 * 255)^2, C2 = (0.03 * 255)^2, with the means m, variances s^2 and covariance s_xy
    of a Gaussian window (biased, weights add up to 1); averaged over windows, then channels.

    Equal to torchmetrics with `data_range=255` and the default window. Images are never shrunk
    first, which the authors' later code does from 384 pixels on.

    Wang, Bovik, Sheikh, Simoncelli, *Image Quality Assessment: From Error Visibility to
    Structural Similarity*, IEEE TIP 13(4), 2004, doi 10.1109/TIP.2003.819861.

    Args:
        made: uint8 of shape (B, C, H, W).
        real: Of the same shape.
        options: Window and borders.

    Returns:
        Values of shape (B,) in [-1, 1].

    Raises:
        ValueError: For other types or unequal shapes.
        ConfigError: For images that are too small for the window.
    """
    check_pairs(made, real)
    reflect = options.borders == "reflect"
    least = options.window // 2 + 1 if reflect else options.window
    hint = "" if reflect else "set borders=reflect, or "
    _check_size(made, least, f"ssim with window={options.window}", f"{hint}use a smaller window")
    margin = options.window // 2 if reflect else 0
    weights = _gaussian(options)

    def mean(x: "Tensor", y: "Tensor") -> "Tensor":
        return _similarity(_mirrored(x, margin), _mirrored(y, margin), weights)[0]

    return _by_channel(mean, made, real)


def ms_ssim(made: "Tensor", real: "Tensor", options: SsimOptions) -> NDArray[np.float64]:
    """Multi-scale structural similarity of each pair: 1 for identical images, higher is better.

    MS-SSIM = SSIM_5^0.1333 * prod_{j=1}^{4} CS_j^w_j, w = (0.0448, 0.2856, 0.3001, 0.2363), where
    CS = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2) and SSIM are means over windows at scale j (see
    `ssim`), and each scale halves the last by averaging 2 x 2 pixels; a mean below 0 counts as 0.

    Two forms are in use. `borders="reflect"` is that of torchmetrics (`data_range=255`,
    `normalize="relu"`): CS over windows inside the image, SSIM of the coarsest scale over mirrored
    edges too, means over channels before the product, the last row of odd sizes dropped.
    `borders="valid"` is that of the authors and TensorFlow: windows inside the image at every
    scale, a product for each channel and then their mean, odd sizes rounded up, the last row or
    column averaged with itself.

    Wang, Simoncelli, Bovik, *Multiscale Structural Similarity for Image Quality Assessment*,
    Asilomar 2003, doi 10.1109/ACSSC.2003.1292216.

    Args:
        made: uint8 of shape (B, C, H, W). H and W > 16 (window - 1), 161 by default, for "valid";
            >= 16 window, 176 by default, for "reflect".
        real: Of the same shape.
        options: Window and borders.

    Returns:
        Values of shape (B,) in [0, 1].

    Raises:
        ValueError: For other types or unequal shapes.
        ConfigError: For images that are too small.
    """
    import torch

    check_pairs(made, real)
    valid = options.borders == "valid"
    shrunk = 2 ** (len(_SCALES) - 1)
    least = (options.window - 1) * shrunk + 1 if valid else options.window * shrunk
    hint = "use a smaller window, or ssim, which looks at one scale"
    _check_size(made, least, f"ms_ssim with window={options.window}", hint)
    weights = _gaussian(options)

    def terms(x: "Tensor", y: "Tensor") -> "Tensor":
        found = []
        for _ in _SCALES[1:]:
            found.append(_similarity(x, y, weights)[1])
            x, y = _halved(x, round_up=valid), _halved(y, round_up=valid)
        margin = 0 if valid else options.window // 2
        found.append(_similarity(_mirrored(x, margin), _mirrored(y, margin), weights)[0])
        return torch.stack(found, dim=1)

    planes = [terms(x, y) for x, y in _planes(made, real)]
    if not planes:
        return np.empty(0)
    factors = torch.cat(planes).view(*made.shape[:2], len(_SCALES))
    exponents = torch.tensor(_SCALES, dtype=torch.float64)
    if not valid:
        factors = factors.mean(1, keepdim=True)
    values: NDArray[np.float64] = (factors.clamp(min=0) ** exponents).prod(2).mean(1).numpy()
    return values


def pair_score(values: NDArray[np.float64], cap: float | None = None) -> Score:
    """The mean over pairs with its standard error and 95 % Student interval.

    The interval is over pairs, taken as independent; one pair has none.

    Args:
        values: The value of each pair, of shape (N,).
        cap: Where values were limited to this: `method` then says how many were.

    Raises:
        ValueError: For no pairs, or values that are not finite.
    """
    n = len(values)
    bad = n - int(np.isfinite(values).sum())
    if not n or bad:
        raise ValueError(f"values of {bad} of {n} pairs are not finite" if n else "no pairs")
    capped = 0 if cap is None else int((values >= cap).sum())
    note = f", {capped} of them at the cap of {cap:g}" if capped else ""
    if n == 1:
        return Score(value=float(values[0]), n=1, method=f"one pair, no interval{note}")
    mean, stderr, interval = mean_interval(values.tolist())
    return Score(value=mean, stderr=stderr, ci95=interval, n=n, method=f"Student, {n} pairs{note}")


def check_pairs(made: "Tensor", real: "Tensor") -> None:
    """Whether both sides are uint8 images (B, C, H, W) of one shape.

    Raises:
        ValueError: With the types and shapes, if they are not.
    """
    kinds = {str(made.dtype), str(real.dtype)}
    if kinds != {"torch.uint8"} or made.ndim != 4 or made.shape != real.shape:
        said = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in (made, real)]
        raise ValueError(
            f"pairs must be uint8 images of equal shape (B, C, H, W), got {said[0]} and {said[1]}"
        )


def _check_size(images: "Tensor", least: int, what: str, hint: str) -> None:
    height, width = images.shape[2:]
    if min(height, width) < least:
        raise ConfigError(
            f"{what} needs images of at least {least} x {least} pixels, got {height} x {width}; "
            f"{hint}"
        )


def _by_channel(
    score: "Callable[[Tensor, Tensor], Tensor]", made: "Tensor", real: "Tensor"
) -> NDArray[np.float64]:
    """The mean over channels of a score of planes (P, H, W) in float32 about mid-grey -> (P,)."""
    import torch

    values = [score(x, y) for x, y in _planes(made, real)]
    if not values:
        return np.empty(0)
    found: NDArray[np.float64] = torch.cat(values).view(made.shape[:2]).mean(1).cpu().numpy()
    return found


def _planes(made: "Tensor", real: "Tensor") -> "Iterator[tuple[Tensor, Tensor]]":
    """All channels of all pairs, some at a time: float32 of shape (P, H, W) about mid-grey."""
    x, y = made.flatten(0, 1), real.flatten(0, 1)
    count = max(1, _CHUNK // max(1, made.shape[2] * made.shape[3]))
    for i in range(0, len(x), count):
        yield x[i : i + count].float() - _RANGE / 2, y[i : i + count].float() - _RANGE / 2


def _similarity(x: "Tensor", y: "Tensor", weights: tuple[float, ...]) -> "tuple[Tensor, Tensor]":
    """Mean SSIM and mean contrast term of planes (P, H, W) about mid-grey, each float64 (P,).

    Written in a = x + y and b = x - y, so that 4 s_xy = s_a^2 - s_b^2, 2 (s_x^2 + s_y^2) =
    s_a^2 + s_b^2, and the same for means: four maps to blur in place of five, 1 exactly for
    identical images, and hardly any cancellation for similar ones.
    """
    import torch

    a, b = x + y, x - y
    mean_a, mean_b, square_a, square_b = _blurred(torch.stack((a, b, a * a, b * b)), weights)
    # rounding alone can take a variance below 0
    var_a = square_a.addcmul_(mean_a, mean_a, value=-1).clamp_(min=0)
    var_b = square_b.addcmul_(mean_b, mean_b, value=-1).clamp_(min=0)
    contrast = (var_a - var_b + 2 * _C2) / (var_a.add_(var_b).add_(2 * _C2))
    mean_a.add_(_RANGE).square_()  # the means of pixels in place of those about mid-grey
    mean_b.square_()
    luminance = (mean_a - mean_b + 2 * _C1) / (mean_a.add_(mean_b).add_(2 * _C1))
    luminance.mul_(contrast)
    means = [m.mean((1, 2), dtype=torch.float64) for m in (luminance, contrast)]
    return means[0], means[1]


def _gaussian(options: SsimOptions) -> tuple[float, ...]:
    """The window along one axis; its weights add up to 1."""
    offset = np.arange(options.window) - options.window // 2
    weights = np.exp(-(offset**2) / (2 * options.sigma**2))
    return tuple(float(w) for w in weights / weights.sum())


def _blurred(maps: "Tensor", weights: tuple[float, ...]) -> "Tensor":
    """The weighted means of all windows inside maps (..., H, W), along one axis, then the other.

    Sums of shifted maps, since convolutions of a single channel take several times longer.
    """
    for axis in (-2, -1):
        size = maps.shape[axis] - len(weights) + 1
        total = maps.narrow(axis, 0, size) * weights[0]
        for shift, weight in enumerate(weights[1:], start=1):
            total.add_(maps.narrow(axis, shift, size), alpha=weight)
        maps = total
    return maps


def _mirrored(planes: "Tensor", margin: int) -> "Tensor":
    """Planes continued beyond their edges, without repeating the edge itself."""
    from torch.nn.functional import pad

    return pad(planes, (margin,) * 4, mode="reflect") if margin else planes


def _halved(planes: "Tensor", round_up: bool) -> "Tensor":
    """Means of 2 x 2 pixels; what is left over of an odd size is averaged alone, or dropped."""
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(planes, 2, ceil_mode=round_up, count_include_pad=False)


PAIR_METRICS = (
    PairMetric("psnr", "PSNR", "higher", psnr, PsnrOptions),
    PairMetric("ssim", "SSIM", "higher", ssim, SsimOptions),
    PairMetric("ms_ssim", "MS-SSIM", "higher", ms_ssim, SsimOptions),
)
