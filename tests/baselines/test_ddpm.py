"""DDPM and DDIM against closed forms: exact denoisers of Gaussian data, posterior identities."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from baselines._nn import diffusion
from baselines._nn.blocks import UNet
from baselines.diffusion.ddpm import DDPM
from genbench.api import DataSpec, Noise, Unconditional, count_nfe
from genbench.loop import Stepper

LINEAR = diffusion.linear_alpha_bar(1000)


def make(size: int = 8, channels: int = 1, **config: Any) -> DDPM:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    return DDPM(DDPM.Config(**small), DataSpec("any", channels, size))


# --- schedule --------------------------------------------------------------------------------


def test_linear_schedule_has_the_published_values() -> None:
    assert LINEAR.dtype == torch.float64
    assert LINEAR[0].item() == pytest.approx(0.9999, rel=1e-12)
    assert LINEAR[499].item() == pytest.approx(0.0785872, rel=1e-5)
    assert LINEAR[999].item() == pytest.approx(4.03583e-5, rel=1e-5)


@pytest.mark.parametrize(("T", "last"), [(200, 3.03e-5), (100, 2.04e-5), (50, 7.7e-6)])
def test_a_short_chain_still_ends_in_noise(T: int, last: float) -> None:
    assert diffusion.linear_alpha_bar(T)[-1].item() == pytest.approx(last, rel=1e-2)


def test_a_chain_too_short_for_the_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 21 steps, not 20"):
        diffusion.linear_alpha_bar(20)
    assert (diffusion.linear_alpha_bar(21) > 0).all()


def test_trailing_steps() -> None:
    assert diffusion.trailing(1000, 10) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert diffusion.trailing(1000, 1000) == list(range(999, -1, -1))
    uneven = diffusion.trailing(1000, 300)
    assert len(set(uneven)) == 300 and uneven[0] == 999 and uneven == sorted(uneven)[::-1]
    with pytest.raises(ValueError, match="1001 steps: the model has 1 to 1000"):
        diffusion.trailing(1000, 1001)


# --- samplers on data N(mu, s^2), where the best network is known -----------------------------

MU, S = 0.3, 0.5


def oracle(x: Tensor, t: int) -> Tensor:
    """E[epsilon | x_t] for data N(MU, S^2)."""
    a = LINEAR[t].item()
    return math.sqrt(1 - a) * (x - math.sqrt(a) * MU) / (a * S**2 + 1 - a)


class OneDraw:
    """Noise in which row k + 2 has a 1 in draw k and all else is 0."""

    def __init__(self, rows: int) -> None:
        self.rows, self.draws = rows, 0

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        z = torch.zeros(self.rows, *shape, dtype=dtype)
        z[2 + self.draws] = 1
        self.draws += 1
        return z


def exact_moments(
    sampler: Callable[..., Tensor], steps: int, **options: Any
) -> tuple[float, float, int]:
    """Mean and std over all noise of what the sampler returns, and its number of draws.

    With the oracle every sampler is affine in x_T and in each draw, so its responses to unit
    inputs (row 0: none, row 1: x_T, the others: one draw each) are its whole distribution.
    """
    x = torch.zeros(steps + 2, 1, dtype=torch.float64)
    x[1] = 1
    noise = OneDraw(len(x))
    timesteps = diffusion.trailing(1000, steps)
    y = sampler(oracle, x, timesteps, LINEAR, noise, clip=False, **options)[:, 0]
    return y[0].item(), (y[1:] - y[0]).square().sum().sqrt().item(), noise.draws


TABLE = {
    5: (0.26254, 0.26041, 0.24831),
    10: (0.36995, 0.36358, 0.33348),
    20: (0.43137, 0.42368, 0.39151),
    50: (0.47140, 0.46577, 0.44410),
    100: (0.48545, 0.48180, 0.46822),
    1000: (0.49850, 0.49798, 0.49611),
}


@pytest.mark.parametrize("steps", list(TABLE))
@pytest.mark.parametrize(("column", "eta"), [(0, 0.0), (1, 0.5), (2, 1.0)])
def test_ddim_on_gaussian_data(steps: int, column: int, eta: float) -> None:
    _, std, draws = exact_moments(diffusion.ddim, steps, eta=eta)
    assert std == pytest.approx(TABLE[steps][column], abs=1e-5)
    assert draws == (steps - 1 if eta else 0)


@pytest.mark.parametrize("steps", list(TABLE))
def test_ddpm_on_gaussian_data(steps: int) -> None:
    mean, std, draws = exact_moments(diffusion.ddpm, steps)
    assert std == pytest.approx(TABLE[steps][2], abs=1e-5)
    assert mean == pytest.approx(MU, abs=1e-3)
    assert draws == steps - 1


def test_ddim_is_a_first_order_solver() -> None:
    x_T = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    a = LINEAR[-1].item()
    exact = MU + S * (x_T - math.sqrt(a) * MU) / math.sqrt(a * S**2 + 1 - a)

    def error(steps: int) -> float:
        timesteps = diffusion.trailing(1000, steps)
        x = diffusion.ddim(oracle, x_T, timesteps, LINEAR, Noise(0, range(9)), clip=False)
        return (x - exact).square().mean().sqrt().item()

    assert 1.8 < error(10) / error(20) < 2.2


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("steps", [7, 1000])
def test_ddim_with_eta_1_is_ddpm(steps: int, clip: bool) -> None:
    def epsilon(x: Tensor, t: int) -> Tensor:  # large enough that clipping matters
        return torch.tanh(2 * x + 1e-3 * t)

    timesteps = diffusion.trailing(1000, steps)
    x_T = Noise(0, range(50)).normal(1, 4, 4, dtype=torch.float64)
    one = diffusion.ddpm(epsilon, x_T, timesteps, LINEAR, Noise(1, range(50)), clip=clip)
    two = diffusion.ddim(epsilon, x_T, timesteps, LINEAR, Noise(1, range(50)), eta=1.0, clip=clip)
    torch.testing.assert_close(one, two, atol=1e-8, rtol=1e-8)


def test_clipping_changes_x_0_and_epsilon_together() -> None:
    x_t = torch.tensor([[3.0], [0.1]], dtype=torch.float64)
    a = LINEAR[500].item()
    x_0, e = diffusion.predict(lambda x, t: -torch.ones_like(x), x_t, 500, a, clip=True)
    assert x_0[0] == 1.0
    torch.testing.assert_close(math.sqrt(a) * x_0 + math.sqrt(1 - a) * e, x_t)


# --- one step --------------------------------------------------------------------------------


class Unit:
    """Noise of ones."""

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.ones(1, *shape, dtype=dtype)


class Zero:
    """Noise of zeros."""

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(1, *shape, dtype=dtype)


def one_step(x_0: float, x_t: float, noise: Any, t: int = 500, p: int = 499) -> float:
    """x_p of DDPM at a known x_0: run from t to p, then stop at p by reading its x."""
    seen: list[float] = []

    def epsilon(x: Tensor, step: int) -> Tensor:
        seen.append(x.item())
        a = LINEAR[step].item()
        return (x - math.sqrt(a) * x_0) / math.sqrt(1 - a)

    x = torch.tensor([[x_t]], dtype=torch.float64)
    final = diffusion.ddpm(epsilon, x, [t, p], LINEAR, noise, clip=False)
    assert final.item() == pytest.approx(x_0, abs=1e-9)  # the last step ends at x_0
    return seen[1]


def test_posterior_has_the_published_coefficients() -> None:
    assert one_step(1.0, 0.0, Zero()) == pytest.approx(0.00305806, abs=1e-8)
    assert one_step(0.0, 1.0, Zero()) == pytest.approx(0.99410435, abs=1e-8)
    assert one_step(0.0, 0.0, Unit()) ** 2 == pytest.approx(0.01005134, abs=1e-8)
    assert one_step(0.0, 0.0, Unit(), t=1, p=0) ** 2 == pytest.approx(5.45319e-5, rel=1e-5)


@pytest.mark.parametrize(("t", "p"), [(500, 499), (999, 899), (99, 0)])
def test_posterior_mean_of_a_noiseless_x_t_is_noiseless(t: int, p: int) -> None:
    x_t = math.sqrt(LINEAR[t].item()) * 0.7
    assert one_step(0.7, x_t, Zero(), t, p) == pytest.approx(math.sqrt(LINEAR[p].item()) * 0.7)


@pytest.mark.parametrize(("t", "p"), [(500, 499), (999, 899), (99, 0)])
def test_posterior_keeps_the_forward_variance(t: int, p: int) -> None:
    """x_t ~ q(x_t|x_0) and a posterior step give x_p ~ q(x_p|x_0)."""
    gain = one_step(0.0, 1.0, Zero(), t, p)
    added = one_step(0.0, 0.0, Unit(), t, p)
    variance = gain**2 * (1 - LINEAR[t].item()) + added**2
    assert variance == pytest.approx(1 - LINEAR[p].item(), rel=1e-9)


# --- the family --------------------------------------------------------------------------------


class Keep:
    """An `update` that keeps the loss."""

    progress = 0.0

    def __call__(self, name: str, loss: Tensor) -> None:
        self.loss = loss.detach().item()


@pytest.mark.parametrize("config", [{}, {"net": "unet", "attention": (4,)}])
def test_an_untrained_network_answers_zero(config: dict[str, Any]) -> None:
    m, update = make(**config), Keep()
    x = Noise(0, range(500)).uniform(1, 8, 8) * 2 - 1
    m.step(x, Unconditional(), Noise(1, range(500)), update)
    assert update.loss == pytest.approx(1.0, abs=5 * math.sqrt(2 / x.numel()))
    assert not m.epsilon(x[:2], torch.tensor([0, 999])).any()


def test_the_network_sees_the_forward_process() -> None:
    m, update = make(), Keep()
    seen: list[tuple[Tensor, Tensor]] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args))
    n = 4000
    m.step(torch.full((n, 1, 8, 8), 0.5), Unconditional(), Noise(2, range(n)), update)
    x_t, t = seen[0]
    a = m.alpha_bar[t.long()]
    assert set(range(0, 1000, 100)) <= {100 * (int(v) // 100) for v in t}
    assert t.mean().item() == pytest.approx(499.5, abs=5 * 289 / math.sqrt(n))
    assert t.min() < 5 and t.max() > 994
    z = (x_t.double() - 0.5 * a.sqrt()[:, None, None, None]) / (1 - a).sqrt()[:, None, None, None]
    assert z.mean().item() == pytest.approx(0, abs=5 / math.sqrt(z.numel()))
    assert z.var().item() == pytest.approx(1, abs=5 * math.sqrt(2 / z.numel()))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("steps", [1, 4, 50])
def test_evaluations_are_counted(sampler: str, steps: int) -> None:
    m = make(T=50).eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(3)), sampler=sampler, steps=steps)
    assert nfe.per_sample(3) == steps
    assert nfe.params == sum(p.numel() for p in m.net.parameters())


def test_only_stochastic_samplers_use_more_noise() -> None:
    m = make(T=50).eval()

    def draws(**options: Any) -> int:
        noise = Noise(0, range(2))
        m.sample(Unconditional(), noise, steps=10, **options)
        return noise._draw

    with torch.no_grad():
        assert draws(sampler="ddpm") == draws(sampler="ddim", eta=0.5) == 10
        assert draws(sampler="ddim") == 1


def test_options() -> None:
    m = make(T=50).eval()
    for bad in ({"steps": 0}, {"eta": 1.5, "sampler": "ddim"}, {"eta": 0.5}, {"sampler": "dimd"}):
        with pytest.raises(ValidationError):
            DDPM.Options(**bad)
    with pytest.raises(ValueError, match="51 steps: the model has 1 to 50"):
        m.sample(Unconditional(), Noise(0, range(1)), steps=51)


def test_it_learns_one_image() -> None:
    """Data is one image: the best network knows the noise, and DDIM ends at the image."""
    m = make(hidden=256, depth=2, lr=2e-3).train()
    stepper = Stepper(m, DDPM.Config())
    image = torch.where(Noise(3, [0]).uniform(1, 8, 8) < 0.5, -0.5, 0.5)
    for i in range(150):
        m.step(image.expand(64, -1, -1, -1), Unconditional(), Noise(i, range(64)), stepper)
    with torch.no_grad():
        x = m.eval().sample(Unconditional(), Noise(0, range(16)), sampler="ddim", steps=25)
    right = ((x > 0) == (image > 0)).float().mean().item()  # 0.5 by chance
    assert right > 0.85


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize(("mults", "blocks"), [((1, 2), 1), ((1, 2, 2), 2)])
def test_the_unet_uses_every_skip_and_keeps_the_shape(
    patch: int, mults: tuple[int, ...], blocks: int
) -> None:
    net = UNet((3, 16, 16), 8, mults, blocks, attention=(8,), patch=patch)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    x = Noise(0, range(2)).normal(3, 16, 16).requires_grad_()
    y = net(x, torch.tensor([3.0, 700.0]))
    assert y.shape == x.shape
    y[0].sum().backward()
    assert x.grad is not None and not x.grad[1].any() and x.grad[0].abs().min() > 0
    pairs = itertools.combinations((0.0, 1.0, 30.0, 999.0), 2)
    same = x.detach()[:1]
    for a, b in pairs:  # every time is told apart
        one, two = (net(same, torch.tensor([t])) for t in (a, b))
        assert (one - two).abs().max() > 1e-6


def test_a_side_that_the_unet_cannot_halve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patch 2 and 3 levels .* multiple of 8, not 28"):
        make(28, patch=2, mults=(1, 2, 2))
    assert make(28, patch=2).net is not None
