"""Diffusion as stochastic differential equations: marginals, samplers, and the family."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from mixture_oracle import THREE
from pydantic import ValidationError
from steps import Losses, learned
from torch import Tensor

from baselines._nn import diffusion, sde
from baselines.diffusion.score_sde import ScoreSDE
from genbench.api import DataSpec, Noise, Unconditional, count_nfe

MU, S = 0.3, 0.5  # of Gaussian data
EQUATIONS: dict[str, sde.SDE] = {"vp": sde.VP(), "subvp": sde.SubVP(), "ve": sde.VE(0.01, 5.0)}
every_equation = pytest.mark.parametrize("name", list(EQUATIONS))


def make(**config: Any) -> ScoreSDE:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    return ScoreSDE(ScoreSDE.Config(**small), DataSpec("any", 1, 8))


def gaussian(name: str) -> sde.Epsilon:
    """The expected noise where the data is N(MU, S^2)."""
    equation = EQUATIONS[name]

    def epsilon(x: Tensor, t: float) -> Tensor:
        a, s = float(equation.a(t)), float(equation.s(t))
        return s * (x - a * MU) / (a**2 * S**2 + s**2)

    return epsilon


def mixed(name: str) -> sde.Epsilon:
    """The same for the mixture."""
    equation = EQUATIONS[name]
    return lambda x, t: THREE.epsilon(x, float(equation.a(t)), float(equation.s(t)))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


# --- the equations -------------------------------------------------------------------------------


def test_their_ends() -> None:
    vp, subvp, ve = EQUATIONS.values()
    assert float(vp.a(1.0)) ** 2 == pytest.approx(4.31857e-5, rel=1e-5)  # in 1000 steps 4.03583e-5
    assert float(vp.a(1.0)) ** 2 + float(vp.s(1.0)) ** 2 == pytest.approx(1, rel=1e-12)
    assert (float(vp.a(0.0)), float(vp.s(0.0)), float(subvp.s(0.0))) == (1, 0, 0)
    assert float(subvp.s(0.4)) == pytest.approx(1 - float(subvp.a(0.4)) ** 2, rel=1e-12)
    assert (float(ve.a(0.7)), float(ve.s(0.0))) == (1, 0.01)
    assert float(ve.s(1.0)) == pytest.approx(5)
    assert float(ve.s(0.5)) == pytest.approx(math.sqrt(0.05))  # geometric
    assert [e.prior for e in EQUATIONS.values()] == [1, 1, 5]


def test_vp_is_ddpms_chain_in_continuous_time() -> None:
    table, vp = diffusion.linear_alpha_bar(1000), sde.VP()
    for k in (100, 300, 600):
        assert float(vp.a((k + 1) / 1000)) ** 2 == pytest.approx(float(table[k]), rel=0.02)


@every_equation
@pytest.mark.parametrize("end", [0.3, 1.0])
def test_simulated_forward_they_have_the_stated_marginals(name: str, end: float) -> None:
    """The moments of Euler-Maruyama's steps, which are those of infinitely many paths."""
    equation, n = EQUATIONS[name], 20_000
    t = (torch.arange(n, dtype=torch.float64) + 0.5) * end / n
    h = end / n
    # VE begins with its least noise
    a, variance = 1.0, float(equation.s(0.0)) ** 2
    for c, g2 in zip(equation.c(t).tolist(), equation.g2(t).tolist(), strict=True):
        a, variance = a * (1 + c * h), variance * (1 + c * h) ** 2 + g2 * h
    assert a == pytest.approx(float(equation.a(end)), rel=0.01)
    assert math.sqrt(variance) == pytest.approx(float(equation.s(end)), rel=0.002)


@every_equation
@pytest.mark.parametrize("t", [1e-3, 0.02, 0.5, 1.0])
def test_the_time_of_a_noise_level(name: str, t: float) -> None:
    equation = EQUATIONS[name]
    assert equation.time(equation.sigma(t)) == pytest.approx(t, rel=1e-8)


def test_the_times_of_sampling() -> None:
    assert sde.VP().times(1) == [1.0]
    assert sde.VP().times(4) == pytest.approx([1, 0.667, 0.334, 0.001])
    assert sde.VE().times(3) == pytest.approx([1, 0.500005, 1e-5])


# --- the probability flow ------------------------------------------------------------------------


