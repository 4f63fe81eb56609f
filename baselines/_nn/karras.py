"""The frame of Karras et al. (EDM, arXiv 2206.00364): noise levels are standard deviations.

    x_sigma = x_0 + sigma n,   n ~ N(0, I);     dx / dsigma = (x - D(x; sigma)) / sigma

D is a denoiser, E[x_0 | x_sigma] at its best. A network F becomes one by scaling what it is
shown and what it answers, so that both have the variance 1 at every sigma (`precondition`). The
samplers are plain functions of a denoiser, x at the first of the levels, and the levels, which
descend to 0. Coefficients are Python floats (float64) whatever x is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from baselines._nn.samplers import Normal

__all__ = [
    "Churn",
    "Denoiser",
    "coefficients",
    "denoising_loss",
    "euler",
    "heun",
    "noise_time",
    "precondition",
    "scale_of",
    "sigmas",
]

Denoiser = Callable[[Tensor, float], Tensor]
"""x_0 as predicted from x at the noise level sigma; of x's shape."""


def sigmas(
    steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0, clean: bool = True
) -> list[float]:
    """`steps` levels from `high` to `low`, evenly spaced in sigma^(1/rho), then 0 (eq. 5).

    5 steps are 80, 17.53, 2.515, 0.1698, 0.002, 0; one step is 80, 0.

    Args:
        steps: Levels above 0, at least 1.
        low: The last of them.
        high: The first.
        rho: How much shorter the steps are at low noise; 1 is evenly spaced.
        clean: Whether 0 follows.
    """
    first, last = high ** (1 / rho), low ** (1 / rho)
    share = [i / max(1, steps - 1) for i in range(steps)]
    levels = [(first + u * (last - first)) ** rho for u in share]
    # the ends are exact: a power of a root is not
    levels[-1] = low
    levels[0] = high
    return [*levels, 0.0] if clean else levels


# --- the denoiser that a network is --------------------------------------------------------------


