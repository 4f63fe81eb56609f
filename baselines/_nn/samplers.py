"""Samplers of diffusion models as plain functions: DDPM, DDIM, DPM-Solver++(2M), Heun.

Each takes a denoiser, which predicts x_0; x at the first of the levels; the levels themselves, a
descending list that ends with the clean image (`diffusion.levels`); and, where it adds noise, a
source of it. With t the level of a step, p the next one, a = sqrt(alpha_bar) and s = sqrt(1 -
alpha_bar), all of them compute

    x_p = c_0 x_0 + c_t x_t + sigma z

with coefficients of their own. They never ask for epsilon: it is (x_t - a_t x_0) / s_t, so that it
follows x_0 where that was clamped. With the raw epsilon, DDIM at eta = 1 would not be DDPM.

Noise is drawn only where some is added, once per step, so a result is a function of (seed, i).
Coefficients are Python floats (float64) whatever x is.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from baselines._nn import diffusion
from baselines._nn.diffusion import Level, Prediction
from baselines._nn.variational import learned_log_variance

__all__ = [
    "Denoiser",
    "Guide",
    "Moments",
    "Network",
    "Normal",
    "Prediction",
    "Variance",
    "ddim",
    "ddim_encode",
    "ddpm",
    "ddpm_learned",
    "denoiser",
    "dpmpp_2m",
    "heun",
    "moments",
    "slerp",
]

Denoiser = Callable[[Tensor, Level], Tensor]
"""x_0 as predicted from x_t at a level; of x_t's shape."""

Moments = Callable[[Tensor, Level], tuple[Tensor, Tensor]]
"""x_0 as predicted, and u, which places the variance between its bounds; each of x_t's shape."""

Network = Callable[[Tensor, float], Tensor]
"""What was trained: an answer to (x_t, t) of x_t's shape, or, with u, of twice the channels."""

Guide = Callable[[Tensor, float], Tensor]
"""What is added to the score: a gradient of x_t's shape at (x_t, t)."""

Variance = Literal["posterior", "large"]


class Normal(Protocol):
    """A source of noise, such as `api.Noise`."""

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """N(0, 1) of shape (batch, *shape)."""
        ...


def denoiser(
    network: Network, prediction: Prediction = "epsilon", clip_x0: bool = True
) -> Denoiser:
    """The denoiser that a network is, by what it was trained to predict (`diffusion.x_0`).

    Args:
        network: Answers (x_t, t).
        prediction: What the answer is, in as many channels as x_t has; more are not looked at.
        clip_x0: Clamp x_0 to [-1, 1], the range of pixels; not for latents.
    """
    predict = moments(network, prediction, clip_x0)
    return lambda x, level: predict(x, level)[0]