@every_equation
def test_the_flow_of_gaussian_data(name: str) -> None:
    equation = EQUATIONS[name]
    x = equation.prior * column(-1.0, 0.0, 2.0)
    a, s = float(equation.a(1.0)), float(equation.s(1.0))
    exact = MU + S / math.sqrt(a**2 * S**2 + s**2) * (x - a * MU)

    def error(steps: int) -> float:
        return (sde.flow(equation, gaussian(name), x, steps) - exact).abs().max().item()

    assert error(20) > 4 * error(50) > 12 * error(100)
    assert error(400) < 3e-4  # the last step, from sigma = 0.01 to 0, is of order 1


@every_equation
def test_the_flow_of_the_mixture_is_that_of_its_differential_equation(name: str) -> None:
    """dx/dt = c x - g^2 score / 2, by SciPy's solver and with the score of the density itself."""
    integrate = pytest.importorskip("scipy.integrate")
    equation, n = EQUATIONS[name], 6
    x = equation.prior * Noise(0, range(n)).normal(2, dtype=torch.float64)

    def slope(t: float, flat: Any) -> Any:
        y = torch.from_numpy(flat.reshape(n, 2))
        score = THREE.score(y, float(equation.a(t)), float(equation.s(t)))
        d = float(equation.c(t)) * y - float(equation.g2(t)) / 2 * score
        return d.numpy().reshape(-1)

    flat = x.numpy().reshape(-1)
    solved = integrate.solve_ivp(
        slope, (1.0, equation.eps), flat, method="LSODA", rtol=1e-7, atol=1e-7
    ).y[:, -1]
    y = torch.from_numpy(solved.reshape(n, 2))
    a, s = float(equation.a(equation.eps)), float(equation.s(equation.eps))
    ours = sde.flow(equation, mixed(name), x, 600)
    torch.testing.assert_close(ours, THREE.x_0(y, a, s), atol=3e-3, rtol=0)


# --- predictor and corrector ---------------------------------------------------------------------


class OneDraw:
    """Noise in which row k + 2 has a 1 in draw k and all else is 0."""

    def __init__(self, rows: int) -> None:
        self.rows, self.draws = rows, 0

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        z = torch.zeros(self.rows, *shape, dtype=dtype)
        z[2 + self.draws] = 1
        self.draws += 1
        return z


def moments(name: str, steps: int, **options: Any) -> tuple[float, float, int]:
    """Mean and std of what is made of the prior, exactly, and the number of draws.

    Where the data is Gaussian every step is affine in x and in its draw, so the responses to unit
    inputs (row 0: none, row 1: x, the others: one draw each) are the whole distribution.
    """
    equation = EQUATIONS[name]
    corrections = options.get("corrections", 1)
    x = torch.zeros(steps * (1 + corrections) + 2, 1, dtype=torch.float64)
    x[1] = equation.prior
    noise = OneDraw(len(x))
    y = sde.predictor_corrector(equation, gaussian(name), x, noise, steps, **options)[:, 0]
    return y[0].item(), (y[1:] - y[0]).square().sum().sqrt().item(), noise.draws


@every_equation
@pytest.mark.parametrize("predictor", ["reverse_diffusion", "euler_maruyama"])
@pytest.mark.parametrize("corrections", [0, 1])
def test_gaussian_data_is_reached_the_better_the_more_steps(
    name: str, predictor: str, corrections: int
) -> None:
    errors = []
    for steps in (100, 400):
        mean, std, draws = moments(name, steps, predictor=predictor, corrections=corrections)
        assert draws == steps * (1 + corrections) - 1  # none at the last step
        assert mean == pytest.approx(MU, abs=0.005)
        errors.append(abs(std - S))
    assert errors[1] < 0.005
    assert errors[1] < errors[0] + 1e-4


def test_langevins_steps_keep_the_distribution() -> None:
    """Many small ones alone, at one time, lead to N(a mu, a^2 S^2 + s^2) from anywhere."""
    equation = sde.VE(0.01, 5.0)
    equation.times = lambda steps: [0.6]  # type: ignore[method-assign]
    s, rows = float(equation.s(0.6)), 4002
    x = torch.full((rows, 1), 3.0, dtype=torch.float64)

    seen: list[Tensor] = []

    def epsilon(x: Tensor, t: float) -> Tensor:
        seen.append(x)
        return s * (x - MU) / (S**2 + s**2)

    noise = OneDraw(rows)
    sde.predictor_corrector(equation, epsilon, x, noise, 1, corrections=4000, snr=0.08)
    y = seen[-1][:, 0]
    assert y[0].item() == pytest.approx(MU, abs=1e-6)
    std = (y[2:] - y[0]).square().sum().sqrt().item()
    assert std == pytest.approx(math.hypot(S, s), rel=0.005)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_the_size_of_langevins_steps(name: str) -> None:
    equation, x = EQUATIONS[name], column(0.4)
    equation = type(equation)()
    equation.times = lambda steps: [0.5]  # type: ignore[method-assign]
    seen: list[float] = []

    def epsilon(x: Tensor, t: float) -> Tensor:
        seen.append(x.item())
        return torch.ones_like(x)

    sde.predictor_corrector(equation, epsilon, x, Noise(0, [0]), 1, snr=0.1)
    z = Noise(0, [0]).normal(1, dtype=torch.float64).item()
    s = float(equation.s(0.5))
    alpha = 1 - (0.1 + 0.5 * 19.9) / 1000 if name == "vp" else 1.0
    e = 2 * alpha * (0.1 * s) ** 2
    assert seen == pytest.approx([0.4, 0.4 - e / s + math.sqrt(2 * e) * z], rel=1e-12)