def coefficients(
    sigma: Tensor, sigma_data: Tensor | float, boundary: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in, each of sigma's shape.

        c_skip = sd^2 / ((sigma - e)^2 + sd^2)
        c_out = sd (sigma - e) / sqrt(sigma^2 + sd^2)
        c_in = 1 / sqrt(sigma^2 + sd^2)

    Args:
        sigma: Noise levels.
        sigma_data: sd, the standard deviation of the data.
        boundary: e, the level at which the network's answer is x itself: 0 for a denoiser, the
            lowest level for a consistency function (arXiv 2303.01469, appendix C).
    """
    above = sigma - boundary
    norm = (sigma**2 + sigma_data**2).sqrt()
    return sigma_data**2 / (above**2 + sigma_data**2), sigma_data * above / norm, 1 / norm


def noise_time(sigma: Tensor) -> Tensor:
    """The paper's c_noise = ln(sigma) / 4, stretched for an embedding of times from 0 to 1000.

    1000 ln(sigma / 0.002) / ln(80 / 0.002): 0 at the lowest level, 1000 at the highest.
    """
    return 1000 * (sigma / 0.002).log() / math.log(80 / 0.002)


def precondition(
    net: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigma: Tensor,
    sigma_data: Tensor | float,
    boundary: float = 0.0,
) -> Tensor:
    """D(x; sigma) = c_skip x + c_out F(c_in x, c_noise) (eq. 7).

    Args:
        net: F, called with images and times that span 0 to 1000.
        x: Noisy images, (B, C, H, W).
        sigma: Their noise levels, (B,).
        sigma_data: Standard deviation of the data.
        boundary: See `coefficients`.
    """
    c_skip, c_out, c_in = (
        c[:, None, None, None] for c in coefficients(sigma, sigma_data, boundary)
    )
    answer = net(c_in * x, noise_time(sigma)).to(x.dtype)  # under autocast it is bfloat16
    return c_skip * x + c_out * answer


def denoising_loss(
    denoise: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    sigma: Tensor,
    noise: Normal,
    sigma_data: Tensor | float,
) -> Tensor:
    """E lambda(sigma) |D(x + sigma n; sigma) - x|^2 with lambda = 1 / c_out^2, a mean over pixels.

    In the frame of F its target has the variance 1 and the weight 1 at every sigma: where F is 0
    and the data is centred, the loss is 1.

    Args:
        denoise: D of images and levels (B,).
        x: Clean images, (B, C, H, W).
        sigma: Levels, (B,).
        noise: Where n comes from.
        sigma_data: Standard deviation of the data.
    """
    level = sigma[:, None, None, None]
    noisy = x + level * noise.normal(*x.shape[1:], dtype=x.dtype)
    weight = (level**2 + sigma_data**2) / (level * sigma_data) ** 2
    return (weight * (denoise(noisy, sigma) - x) ** 2).mean()


def scale_of(x: Tensor) -> float:
    """The standard deviation of all pixels of uint8 images, once they are in [-1, 1].

    Counted by value, so that a whole data set needs no float copy.

    Raises:
        ValueError: If all pixels are equal.
    """
    count = torch.bincount(x.flatten().int(), minlength=256).double()
    value = torch.arange(256, dtype=torch.float64, device=x.device) / 127.5 - 1
    mean = (count * value).sum() / count.sum()
    scale = float(((count * (value - mean) ** 2).sum() / count.sum()).sqrt())
    if scale == 0:
        raise ValueError("all pixels of the images are equal: there is no distribution to learn")
    return scale


# --- samplers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Churn:
    """Noise that is added before a step, for a step from a higher level (algorithm 2).

        gamma = min(amount / steps, sqrt(2) - 1)   where low <= sigma <= high, else 0
        x += sqrt((sigma (1 + gamma))^2 - sigma^2) scale n

    Attributes:
        amount: S_churn; 0 adds none.
        low: S_min.
        high: S_max.
        scale: S_noise.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    scale: float = 1.0

    def gamma(self, sigma: float, steps: int) -> float:
        """By which share the level `sigma` is raised, of a sampling in `steps` steps."""
        if not self.low <= sigma <= self.high:
            return 0.0
        return min(self.amount / steps, math.sqrt(2) - 1)


def euler(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[float],
    noise: Normal | None = None,
    churn: Churn | None = None,
) -> Tensor:
    """Euler's method, of order 1: x += (sigma' - sigma) (x - D(x; sigma)) / sigma.

    One evaluation for each step.

    Args:
        denoise: D.
        x: x at the first level.
        levels: Descending.
        noise: Standard normal; for churn only.
        churn: How much noise is added before each step.
    """
    for sigma, p in pairwise(levels):
        x, raised = _churned(x, sigma, len(levels) - 1, noise, churn)
        d = (x - denoise(x, raised)) / raised
        x = torch.add(x, d, alpha=p - raised)
    return x


def heun(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[float],
    noise: Normal | None = None,
    churn: Churn | None = None,
) -> Tensor:
    """Heun's method, of order 2 (algorithms 1 and 2); the arguments are those of `euler`.

        d = (x - D(x; sigma)) / sigma;          x' = x + (sigma' - sigma) d
        d' = (x' - D(x'; sigma')) / sigma';     x + (sigma' - sigma) (d + d') / 2

    Two evaluations for each step but one to sigma = 0, which is Euler's: 2 N - 1 in all.
    """
    for sigma, p in pairwise(levels):
        x, raised = _churned(x, sigma, len(levels) - 1, noise, churn)
        d = (x - denoise(x, raised)) / raised
        y = torch.add(x, d, alpha=p - raised)
        if p > 0:
            d = d + (y - denoise(y, p)) / p
            y = torch.add(x, d, alpha=(p - raised) / 2)
        x = y
    return x


def _churned(
    x: Tensor, sigma: float, steps: int, noise: Normal | None, churn: Churn | None
) -> tuple[Tensor, float]:
    """x at the level to which churn raises it, and that level."""
    gamma = churn.gamma(sigma, steps) if churn else 0.0
    if churn is None or gamma == 0:
        return x, sigma
    if noise is None:
        raise ValueError("a sampler that adds noise needs a source of it")
    raised = sigma * (1 + gamma)
    z = noise.normal(*x.shape[1:], dtype=x.dtype)
    return torch.add(x, z, alpha=math.sqrt(raised**2 - sigma**2) * churn.scale), raised
