"""The VAE's bound against torch.distributions and closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from baselines._nn.autoencoder import gaussian_kl
from baselines.autoencoder.vae import VAE, bernoulli_nll, gaussian_nll, logistic_nll
from genbench.api import DataSpec, Noise, Unconditional


def make(size: int = 8, colours: int = 1, **config: Any) -> VAE:
    torch.manual_seed(0)
    return VAE(VAE.Config(**config), DataSpec("any", colours, size))


def normal(*shape: int) -> Tensor:
    return Noise(5, range(shape[0])).normal(*shape[1:])


def test_kl_of_the_prior_is_zero() -> None:
    assert torch.equal(gaussian_kl(torch.zeros(3, 5), torch.zeros(3, 5)), torch.zeros(3))


def test_kl_agrees_with_torch_distributions() -> None:
    mu, logvar = normal(6, 5), normal(6, 5)
    q = Independent(Normal(mu, (logvar / 2).exp()), 1)
    p = Independent(Normal(torch.zeros(5), torch.ones(5)), 1)
    torch.testing.assert_close(gaussian_kl(mu, logvar), kl_divergence(q, p))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_nll_agrees_with_torch_distributions(sigma: float) -> None:
    x, x_hat = normal(4, 3, 8, 8), normal(4, 3, 8, 8) / 2
    exact = -Independent(Normal(x_hat, sigma), 3).log_prob(x).mean()
    torch.testing.assert_close(gaussian_nll(x, x_hat, sigma), exact)


def test_the_optimal_sigma_is_the_best_one() -> None:
    x, x_hat = normal(4, 1, 8, 8), normal(4, 1, 8, 8) / 2
    best = gaussian_nll(x, x_hat, "optimal")
    rmse = (x - x_hat).square().mean().sqrt().item()
    torch.testing.assert_close(gaussian_nll(x, x_hat, rmse), best)
    for factor in (0.9, 1.1):
        assert gaussian_nll(x, x_hat, factor * rmse) > best + 0.1


def test_a_perfect_reconstruction_has_a_finite_bound() -> None:
    x = normal(2, 1, 8, 8)
    assert math.isfinite(gaussian_nll(x, x.clone(), "optimal"))


def test_bernoulli_agrees_with_torch_distributions() -> None:
    x, logits = normal(4, 1, 8, 8).sign(), 3 * normal(4, 1, 8, 8)
    exact = -Independent(Bernoulli(logits=logits), 3).log_prob((x + 1) / 2).mean()
    torch.testing.assert_close(bernoulli_nll(x, logits), exact)


def test_the_best_bernoulli_mean_of_a_grey_level_is_the_grey_level() -> None:
    m = make(likelihood="bernoulli")
    h = torch.linspace(-6, 6, 2401)
    for grey in (-0.9, 0.0, 0.6):
        x = torch.full_like(h, grey)
        nll = torch.stack([bernoulli_nll(a[None], b[None]) for a, b in zip(x, h, strict=True)])
        assert m.x_hat(h[nll.argmin()]).item() == pytest.approx(grey, abs=5e-3)


@pytest.mark.parametrize("sigma", [0.02, 0.5])
def test_the_logistic_masses_of_all_grey_levels_are_one(sigma: float) -> None:
    levels = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    for mean in (-1.5, -0.3, 0.99):
        nll = [logistic_nll(x.view(1, 1), torch.tensor(mean).double(), sigma) for x in levels]
        assert torch.stack(nll).neg().exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_logistic_distribution_is_that_of_sigma() -> None:
    levels, sigma = torch.arange(256, dtype=torch.float64) / 127.5 - 1, 0.1
    nll = [logistic_nll(x.view(1, 1), torch.tensor(0.0).double(), sigma) for x in levels]
    p = torch.stack(nll).neg().exp()
    assert (p * levels**2).sum().sqrt().item() == pytest.approx(sigma, rel=0.01)
    middle = 1 / (1 + torch.exp(-(levels - 0.1 + 1 / 255) * math.pi / math.sqrt(3) / sigma))
    assert middle[140:142].diff().item() == pytest.approx(
        logistic_nll(levels[141].view(1, 1), torch.tensor(0.1).double(), sigma).neg().exp().item(),
        rel=1e-6,
    )


def test_a_learned_sigma_finds_the_error() -> None:
    m = make(likelihood="gaussian", sigma="learned")
    assert m.log_sigma is not None
    x, h = normal(4, 1, 8, 8).clamp(-1, 1), torch.zeros(4, 1, 8, 8)
    optimizer = torch.optim.Adam([m.log_sigma], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        m.nll(x, h).backward()
        optimizer.step()
    assert m.log_sigma.exp().item() == pytest.approx(x.square().mean().sqrt().item(), rel=0.01)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"likelihood": "bernoulli", "sigma": 0.1}, "'bernoulli' has neither"),
        ({"likelihood": "bernoulli", "mean": "linear"}, "'bernoulli' has neither"),
        ({"likelihood": "discretized_logistic", "sigma": "optimal"}, "take 'learned'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAE.Config(**config)


@pytest.mark.parametrize(
    "config",
    [
        {"likelihood": "gaussian"},
        {"likelihood": "bernoulli"},
        {"likelihood": "discretized_logistic"},
    ],
)
def test_the_mean_is_an_image(config: dict[str, Any]) -> None:
    m, h = make(**config), 20 * normal(4, 1, 8, 8)
    assert m.x_hat(h).abs().max() <= 1 < h.abs().max()
    assert m.nll(normal(4, 1, 8, 8).clamp(-1, 1), h).isfinite()


def test_a_fitted_density_is_that_of_the_latents() -> None:
    m = make(d=2, components=2)
    pixels = torch.randint(0, 256, (600, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        m.encoder[1].weight.mul_(4)  # latents that are far from N(0, I)
        m.encoder[-1].bias.data = torch.tensor([3.0, -2.0, 0.0, 0.0])
        m.finish(pixels.to(torch.uint8))
        mu = m.encode(pixels / 127.5 - 1)[0]
        zs: list[Tensor] = []
        m.decoder.register_forward_pre_hook(lambda module, args: zs.append(args[0]))
        for density in ("prior", "gaussian", "mixture"):
            m.sample(Unconditional(), Noise(0, range(20_000)), density=density)
    prior, *fitted = zs
    torch.testing.assert_close(prior, Noise(0, range(20_000)).normal(2))
    for z in fitted:
        torch.testing.assert_close(z.mean(0), mu.mean(0), atol=0.02, rtol=0)
        torch.testing.assert_close(z.T.cov(), mu.T.cov(), atol=0.02, rtol=0.05)


def test_the_loss_sums_over_pixels_and_latents_and_averages_over_the_batch() -> None:
    m = make(d=3, likelihood="gaussian", sigma=0.5)
    for p in m.parameters():
        p.data.zero_()
    # mu = logvar = 0 and x_hat = 0 whatever z is: KL 0, and the likelihood of x = 0.5 at 64 pixels
    m.encoder[-1].bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])  # KL 1/2 in nats
    x = torch.full((7, 1, 8, 8), 0.5)
    seen: dict[str, Tensor] = {}
    logged = m.step(x, Unconditional(), Noise(0, range(7)), update_into(seen))
    nll = 64 * (0.5 * math.log(2 * math.pi) + math.log(0.5) + 0.5)
    assert logged["kl"].item() == pytest.approx(0.5)
    assert logged["nll"].item() == pytest.approx(nll, rel=1e-6)
    assert seen["vae"].item() == pytest.approx(nll + 0.5, rel=1e-6)


def test_beta_weighs_the_kl_and_nothing_else() -> None:
    seen: dict[str, dict[str, Tensor]] = {"1": {}, "4": {}}
    logged = {}
    for beta, kept in seen.items():
        m = make(beta=float(beta), likelihood="gaussian")
        m.encoder[-1].bias.data[:16] = 0.3  # a KL that is not small
        x = normal(5, 1, 8, 8)
        logged[beta] = m.step(x, Unconditional(), Noise(1, range(5)), update_into(kept))
    for name in ("nll", "kl"):
        assert torch.equal(logged["1"][name], logged["4"][name])
    torch.testing.assert_close(seen["4"]["vae"] - seen["1"]["vae"], 3 * logged["1"]["kl"])
    assert logged["1"]["kl"] > 0.5


def update_into(seen: dict[str, Tensor]) -> Any:
    class Keep:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            seen[name] = loss.detach()

    return Keep()


def test_z_is_reparameterised() -> None:
    m = make(d=3)
    zs: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: zs.append(args[0]))
    x = normal(5, 1, 8, 8)
    m.step(x, Unconditional(), Noise(1, range(5)), update_into({}))
    mu, logvar = m.encode(x)
    epsilon = Noise(1, range(5)).normal(3)
    torch.testing.assert_close(zs[0], mu + (logvar / 2).exp() * epsilon)
    (gradient,) = torch.autograd.grad(zs[0].sum(), m.encoder[-1].bias)
    assert gradient.abs().min() > 1e-3  # reaches mu and logvar


@pytest.mark.parametrize(
    ("size", "channels"), [(8, 1), (8, 3), (16, 3), (28, 1), (32, 3), (64, 3)]
)
def test_sizes(size: int, channels: int) -> None:
    m = make(size, channels, channels=4, d=6)
    mu, logvar = m.encode(torch.zeros(2, channels, size, size))
    assert mu.shape == logvar.shape == (2, 6)
    x = m.sample(Unconditional(), Noise(0, range(2)))
    assert x.shape == (2, channels, size, size)


def test_an_odd_size_takes_the_mlp_or_is_refused() -> None:
    assert make(9, net="mlp").sample(Unconditional(), Noise(0, range(1))).shape == (1, 1, 9, 9)
    with pytest.raises(ValueError, match="9x9 images"):
        make(9)


def test_the_bound_is_tight_where_the_posterior_is_gaussian() -> None:
    """For x = w z + sigma e and its posterior as encoder the ELBO is log N(x; 0, ww' + s2)."""
    w, sigma, n = torch.linspace(-0.5, 0.5, 64), 0.5, 20_000
    precision = 1 + w @ w / sigma**2
    m = make(d=1, likelihood="gaussian", sigma=sigma, mean="linear")
    m.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    m.encoder[-1].weight.data = torch.stack((w / sigma**2 / precision, torch.zeros(64)))
    m.encoder[-1].bias.data = torch.stack((torch.tensor(0.0), -precision.log()))
    m.decoder = nn.Sequential(nn.Linear(1, 64, bias=False), nn.Unflatten(1, (1, 8, 8)))
    m.decoder[0].weight.data = w[:, None]
    noise = Noise(6, range(n))
    x = noise.normal(1) * w + sigma * noise.normal(64)
    logged = m.step(x.view(n, 1, 8, 8), Unconditional(), Noise(7, range(n)), update_into({}))
    covariance = torch.outer(w, w) + sigma**2 * torch.eye(64)
    exact = -MultivariateNormal(torch.zeros(64), covariance).log_prob(x).mean()
    assert logged["loss"].item() == pytest.approx(exact.item(), abs=0.03)
