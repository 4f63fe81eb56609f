"""Stochastic differential equations to noise and back (Song et al., arXiv 2011.13456).

All of them are linear, so that what they do to an image is known at every time t in [0, 1]:

    dx = c(t) x dt + g(t) dw,        x_t = a(t) x_0 + s(t) z,   z ~ N(0, I)
    dx = (c(t) x - g(t)^2 score) dt + g(t) dw backwards: the same distributions, from t = 1 to 0
    dx = (c(t) x - g(t)^2 score / 2) dt: the same without noise, the probability flow

Samplers take epsilon(x, t), the expected noise z, instead of the score = -epsilon / s(t), which
has no bound as t goes to 0. Coefficients are float64 whatever x is.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from baselines._nn import karras
from baselines._nn.samplers import Normal

__all__ = ["SDE", "VE", "VP", "SubVP", "flow", "predictor_corrector"]

Epsilon = Callable[[Tensor, float], Tensor]
"""The expected noise in x at time t; of x's shape."""

Predictor = Literal["reverse_diffusion", "euler_maruyama"]


class SDE(ABC):
    """A linear stochastic differential equation.

    Attributes:
        eps: Where sampling ends; the score has no bound at t = 0.
        prior: Standard deviation of the noise that sampling starts from.
    """

    eps: float
    prior: float

    @abstractmethod
    def a(self, t: float | Tensor) -> Tensor:
        """The share of x_0 in x_t, float64 of t's shape."""

    @abstractmethod
    def s(self, t: float | Tensor) -> Tensor:
        """The standard deviation of the noise in x_t, float64 of t's shape."""

    @abstractmethod
    def c(self, t: float | Tensor) -> Tensor:
        """The drift is c(t) x."""

    @abstractmethod
    def g2(self, t: float | Tensor) -> Tensor:
        """The variance of the noise that is added in a unit of time, g(t)^2."""

    @abstractmethod
    def shrink(self, t: float) -> float:
        """alpha of Langevin's steps: by how much smaller they are at time t."""

    @abstractmethod
    def time(self, sigma: float) -> float:
        """The t at which s / a = sigma."""

    def sigma(self, t: float) -> float:
        """s / a: the noise beside an image that is not scaled down."""
        return float(self.s(t) / self.a(t))

    def times(self, steps: int) -> list[float]:
        """`steps` times from 1 to eps, evenly spaced; one is 1."""
        return [1 - i / max(1, steps - 1) * (1 - self.eps) for i in range(steps)]


class VP(SDE):
    """ "Variance preserving": DDPM in continuous time.

    c = -beta / 2, g^2 = beta, beta(t) = beta_min + t (beta_max - beta_min)
    B(t) = beta_min t + (beta_max - beta_min) t^2 / 2;   a = exp(-B / 2), s^2 = 1 - exp(-B)
    """

    eps, prior = 1e-3, 1.0

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        self.beta_min, self.beta_max = beta_min, beta_max

    def beta(self, t: float | Tensor) -> Tensor:
        """The noise rate, 1 / time."""
        return self.beta_min + _double(t) * (self.beta_max - self.beta_min)

    def total(self, t: float | Tensor) -> Tensor:
        """B, the integral of beta from 0 to t."""
        t = _double(t)
        return self.beta_min * t + (self.beta_max - self.beta_min) * t**2 / 2

    def a(self, t: float | Tensor) -> Tensor:
        return torch.exp(-self.total(t) / 2)

    def s(self, t: float | Tensor) -> Tensor:
        return (-torch.expm1(-self.total(t))).sqrt()

    def c(self, t: float | Tensor) -> Tensor:
        return -self.beta(t) / 2

    def g2(self, t: float | Tensor) -> Tensor:
        return self.beta(t)

    def shrink(self, t: float) -> float:
        """1 - beta of a chain of 1000 steps."""
        return 1 - float(self.beta(t)) / 1000

    def time(self, sigma: float) -> float:
        return self._time(math.log1p(sigma**2))

    def _time(self, total: float) -> float:
        """The t at which B is `total`, by the quadratic formula in the form that cannot cancel."""
        root = math.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * total)
        return 2 * total / (self.beta_min + root)


class SubVP(VP):
    """ "Sub-VP": VP with less noise on the way, s = 1 - exp(-B) and g^2 = beta (1 - exp(-2 B))."""

    def s(self, t: float | Tensor) -> Tensor:
        return -torch.expm1(-self.total(t))

    def g2(self, t: float | Tensor) -> Tensor:
        return -self.beta(t) * torch.expm1(-2 * self.total(t))

    def time(self, sigma: float) -> float:
        # (1 - a^2) / a = sigma
        return self._time(2 * math.asinh(sigma / 2))


