"""Schedules, step spacing and samplers of diffusion models, as plain functions.

Index t = 0 .. T-1 addresses beta_t, 0 is the least noisy step, and alpha_bar before it is 1:

    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon,   alpha_bar_t = prod (1 - beta_s)

A sampler takes the noise predictor, x at the first of a descending list of steps, that list, the
table of alpha_bar, and a source of noise. It draws noise only where it adds some, once per step,
so its result is a function of (seed, i). Coefficients are Python floats (float64) whatever x is.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from genbench.api import Noise

__all__ = ["EpsilonFn", "ddim", "ddpm", "linear_alpha_bar", "predict", "trailing"]

EpsilonFn = Callable[[Tensor, int], Tensor]
"""epsilon(x_t, t): the predicted noise, of x_t's shape."""


def linear_alpha_bar(T: int) -> Tensor:
    """alpha_bar of the linear schedule, beta from 1e-4 to 0.02; float64 of shape (T,).

    The ends are for T = 1000 (Ho et al., arXiv 2006.11239) and scale with 1000 / T: unscaled, a
    short chain would end far from pure noise.

    Raises:
        ValueError: For T < 21, where a beta would reach 1.
    """
    scale = 1000 / T
    if 0.02 * scale >= 1:
        raise ValueError(f"a linear schedule needs at least 21 steps, not {T}")
    beta = torch.linspace(1e-4 * scale, 0.02 * scale, T, dtype=torch.float64)
    return torch.cumprod(1 - beta, dim=0)


def trailing(T: int, steps: int) -> list[int]:
    """`steps` indices from T-1 down, evenly spaced: round(T - i T / steps) - 1.

    Starts at the noisiest index, which is what x_T ~ N(0, I) belongs to.

    Raises:
        ValueError: If `steps` is not in 1..T.
    """
    if not 1 <= steps <= T:
        raise ValueError(f"cannot sample with {steps} steps: the model has 1 to {T}")
    return [round(T - i * T / steps) - 1 for i in range(steps)]


def predict(
    epsilon: EpsilonFn, x_t: Tensor, t: int, alpha_bar_t: float, clip: bool
) -> tuple[Tensor, Tensor]:
    """(x_0, epsilon) as predicted at step t; both of x_t's shape.

    With `clip`, x_0 is clamped to [-1, 1] and epsilon re-derived from it. Samplers then agree:
    with the raw epsilon, DDIM at eta = 1 is no longer DDPM.
    """
    a, s = math.sqrt(alpha_bar_t), math.sqrt(1 - alpha_bar_t)
    e = epsilon(x_t, t).to(x_t.dtype)  # under autocast the network answers in bfloat16
    x_0 = (x_t - s * e) / a
    if clip:
        x_0 = x_0.clamp(-1, 1)
        e = (x_t - a * x_0) / s
    return x_0, e


def _pairs(timesteps: Sequence[int], alpha_bar: Tensor) -> Iterator[tuple[int, float, float]]:
    """(t, alpha_bar at t, alpha_bar at the next step), which is 1 after the last."""
    table = [*alpha_bar.tolist(), 1.0]
    for t, p in zip(timesteps, [*timesteps[1:], -1], strict=True):
        yield t, table[t], table[p]


def ddpm(
    epsilon: EpsilonFn,
    x: Tensor,
    timesteps: Sequence[int],
    alpha_bar: Tensor,
    noise: Noise,
    *,
    clip: bool = True,
) -> Tensor:
    """Ancestral sampling with the posterior variance (Ho et al., arXiv 2006.11239, eq. 6-7).

    With p the next step and the respaced beta = 1 - alpha_bar_t / alpha_bar_p:

        x_p ~ N(c_0 x_0 + c_t x_t, v),   v = beta (1 - alpha_bar_p) / (1 - alpha_bar_t)
        c_0 = sqrt(alpha_bar_p) beta / (1 - alpha_bar_t)
        c_t = sqrt(1 - beta) (1 - alpha_bar_p) / (1 - alpha_bar_t)
    """
    for t, alpha_bar_t, alpha_bar_p in _pairs(timesteps, alpha_bar):
        x_0, _ = predict(epsilon, x, t, alpha_bar_t, clip)
        beta = 1 - alpha_bar_t / alpha_bar_p
        c_0 = math.sqrt(alpha_bar_p) * beta / (1 - alpha_bar_t)
        c_t = math.sqrt(1 - beta) * (1 - alpha_bar_p) / (1 - alpha_bar_t)
        v = beta * (1 - alpha_bar_p) / (1 - alpha_bar_t)
        x = c_0 * x_0 + c_t * x
        if v > 0:  # not on the last step, which ends at x_0
            x = x + math.sqrt(v) * noise.normal(*x.shape[1:], dtype=x.dtype)
    return x


def ddim(
    epsilon: EpsilonFn,
    x: Tensor,
    timesteps: Sequence[int],
    alpha_bar: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
) -> Tensor:
    """Denoising diffusion implicit models (Song et al., arXiv 2010.02502, eq. 12 and 16).

        sigma = eta sqrt((1 - alpha_bar_p) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_p)
        x_p = sqrt(alpha_bar_p) x_0 + sqrt(1 - alpha_bar_p - sigma^2) epsilon + sigma z

    eta = 0 is deterministic given x; eta = 1 is `ddpm`.
    """
    for t, alpha_bar_t, alpha_bar_p in _pairs(timesteps, alpha_bar):
        x_0, e = predict(epsilon, x, t, alpha_bar_t, clip)
        variance = (1 - alpha_bar_p) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_p)
        sigma = eta * math.sqrt(variance)
        # max: at eta = 1 the difference can round to just below 0
        x = math.sqrt(alpha_bar_p) * x_0 + math.sqrt(max(1 - alpha_bar_p - sigma**2, 0.0)) * e
        if sigma > 0:
            x = x + sigma * noise.normal(*x.shape[1:], dtype=x.dtype)
    return x
