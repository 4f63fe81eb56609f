"""Schedules, sequences of time steps and samplers against closed forms.

For data N(mu, s^2) the best network is known, every sampler is affine in x_T and in its noise, and
the probability flow has an exact solution.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines._nn import diffusion, samplers
from baselines._nn.diffusion import Level
from genbench.api import Noise

LINEAR = diffusion.linear_alpha_bar(1000)
MU, S = 0.3, 0.5  # of the data; other values where a test says so

Sampler = Callable[..., Tensor]
ADDS_NOISE: dict[str, Sampler] = {
    "ddpm": samplers.ddpm,
    "ddpm, large": partial(samplers.ddpm, variance="large"),
    "ddim, eta 0.5": partial(samplers.ddim, eta=0.5),
    "ddim, eta 1": partial(samplers.ddim, eta=1.0),
}
DETERMINISTIC: dict[str, Sampler] = {
    "ddim": samplers.ddim,
    "dpmpp_2m": samplers.dpmpp_2m,
    "heun": samplers.heun,
}
every_sampler = pytest.mark.parametrize("name", [*ADDS_NOISE, *DETERMINISTIC])


def run(name: str, denoise: Any, x: Tensor, levels: Sequence[Level], noise: Any) -> Tensor:
    if name in ADDS_NOISE:
        return ADDS_NOISE[name](denoise, x, levels, noise)
    return DETERMINISTIC[name](denoise, x, levels)


def spaced(spacing: str | Sequence[float], steps: int) -> list[Level]:
    return diffusion.levels(diffusion.timesteps(spacing, steps, LINEAR), LINEAR)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


# --- schedule ------------------------------------------------------------------------------------


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


# --- sequences -----------------------------------------------------------------------------------

TEN = {
    "uniform": [999, 888, 777, 666, 555, 444, 333, 222, 111, 0],
    "leading": [900, 800, 700, 600, 500, 400, 300, 200, 100, 0],
    "trailing": [999, 899, 799, 699, 599, 499, 399, 299, 199, 99],
    "quadratic": [800, 632, 483, 355, 246, 158, 88, 39, 9, 0],
}
THREE = {
    "uniform": [999, 500, 0],  # 499.5 goes to the even neighbour, as in numpy
    "leading": [666, 333, 0],
    "trailing": [999, 666, 332],
    "quadratic": [800, 200, 0],
}
ONE = {"uniform": [999], "leading": [0], "trailing": [999], "quadratic": [800], "karras": [999]}
LAST = {
    "uniform": lambda steps: 0,
    "leading": lambda steps: 0,
    "trailing": lambda steps: round(1000 - (steps - 1) * 1000 / steps) - 1,
    "quadratic": lambda steps: 0,
    "karras": lambda steps: 0,
}
FIRST = {
    "uniform": lambda steps: 999,
    "leading": lambda steps: (steps - 1) * (1000 // steps),
    "trailing": lambda steps: 999,
    "quadratic": lambda steps: 800,
    "karras": lambda steps: 999,
}


@pytest.mark.parametrize("spacing", list(TEN))
def test_sequences_of_few_steps(spacing: str) -> None:
    assert diffusion.timesteps(spacing, 10, LINEAR) == TEN[spacing]
    assert diffusion.timesteps(spacing, 3, LINEAR) == THREE[spacing]


@pytest.mark.parametrize("spacing", list(diffusion.SPACINGS))
def test_one_step(spacing: str) -> None:
    assert diffusion.timesteps(spacing, 1, LINEAR) == ONE[spacing]


@pytest.mark.parametrize("steps", [2, 7, 10, 50, 300, 999, 1000])
@pytest.mark.parametrize("spacing", list(diffusion.SPACINGS))
def test_sequences_descend_between_their_ends(spacing: str, steps: int) -> None:
    found = diffusion.timesteps(spacing, steps, LINEAR)
    assert all(before > after for before, after in pairwise(found))
    assert (found[0], found[-1]) == (FIRST[spacing](steps), LAST[spacing](steps))
    assert spacing == "quadratic" or len(found) == steps
    assert spacing == "karras" or all(isinstance(t, int) for t in found)


@pytest.mark.parametrize("T", [21, 50, 100])
@pytest.mark.parametrize("spacing", list(diffusion.SPACINGS))
def test_sequences_of_a_short_chain(spacing: str, T: int) -> None:
    alpha_bar = diffusion.linear_alpha_bar(T)
    for steps in (1, 2, 20, T):
        found = diffusion.timesteps(spacing, steps, alpha_bar)
        assert all(before > after for before, after in pairwise(found))
        assert found[0] <= T - 1 and found[-1] >= 0
    if spacing not in ("quadratic", "karras"):
        assert diffusion.timesteps(spacing, T, alpha_bar) == list(range(T - 1, -1, -1))


def test_quadratic_drops_the_steps_that_it_would_repeat() -> None:
    lengths = [len(diffusion.quadratic(steps, LINEAR)) for steps in (10, 50, 100, 1000)]
    assert lengths == [10, 49, 96, 688]


@pytest.mark.parametrize("T", [50, 1000])
@pytest.mark.parametrize("steps", [2, 5, 18, 50])
def test_karras_is_even_in_the_seventh_root_of_sigma(steps: int, T: int) -> None:
    alpha_bar = diffusion.linear_alpha_bar(T)
    found = diffusion.karras(steps, alpha_bar)
    assert found[0] == T - 1 and found[-1] == 0
    roots = [level.sigma ** (1 / 7) for level in diffusion.levels(found, alpha_bar)[:-1]]
    ends = [((1 - a) / a) ** (1 / 14) for a in (alpha_bar[-1].item(), alpha_bar[0].item())]
    np.testing.assert_allclose(roots, np.linspace(*ends, steps), rtol=1e-8)


def test_karras_with_another_exponent() -> None:
    levels = diffusion.levels(diffusion.karras(11, LINEAR, rho=1.0), LINEAR)[:-1]
    gaps = -np.diff([level.sigma for level in levels])
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-6)


@pytest.mark.parametrize("steps", [0, -1, 1001])
@pytest.mark.parametrize("spacing", ["trailing", (5.0, 1.0)])
def test_impossible_numbers_of_steps_are_refused(spacing: Any, steps: int) -> None:
    with pytest.raises(ValueError, match=f"with {steps} steps: the model has 1 to 1000"):
        diffusion.timesteps(spacing, steps, LINEAR)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((5, 7), "time steps must descend, but 7 comes after 5"),
        ((9, 5.5, 5.5), "time steps must descend, but 5.5 comes after 5.5"),
        ((), r"must lie in 0\.\.999, got \[\]"),
        ((1000, 3), r"must lie in 0\.\.999, got \[1000, 3\]"),
        ((999.5,), r"must lie in 0\.\.999"),
        ((3, -1), r"must lie in 0\.\.999"),
        ((3, -0.5), r"must lie in 0\.\.999"),
    ],
)
def test_impossible_lists_are_refused(given: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        diffusion.timesteps(given, max(1, len(given)), LINEAR)


def test_a_list_is_taken_as_it_is() -> None:
    for given in [(999.0, 500.25, 0.0), [7], (0,)]:
        assert diffusion.timesteps(given, len(given), LINEAR) == given


# --- levels --------------------------------------------------------------------------------------


def test_levels_are_those_of_the_schedule_and_end_with_the_clean_image() -> None:
    levels = diffusion.levels((999, 40.0, 0), LINEAR)
    assert levels[:3] == [Level(t, LINEAR[t].item()) for t in (999, 40, 0)]
    assert [type(level.t) for level in levels] == [int] * 4
    assert (levels[3].alpha_bar, levels[3].a, levels[3].s, levels[3].sigma) == (1, 1, 0, 0)


def test_the_shares_of_image_and_noise() -> None:
    level = Level(3, 0.36)
    assert (level.a, level.s, level.sigma) == pytest.approx((0.6, 0.8, 4 / 3), rel=1e-12)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_between_two_steps_log_sigma_is_linear(share: float) -> None:
    high, between, low = diffusion.levels((999, 998 + share, 998), LINEAR)[:3]
    logs = [math.log(level.sigma) for level in (low, between, high)]
    assert logs[1] == pytest.approx((1 - share) * logs[0] + share * logs[2], abs=1e-12)
    assert between.t == 998 + share


# --- data N(mu, s^2): the whole distribution of what a sampler returns ---------------------------


def variance(level: Level, s: float = S) -> float:
    """Var x_t."""
    return level.alpha_bar * s**2 + 1 - level.alpha_bar


def gaussian(x: Tensor, level: Level, s: float = S) -> Tensor:
    """E[x_0 | x_t]."""
    return MU + level.a * s**2 / variance(level, s) * (x - level.a * MU)


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
    name: str, levels: list[Level], mean: float = 0.0, std: float = 1.0
) -> tuple[float, float, int]:
    """Mean and std of what a sampler makes of x ~ N(mean, std^2), and its number of draws.

    With the best network every sampler is affine in x and in each draw, so its responses to unit
    inputs (row 0: none, row 1: x, the others: one draw each) are its whole distribution.
    """
    x = torch.full((len(levels) + 2, 1), mean, dtype=torch.float64)
    x[1] += std
    noise = OneDraw(len(x))
    y = run(name, gaussian, x, levels, noise)[:, 0]
    return y[0].item(), (y[1:] - y[0]).square().sum().sqrt().item(), noise.draws


# std for x_T ~ N(0, 1), to five digits: DDIM at eta = 0, 0.5 and 1, and the variance "large"
TABLE = {
    ("trailing", 5): (0.26254, 0.26041, 0.24831, 0.35994),
    ("trailing", 10): (0.36995, 0.36358, 0.33348, 0.49390),
    ("trailing", 20): (0.43137, 0.42368, 0.39151, 0.51683),
    ("trailing", 50): (0.47140, 0.46577, 0.44410, 0.51172),
    ("trailing", 100): (0.48545, 0.48180, 0.46822, 0.50672),
    ("trailing", 1000): (0.49850, 0.49798, 0.49611, 0.50075),
    ("leading", 10): (0.37413, 0.36708, 0.33326, 0.58903),
    ("quadratic", 10): (0.42452, 0.41512, 0.37288, 0.56798),
}
COLUMN = {"ddim": 0, "ddim, eta 0.5": 1, "ddim, eta 1": 2, "ddpm": 2, "ddpm, large": 3}


@pytest.mark.parametrize("name", list(COLUMN))
@pytest.mark.parametrize(("spacing", "steps"), list(TABLE))
def test_std_on_gaussian_data(name: str, spacing: str, steps: int) -> None:
    _, std, draws = exact_moments(name, spaced(spacing, steps))
    assert std == pytest.approx(TABLE[spacing, steps][COLUMN[name]], abs=6e-6)
    assert draws == (0 if name == "ddim" else steps - 1)


@pytest.mark.parametrize(
    ("name", "mean"),
    [("ddim", 0.29929), ("ddim, eta 1", 0.3), ("ddpm", 0.3), ("ddpm, large", 0.3)],
)
def test_mean_on_gaussian_data(name: str, mean: float) -> None:
    """DDIM maps x_T = 0, which is not quite the mean of q(x_T); noise makes up for it."""
    assert exact_moments(name, spaced("trailing", 10))[0] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("spacing", list(diffusion.SPACINGS))
@every_sampler
def test_the_mean_of_the_data_is_kept(name: str, spacing: str) -> None:
    """From x_t = a_t mu the answer is mu at every level, and each step must end at a_p mu."""
    levels = spaced(spacing, 10)
    mean, _, _ = exact_moments(name, levels, mean=levels[0].a * MU)
    assert mean == pytest.approx(MU, abs=1e-12)


# --- the order of convergence --------------------------------------------------------------------
# Between two noisy levels, so that the jump to the clean image, which is of order 1 for all, plays
# no part. "trailing" is cut at t = 99, which 10 steps and all their multiples have.


def cut(spacing: str, steps: int) -> list[Level]:
    if spacing == "trailing":
        return [level for level in spaced("trailing", steps) if level.t >= 99]
    return spaced("karras", steps + 1)[:-1]  # so that doubling the steps halves each of them


def flow_error(name: str, spacing: str, steps: int, s: float) -> float:
    """Error of the map of the probability flow, x -> a_p mu + sqrt(var_p / var_t) (x - a_t mu)."""
    levels = cut(spacing, steps)
    t, p = levels[0], levels[-1]
    y = run(name, partial(gaussian, s=s), column(-1, 0, 2), levels, None)
    exact = p.a * MU + math.sqrt(variance(p, s) / variance(t, s)) * (column(-1, 0, 2) - t.a * MU)
    return (y - exact).abs().max().item()


@pytest.mark.parametrize(
    ("name", "ratio", "spacing", "s"),
    [
        ("ddim", 2, "trailing", 0.5),
        ("ddim", 2, "karras", 0.5),
        # at s = 0.5 the leading term of this error happens to be near 0 at t = 99
        ("dpmpp_2m", 4, "trailing", 0.2),
        ("dpmpp_2m", 4, "trailing", 1.5),
        ("dpmpp_2m", 4, "karras", 0.5),
        ("heun", 4, "trailing", 0.5),
        ("heun", 4, "karras", 0.5),
    ],
)
def test_twice_the_steps_divide_the_error(name: str, ratio: int, spacing: str, s: float) -> None:
    for steps in (50, 100, 500) if spacing == "trailing" else (50, 100, 200):
        found = flow_error(name, spacing, steps, s) / flow_error(name, spacing, 2 * steps, s)
        assert found == pytest.approx(ratio, rel=0.06)


def test_few_steps_already_show_the_order() -> None:
    for steps in (10, 20):
        coarse, fine = (flow_error("ddim", "trailing", n, S) for n in (steps, 2 * steps))
        assert 1.8 < coarse / fine < 2.2
        coarse, fine = (flow_error("heun", "trailing", n, S) for n in (steps, 2 * steps))
        assert 3.6 < coarse / fine < 4.4
    assert flow_error("dpmpp_2m", "trailing", 10, S) > 3 * flow_error(
        "dpmpp_2m", "trailing", 20, S
    )
    for steps in (10, 20, 50):  # and a solver of order 2 is the better one
        ddim = flow_error("ddim", "trailing", steps, S)
        assert flow_error("heun", "trailing", steps, S) < ddim / 2
        assert flow_error("dpmpp_2m", "trailing", steps, S) < ddim / 4


@pytest.mark.parametrize("spacing", ["trailing", "karras"])
@pytest.mark.parametrize("name", list(ADDS_NOISE))
def test_the_variance_of_samplers_with_noise_converges(name: str, spacing: str) -> None:
    errors = []
    for steps in (100, 200):
        levels = cut(spacing, steps)
        start = levels[0].a * MU, math.sqrt(variance(levels[0]))
        mean, std, _ = exact_moments(name, levels, *start)
        assert mean == pytest.approx(levels[-1].a * MU, abs=1e-12)
        # the last level is noisy here, so all steps but the one to it add noise
        errors.append(std - math.sqrt(variance(levels[-1])))
    assert 1.8 < errors[0] / errors[1] < 2.2
    assert abs(errors[1]) < 0.02


def test_to_the_clean_image_ddim_is_of_order_one() -> None:
    x_T = column(*torch.linspace(-2, 2, 9).tolist())
    level = Level(999, LINEAR[-1].item())
    exact = MU + S / math.sqrt(variance(level)) * (x_T - level.a * MU)

    def error(sampler: Sampler, steps: int) -> float:
        y = sampler(gaussian, x_T, spaced("trailing", steps))
        return (y - exact).square().mean().sqrt().item()

    for steps in (10, 50, 100, 500):
        assert 1.8 < error(samplers.ddim, steps) / error(samplers.ddim, 2 * steps) < 2.2
    assert error(samplers.dpmpp_2m, 10) > 3 * error(samplers.dpmpp_2m, 20)


# --- what the network predicts -------------------------------------------------------------------


def best_network(prediction: samplers.Prediction, x: Tensor, t: float, s: float = S) -> Tensor:
    """The conditional mean of what is predicted, each from its own closed form."""
    level = diffusion.levels((t,), LINEAR)[0]
    centred = (x - level.a * MU) / variance(level, s)
    if prediction == "epsilon":
        return level.s * centred
    if prediction == "v":  # a E[epsilon] - s E[x_0]
        return level.a * level.s * (1 - s**2) * centred - level.s * MU
    return gaussian(x, level, s)


@pytest.mark.parametrize("spacing", ["uniform", "karras"])
@every_sampler
def test_all_predictions_give_the_same_images(name: str, spacing: str) -> None:
    def images(prediction: samplers.Prediction) -> Tensor:
        network = partial(best_network, prediction)
        x_T = Noise(0, range(20)).normal(2, dtype=torch.float64)
        denoise = samplers.denoiser(network, prediction, clip_x0=False)
        return run(name, denoise, x_T, spaced(spacing, 12), Noise(1, range(20)))

    torch.testing.assert_close(images("epsilon"), images("x0"), atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(images("v"), images("x0"), atol=1e-11, rtol=1e-11)


def test_predictions_are_converted_as_their_definitions_say() -> None:
    x_0, epsilon, level = column(0.4, -0.9), column(1.3, -0.2), Level(7, 0.36)
    x_t = 0.6 * x_0 + 0.8 * epsilon
    answers = {"epsilon": epsilon, "x0": x_0, "v": 0.6 * epsilon - 0.8 * x_0}
    for prediction, answer in answers.items():
        denoise = samplers.denoiser(lambda x, t, answer=answer: answer, prediction, clip_x0=False)
        torch.testing.assert_close(denoise(x_t, level), x_0, atol=1e-12, rtol=0)


def test_epsilon_is_predicted_and_clamped_unless_told_otherwise() -> None:
    x_t, level = column(3.0, 0.1), Level(7, 0.36)
    x_0 = samplers.denoiser(lambda x, t: torch.full_like(x, 0.5))(x_t, level)
    torch.testing.assert_close(x_0, column(1.0, -0.5), atol=1e-12, rtol=0)


def test_answers_of_reduced_precision_do_not_reduce_that_of_x() -> None:
    denoise = samplers.denoiser(lambda x, t: torch.tanh(x).bfloat16(), "epsilon")
    for dtype in (torch.float32, torch.float64):
        assert denoise(torch.ones(2, 1, dtype=dtype), Level(7, 0.36)).dtype == dtype


# --- a network without structure: shapes, counts, clipping ---------------------------------------


def smooth(x: Tensor, t: float) -> Tensor:
    """A network that predicts v: bounded, not linear, and its x_0 leaves [-1, 1]."""
    return 1.5 * torch.tanh(1.3 * x + math.sin(t / 150) + 0.4)


def start(n: int = 12, dtype: torch.dtype = torch.float64) -> Tensor:
    return Noise(0, range(n)).normal(1, 4, 4, dtype=dtype)


@pytest.mark.parametrize("clip_x0", [True, False])
@pytest.mark.parametrize(
    ("spacing", "steps"),
    [(spacing, steps) for spacing in diffusion.SPACINGS for steps in (1, 7, 50)]
    + [("trailing", 1000)],
)
def test_ddim_with_eta_1_is_ddpm(spacing: str, steps: int, clip_x0: bool) -> None:
    denoise, levels = samplers.denoiser(smooth, "v", clip_x0), spaced(spacing, steps)
    assert not (denoise(start(), levels[0]).abs() < 1).all()  # so that clipping matters
    one = samplers.ddpm(denoise, start(), levels, Noise(1, range(12)))
    two = samplers.ddim(denoise, start(), levels, Noise(1, range(12)), eta=1.0)
    torch.testing.assert_close(one, two, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("steps", [1, 2, 10])
@every_sampler
def test_the_network_is_asked_at_every_level_once_or_by_heun_twice(name: str, steps: int) -> None:
    asked: list[float] = []

    def network(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return smooth(x, t)

    levels = spaced("karras", steps)
    run(name, samplers.denoiser(network, "v"), start(), levels, Noise(1, range(12)))
    first, *rest = [level.t for level in levels[:-1]]
    assert asked == [first, *(t for t in rest for _ in range(2 if name == "heun" else 1))]
    assert len(asked) == (2 * steps - 1 if name == "heun" else steps)


@every_sampler
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    levels, denoise = spaced("uniform", 9), samplers.denoiser(smooth, "v")

    def images(rows: range) -> Tensor:
        x_T = Noise(0, rows).normal(1, 4, 4, dtype=torch.float64)
        return run(name, denoise, x_T, levels, Noise(1, rows))

    parts = torch.cat([images(range(0, 3)), images(range(3, 4)), images(range(4, 12))])
    torch.testing.assert_close(images(range(12)), parts, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("clip_x0", [True, False])
@every_sampler
def test_float32_is_enough(name: str, clip_x0: bool) -> None:
    levels, denoise = spaced("trailing", 50), samplers.denoiser(smooth, "v", clip_x0)
    x_T = start(dtype=torch.float32)
    single = run(name, denoise, x_T, levels, Noise(1, range(12)))
    assert single.dtype == torch.float32
    z = Single(Noise(1, range(12)))  # the same numbers
    double = run(name, denoise, x_T.double(), levels, z)
    torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=0)


class Single:
    """Noise drawn in float32, in whatever precision is asked for."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return self.noise.normal(*shape, dtype=torch.float32).to(dtype)


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
@every_sampler
def test_what_the_network_was_given_or_keeps_is_not_written_to(
    name: str, prediction: samplers.Prediction
) -> None:
    tensors: list[Tensor] = []
    copies: list[Tensor] = []

    def network(x: Tensor, t: float) -> Tensor:
        answer = smooth(x, t)
        tensors.extend((x, answer))
        copies.extend((x.clone(), answer.clone()))
        return answer

    x_T = start()
    denoise = samplers.denoiser(network, prediction, clip_x0=False)
    run(name, denoise, x_T, spaced("uniform", 4), Noise(1, range(12)))
    assert torch.equal(x_T, start())
    assert all(map(torch.equal, tensors, copies))


