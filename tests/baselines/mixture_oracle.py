"""A mixture of Gaussians, whose best denoiser is known at every noise level.

For x_t = a x_0 + s epsilon with x_0 from sum_k w_k N(mu_k, sd_k^2 I), component k of x_t is
N(a mu_k, (a sd_k)^2 + s^2), and everything that a network can learn follows:

    p(k | x_t) = r_k,   E[x_0 | x_t] = sum_k r_k (mu_k + a sd_k^2 / var_k (x_t - a mu_k))

The score and the density are written from their own definitions, so that one can test the other.
Any schedule fits: a and s are numbers or tensors (B, 1); (1, sigma) is "variance exploding", and
(t, 1 - t) is a straight path.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Share = float | Tensor


@dataclass(frozen=True)
class Mixture:
    """The distribution; float64.

    Attributes:
        weights: (K,), their sum is 1.
        means: (K, d).
        stds: (K,).
    """

    weights: Tensor
    means: Tensor
    stds: Tensor

    @classmethod
    def of(
        cls, weights: Sequence[float], means: Sequence[Sequence[float]], stds: Sequence[float]
    ) -> Self:
        """The mixture of these numbers."""
        return cls(*(torch.tensor(v, dtype=torch.float64) for v in (weights, means, stds)))

    def given(self, k: int) -> "Mixture":
        """Component k alone: the data of class k."""
        return Mixture(torch.ones_like(self.weights[:1]), self.means[[k]], self.stds[[k]])

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n points, (n, d)."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[k] + self.stds[k, None] * z

    # --- moments ---------------------------------------------------------------------------------

    @property
    def mean(self) -> Tensor:
        """(d,)."""
        return self.weights @ self.means

    @property
    def cov(self) -> Tensor:
        """(d, d)."""
        centred = self.means - self.mean
        within = (self.weights * self.stds**2).sum() * torch.eye(len(self.mean)).double()
        return within + centred.T @ (self.weights[:, None] * centred)

    def shares(self, x: Tensor) -> Tensor:
        """How much of the points x each component has, (K,): the mean responsibility."""
        return self.responsibilities(x, 1.0, 0.0).mean(dim=0)

    # --- what a network can know, of x (B, d) at the level (a, s) --------------------------------

    def variances(self, a: Share, s: Share) -> Tensor:
        """Of the components of x_t, (K,) or (B, K)."""
        return (a * self.stds) ** 2 + s**2 * torch.ones_like(self.stds)

    def log_densities(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """log w_k N(x; a mu_k, var_k), (B, K)."""
        var = self.variances(a, s)
        squares = self._centred(x, a).square().sum(dim=-1)
        normal = -squares / (2 * var) - x.shape[1] / 2 * (2 * math.pi * var).log()
        return self.weights.log() + normal

    def log_density(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """log p(x_t), (B,)."""
        return self.log_densities(x, a, s).logsumexp(dim=1)

    def responsibilities(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """p(k | x_t), (B, K): the best classifier of noisy points."""
        return self.log_densities(x, a, s).softmax(dim=1)

    def x_0(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """E[x_0 | x_t], (B, d)."""
        gain = a * self.stds**2 / self.variances(a, s)
        each = self.means + gain[..., None] * self._centred(x, a)
        return (self.responsibilities(x, a, s)[..., None] * each).sum(dim=1)

    def epsilon(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """E[epsilon | x_t], (B, d)."""
        each = s / self.variances(a, s)
        responsible = self.responsibilities(x, a, s) * each
        return (responsible[..., None] * self._centred(x, a)).sum(dim=1)

    def v(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """E[a epsilon - s x_0 | x_t], (B, d)."""
        return a * self.epsilon(x, a, s) - s * self.x_0(x, a, s)

    def score(self, x: Tensor, a: Share, s: Share) -> Tensor:
        """grad log p(x_t), (B, d), by differentiation of the density."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.log_density(x, a, s).sum(), x)
        return found

    def _centred(self, x: Tensor, a: Share) -> Tensor:
        """x - a mu_k, (B, K, d)."""
        scaled = a[..., None] * self.means if isinstance(a, Tensor) else a * self.means
        return x[:, None] - scaled


THREE = Mixture.of((0.6, 0.3, 0.1), ((-0.6, -0.4), (0.5, -0.2), (0.2, 0.7)), (0.15, 0.1, 0.2))
"""Unequal weights and widths in the plane, nearly all of it inside [-1, 1]."""
