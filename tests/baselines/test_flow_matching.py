"""Flow matching: the line from noise to data, its velocity, and three ways along it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mixture_oracle import THREE
from pydantic import ValidationError
from steps import Losses, learned
from torch import Tensor

from baselines.diffusion import flow_matching
from baselines.diffusion.flow_matching import FlowMatching
from genbench.api import DataSpec, Noise, Unconditional, count_nfe

MU, S = 0.3, 0.5  # of Gaussian data
SAMPLERS = flow_matching.SAMPLERS
every_sampler = pytest.mark.parametrize("name", list(SAMPLERS))


def make(**config: Any) -> FlowMatching:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    return FlowMatching(FlowMatching.Config(**small), DataSpec("any", 1, 8))


def gaussian(x: Tensor, t: float) -> Tensor:
    """The best velocity for N(MU, S^2)."""
    variance = t**2 * S**2 + (1 - t) ** 2
    return MU + (t * S**2 - (1 - t)) * (x - t * MU) / variance


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def smooth(x: Tensor, t: float) -> Tensor:
    return torch.tanh(1.3 * x + math.sin(3 * t) + 0.4)


# --- training ------------------------------------------------------------------------------------


def trained_on(x: float, n: int = 4000, **config: Any) -> tuple[Tensor, Tensor, float]:
    """x_t and t that the network is shown, and the loss if it answers x - x_0."""
    m, update = make(**config), Losses()
    seen: list[tuple[Tensor, Tensor]] = []

    def answer(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append((x_t, t))
        t = t[:, None, None, None].double()
        return (x - (x_t.double() - t * x) / (1 - t)).float()

    m.velocity = answer  # type: ignore[method-assign]
    m.step(torch.full((n, 1, 8, 8), x), Unconditional(), Noise(2, range(n)), update)
    return *seen[0], update.loss


def test_noise_is_at_0_data_at_1_and_the_velocity_is_their_difference() -> None:
    x_t, t, loss = trained_on(0.5)
    assert loss < 1e-5  # but for rounding near t = 1, where x_0 is divided by 1 - t
    column = t[:, None, None, None]
    z = ((x_t - 0.5 * column) / (1 - column))[t < 0.99]
    assert z.mean().item() == pytest.approx(0, abs=5 / math.sqrt(z.numel()))
    assert z.std().item() == pytest.approx(1, abs=0.01)


def test_times_of_training() -> None:
    _, t, _ = trained_on(0.5)
    assert t.mean().item() == pytest.approx(1 / 2, abs=5 * 0.29 / math.sqrt(4000))
    assert t.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.01)
    assert 0 <= t.min() < 0.01 and 0.99 < t.max() < 1
    _, t, _ = trained_on(0.5, time="logit_normal")
    assert t.logit().mean().item() == pytest.approx(0, abs=5 / math.sqrt(4000))
    assert t.logit().std().item() == pytest.approx(1, abs=0.06)


def test_an_untrained_network_stands_still() -> None:
    m, update = make(), Losses()
    x = Noise(0, range(500)).uniform(1, 8, 8) * 2 - 1
    m.step(x, Unconditional(), Noise(1, range(500)), update)
    assert update.loss == pytest.approx(1 + 1 / 3, rel=0.03)  # Var x_0 + Var x_1
    assert not m.velocity(x[:2], torch.tensor([0.0, 1.0])).any()


def test_the_network_is_told_times_up_to_1000() -> None:
    m = make().eval()
    times: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: times.append(args[1]))
    with torch.no_grad():
        m.sample(Unconditional(), Noise(0, range(2)), steps=4)
        m.sample(Unconditional(), Noise(0, range(2)), steps=1, sampler="heun")
        m.sample(Unconditional(), Noise(0, range(2)), steps=1, sampler="midpoint")
    assert [t.tolist() for t in times] == [
        [t, t] for t in (0.0, 250.0, 500.0, 750.0, 0.0, 1000.0, 0.0, 500.0)
    ]


# --- sampling ------------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_straight_paths_are_followed_exactly(name: str, steps: int) -> None:
    x = column(-1.0, 0.2, 2.0)
    y = SAMPLERS[name](lambda x, t: torch.full_like(x, 0.7), x, steps)
    torch.testing.assert_close(y, x + 0.7, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("name", "exact"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_polynomials_in_time_are_integrated_up_to_the_order(name: str, exact: int) -> None:
    def end(power: int) -> float:
        v = lambda x, t: torch.full_like(x, power * t ** (power - 1))  # noqa: E731
        return SAMPLERS[name](v, column(0.0), 4).item()

    assert end(exact) == pytest.approx(1, abs=1e-12)
    assert abs(end(exact + 1) - 1) > 0.01


def error(name: str, steps: int) -> float:
    """Root mean square error of the map x_0 -> MU + S x_0 of N(0, 1), which is affine."""
    y = SAMPLERS[name](gaussian, column(0.0, 1.0), steps)
    e = (y - MU - S * column(0.0, 1.0))[:, 0]
    return math.hypot(e[0].item(), (e[1] - e[0]).item())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, 0.499), (2, 0.300), (5, 0.131), (10, 0.0691), (20, 0.0357), (50, 0.0146), (100, 0.0073)],
)
def test_euler_on_gaussian_data(steps: int, expected: float) -> None:
    assert error("euler", steps) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("name", "ratio"), [("euler", 2), ("midpoint", 4), ("heun", 4)])
def test_twice_the_steps_divide_the_error(name: str, ratio: int) -> None:
    """Of a field that is linear in nothing."""
    x = column(-1.0, 0.2, 2.0)
    exact = flow_matching.heun(smooth, x, 2000)

    def far(steps: int) -> float:
        return (SAMPLERS[name](smooth, x, steps) - exact).abs().max().item()

    for steps in (40, 80):
        assert far(steps) / far(2 * steps) == pytest.approx(ratio, rel=0.1)


def test_one_step_of_the_best_velocity_ends_at_the_mean() -> None:
    y = flow_matching.euler(gaussian, column(-2.0, 0.0, 1.0), 1)
    torch.testing.assert_close(y, column(MU, MU, MU), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("name", "steps"), [("euler", 120), ("midpoint", 30), ("heun", 30)])
def test_a_mixture_gets_its_weights_and_moments(name: str, steps: int) -> None:
    n = 2000
    x = Noise(0, range(n)).normal(2, dtype=torch.float64)
    # E[x_1 | x_t] - E[x_0 | x_t] at the level (t, 1 - t)
    y = SAMPLERS[name](lambda x, t: THREE.x_0(x, t, 1 - t) - THREE.epsilon(x, t, 1 - t), x, steps)
    torch.testing.assert_close(THREE.shares(y), THREE.weights, atol=4 * 0.5 / n**0.5, rtol=0)
    torch.testing.assert_close(y.mean(0), THREE.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(y.T.cov(), THREE.cov, atol=0.04, rtol=0)
    k = THREE.responsibilities(y, 1.0, 0.0).argmax(1)
    width = ((y - THREE.means[k]) / THREE.stds[k, None]).square().mean().item()
    assert width == pytest.approx(1, abs=0.1)


def test_diffusers_makes_the_same_steps() -> None:
    """Theirs runs the other way: sigma = 1 - t from 1 to 0, and the answer is noise - data."""
    diffusers = pytest.importorskip("diffusers", reason="the peer of the sampler is not installed")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / 10 for i in range(10)])
    assert scheduler.timesteps.tolist() == pytest.approx([1000 - 100 * i for i in range(10)])
    x_0 = Noise(0, range(5)).normal(2, dtype=torch.float64)
    theirs = x_0
    for t in scheduler.timesteps:
        theirs = scheduler.step(-smooth(theirs, 1 - t.item() / 1000), t, theirs).prev_sample
    ours = flow_matching.euler(smooth, x_0, 10)
    torch.testing.assert_close(ours, theirs.double(), atol=1e-5, rtol=0)


@every_sampler
def test_the_way_back_leads_to_the_noise(name: str) -> None:
    """Time turned round is the same flow with the sign of the velocity turned."""
    x_0 = column(-1.0, 0.1, 1.5)

    def back(steps: int) -> float:
        forward: Callable[..., Tensor] = SAMPLERS[name]
        x_1 = forward(smooth, x_0, steps)
        again = forward(lambda x, t: -smooth(x, 1 - t), x_1, steps)
        return (again - x_0).abs().max().item()

    assert back(80) < back(20) / 3.5 < 0.02


@every_sampler
@pytest.mark.parametrize("steps", [1, 7])
def test_evaluations_are_counted(name: str, steps: int) -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(3)), sampler=name, steps=steps)
    assert nfe.per_sample(3) == (steps if name == "euler" else 2 * steps)


def test_options_reach_the_sampler() -> None:
    m = make().eval()
    for p in m.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    with torch.no_grad():
        found = [m.sample(Unconditional(), Noise(0, range(4)), steps=4, sampler=s)
                 for s in SAMPLERS]  # fmt: skip
    for i, x in enumerate(found):
        assert x.abs().max() <= 1 and all((x - y).abs().max() > 1e-4 for y in found[:i])


@pytest.mark.parametrize("given", [{"sampler": "rk45"}, {"steps": 0}, {"shift": 3.0}])
def test_options_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FlowMatching.Options(**given)


def test_it_learns_one_image() -> None:
    assert learned(make(hidden=64, lr=4e-3), steps=10) > 0.85
