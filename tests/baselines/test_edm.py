"""EDM's scaling, levels and samplers against closed forms, and the family that uses them."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mixture_oracle import THREE
from pydantic import ValidationError
from steps import Losses, learned
from torch import Tensor

from baselines._nn import diffusion, karras, samplers
from baselines.diffusion.edm import EDM
from genbench.api import DataSpec, Noise, Unconditional, count_nfe

MU, S = 0.3, 0.5  # of Gaussian data
SIGMA = torch.logspace(-3, 2, 11, dtype=torch.float64)
SAMPLERS: dict[str, Callable[..., Tensor]] = {"heun": karras.heun, "euler": karras.euler}


def make(size: int = 8, **config: Any) -> EDM:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    return EDM(EDM.Config(**small), DataSpec("any", 1, size))


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The best denoiser of N(MU, S^2)."""
    return (S**2 * x + sigma**2 * MU) / (S**2 + sigma**2)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


# --- scaling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sd", [0.5, 0.75, 2.0])
def test_the_scaling_keeps_variances(sd: float) -> None:
    c_skip, c_out, c_in = karras.coefficients(SIGMA, sd)
    ones = torch.ones_like(SIGMA)
    torch.testing.assert_close(c_in**2 * (sd**2 + SIGMA**2), ones)  # of what the network sees
    torch.testing.assert_close(c_skip**2 * (sd**2 + SIGMA**2) + c_out**2, sd**2 * ones)
    # of what it should answer, (x_0 - c_skip x) / c_out
    target = ((1 - c_skip) ** 2 * sd**2 + c_skip**2 * SIGMA**2) / c_out**2
    torch.testing.assert_close(target, ones)


def test_half_way_the_scaling_is_half() -> None:
    c_skip, c_out, c_in = karras.coefficients(torch.tensor([0.5]), 0.5)
    assert (c_skip.item(), c_out.item(), c_in.item()) == pytest.approx(
        (0.5, 0.5 / math.sqrt(2), math.sqrt(2)), rel=1e-6
    )


def test_the_time_spans_0_to_1000() -> None:
    t = karras.noise_time(torch.tensor([0.002, 80.0, 0.4]))
    torch.testing.assert_close(t, torch.tensor([0.0, 1000.0, 500.0]), atol=1e-3, rtol=0)


def test_what_the_network_sees_and_answers_is_scaled() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def net(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return torch.full_like(x, 2.0).bfloat16()

    sigma, x = torch.tensor([0.1, 3.0]), torch.full((2, 1, 2, 2), 0.7)
    y = karras.precondition(net, x, sigma, 0.5)
    c_skip, c_out, c_in = karras.coefficients(sigma, 0.5)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y[:, 0, 0, 0], c_skip * 0.7 + c_out * 2)
    torch.testing.assert_close(seen[0][0][:, 0, 0, 0], c_in * 0.7)
    torch.testing.assert_close(seen[0][1], karras.noise_time(sigma))


def test_the_loss_weighs_by_one_over_c_out_squared() -> None:
    x, sigma = torch.zeros(400, 1, 8, 8), torch.full((400,), 0.7)
    loss = karras.denoising_loss(lambda y, s: y, x, sigma, Noise(0, range(400)), 0.5)
    expected = (0.7**2 + 0.5**2) / 0.5**2  # lambda sigma^2
    assert loss.item() == pytest.approx(expected, rel=5 * math.sqrt(2 / x.numel()))
    assert karras.denoising_loss(lambda y, s: x, x, sigma, Noise(0, range(400)), 0.5) == 0


def test_the_scale_of_images() -> None:
    x = (Noise(0, range(20)).uniform(3, 4, 4) * 256).to(torch.uint8)
    expected = (x.double() / 127.5 - 1).std(correction=0).item()
    assert karras.scale_of(x) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="all pixels of the images are equal"):
        karras.scale_of(torch.full((2, 1, 4, 4), 7, dtype=torch.uint8))


# --- levels --------------------------------------------------------------------------------------