def test_diffusers_makes_the_same_predictor_steps() -> None:
    diffusers = pytest.importorskip("diffusers", reason="the peer of the sampler is not installed")
    n = 12
    # its times are rounded down to i / (n - 1): sampling_eps lifts them above
    peer = diffusers.ScoreSdeVeScheduler(n, sigma_min=0.01, sigma_max=5.0, sampling_eps=1e-3)
    peer.set_timesteps(n)
    peer.set_sigmas(n)
    equation = sde.VE(0.01, 5.0)
    times = [*(i / (n - 1) for i in range(n - 1, 0, -1)), 1e-12]
    equation.times = lambda steps: times  # type: ignore[method-assign]

    def epsilon(x: Tensor, t: float) -> Tensor:
        return torch.tanh(x + math.sin(3 * t))

    x = 5 * Noise(0, range(4)).normal(1, 3, 3)
    generator, theirs = torch.Generator().manual_seed(1), x
    for t, time in zip(peer.timesteps, times, strict=True):
        score = -epsilon(theirs, time) / float(equation.s(time))
        made = peer.step_pred(score, t, theirs, generator=generator)
        theirs = made.prev_sample

    class Same:
        generator = torch.Generator().manual_seed(1)

        def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
            return torch.randn((4, *shape), generator=self.generator, dtype=dtype)

    ours = sde.predictor_corrector(equation, epsilon, x, Same(), n, corrections=0)
    torch.testing.assert_close(ours, made.prev_sample_mean, atol=2e-4, rtol=0)


@every_equation
@pytest.mark.parametrize("sampler", ["flow", "predictor", "corrected", "euler_maruyama"])
def test_a_mixture_gets_its_weights_and_moments(name: str, sampler: str) -> None:
    equation, n = EQUATIONS[name], 2000
    noise = Noise(0, range(n))
    x = equation.prior * noise.normal(2, dtype=torch.float64)
    if sampler == "flow":
        y = sde.flow(equation, mixed(name), x, 100)
    else:
        options: dict[str, Any] = {"corrections": int(sampler == "corrected")}
        if sampler == "euler_maruyama":
            options["predictor"] = sampler
        y = sde.predictor_corrector(equation, mixed(name), x, noise, 300, **options)
    shares, slack = THREE.shares(y), 0.03 if name == "ve" else 0.0  # its prior has no mean
    torch.testing.assert_close(shares, THREE.weights, atol=4 * 0.5 / n**0.5 + slack, rtol=0)
    torch.testing.assert_close(y.mean(0), THREE.mean, atol=0.05 + slack, rtol=0)
    torch.testing.assert_close(y.T.cov(), THREE.cov, atol=0.05, rtol=0)
    k = THREE.responsibilities(y, 1.0, 0.0).argmax(1)
    width = ((y - THREE.means[k]) / THREE.stds[k, None]).square().mean().item()
    assert width == pytest.approx(1, abs=0.15)


def test_few_steps_stay_finite() -> None:
    for name, equation in EQUATIONS.items():
        x = equation.prior * Noise(0, range(50)).normal(2, dtype=torch.float64)
        for steps in (1, 2, 5):
            y = sde.predictor_corrector(equation, mixed(name), x, Noise(1, range(50)), steps)
            z = sde.flow(equation, mixed(name), x, steps)
            assert y.isfinite().all() and z.isfinite().all()
            assert steps == 2 or max(y.abs().max(), z.abs().max()) < 20  # two jump to t = eps


# --- the family ----------------------------------------------------------------------------------


@every_equation
def test_an_untrained_network_has_the_loss_1(name: str) -> None:
    m, update = make(sde=name), Losses()
    x = Noise(0, range(500)).uniform(1, 8, 8) * 2 - 1
    m.step(x, Unconditional(), Noise(1, range(500)), update)
    assert update.loss == pytest.approx(1.0, abs=5 * math.sqrt(2 / x.numel()))


