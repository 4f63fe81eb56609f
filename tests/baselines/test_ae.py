"""The autoencoder against PCA and medians, and the densities that are fitted to its latents."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines._nn.autoencoder import encode_all
from baselines._nn.mixture import Mixture
from baselines.autoencoder.ae import AE
from genbench.api import DataSpec, Noise, Unconditional


def make(size: int = 8, colours: int = 1, **config: Any) -> AE:
    torch.manual_seed(0)
    return AE(AE.Config(**config), DataSpec("any", colours, size))


def normal(*shape: int, seed: int = 5) -> Tensor:
    return Noise(seed, range(shape[0])).normal(*shape[1:])


class Descend:
    """An `Update` by Adam."""

    progress = 0.0

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def __call__(self, name: str, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "best"), [("l2", 0.4), ("l1", 1.0)])
def test_what_cannot_be_told_becomes_the_mean_or_the_median(loss: str, best: float) -> None:
    """A pixel is 1 in 70 % of the images, and the latent knows nothing of it."""
    m = make(d=1, loss=loss)
    m.encoder, bias = nn.Flatten(), nn.Linear(64, 64)
    nn.init.zeros_(bias.weight)
    bias.weight.requires_grad_(False)
    m.decoder = nn.Sequential(bias, nn.Unflatten(1, (1, 8, 8)))
    x = torch.ones(10, 1, 8, 8)
    x[:3] = -1
    update = Descend(m, 0.01)
    for _ in range(300):
        m.step(x, Unconditional(), Noise(0, range(10)), update)
    torch.testing.assert_close(bias.bias, torch.full((64,), best), atol=0.03, rtol=0)


def test_a_linear_autoencoder_finds_the_principal_subspace() -> None:
    scales = torch.cat((torch.tensor([1.0, 0.8, 0.6, 0.4]), torch.full((60,), 0.05)))
    rotation = torch.linalg.qr(normal(64, 64)).Q
    x = (normal(1000, 64) * scales) @ rotation.T
    x = x - x.mean(0)
    m = make(d=2)
    m.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    m.decoder = nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, (1, 8, 8)))
    update = Descend(m, 0.01)
    for _ in range(600):
        logged = m.step(x.view(-1, 1, 8, 8), Unconditional(), Noise(0, range(1000)), update)
    values = torch.linalg.eigvalsh(x.T @ x / len(x))
    best = values[:-2].sum() / 64  # what the discarded directions hold, per pixel
    assert float(best) <= logged["loss"].item() <= 1.01 * float(best)


# --- the density ---------------------------------------------------------------------------------


def test_one_gaussian_has_the_mean_and_the_covariance_of_the_latents() -> None:
    A = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.4, 0.1]])
    z = normal(500, 3) @ A.T + torch.tensor([1.0, -2.0, 0.5])
    m = Mixture(1, 3)
    m.fit(z)
    torch.testing.assert_close(m.means[0], z.mean(0), atol=1e-5, rtol=0)
    covariance = m.factors[0] @ m.factors[0].T
    expected = torch.cov(z.T, correction=0) + 1e-6 * torch.eye(3)
    torch.testing.assert_close(covariance, expected, atol=1e-5, rtol=0)
    drawn = m.sample(Noise(1, range(50_000)))
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), expected, atol=0.02, rtol=0.02)


def test_a_mixture_is_recovered_and_drawn_with_its_weights() -> None:
    means = torch.tensor([[-4.0, 0.0], [3.0, 3.0], [3.0, -3.0]])
    spread = torch.tensor([[0.2, 1.0], [1.0, 0.2], [0.5, 0.5]])
    label = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)
    z = means[label] + spread[label] * normal(1000, 2)
    m = Mixture(3, 2)
    m.fit(z)
    order = m.weights.argsort(descending=True)
    torch.testing.assert_close(m.weights[order], torch.tensor([0.6, 0.3, 0.1]), atol=2e-3, rtol=0)
    torch.testing.assert_close(m.means[order], means, atol=0.2, rtol=0)
    deviations = m.factors[order].square().sum(2).sqrt()
    torch.testing.assert_close(deviations, spread, atol=0.06, rtol=0)
    drawn = m.sample(Noise(1, range(20_000)))
    nearest = (drawn[:, None] - means).square().sum(2).argmin(1)
    shares = nearest.bincount() / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), atol=0.015, rtol=0)
    for j in range(3):
        torch.testing.assert_close(drawn[nearest == j].mean(0), means[j], atol=0.2, rtol=0)


def test_a_fit_is_a_function_of_the_latents_alone() -> None:
    z = normal(200, 3)
    one, two = Mixture(4, 3), Mixture(4, 3)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one.fit(z)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    two.fit(z)
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))


def test_fewer_latents_than_components_are_drawn_as_they_are() -> None:
    z = torch.tensor([[0.0, 5.0], [7.0, -1.0]])
    m = Mixture(5, 2)
    m.fit(z)
    drawn = m.sample(Noise(0, range(100)))
    assert float((drawn[:, None] - z).norm(dim=2).min(1).values.max()) < 0.01
    assert float(m.weights[2:].sum()) == 0


def test_an_unfitted_density_is_the_standard_normal() -> None:
    z = Mixture(3, 4).sample(Noise(0, range(20_000)))
    torch.testing.assert_close(torch.cov(z.T), torch.eye(4), atol=0.04, rtol=0)


# --- the family ----------------------------------------------------------------------------------


def test_images_are_encoded_in_their_range_and_in_order() -> None:
    x = torch.randint(0, 256, (2500, 1, 2, 2)).to(torch.uint8)
    z = encode_all(lambda part: part.flatten(1), x)
    torch.testing.assert_close(z, x.flatten(1) / 127.5 - 1)


def test_samples_follow_the_density_that_is_asked_for() -> None:
    m = make(d=2, components=3)
    x = torch.randint(0, 256, (300, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    m.eval().finish(x.to(torch.uint8))
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for density in ("normal", "gaussian", "mixture"):
        m.sample(Unconditional(), Noise(0, range(5000)), density=density)
    z = m.encoder(x / 127.5 - 1).detach()
    assert float(z.std()) < 0.7  # far enough from N(0, I) to tell them apart
    torch.testing.assert_close(seen[0].std(), torch.tensor(1.0), atol=0.03, rtol=0)
    for drawn in seen[1:]:
        torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(torch.cov(drawn.T), torch.cov(z.T), atol=0.02, rtol=0.1)
    # alike in mean and covariance, but not the same
    assert torch.equal(seen[1], m.gaussian.sample(Noise(0, range(5000))))
    assert torch.equal(seen[2], m.mixture.sample(Noise(0, range(5000))))
    assert not torch.allclose(seen[1], seen[2], atol=1e-2)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (28, 1), (32, 3)])
def test_sizes(size: int, channels: int) -> None:
    m = make(size, channels, channels=4, d=6)
    assert m.encoder(torch.zeros(2, channels, size, size)).shape == (2, 6)
    x = m.sample(Unconditional(), Noise(0, range(2)))
    assert x.shape == (2, channels, size, size) and x.isfinite().all()