class VE(SDE):
    """ "Variance exploding": noise is added and the image left as it is.

    c = 0, g^2 = 2 ln(sigma_max / sigma_min) s^2;   a = 1, s = sigma_min (sigma_max / sigma_min)^t
    """

    eps = 1e-5

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        self.sigma_min, self.prior = sigma_min, sigma_max
        self.log_ratio = math.log(sigma_max / sigma_min)

    def a(self, t: float | Tensor) -> Tensor:
        return torch.ones_like(_double(t))

    def s(self, t: float | Tensor) -> Tensor:
        return self.sigma_min * torch.exp(self.log_ratio * _double(t))

    def c(self, t: float | Tensor) -> Tensor:
        return torch.zeros_like(_double(t))

    def g2(self, t: float | Tensor) -> Tensor:
        return 2 * self.log_ratio * self.s(t) ** 2

    def shrink(self, t: float) -> float:
        """1."""
        return 1.0

    def time(self, sigma: float) -> float:
        return math.log(sigma / self.sigma_min) / self.log_ratio


def predictor_corrector(
    sde: SDE,
    epsilon: Epsilon,
    x: Tensor,
    noise: Normal,
    steps: int,
    *,
    predictor: Predictor = "reverse_diffusion",
    corrections: int = 1,
    snr: float = 0.16,
) -> Tensor:
    """The reverse equation in steps, each after steps of Langevin's dynamics (algorithms 2 to 5).

    From t to the next time p, with r = a_t / a_p and q = s_t^2 - r^2 s_p^2, the mean and variance
    of x_t given x_p, "reverse_diffusion" is

        x += (1 - r) x + q score + sqrt(q) z

    and "euler_maruyama", with h = t - p, x += h (g^2 score - c x) + g sqrt(h) z. The last step
    returns E[x_0 | x_t] = (x + s^2 score) / a. A correction at t is

        x += e score + sqrt(2 e) z,   e = 2 alpha (snr s)^2

    The reference code has |z| / |score| in place of s, with norms averaged over the batch; s is
    what that is on average, and no image then depends on its batch. Corrections come first, as in
    that code. steps (1 + corrections) evaluations.

    Args:
        sde: The equation.
        epsilon: The expected noise.
        x: x at t = 1, N(0, prior^2 I).
        noise: Standard normal.
        steps: Predictor steps.
        predictor: How they are made.
        corrections: Langevin steps before each.
        snr: Their size.
    """
    times = sde.times(steps)
    for t, p in [*pairwise(times), (times[-1], 0.0)]:
        a, s = float(sde.a(t)), float(sde.s(t))
        for _ in range(corrections):
            e = 2 * sde.shrink(t) * (snr * s) ** 2
            x = _step(x, epsilon(x, t), 1.0, -e / s, math.sqrt(2 * e), noise)
        z = epsilon(x, t)
        if p == 0.0:
            return torch.sub(x, z, alpha=s).mul_(1 / a)
        if predictor == "reverse_diffusion":
            r = a / float(sde.a(p))
            q = s**2 - (r * float(sde.s(p))) ** 2
            x = _step(x, z, 2 - r, -q / s, math.sqrt(q), noise)
        else:
            h, g2 = t - p, float(sde.g2(t))
            x = _step(x, z, 1 - h * float(sde.c(t)), -h * g2 / s, math.sqrt(h * g2), noise)
    return x


def flow(sde: SDE, epsilon: Epsilon, x: Tensor, steps: int) -> Tensor:
    """The probability flow by Heun's method, from t = 1 to eps, and then to x_0.

    In y = x / a and sigma = s / a it is dy = epsilon dsigma for every linear equation (Karras et
    al., arXiv 2206.00364, section 2), so that the steps are those of `karras.heun` at the sigmas
    of evenly spaced times, and the last one ends at the clean image: 2 steps - 1 evaluations. Step
    sizes do not follow the images: an image does not depend on its batch.

    Args:
        sde: The equation.
        epsilon: The expected noise.
        x: x at t = 1, N(0, prior^2 I).
        steps: Steps.
    """

    def denoise(y: Tensor, sigma: float) -> Tensor:
        t = sde.time(sigma)
        return torch.sub(y, epsilon(float(sde.a(t)) * y, t), alpha=sigma)

    levels = [sde.sigma(t) for t in sde.times(steps)]
    return karras.heun(denoise, x / float(sde.a(1.0)), [*levels, 0.0])


def _step(x: Tensor, z: Tensor, c_x: float, c_z: float, std: float, noise: Normal) -> Tensor:
    """c_x x + c_z z + std n, in a new tensor: a network may keep those that it was given."""
    fresh = noise.normal(*x.shape[1:], dtype=x.dtype)
    return torch.mul(x, c_x).add_(z, alpha=c_z).add_(fresh, alpha=std)


def _double(t: float | Tensor) -> Tensor:
    return torch.as_tensor(t, dtype=torch.float64)