@every_equation
def test_the_network_sees_the_forward_process_at_the_size_of_images(name: str) -> None:
    m, n = make(sde=name), 4000
    seen: list[tuple[Tensor, Tensor]] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args))
    m.step(torch.full((n, 1, 8, 8), 0.5), Unconditional(), Noise(2, range(n)), Losses())
    shown, t = seen[0][0].double(), (seen[0][1] / 999).double()
    assert t.mean().item() == pytest.approx(0.5, abs=5 * 0.29 / math.sqrt(n))
    assert 1e-5 <= t.min() < 0.01 and 0.99 < t.max() <= 1.0001
    a, s = (c[:, None, None, None] for c in (m.sde.a(t), m.sde.s(t)))
    z = ((a**2 + s**2).sqrt() * shown - 0.5 * a) / s
    later = t > 0.05  # before, float32 leaves little of the noise
    assert z[later].mean().item() == pytest.approx(0, abs=0.02)
    assert z[later].std().item() == pytest.approx(1, abs=0.02)
    assert shown.std() < 1.5


@pytest.mark.parametrize(
    ("options", "nfe"),
    [
        ({}, 12),
        ({"corrections": 0}, 6),
        ({"corrections": 2}, 18),
        ({"sampler": "ode"}, 11),
    ],
)
def test_evaluations_are_counted(options: dict[str, Any], nfe: int) -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as found:
        m.sample(Unconditional(), Noise(0, range(3)), steps=6, **options)
    assert found.per_sample(3) == nfe


@every_equation
@pytest.mark.parametrize("sampler", ["pc", "ode"])
def test_sampling_starts_from_the_prior(name: str, sampler: str) -> None:
    m = make(sde=name).eval()
    seen: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        m.sample(Unconditional(), Noise(0, range(3)), sampler=sampler, steps=3)
    z = Noise(0, range(3)).normal(1, 8, 8)
    x, norm = m.sde.prior * z, float((m.sde.a(1.0) ** 2 + m.sde.s(1.0) ** 2).sqrt())
    torch.testing.assert_close(seen[0], x / norm, rtol=1e-5, atol=1e-5)


@every_equation
def test_options_reach_the_sampler(name: str) -> None:
    m = make(sde=name).eval()
    for p in m.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    given: list[dict[str, Any]] = [{}, {"sampler": "ode"}, {"predictor": "euler_maruyama"}]
    given += [{"corrections": 0}, {"snr": 0.3}]
    with torch.no_grad():
        found = [m.sample(Unconditional(), Noise(0, range(4)), steps=5, **o) for o in given]
    for i, x in enumerate(found):
        assert all((x - y).abs().max() > 1e-3 for y in found[:i])


def test_settings_reach_the_equation() -> None:
    assert make(sde="ve").sde.prior == 16  # 2 sqrt(64)
    assert make(sde="ve", sigma_max=7.0).sde.prior == 7
    assert float(make(sde="ve", sigma_min=0.1).sde.s(0.0)) == pytest.approx(0.1)
    for name in ("vp", "subvp"):
        m = make(sde=name, beta_min=0.2, beta_max=10.0)
        assert float(m.sde.a(1.0)) == pytest.approx(math.exp(-(0.2 + 4.9) / 2))
    assert [type(make(sde=name).sde) for name in EQUATIONS] == [sde.VP, sde.SubVP, sde.VE]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (ScoreSDE.Config, {"beta_min": 30.0}, "beta_min=30 must be below beta_max=20"),
        (ScoreSDE.Config, {"sigma_max": 0.001}, "sigma_min=0.01 must be below sigma_max=0.001"),
        (ScoreSDE.Config, {"sde": "edm"}, "'vp', 'subvp' or 've'"),
        (ScoreSDE.Options, {"sampler": "ode", "snr": 0.1}, "'ode' has none"),
        (ScoreSDE.Options, {"steps": 0}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**given)


@every_equation
def test_it_learns_one_image(name: str) -> None:
    assert learned(make(sde=name, hidden=64, lr=4e-3), sampler="ode", steps=10) > 0.8


def test_times_are_exact_whatever_the_type() -> None:
    for equation in EQUATIONS.values():
        t = torch.tensor([0.25, 0.5])
        for function in (equation.a, equation.s, equation.c, equation.g2):
            assert function(t).dtype == torch.float64
            np.testing.assert_allclose(function(t)[1].item(), function(0.5).item(), rtol=1e-14)