@pytest.mark.parametrize("name", list(ADDS_NOISE))
def test_noise_that_is_missing_is_missed(name: str) -> None:
    with pytest.raises(ValueError, match="adds noise needs a source"):
        run(name, gaussian, column(0.5), spaced("trailing", 2), None)
    run(name, gaussian, column(0.5), spaced("trailing", 1), None)  # the last step adds none


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("x_0", [2.0, -1.5, 0.5])
def test_clipping_changes_x_0_and_epsilon_together(x_0: float, eta: float) -> None:
    """A step must move along the epsilon that belongs to the clamped x_0, not to the raw one."""
    t, p = diffusion.levels((500, 400), LINEAR)[:2]
    x_t = column(1.2)
    denoise = samplers.denoiser(lambda x, t: torch.full_like(x, x_0), "x0", clip_x0=True)
    found = samplers.ddim(denoise, x_t, [t, p], Zero(), eta=eta)
    used = min(max(x_0, -1.0), 1.0)
    epsilon = (1.2 - t.a * used) / t.s
    sigma2 = eta**2 * (1 - p.alpha_bar) / (1 - t.alpha_bar) * (1 - t.alpha_bar / p.alpha_bar)
    expected = p.a * used + math.sqrt(1 - p.alpha_bar - sigma2) * epsilon
    assert found.item() == pytest.approx(expected, abs=1e-12)


