"""The variational bound of DDPM, of which a network can learn the variance.

    log sigma^2 = f log beta + (1 - f) log beta_tilde,   f = (u + 1) / 2

between the two variances that are fixed otherwise (Nichol and Dhariwal, arXiv 2102.09672, eq. 15);
u, unbounded, is a second answer of the network, pixel by pixel. All in bits per dimension.
"""

import math

import torch
from torch import Tensor

from baselines._nn import diffusion
from baselines._nn.diffusion import Level

__all__ = ["Bound", "discretised_nll", "gaussian_kl", "learned_log_variance"]


def learned_log_variance(
    u: Tensor, log_small: Tensor | float, log_large: Tensor | float
) -> Tensor:
    """f log beta + (1 - f) log beta_tilde with f = (u + 1) / 2, of u's shape."""
    f = (u + 1) / 2
    return f * log_large + (1 - f) * log_small


def gaussian_kl(distance: Tensor, log_var: Tensor, log_var_model: Tensor) -> Tensor:
    """KL(N(m, v) || N(m + distance, v')) pixel by pixel, in nats."""
    ratio = log_var - log_var_model
    return 0.5 * (ratio.exp() - 1 - ratio + distance.square() * (-log_var_model).exp())


def discretised_nll(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log of what N(mean, var) gives to the bin of each pixel, in nats.

    Bins of the 256 values reach from x - 1/255 to x + 1/255, those of -1 and 1 to infinity (Ho et
    al., arXiv 2006.11239, eq. 13).

    Args:
        x: In [-1, 1], multiples of 1/127.5 from -1 on.
        mean: Of x's shape.
        log_var: Of x's shape.
    """
    # in float64, for the logarithm of a difference; the tails are taken on the side where the
    # normal distribution function is small, for the other side rounds to 1 first
    z = (x.double() - mean.double()).unsqueeze(0)
    half = torch.tensor((1.0, -1.0), dtype=torch.float64, device=x.device) / 255
    z = (z + half.view(2, *[1] * x.ndim)) * (-0.5 * log_var.double()).exp()
    upper = z[0].masked_fill(x > 0.999, math.inf)
    lower = z[1].masked_fill(x < -0.999, -math.inf)
    flip = upper + lower > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    log_upper: Tensor = torch.special.log_ndtr(upper)
    share = -torch.expm1(torch.special.log_ndtr(lower) - log_upper)
    return -log_upper - share.log()


class Bound:
    """The terms L_t of the bound for a chain; T times their mean is the bound, but for the prior.

    Args:
        alpha_bar: The chain, float64 of shape (T,).
    """

    def __init__(self, alpha_bar: Tensor) -> None:
        levels = diffusion.levels(range(len(alpha_bar)), alpha_bar)[:-1]
        pairs = zip(levels, [Level(-1, 1.0), *levels[:-1]], strict=True)
        table = torch.tensor([diffusion.posterior(t, p) for t, p in pairs], dtype=torch.float64)
        self.c_0, _, small, large = table.unbind(1)
        # the first posterior has no variance, so the second one's stands in
        self.log_small = torch.cat((small[1:2], small[1:])).log()
        self.log_large = large.log()

    def terms(self, x_0: Tensor, predicted: Tensor, u: Tensor, t: Tensor) -> Tensor:
        """L_t in bits per dimension, (B,).

            t > 0:  KL(q(x_(t-1) | x_t, x_0) || N(c_0 x_0' + c_t x_t, sigma^2))
            t = 0:  -log p(x_0 | x_1), the share of each pixel's bin in N(x_0', sigma^2)

        Args:
            x_0: Images (B, C, H, W), of 256 values.
            predicted: x_0' as the network has it.
            u: Its second answer, which sets sigma^2.
            t: Integers (B,).
        """
        c_0, small, large = (
            table.to(t.device)[t, None, None, None].float()
            for table in (self.c_0, self.log_small, self.log_large)
        )
        log_var = learned_log_variance(u, small, large)
        kl = gaussian_kl(c_0 * (x_0 - predicted), small, log_var)
        nll = discretised_nll(x_0, predicted, log_var).to(kl.dtype)
        first = (t == 0)[:, None, None, None]
        return torch.where(first, nll, kl).flatten(1).mean(dim=1) / math.log(2)