def moments(
    network: Network, prediction: Prediction, clip_x0: bool, guide: Guide | None = None
) -> Moments:
    """`denoiser` with the rest of the answer, which is empty where no variance was learned.

    A guide g is added to the score, -epsilon / s. So epsilon' = epsilon - s g, and for every
    prediction x_0' = x_0 + s^2 / a g, before it is clamped.
    """

    def predict(x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        answer = network(x, level.t).to(x.dtype)  # under autocast it is bfloat16
        answer, u = answer[:, : x.shape[1]], answer[:, x.shape[1] :]
        x_0 = diffusion.x_0(prediction, answer, x, level.a, level.s)
        if guide is not None:
            x_0 = torch.add(x_0, guide(x, level.t), alpha=level.s**2 / level.a)
        return x_0.clamp(-1, 1) if clip_x0 else x_0, u

    return predict


def ddpm(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[Level],
    noise: Normal,
    *,
    variance: Variance = "posterior",
) -> Tensor:
    """Ancestral sampling (Ho et al., arXiv 2006.11239, eq. 6 and 7).

        x_p = c_0 x_0 + c_t x_t + sigma z,   c_0 and c_t of `diffusion.posterior`

    Args:
        denoise: Predicts x_0.
        x: x at the first level.
        levels: Descending, the last one clean.
        noise: Standard normal.
        variance: sigma^2 is beta_tilde for "posterior" (libraries: "fixed small") and beta for
            "large", the DDIM paper's sigma-hat. The step that ends at the clean image adds none.
    """
    for t, p in pairwise(levels):
        c_0, c_t, small, large = diffusion.posterior(t, p)
        sigma = math.sqrt(small if variance == "posterior" else large)
        x = _step(denoise(x, t), x, c_0, c_t, sigma if p.alpha_bar < 1 else 0.0, noise)
    return x


def ddpm_learned(predict: Moments, x: Tensor, levels: Sequence[Level], noise: Normal) -> Tensor:
    """`ddpm` with the variance that the network learned, `variational.learned_log_variance`.

    Its bounds are the beta_tilde and beta of the levels that are there, so that a network which
    learned T steps has a variance for each of fewer, larger ones (arXiv 2102.09672, section 4).
    """
    for t, p in pairwise(levels):
        c_0, c_t, small, large = diffusion.posterior(t, p)
        x_0, u = predict(x, t)
        x = _step(x_0, x, c_0, c_t)
        if p.alpha_bar < 1:
            sigma = (0.5 * learned_log_variance(u, math.log(small), math.log(large))).exp()
            x.addcmul_(sigma, noise.normal(*x.shape[1:], dtype=x.dtype))
    return x


def ddim(
    denoise: Denoiser,
    x: Tensor,
    levels: Sequence[Level],
    noise: Normal | None = None,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Denoising diffusion implicit models (Song et al., arXiv 2010.02502, eq. 12 and 16).

        sigma = eta sqrt((1 - alpha_bar_p) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_p)
        x_p = sqrt(alpha_bar_p) x_0 + sqrt(1 - alpha_bar_p - sigma^2) epsilon + sigma z

    eta = 0 is deterministic given x, Euler's method of order 1, and needs no noise; eta = 1 is
    `ddpm`.
    """
    for t, p in pairwise(levels):
        rest = (1 - p.alpha_bar) / (1 - t.alpha_bar)
        sigma = eta * math.sqrt(rest * (1 - t.alpha_bar / p.alpha_bar))
        # max: at eta = 1 the difference can round to just below 0
        c_t = math.sqrt(max(1 - p.alpha_bar - sigma**2, 0.0)) / t.s
        x = _step(denoise(x, t), x, p.a - c_t * t.a, c_t, sigma, noise)
    return x


def ddim_encode(denoise: Denoiser, x: Tensor, levels: Sequence[Level]) -> Tensor:
    """The way back: the noise that `ddim` at eta = 0 turns into the image x, approximately.

    The same equation from p to t, with epsilon as predicted at p (arXiv 2010.02502, section 4.3):

        x_t = a_t (x_p - s_p epsilon) / a_p + s_t epsilon

    The network is shown the clean image as the least noisy level of the list, so that should be
    near 0, as in "leading" sequences. The error falls with the number of steps. Denoise without
    clipping: a clamped step has no way back.

    Args:
        denoise: Predicts x_0.
        x: Images, float of shape (B, C, H, W).
        levels: Descending, the last one clean, as for `ddim`.
    """
    for p, t in pairwise(reversed(levels)):
        seen = t if p.s == 0 else p
        epsilon = (x - seen.a * denoise(x, seen)) / seen.s
        x = t.a / p.a * (x - p.s * epsilon) + t.s * epsilon
    return x


def dpmpp_2m(denoise: Denoiser, x: Tensor, levels: Sequence[Level]) -> Tensor:
    """DPM-Solver++ of order 2, multistep, midpoint (Lu et al., arXiv 2211.01095, algorithm 2).

    With lambda = log(a / s), h = lambda_p - lambda_t, r = h_before / h:

        D = x_0 + (x_0 - x_0 of the step before) / (2 r)
        x_p = s_p / s_t x_t - a_p (exp(-h) - 1) D

    The first step and the one to the clean image, where h is infinite, are of order 1 (D = x_0).
    """
    before: Tensor | None = None
    h_before = math.nan
    for t, p in pairwise(levels):
        x_0 = denoise(x, t)
        if p.s == 0:
            return x_0  # exp(-h) = 0 and s_p = 0
        h = math.log(p.a / p.s) - math.log(t.a / t.s)
        d = x_0 if before is None else torch.lerp(before, x_0, 1 + h / (2 * h_before))
        x = _step(d, x, -p.a * math.expm1(-h), p.s / t.s)
        before, h_before = x_0, h
    return x


def heun(denoise: Denoiser, x: Tensor, levels: Sequence[Level]) -> Tensor:
    """Heun's method of order 2 (Karras et al., arXiv 2206.00364, algorithm 1, deterministic).

    With y = x / a and sigma = s / a, the probability flow is dy / dsigma = (y - x_0) / sigma:

        d = (y_t - x_0(y_t)) / sigma_t;     y' = y_t + (sigma_p - sigma_t) d
        d' = (y' - x_0(y')) / sigma_p;      y_p = y_t + (sigma_p - sigma_t) (d + d') / 2

    Two evaluations per step; the one to the clean image is Euler's, with one: 2 S - 1 in all.
    """
    for t, p in pairwise(levels):
        x_0 = denoise(x, t)
        if p.s == 0:
            return x_0
        y = x / t.a
        d = (y - x_0) / t.sigma
        y_p = torch.add(y, d, alpha=p.sigma - t.sigma)
        d_p = (y_p - denoise(p.a * y_p, p)) / p.sigma
        x = p.a * torch.add(y, d + d_p, alpha=(p.sigma - t.sigma) / 2)
    return x


def slerp(x: Tensor, y: Tensor, u: float) -> Tensor:
    """Spherical interpolation between noises, image by image: x at u = 0, y at u = 1.

        theta = acos(<x, y> / (|x| |y|))
        (sin((1 - u) theta) x + sin(u theta) y) / sin theta

    As Gaussian noise lies near a sphere, a straight line would pass through noise that is too
    small (arXiv 2010.02502, D.5). x and y of shape (B, ...), theta not 0 or pi.
    """
    flat_x, flat_y = x.flatten(1).double(), y.flatten(1).double()
    cos = torch.cosine_similarity(flat_x, flat_y, dim=1)
    theta = cos.clamp(-1, 1).acos()[:, None]
    mixed = ((1 - u) * theta).sin() * flat_x + (u * theta).sin() * flat_y
    return (mixed / theta.sin()).view_as(x).to(x.dtype)


def _step(
    x_0: Tensor, x: Tensor, c_0: float, c_t: float, sigma: float = 0.0, noise: Normal | None = None
) -> Tensor:
    """c_0 x_0 + c_t x + sigma z, in a new tensor: a network may keep those that it was given."""
    x = torch.mul(x, c_t).add_(x_0, alpha=c_0)
    if sigma > 0:
        if noise is None:
            raise ValueError("a sampler that adds noise needs a source of it")
        x.add_(noise.normal(*x.shape[1:], dtype=x.dtype), alpha=sigma)
    return x