@every_sampler
def test_every_x_0_is_in_range_when_clipped(name: str) -> None:
    used: list[Tensor] = []
    inner = samplers.denoiser(smooth, "v", clip_x0=True)

    def denoise(x: Tensor, level: Level) -> Tensor:
        used.append(inner(x, level))
        return used[-1]

    x = run(name, denoise, start(), spaced("trailing", 8), Noise(1, range(12)))
    assert max(x_0.abs().max().item() for x_0 in used) == 1.0
    assert x.abs().max() <= 1


# --- one step of DDPM ----------------------------------------------------------------------------


class Unit:
    """Noise of ones."""

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.ones(1, *shape, dtype=dtype)


class Zero:
    """Noise of zeros."""

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(1, *shape, dtype=dtype)


def one_step(
    x_0: float, x_t: float, noise: Any, t: int = 500, p: int = 499, **options: Any
) -> float:
    """x_p of DDPM at a known x_0."""
    levels = diffusion.levels((t, p), LINEAR)

    def denoise(x: Tensor, level: Level) -> Tensor:
        return torch.full_like(x, x_0)

    final = samplers.ddpm(denoise, column(x_t), levels, noise, **options)
    assert final.item() == pytest.approx(x_0, abs=1e-12)  # the last step ends at x_0
    return samplers.ddpm(denoise, column(x_t), levels[:2], noise, **options).item()


