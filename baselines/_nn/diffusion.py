"""Schedules, predictions and time-step sequences of diffusion models, as plain functions.

Index t = 0 .. T-1 addresses beta_t, 0 is the least noisy step, and alpha_bar before it is 1:

    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon,   alpha_bar_t = prod (1 - beta_s)

A sequence is a descending list of time steps, one for each step of a sampler. Its name is not
enough to know it: libraries give one name to different lists, so each function says what it does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "SPACINGS",
    "Level",
    "Prediction",
    "Schedule",
    "alpha_bar",
    "cosine_alpha_bar",
    "karras",
    "leading",
    "levels",
    "linear_alpha_bar",
    "min_snr",
    "posterior",
    "quadratic",
    "target",
    "timesteps",
    "trailing",
    "uniform",
    "x_0",
]

Schedule = Literal["linear", "cosine"]
Prediction = Literal["epsilon", "x0", "v"]
Share = float | Tensor
"""A number, or one for each row that fits to images, (B, 1, 1, 1)."""


# --- schedules -----------------------------------------------------------------------------------


def alpha_bar(schedule: Schedule, T: int) -> Tensor:
    """alpha_bar of a schedule by name; float64 of shape (T,)."""
    return linear_alpha_bar(T) if schedule == "linear" else cosine_alpha_bar(T)


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


def cosine_alpha_bar(T: int) -> Tensor:
    """alpha_bar of the cosine schedule (Nichol and Dhariwal, arXiv 2102.09672, eq. 17).

        f(u) = cos^2((u + 0.008) / 1.008 pi / 2)
        beta_t = min(1 - f((t + 1) / T) / f(t / T), 0.999)

    Float64 of shape (T,). Noise sets in later than in the linear schedule: half of the signal is
    left in the middle of the chain, where that has 8 %.
    """
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = ((u + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - beta, dim=0)


# --- predictions ---------------------------------------------------------------------------------


def target(prediction: Prediction, x_0: Tensor, epsilon: Tensor, a: Share, s: Share) -> Tensor:
    """What a network learns to answer to x_t = a x_0 + s epsilon; v = a epsilon - s x_0.

    (v: Salimans and Ho, arXiv 2202.00512.)
    """
    if prediction == "epsilon":
        return epsilon
    return x_0 if prediction == "x0" else a * epsilon - s * x_0


def x_0(prediction: Prediction, answer: Tensor, x_t: Tensor, a: Share, s: Share) -> Tensor:
    """x_0 by the answer to x_t: (x_t - s epsilon) / a, the answer itself, or a x_t - s v."""
    if prediction == "epsilon":
        return (x_t - s * answer) / a
    return answer if prediction == "x0" else a * x_t - s * answer


def min_snr(prediction: Prediction, alpha_bar: Tensor, gamma: float = 5.0) -> Tensor:
    """The weight of the squared error of a prediction (Hang et al., arXiv 2303.09556).

    With SNR = alpha_bar / (1 - alpha_bar) it is, whatever is predicted, min(SNR, gamma) times the
    squared error of x_0: the easy, least noisy levels do not outweigh the others. The squared
    error of epsilon is SNR, that of v SNR + 1 times that of x_0, so each is divided by its own.

    Args:
        prediction: What the network answers.
        alpha_bar: Of any shape, in (0, 1).
        gamma: The largest weight.
    """
    snr = alpha_bar / (1 - alpha_bar)
    error = {"epsilon": snr, "x0": torch.ones_like(snr), "v": snr + 1}[prediction]
    return snr.clamp(max=gamma) / error


# --- sequences -----------------------------------------------------------------------------------


def uniform(steps: int, alpha_bar: Tensor) -> list[float]:
    """`steps` indices from T-1 to 0, both included: round(linspace(T-1, 0, steps)).

    diffusers calls it "linspace"; T = 1000 in 10 steps is 999, 888, ..., 111, 0.
    """
    T = len(alpha_bar)
    return [round(T - 1 - i * (T - 1) / max(1, steps - 1)) for i in range(steps)]


def leading(steps: int, alpha_bar: Tensor) -> list[float]:
    """Multiples of floor(T / steps), from (steps - 1) floor(T / steps) to 0.

    The DDIM code's "uniform"; T = 1000 in 10 steps is 900, 800, ..., 0, so the noisiest levels are
    never seen although x_T is pure noise.
    """
    ratio = len(alpha_bar) // steps
    return [i * ratio for i in reversed(range(steps))]


def trailing(steps: int, alpha_bar: Tensor) -> list[float]:
    """round(T - i T / steps) - 1, from T-1 down; T = 1000 in 10 steps is 999, 899, ..., 99.

    Starts at the noisiest index, which is what x_T ~ N(0, I) belongs to (Lin et al., arXiv
    2305.08891).
    """
    T = len(alpha_bar)
    return [round(T - i * T / steps) - 1 for i in range(steps)]


def quadratic(steps: int, alpha_bar: Tensor) -> list[float]:
    """floor(linspace(0, sqrt(0.8 T), steps)^2), descending, each index once.

    The DDIM paper's choice for CIFAR-10 (arXiv 2010.02502, D.2); T = 1000 in 10 steps is 800, 632,
    483, ..., 9, 0. Many steps repeat small indices; a repeated step would change nothing and cost
    an evaluation, so 1000 steps are 688 evaluations.
    """
    root = math.sqrt(0.8 * len(alpha_bar)) / max(1, steps - 1)
    if steps == 1:
        return [math.floor(0.8 * len(alpha_bar))]
    # 1e-9: the square of a square root can land just below the whole number that it stands for
    squares = [math.floor((i * root) ** 2 + 1e-9) for i in range(steps)]
    return sorted(set(squares), reverse=True)


def karras(steps: int, alpha_bar: Tensor, rho: float = 7.0) -> list[float]:
    """Steps whose noise-to-signal ratios sigma are evenly spaced in sigma^(1/rho).

    From sigma of T-1 to sigma of 0, with sigma = sqrt((1 - alpha_bar) / alpha_bar) (Karras et al.,
    arXiv 2206.00364, eq. 5). Steps between two indices are fractions, see `levels`.
    """
    sigma = _sigma(alpha_bar)
    low, high = float(sigma[0]) ** (1 / rho), float(sigma[-1]) ** (1 / rho)
    wanted = [high + i / max(1, steps - 1) * (low - high) for i in range(steps)]
    table = sigma.log()
    found = []
    for root in wanted:
        value = rho * math.log(root)
        # the last index whose log sigma is not above the value, and how far the next one is
        k = int(torch.searchsorted(table, value, right=True).clamp(1, len(table) - 1)) - 1
        share = (value - float(table[k])) / float(table[k + 1] - table[k])
        found.append(max(0.0, round(k + share, 9)))  # the ends are whole numbers
    return found


Spacing = Callable[[int, Tensor], list[float]]

SPACINGS: Mapping[str, Spacing] = {
    "uniform": uniform,
    "leading": leading,
    "trailing": trailing,
    "quadratic": quadratic,
    "karras": karras,
}


def timesteps(spacing: str | Sequence[float], steps: int, alpha_bar: Tensor) -> Sequence[float]:
    """The sequence that `spacing` names, or the list that it is.

    Args:
        spacing: A name of `SPACINGS`, or time steps, strictly descending in [0, T-1].
        steps: Length of the sequence, 1 to T; of a list, its length.
        alpha_bar: The schedule, of shape (T,).

    Raises:
        ValueError: If `steps` is not in 1..T, or a list is empty, not descending or out of range.
    """
    T = len(alpha_bar)
    if not 1 <= steps <= T:
        raise ValueError(f"cannot sample with {steps} steps: the model has 1 to {T}")
    if isinstance(spacing, str):
        return SPACINGS[spacing](steps, alpha_bar)
    for before, after in pairwise(spacing):
        if not before > after:
            raise ValueError(f"time steps must descend, but {after:g} comes after {before:g}")
    if not spacing or spacing[0] > T - 1 or spacing[-1] < 0:
        raise ValueError(f"time steps must lie in 0..{T - 1}, got {list(spacing)}")
    return spacing


# --- levels --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """A noise level: the time step that the network is told, and alpha_bar there.

    Attributes:
        t: In [0, T-1]; -1 stands for the clean image, which no network is asked about.
        alpha_bar: In (0, 1].
    """

    t: float
    alpha_bar: float

    @property
    def a(self) -> float:
        """sqrt(alpha_bar): the share of x_0."""
        return math.sqrt(self.alpha_bar)

    @property
    def s(self) -> float:
        """sqrt(1 - alpha_bar): the share of the noise."""
        return math.sqrt(1 - self.alpha_bar)

    @property
    def sigma(self) -> float:
        """s / a: the noise beside an image that is not scaled down."""
        return self.s / self.a


def posterior(t: Level, p: Level) -> tuple[float, float, float, float]:
    """q(x_p | x_t, x_0) = N(c_0 x_0 + c_t x_t, beta_tilde I): (c_0, c_t, beta_tilde, beta).

    With the respaced beta = 1 - alpha_bar_t / alpha_bar_p (Ho et al., arXiv 2006.11239, eq. 6, 7):

        c_0 = sqrt(alpha_bar_p) beta / (1 - alpha_bar_t)
        c_t = sqrt(1 - beta) (1 - alpha_bar_p) / (1 - alpha_bar_t)
        beta_tilde = beta (1 - alpha_bar_p) / (1 - alpha_bar_t)
    """
    beta = 1 - t.alpha_bar / p.alpha_bar
    rest = (1 - p.alpha_bar) / (1 - t.alpha_bar)
    return p.a * beta / (1 - t.alpha_bar), math.sqrt(1 - beta) * rest, beta * rest, beta


def levels(timesteps: Sequence[float], alpha_bar: Tensor) -> list[Level]:
    """The noise levels of a sequence, and the clean image, alpha_bar = 1, after them.

    A fractional step lies between two indices; log sigma is interpolated linearly.
    """
    table = alpha_bar.tolist()
    found = []
    for t in timesteps:
        if t == int(t):
            found.append(Level(int(t), table[int(t)]))
        else:
            low = math.floor(t)
            logs = [math.log((1 - table[k]) / table[k]) for k in (low, low + 1)]
            log = logs[0] + (t - low) * (logs[1] - logs[0])  # of sigma^2
            found.append(Level(t, 1 / (1 + math.exp(log))))
    return [*found, Level(-1, 1.0)]


def _sigma(alpha_bar: Tensor) -> Tensor:
    return ((1 - alpha_bar) / alpha_bar).sqrt()