EIGHTEEN = (80, 57.586, 40.786, 28.375, 19.353, 12.910, 8.401, 5.315, 3.257, 1.923, 1.088, 0.585,
            0.296, 0.140, 0.0599, 0.0229, 0.0075, 0.002, 0)  # fmt: skip


def test_the_levels_of_the_paper() -> None:
    assert karras.sigmas(18) == pytest.approx(EIGHTEEN, rel=4e-3, abs=5e-5)
    assert karras.sigmas(5) == pytest.approx((80, 17.53, 2.515, 0.1698, 0.002, 0), rel=5e-4)
    assert karras.sigmas(1) == [80.0, 0.0]
    assert karras.sigmas(3, 1.0, 2.0, rho=1.0, clean=False) == pytest.approx((2, 1.5, 1))


@pytest.mark.parametrize("steps", [2, 3, 18, 300])
def test_the_ends_of_the_levels_are_exact(steps: int) -> None:
    levels = karras.sigmas(steps)
    assert (len(levels), levels[0], levels[-2], levels[-1]) == (steps + 1, 80.0, 0.002, 0.0)
    assert sorted(levels, reverse=True) == levels


# --- samplers ------------------------------------------------------------------------------------


def error_and_std(name: str, steps: int) -> tuple[float, float]:
    """Root mean square error of the map of N(0, 80^2), and the std of what it makes.

    All steps are affine in x, so that two rows tell both.
    """
    x = column(0.0, 80.0)
    y = SAMPLERS[name](gaussian, x, karras.sigmas(steps))
    exact = MU + S * (x - MU) / math.sqrt(S**2 + 80**2)
    e = (y - exact)[:, 0]
    return math.hypot(e[0].item(), (e[1] - e[0]).item()), abs((y[1] - y[0]).item())


@pytest.mark.parametrize(
    ("steps", "error", "std"),
    [(10, 0.1096, 0.6088), (20, 0.0218, 0.5209), (40, 0.0049, 0.5040), (80, 0.0012, 0.5003)],
)
def test_heun_on_gaussian_data(steps: int, error: float, std: float) -> None:
    """Heun's method overshoots. The reference's std is that of 2000 points."""
    found = error_and_std("heun", steps)
    assert found[0] == pytest.approx(error, abs=3e-4)
    assert found[1] == pytest.approx(std, rel=2.5e-3)


def test_the_orders_of_heun_and_euler() -> None:
    for steps in (80, 160):
        heun, euler = (error_and_std(n, steps)[0] / error_and_std(n, 2 * steps)[0]
                       for n in ("heun", "euler"))  # fmt: skip
        assert 3.8 < heun < 4.4
        assert 1.9 < euler < 2.1