def test_posterior_has_the_published_coefficients() -> None:
    assert one_step(1.0, 0.0, Zero()) == pytest.approx(0.00305806, abs=1e-8)
    assert one_step(0.0, 1.0, Zero()) == pytest.approx(0.99410435, abs=1e-8)
    assert one_step(0.0, 0.0, Unit()) ** 2 == pytest.approx(0.01005134, abs=1e-8)
    assert one_step(0.0, 0.0, Unit(), variance="large") ** 2 == pytest.approx(0.01005996, abs=1e-8)
    assert one_step(0.0, 0.0, Unit(), t=1, p=0) ** 2 == pytest.approx(5.45319e-5, rel=1e-5)
    assert one_step(0.0, 0.0, Unit(), t=2, p=1) ** 2 == pytest.approx(8.54891e-5, rel=1e-5)


@pytest.mark.parametrize("variance", ["posterior", "large"])
@pytest.mark.parametrize(("t", "p"), [(500, 499), (999, 899), (99, 0)])
def test_posterior_mean_of_a_noiseless_x_t_is_noiseless(t: int, p: int, variance: str) -> None:
    x_t = math.sqrt(LINEAR[t].item()) * 0.7
    found = one_step(0.7, x_t, Zero(), t, p, variance=variance)
    assert found == pytest.approx(math.sqrt(LINEAR[p].item()) * 0.7)


