"""Samplers on a mixture of Gaussians, whose best network is known: do they reach its weights?

A Gaussian alone cannot tell whether modes get their right share. Here 60 %, 30 % and 10 % of the
points belong to components of different widths.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from mixture_oracle import THREE, Mixture
from torch import Tensor

from baselines._nn import diffusion
from baselines._nn.denoising import Chain, ChainConfig, Sampling
from genbench.api import Noise

N = 4000
LEVELS = ((1.0, 0.01), (0.9, math.sqrt(0.19)), (0.3, math.sqrt(0.91)), (1.0, 7.0), (0.4, 0.6))


# --- the oracle itself ---------------------------------------------------------------------------


@cache
def points(a: float, s: float) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return a * THREE.sample(50, g) + s * torch.randn(50, 2, dtype=torch.float64, generator=g)


@pytest.mark.parametrize(("a", "s"), LEVELS)
def test_the_forms_of_the_oracle_agree(a: float, s: float) -> None:
    x = points(a, s)
    x_0, epsilon, v = (f(x, a, s) for f in (THREE.x_0, THREE.epsilon, THREE.v))
    torch.testing.assert_close(a * x_0 + s * epsilon, x)
    torch.testing.assert_close(THREE.score(x, a, s), -epsilon / s)
    torch.testing.assert_close(v, a * epsilon - s * x_0)
    rows = torch.full((50, 1), a).double(), torch.full((50, 1), s).double()
    torch.testing.assert_close(THREE.epsilon(x, *rows), epsilon)
    torch.testing.assert_close(THREE.x_0(x, *rows), x_0)
    # Bayes: the score of a class is that of all, and the gradient of its log-probability
    x = x.clone().requires_grad_()
    log_p = THREE.responsibilities(x, a, s)[:, 2].log().sum()
    (gradient,) = torch.autograd.grad(log_p, x)
    one = THREE.given(2).score(x.detach(), a, s)
    torch.testing.assert_close(THREE.score(x.detach(), a, s) + gradient, one)


def test_the_density_is_one_in_all_and_its_points_have_its_moments() -> None:
    line = torch.linspace(-4, 4, 400, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    mass = THREE.log_density(grid, 0.8, 0.6).exp() * (line[1] - line[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, rel=1e-6)
    torch.testing.assert_close(mass @ grid, 0.8 * THREE.mean, atol=1e-6, rtol=0)
    second = (mass[:, None] * grid).T @ grid - torch.outer(mass @ grid, mass @ grid)
    expected = 0.64 * THREE.cov + 0.36 * torch.eye(2).double()
    torch.testing.assert_close(second, expected, atol=1e-6, rtol=0)
    x = THREE.sample(40_000, torch.Generator().manual_seed(0))
    check(x, 0.008)


def check(x: Tensor, tolerance: float, of: Mixture = THREE) -> None:
    """Shares, mean and covariance; 5 standard errors of a share are 0.039 at 4,000 points."""
    torch.testing.assert_close(of.shares(x), of.weights, atol=tolerance, rtol=0)
    torch.testing.assert_close(x.mean(dim=0), of.mean, atol=tolerance, rtol=0)
    torch.testing.assert_close(x.T.cov(), of.cov, atol=tolerance, rtol=0)


# --- samplers ------------------------------------------------------------------------------------

SAMPLERS: dict[str, dict[str, Any]] = {
    "ddpm": {"sampler": "ddpm", "steps": 120},
    "ddpm, large": {"sampler": "ddpm", "steps": 120, "variance": "large"},
    "ddpm, learned": {"sampler": "ddpm", "steps": 60, "variance": "learned"},
    "ddim": {"sampler": "ddim", "steps": 100},
    "ddim, eta 0.5": {"sampler": "ddim", "steps": 100, "eta": 0.5},
    "dpmpp_2m": {"sampler": "dpmpp_2m", "steps": 60},
    "heun": {"sampler": "heun", "steps": 60},
}


def network(chain: Chain, best: Mixture = THREE) -> Callable[[Tensor, Tensor], Tensor]:
    """The best network: x (B, 2, 1, 1) and times to what the chain predicts, and to a variance."""
    c = chain.config
    predict = {"epsilon": best.epsilon, "x0": best.x_0, "v": best.v}[c.prediction]

    def answer(x: Tensor, t: Tensor) -> Tensor:
        (level, _) = diffusion.levels([round(t[0].item() * c.T / 1000, 6)], chain.alpha_bar)
        found = predict(x.double().flatten(1), level.a, level.s)
        if c.learn_variance:  # right for N(0, 0.2) between levels that are not near
            u = torch.full_like(found, -0.5)
            found = torch.cat((found, u), dim=1)
        return found[..., None, None].to(x.dtype)

    return answer


def sampled(options: dict[str, Any], **config: Any) -> Tensor:
    learned = options.get("variance") == "learned"
    chain = Chain(ChainConfig(learn_variance=learned, **config), (2, 1, 1))
    x = chain.sample(network(chain), Noise(0, range(N)), Sampling(**options, clip_x0=False))
    return x.double().flatten(1)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"schedule": "cosine", "prediction": "v"},
        {"schedule": "linear", "prediction": "x0", "T": 400},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_every_sampler_reaches_the_mixture(name: str, config: dict[str, Any]) -> None:
    check(sampled(SAMPLERS[name], **config), 0.04)


def test_a_wrong_network_does_not() -> None:
    """What the tolerance is worth: a network for equal weights is found out."""
    chain = Chain(ChainConfig(), (2, 1, 1))
    equal = Mixture(torch.full((3,), 1 / 3).double(), THREE.means, THREE.stds)
    options = Sampling(sampler="ddim", steps=100, clip_x0=False)
    x = chain.sample(network(chain, equal), Noise(0, range(N)), options).double().flatten(1)
    check(x, 0.04, equal)
    assert (THREE.shares(x) - THREE.weights).abs().max() > 0.2