@pytest.mark.parametrize(
    ("nfe", "heun", "euler"), [(9, 0.757, 0.150), (35, 0.0276, 0.0400), (79, 0.0049, 0.0179)]
)
def test_at_equal_cost_euler_wins_only_at_few_evaluations(
    nfe: int, heun: float, euler: float
) -> None:
    assert error_and_std("heun", (nfe + 1) // 2)[0] == pytest.approx(heun, rel=0.02)
    assert error_and_std("euler", nfe)[0] == pytest.approx(euler, rel=0.02)


@pytest.mark.parametrize(("name", "other"), [("heun", samplers.heun), ("euler", samplers.ddim)])
def test_they_are_the_samplers_of_a_scaled_down_image(name: str, other: Any) -> None:
    """x / a at alpha_bar is x at sigma = s / a: DDPM's frame and this one are the same flow."""
    table = diffusion.linear_alpha_bar(1000)
    levels = diffusion.levels(diffusion.karras(12, table), table)

    def net(x: Tensor, sigma: float) -> Tensor:
        return torch.tanh(1.3 * x + math.sin(3 * sigma))

    x_T = Noise(0, range(6)).normal(3, dtype=torch.float64)
    theirs = other(lambda x, level: net(x / level.a, level.sigma), x_T, levels)
    ours = SAMPLERS[name](net, x_T / levels[0].a, [level.sigma for level in levels])
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


def test_diffusers_makes_the_same_steps_by_euler() -> None:
    diffusers = pytest.importorskip("diffusers", reason="the peer of the sampler is not installed")
    scheduler = diffusers.EDMEulerScheduler(sigma_data=0.6)
    scheduler.set_timesteps(12)

    def net(x: Tensor, t: Tensor) -> Tensor:
        return 1.5 * torch.tanh(1.3 * x + t[:, None, None, None] / 300)

    def time(sigma: Tensor) -> Tensor:
        return karras.noise_time(sigma.float().expand(4))

    z = Noise(0, range(4)).normal(1, 3, 3)
    theirs = 80 * z
    for i, t in enumerate(scheduler.timesteps):
        shown = scheduler.scale_model_input(theirs, t)
        theirs = scheduler.step(net(shown, time(scheduler.sigmas[i])), t, theirs).prev_sample
    levels = karras.sigmas(12)
    ours = karras.euler(
        lambda x, s: karras.precondition(net, x, torch.full((4,), s), 0.6), 80 * z, levels
    )
    torch.testing.assert_close(scheduler.sigmas.tolist(), levels, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_float32_is_enough() -> None:
    def net(x: Tensor, sigma: float) -> Tensor:
        return torch.tanh(x / (1 + sigma) + sigma / 9)

    x = 80 * Noise(0, range(20)).normal(5)
    for sampler in SAMPLERS.values():
        single = sampler(net, x, karras.sigmas(40))
        assert single.dtype == torch.float32
        double = sampler(net, x.double(), karras.sigmas(40))
        torch.testing.assert_close(single.double(), double, atol=2e-5, rtol=0)


# --- churn ---------------------------------------------------------------------------------------


def test_how_far_churn_raises_a_level() -> None:
    churn = karras.Churn(30.0, 0.01, 1.0)
    assert churn.gamma(0.5, 100) == pytest.approx(0.3)
    assert churn.gamma(0.5, 10) == pytest.approx(math.sqrt(2) - 1)  # noise is doubled at most
    assert churn.gamma(0.01, 100) == churn.gamma(1.0, 100) > 0
    assert churn.gamma(0.009, 100) == churn.gamma(1.1, 100) == 0


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_churn_adds_what_is_missing_to_the_raised_level(name: str) -> None:
    """With a constant denoiser all paths are straight lines to it."""
    x, z = column(2.0, -1.0), Noise(1, range(2)).normal(1, dtype=torch.float64)
    churn, levels = karras.Churn(0.4, scale=1.1), [5.0, 3.0]
    y = SAMPLERS[name](lambda x, s: torch.full_like(x, MU), x, levels, Noise(1, range(2)), churn)
    raised = 5.0 * 1.4
    start = x + 1.1 * math.sqrt(raised**2 - 25) * z
    torch.testing.assert_close(y, MU + 3 / raised * (start - MU), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_churn_needs_noise(name: str) -> None:
    with pytest.raises(ValueError, match="needs a source"):
        SAMPLERS[name](gaussian, column(1.0), karras.sigmas(4), None, karras.Churn(1.0))


@pytest.mark.parametrize(
    ("name", "steps", "churn"),
    [("heun", 40, 0.0), ("euler", 160, 0.0), ("heun", 60, 20.0), ("euler", 200, 20.0)],
)
def test_a_mixture_gets_its_weights_and_moments(name: str, steps: int, churn: float) -> None:
    n, noise = 2000, Noise(0, range(2000))
    x = 80 * noise.normal(2, dtype=torch.float64)
    levels = karras.sigmas(steps)
    given = karras.Churn(churn)
    y = SAMPLERS[name](lambda x, s: THREE.x_0(x, 1.0, s), x, levels, noise, given)
    torch.testing.assert_close(THREE.shares(y), THREE.weights, atol=4 * 0.5 / n**0.5, rtol=0)
    torch.testing.assert_close(y.mean(0), THREE.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(y.T.cov(), THREE.cov, atol=0.04, rtol=0)
    k = THREE.responsibilities(y, 1.0, 0.0).argmax(1)
    width = ((y - THREE.means[k]) / THREE.stds[k, None]).square().mean().item()
    assert width == pytest.approx(1, abs=0.1)


# --- the family ----------------------------------------------------------------------------------


def test_an_untrained_network_has_the_loss_1() -> None:
    m, update = make(sigma_data=0.6), Losses()
    x = 0.6 * Noise(0, range(2000)).normal(1, 8, 8)
    m.step(x, Unconditional(), Noise(1, range(2000)), update)
    assert update.loss == pytest.approx(1.0, abs=0.02)


def test_levels_of_training_are_log_normal() -> None:
    m, n = make(P_mean=-0.5, P_std=0.8), 4000
    times: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: times.append(args[1]))
    m.step(torch.zeros(n, 1, 8, 8), Unconditional(), Noise(2, range(n)), Losses())
    log_sigma = math.log(0.002) + times[0] / 1000 * math.log(80 / 0.002)
    assert log_sigma.mean().item() == pytest.approx(-0.5, abs=5 * 0.8 / n**0.5)
    assert log_sigma.std().item() == pytest.approx(0.8, abs=0.05)
    z = (log_sigma + 0.5) / 0.8
    assert (z.abs() < 1).float().mean().item() == pytest.approx(0.683, abs=0.04)


def test_the_scale_of_the_data_is_measured_unless_given() -> None:
    x = (Noise(0, range(20)).uniform(1, 8, 8) * 256).to(torch.uint8)
    measured, given = make(), make(sigma_data=0.5)
    before = measured.sigma_data
    for m in (measured, given):
        m.fit(x)
    assert measured.sigma_data is before and before.item() == pytest.approx(karras.scale_of(x))
    assert given.sigma_data == 0.5
    # and it is used: an untrained network answers c_skip x
    y = torch.ones(1, 1, 8, 8)
    c_skip = before**2 / (1 + before**2)
    torch.testing.assert_close(measured.denoise(y, torch.ones(1)), c_skip * y)


def test_sampling_starts_from_noise_of_the_highest_level() -> None:
    m = make().eval()
    seen: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        m.sample(Unconditional(), Noise(0, range(3)), steps=3, sigma_max=7.0)
    z = Noise(0, range(3)).normal(1, 8, 8)
    torch.testing.assert_close(seen[0], 7 * z / math.hypot(7, 0.5))


@pytest.mark.parametrize("steps", [1, 2, 18])
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_evaluations_are_counted(sampler: str, steps: int) -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(3)), sampler=sampler, steps=steps)
    assert nfe.per_sample(3) == (2 * steps - 1 if sampler == "heun" else steps)


def test_by_default_there_are_35_evaluations() -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(2)))
    assert nfe.per_sample(2) == 35


def test_options_reach_the_sampler() -> None:
    m = make().eval()
    for p in m.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    churn = {"S_churn": 4.0}
    given: list[dict[str, Any]] = [{}, {"sampler": "euler"}, {"rho": 3.0}, {"sigma_max": 20.0}]
    given += [{"sigma_min": 0.3}, churn, churn | {"S_noise": 1.2}, churn | {"S_max": 1.0}]
    given += [churn | {"S_min": 1.0}]
    with torch.no_grad():
        found = [m.sample(Unconditional(), Noise(0, range(4)), steps=6, **o) for o in given]
    for i, x in enumerate(found):
        assert all((x - y).abs().max() > 1e-3 for y in found[:i])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sigma_min": 90.0}, "sigma_min=90 must be below sigma_max=80"),
        ({"S_noise": 1.007}, "set S_churn"),
        ({"sampler": "ddim"}, "'heun' or 'euler'"),
        ({"steps": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EDM.Options(**given)


def test_it_learns_one_image() -> None:
    assert learned(make(hidden=64, lr=4e-3), steps=9) > 0.9