@pytest.mark.parametrize(("t", "p"), [(500, 499), (999, 899), (99, 0)])
def test_posterior_keeps_the_forward_variance(t: int, p: int) -> None:
    """x_t ~ q(x_t|x_0) and a posterior step give x_p ~ q(x_p|x_0)."""
    gain = one_step(0.0, 1.0, Zero(), t, p)
    added = one_step(0.0, 0.0, Unit(), t, p)
    found = gain**2 * (1 - LINEAR[t].item()) + added**2
    assert found == pytest.approx(1 - LINEAR[p].item(), rel=1e-9)


def test_large_variance_is_the_respaced_beta_on_every_step_but_the_last() -> None:
    seen: list[Tensor] = []

    def denoise(x: Tensor, level: Level) -> Tensor:
        seen.append(x)
        return torch.zeros_like(x)

    noise = OneDraw(12)
    x = torch.zeros(12, 1, dtype=torch.float64)
    final = samplers.ddpm(denoise, x, spaced("trailing", 10), noise, variance="large")
    added = [seen[k + 1][2 + k].item() ** 2 for k in range(9)]
    expected = [0.8534, 0.8204, 0.7801, 0.7308, 0.6707, 0.5973, 0.5077, 0.3985, 0.2653]
    assert added == pytest.approx(expected, abs=5e-5)  # and 0.1030 for the tenth, not added
    assert noise.draws == 9 and not final.any()


# --- the way back, and between -------------------------------------------------------------------


@pytest.mark.parametrize("spacing", list(diffusion.SPACINGS))
@pytest.mark.parametrize("steps", [1, 10, 50])
def test_encoding_is_exact_where_epsilon_is_constant(spacing: str, steps: int) -> None:
    e, x, levels = 0.8, column(-0.9, 0.0, 0.4), spaced(spacing, steps)
    denoise = samplers.denoiser(lambda x, t: torch.full_like(x, e), clip_x0=False)
    x_T = samplers.ddim_encode(denoise, x, levels)
    torch.testing.assert_close(x_T, levels[0].a * x + levels[0].s * e, atol=1e-12, rtol=0)
    torch.testing.assert_close(samplers.ddim(denoise, x_T, levels), x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("spacing", ["leading", "uniform", "karras"])
@pytest.mark.parametrize("kind", ["gaussian", "smooth"])
def test_encoding_and_decoding_converge_to_the_image(kind: str, spacing: str) -> None:
    denoise = gaussian if kind == "gaussian" else samplers.denoiser(smooth, "v", clip_x0=False)
    x = column(*torch.linspace(-1, 1, 9).tolist())

    def error(steps: int) -> float:
        levels = spaced(spacing, steps)
        back = samplers.ddim(denoise, samplers.ddim_encode(denoise, x, levels), levels)
        return (back - x).square().mean().item()

    errors = [error(steps) for steps in (10, 20, 50, 100, 1000)]
    assert all(before > after for before, after in pairwise(errors))
    assert errors[0] > 5 * errors[2]  # the paper's table: 0.014 and 0.0023
    assert errors[4] < 1e-4


def test_the_code_of_gaussian_data_is_that_of_the_probability_flow() -> None:
    x = column(-1.0, 0.0, 0.8)

    def error(steps: int) -> float:
        levels = spaced("uniform", steps)
        t = levels[0]
        exact = t.a * MU + math.sqrt(variance(t)) / S * (x - MU)
        return (samplers.ddim_encode(gaussian, x, levels) - exact).abs().max().item()

    assert error(1000) < 0.01
    assert 1.8 < error(100) / error(200) < 2.2


def test_encoding_asks_about_the_clean_image_as_the_least_noisy_level() -> None:
    asked: list[float] = []

    def network(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return x

    denoise = samplers.denoiser(network, clip_x0=False)
    samplers.ddim_encode(denoise, column(0.5), spaced((900, 500.5, 20), 3))
    assert asked == [20, 20, 500.5]


def test_slerp_of_orthogonal_noises() -> None:
    x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    for u in (0.0, 0.25, 1 / 3, 0.5, 1.0):
        angle = u * math.pi / 2
        expected = torch.tensor([[3 * math.cos(angle), 3 * math.sin(angle)]])
        torch.testing.assert_close(samplers.slerp(x, y, u), expected, atol=1e-6, rtol=0)


def test_slerp_goes_along_the_sphere_image_by_image() -> None:
    x, y = (Noise(seed, range(4)).normal(3, 4, 4) for seed in (0, 1))
    lengths = x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    y = y / y.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * lengths  # the same sphere for each pair
    torch.testing.assert_close(samplers.slerp(x, y, 0.0), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(samplers.slerp(x, y, 1.0), y, atol=1e-6, rtol=0)
    between = samplers.slerp(x, y, 0.3)
    assert between.shape == x.shape and between.dtype == x.dtype
    torch.testing.assert_close(
        between.flatten(1).norm(dim=1), lengths.flatten(), rtol=1e-6, atol=0
    )
    middle = (x + y) / (x + y).flatten(1).norm(dim=1).view(-1, 1, 1, 1) * lengths
    torch.testing.assert_close(samplers.slerp(x, y, 0.5), middle, atol=1e-6, rtol=0)
    torch.testing.assert_close(samplers.slerp(x[:1], y[:1], 0.3), between[:1], atol=1e-6, rtol=0)
