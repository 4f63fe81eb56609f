"""Samplers against the schedulers of diffusers: the same network, noise, time steps, and x.

Not only the results are compared but each x that the network is shown. diffusers rounds its tables
to float32, where 1 - alpha_bar and 1 - alpha_bar_t / alpha_bar_p lose up to four digits at small
t. So the formulas are compared to 1e-10, after the float64 table was put into the scheduler, and
runs with its own table to 1e-5.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines._nn import diffusion, samplers
from baselines._nn.diffusion import Level

diffusers = pytest.importorskip("diffusers", reason="the peer of the samplers is not installed")

# np.array(tensor) in set_timesteps of two schedulers
multistep = "diffusers.schedulers.scheduling_dpmsolver_multistep"
discrete = "diffusers.schedulers.scheduling_heun_discrete"
numpy_copies = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"

LINEAR = diffusion.linear_alpha_bar(1000)
BETAS = {"beta_start": 1e-4, "beta_end": 0.02}  # the default of some schedulers only
EXACT, ROUNDED = 1e-10, 1e-5
SIGMA = 1e-4  # relative error of sigma at t = 0 in float32

THEIRS = {"epsilon": "epsilon", "x0": "sample", "v": "v_prediction"}
predictions = pytest.mark.parametrize("prediction", list(THEIRS))
clips = pytest.mark.parametrize("clip", [True, False], ids=["clip", "free"])

SHAPE = (5, 2, 3, 3)
X_T = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Noise:
    """The stream that a scheduler draws from a generator of the same seed, draw by draw."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)

    def normal(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.randn((SHAPE[0], *shape), generator=self.generator, dtype=dtype)


class Network:
    """A bounded, nonlinear v, given as what is to be predicted; its x_0 often leaves [-1, 1].

    Attributes:
        seen: Each x that it was shown.
    """

    def __init__(self, prediction: str, levels: Sequence[Level]) -> None:
        self.prediction, self.seen = prediction, list[Tensor]()
        self.levels = {level.t: level for level in levels}

    def __call__(self, x: Tensor, t: float) -> Tensor:
        self.seen.append(x)
        level = self.levels[t]
        shift = torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).view_as(x[0])
        v = 1.5 * torch.tanh(1.3 * x + shift + math.sin(t / 150))
        if self.prediction == "epsilon":
            return level.s * x + level.a * v
        return v if self.prediction == "v" else level.a * x - level.s * v


def ours(
    sampler: Any,
    prediction: Any,
    clip: bool,
    levels: list[Level],
    *noise: Noise,
    x: Tensor = X_T,
    **options: Any,
) -> list[Tensor]:
    """Every x of a run of ours."""
    network = Network(prediction, levels)
    denoise = samplers.denoiser(network, prediction, clip)
    x = sampler(denoise, x, levels, *noise, **options)
    return [*network.seen, x]


def theirs(
    scheduler: Any,
    prediction: str,
    levels: list[Level],
    x: Tensor = X_T,
    **options: Any,
) -> list[Tensor]:
    """Every x of a run of theirs: at its time steps, with the network asked at our levels."""
    network = Network(prediction, levels)
    for t, level in zip(scheduler.timesteps, levels[:-1], strict=True):
        answer = network(x, level.t)
        x = scheduler.step(answer, t.item(), x, **options).prev_sample
    return [*network.seen, x]


def assert_same(one: list[Tensor], two: list[Tensor], tolerance: float) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


# --- tables and time steps -----------------------------------------------------------------------


@pytest.mark.parametrize("T", [100, 1000])
def test_the_schedule(T: int) -> None:
    ends = {key: value * 1000 / T for key, value in BETAS.items()}
    table = diffusers.DDPMScheduler(num_train_timesteps=T, **ends).alphas_cumprod
    torch.testing.assert_close(
        table.double(), diffusion.linear_alpha_bar(T), rtol=ROUNDED, atol=1e-9
    )


# not 1: one step of "linspace" and of karras is at 0 there, where there is hardly any noise
@pytest.mark.parametrize("steps", [2, 3, 7, 10, 30, 50, 64, 300, 999, 1000])
@pytest.mark.parametrize(
    ("spacing", "name"),
    [("uniform", "linspace"), ("leading", "leading"), ("trailing", "trailing")],
)
def test_time_steps(spacing: str, name: str, steps: int) -> None:
    for kind in (diffusers.DDIMScheduler, diffusers.DDPMScheduler):
        scheduler = kind(timestep_spacing=name)
        scheduler.set_timesteps(steps)
        assert scheduler.timesteps.tolist() == diffusion.timesteps(spacing, steps, LINEAR)


@pytest.mark.filterwarnings(f"{numpy_copies}:{discrete}")
@pytest.mark.parametrize("steps", [2, 10, 18, 50])
def test_karras(steps: int) -> None:
    scheduler = diffusers.HeunDiscreteScheduler(**BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    found = diffusion.karras(steps, LINEAR)
    levels = diffusion.levels(found, LINEAR)
    # each but the first and the last, sigma = 0, is there twice
    sigmas, given = scheduler.sigmas[::2].double(), sigmas_of(levels)[:-1]
    torch.testing.assert_close(sigmas, given, rtol=SIGMA, atol=0)
    given = torch.tensor(found, dtype=torch.float32)
    torch.testing.assert_close(scheduler.timesteps[::2], given, rtol=0, atol=1e-2)


def sigmas_of(levels: list[Level]) -> Tensor:
    return torch.tensor([level.sigma for level in levels], dtype=torch.float64)


# --- DDPM and DDIM -------------------------------------------------------------------------------


@predictions
@clips
@pytest.mark.parametrize(
    ("variance", "name"), [("posterior", "fixed_small"), ("large", "fixed_large")]
)
@pytest.mark.parametrize("steps", [1, 7, 10, 64])
def test_ddpm(steps: int, variance: str, name: str, clip: bool, prediction: str) -> None:
    """On a list that ends at 0: after any other t theirs would add noise to the final image."""
    scheduler = diffusers.DDPMScheduler(
        variance_type=name, clip_sample=clip, prediction_type=THEIRS[prediction]
    )
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = LINEAR
    levels = diffusion.levels(diffusion.leading(steps, LINEAR), LINEAR)
    one = ours(samplers.ddpm, prediction, clip, levels, Noise(), variance=variance)
    two = theirs(scheduler, prediction, levels, generator=Noise().generator)
    assert_same(one, two, EXACT)


@predictions
@clips
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("spacing", "steps"),
    [("leading", 1), ("leading", 7), ("leading", 64), ("trailing", 1), ("trailing", 10)],
)
def test_ddim(spacing: str, steps: int, eta: float, clip: bool, prediction: str) -> None:
    """Sequences on which the level before t is t - T // steps, as theirs takes it to be."""
    scheduler = diffusers.DDIMScheduler(
        timestep_spacing=spacing, clip_sample=clip, prediction_type=THEIRS[prediction]
    )
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = LINEAR
    levels = diffusion.levels(diffusion.timesteps(spacing, steps, LINEAR), LINEAR)
    one = ours(samplers.ddim, prediction, clip, levels, Noise(), eta=eta)
    options = {"eta": eta, "use_clipped_model_output": True, "generator": Noise().generator}
    assert_same(one, theirs(scheduler, prediction, levels, **options), EXACT)


def test_all_1000_steps() -> None:
    levels = diffusion.levels(range(999, -1, -1), LINEAR)
    ddpm, ddim = diffusers.DDPMScheduler(), diffusers.DDIMScheduler()
    for scheduler in (ddpm, ddim):
        scheduler.set_timesteps(1000)
        scheduler.alphas_cumprod = LINEAR
    one = ours(samplers.ddpm, "epsilon", True, levels, Noise())
    assert_same(one, theirs(ddpm, "epsilon", levels, generator=Noise().generator), EXACT)
    one = ours(samplers.ddim, "epsilon", True, levels, Noise(), eta=1.0)
    options = {"eta": 1.0, "use_clipped_model_output": True, "generator": Noise().generator}
    assert_same(one, theirs(ddim, "epsilon", levels, **options), EXACT)


@predictions
@clips
@pytest.mark.parametrize(("spacing", "steps"), [("leading", 10), ("trailing", 50)])
def test_with_their_own_table(spacing: str, steps: int, clip: bool, prediction: str) -> None:
    levels = diffusion.levels(diffusion.timesteps(spacing, steps, LINEAR), LINEAR)
    for eta in (0.0, 1.0):
        scheduler = diffusers.DDIMScheduler(
            timestep_spacing=spacing, clip_sample=clip, prediction_type=THEIRS[prediction]
        )
        scheduler.set_timesteps(steps)
        one = ours(samplers.ddim, prediction, clip, levels, Noise(), eta=eta)
        options = {"eta": eta, "use_clipped_model_output": True, "generator": Noise().generator}
        assert_same(one, theirs(scheduler, prediction, levels, **options), ROUNDED)


def test_clipping_matters_here_and_so_does_the_epsilon_that_follows_it() -> None:
    levels = diffusion.levels(diffusion.leading(10, LINEAR), LINEAR)
    clipped, free = (ours(samplers.ddim, "v", clip, levels)[-1] for clip in (True, False))
    assert (clipped - free).abs().max() > 0.1
    scheduler = diffusers.DDIMScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    raw = theirs(scheduler, "v", levels)[-1]  # their default: x_0 clamped, epsilon as it was
    assert (clipped - raw).abs().max() > 0.05


# --- any sequence --------------------------------------------------------------------------------
# The levels of a sequence are a chain of their own, with betas 1 - alpha_bar_t / alpha_bar_p. A
# scheduler that takes every step of it is never in doubt about the level that comes next.

SEQUENCES: dict[str, Sequence[float]] = {
    "uniform": diffusion.uniform(10, LINEAR),
    "trailing, 7": diffusion.trailing(7, LINEAR),
    "quadratic": diffusion.quadratic(50, LINEAR),
    "karras": diffusion.karras(12, LINEAR),
    "list": (990, 700.5, 640, 3.25),
    "one": (999,),
}


def respaced(kind: Any, levels: list[Level], **options: Any) -> Any:
    betas = [1 - t.alpha_bar / p.alpha_bar for t, p in pairwise(levels)][::-1]
    scheduler = kind(num_train_timesteps=len(betas), trained_betas=betas, **options)
    scheduler.set_timesteps(len(betas))
    scheduler.alphas_cumprod = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    return scheduler


@predictions
@clips
@pytest.mark.parametrize("name", list(SEQUENCES))
def test_any_sequence(name: str, clip: bool, prediction: str) -> None:
    levels = diffusion.levels(SEQUENCES[name], LINEAR)
    given = {"clip_sample": clip, "prediction_type": THEIRS[prediction]}
    for eta in (0.0, 0.5, 1.0):
        scheduler = respaced(diffusers.DDIMScheduler, levels, **given)
        one = ours(samplers.ddim, prediction, clip, levels, Noise(), eta=eta)
        options = {"eta": eta, "use_clipped_model_output": True, "generator": Noise().generator}
        assert_same(one, theirs(scheduler, prediction, levels, **options), EXACT)
    for variance, name_ in (("posterior", "fixed_small"), ("large", "fixed_large")):
        scheduler = respaced(diffusers.DDPMScheduler, levels, variance_type=name_, **given)
        one = ours(samplers.ddpm, prediction, clip, levels, Noise(), variance=variance)
        two = theirs(scheduler, prediction, levels, generator=Noise().generator)
        assert_same(one, two, EXACT)


# --- solvers of order 2 --------------------------------------------------------------------------


@pytest.mark.filterwarnings(f"{numpy_copies}:{multistep}")
@predictions
@clips
@pytest.mark.parametrize("steps", [2, 10, 15, 50])  # theirs goes another way from 15 on
@pytest.mark.parametrize("spacing", ["trailing", "quadratic", "karras"])
def test_dpmpp_2m(spacing: str, steps: int, clip: bool, prediction: str) -> None:
    """To 1e-5, since the scheduler steps in float32.

    Its own spacings have the names of DDIM's but are other lists, so the time steps are given. It
    cannot clip, but its "thresholding" with a bound of 1 is the same.
    """
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
        prediction_type=THEIRS[prediction],
        thresholding=clip,
        sample_max_value=1.0,
        use_karras_sigmas=spacing == "karras",
    )
    found = diffusion.timesteps(spacing, steps, LINEAR)
    levels = diffusion.levels(found, LINEAR)
    if spacing == "karras":
        scheduler.set_timesteps(steps)
    else:
        scheduler.set_timesteps(timesteps=found)
    torch.testing.assert_close(scheduler.sigmas.double(), sigmas_of(levels), rtol=SIGMA, atol=0)
    if spacing == "karras":  # where sigma at t = 0 decides about all others
        scheduler.sigmas = sigmas_of(levels)
        scheduler.set_begin_index(0)  # their time steps are rounded, and may repeat
    one = ours(samplers.dpmpp_2m, prediction, clip, levels)
    assert_same(one, theirs(scheduler, prediction, levels), ROUNDED)


def heun_of_theirs(scheduler: Any, prediction: str, levels: list[Level]) -> list[Tensor]:
    """Every x, which theirs scales from y = x / a to x for the network only."""
    network = Network(prediction, levels)
    first, *rest = levels[:-1]
    asked = [first, *(level for level in rest for _ in range(2))]
    y = X_T / first.a
    for t, level in zip(scheduler.timesteps, asked, strict=True):
        answer = network(scheduler.scale_model_input(y, t), level.t)
        y = scheduler.step(answer, t, y).prev_sample
    return [*network.seen, y]  # a = 1 at the end


@pytest.mark.filterwarnings(f"{numpy_copies}:{discrete}")
@predictions
@clips
@pytest.mark.parametrize("steps", [2, 10, 50])
@pytest.mark.parametrize(
    ("spacing", "name"),
    [("karras", "linspace"), ("uniform", "linspace"), ("trailing", "trailing")],
)
def test_heun(spacing: str, name: str, steps: int, clip: bool, prediction: str) -> None:
    levels = diffusion.levels(diffusion.timesteps(spacing, steps, LINEAR), LINEAR)
    scheduler = diffusers.HeunDiscreteScheduler(
        **BETAS,
        prediction_type=THEIRS[prediction],
        clip_sample=clip,
        timestep_spacing=name,
        use_karras_sigmas=spacing == "karras",
    )
    scheduler.set_timesteps(steps)
    sigmas = sigmas_of(levels)
    twice = sigmas[1:-1].repeat_interleave(2)
    scheduler.sigmas = torch.cat([sigmas[:1], twice, sigmas[-1:]])
    scheduler.set_begin_index(0)
    one = ours(samplers.heun, prediction, clip, levels)
    assert_same(one, heun_of_theirs(scheduler, prediction, levels), EXACT)


@pytest.mark.filterwarnings(f"{numpy_copies}:{discrete}")
@predictions
@pytest.mark.parametrize("steps", [10, 50])
def test_heun_with_their_own_table(steps: int, prediction: str) -> None:
    levels = diffusion.levels(diffusion.trailing(steps, LINEAR), LINEAR)
    scheduler = diffusers.HeunDiscreteScheduler(
        **BETAS, prediction_type=THEIRS[prediction], timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    one = ours(samplers.heun, prediction, False, levels)
    assert_same(one, heun_of_theirs(scheduler, prediction, levels), ROUNDED)


# --- the way back --------------------------------------------------------------------------------
# A step of their inverse from p to t is named by t and takes p to be t - T // steps, as it is in
# "leading" lists. Their pipelines ask the network about x_p at t; here it is asked at p, where x_p
# belongs. At the clean image both ask at t. They read that answer with alpha_bar = 1, we with that
# of t, where the network was trained: for epsilon it is the same; v is taken for epsilon, and for
# x_0 they divide by 0. So the latter two start one level later.


@predictions
@pytest.mark.parametrize("steps", [7, 10, 64])
def test_ddim_encode(steps: int, prediction: str) -> None:
    scheduler = diffusers.DDIMInverseScheduler(
        clip_sample=False, prediction_type=THEIRS[prediction]
    )
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = LINEAR
    found = diffusion.leading(steps, LINEAR)
    assert scheduler.timesteps.tolist() == found[::-1]
    levels = diffusion.levels(found, LINEAR)
    asked = levels[-2::-1]
    if prediction == "epsilon":
        asked.insert(0, asked[0])
    else:
        levels.pop()
        scheduler.timesteps = scheduler.timesteps[1:]
    x = X_T.clamp(-1, 1)
    one = ours(samplers.ddim_encode, prediction, False, levels, x=x)
    assert_same(one, theirs(scheduler, prediction, asked, x), EXACT)


# --- the cosine schedule and the learned variance ------------------------------------------------

COSINE = diffusion.cosine_alpha_bar(1000)
SQUARED = {"beta_schedule": "squaredcos_cap_v2"}


def spaced(steps: int, spacing: str) -> list[Level]:
    return diffusion.levels(diffusion.timesteps(spacing, steps, COSINE), COSINE)


@pytest.mark.parametrize("T", [50, 1000])
def test_the_cosine_schedule(T: int) -> None:
    table = diffusers.DDPMScheduler(num_train_timesteps=T, **SQUARED).alphas_cumprod
    # their cumprod is of betas in float32, of which the first is right to 1e-3 of itself
    torch.testing.assert_close(table.double(), diffusion.cosine_alpha_bar(T), rtol=1e-4, atol=0)


@predictions
@clips
def test_ddpm_and_ddim_on_the_cosine_schedule(clip: bool, prediction: str) -> None:
    levels = spaced(10, "leading")
    given = {"clip_sample": clip, "prediction_type": THEIRS[prediction], **SQUARED}
    scheduler = diffusers.DDPMScheduler(variance_type="fixed_small", **given)
    scheduler.set_timesteps(10)
    scheduler.alphas_cumprod = COSINE
    one = ours(samplers.ddpm, prediction, clip, levels, Noise())
    assert_same(one, theirs(scheduler, prediction, levels, generator=Noise().generator), EXACT)
    for eta in (0.0, 1.0):
        scheduler = diffusers.DDIMScheduler(**given)
        scheduler.set_timesteps(10)
        scheduler.alphas_cumprod = COSINE
        one = ours(samplers.ddim, prediction, clip, levels, Noise(), eta=eta)
        options = {"eta": eta, "use_clipped_model_output": True, "generator": Noise().generator}
        assert_same(one, theirs(scheduler, prediction, levels, **options), EXACT)


@pytest.mark.filterwarnings(f"{numpy_copies}:{multistep}")
@predictions
@pytest.mark.parametrize("steps", [10, 15])
def test_dpmpp_2m_on_the_cosine_schedule(steps: int, prediction: str) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **SQUARED,
        algorithm_type="dpmsolver++",
        final_sigmas_type="zero",
        prediction_type=THEIRS[prediction],
        thresholding=True,
        sample_max_value=1.0,
    )
    # not from 999, whose sigma is 20,000 here: theirs clips log(a / s) at -5.1
    levels = [level for level in spaced(steps, "trailing") if level.sigma < 100]
    scheduler.set_timesteps(timesteps=[level.t for level in levels[:-1]])
    torch.testing.assert_close(scheduler.sigmas.double(), sigmas_of(levels), rtol=SIGMA, atol=0)
    one = ours(samplers.dpmpp_2m, prediction, True, levels)
    assert_same(one, theirs(scheduler, prediction, levels), ROUNDED)


class Wide(Network):
    """A network that also answers u, of both signs and now and then beyond 1."""

    def __call__(self, x: Tensor, t: float) -> Tensor:
        return torch.cat((super().__call__(x, t), 1.4 * torch.cos(3 * x)), dim=1)


@predictions
@pytest.mark.parametrize("clip", [True, False], ids=["clip", "free"])
@pytest.mark.parametrize(
    ("alpha_bar", "given"), [(LINEAR, {}), (COSINE, SQUARED)], ids=["linear", "cosine"]
)
@pytest.mark.parametrize("steps", [10, 64])
def test_ddpm_with_a_learned_variance(
    steps: int, alpha_bar: Tensor, given: dict[str, Any], clip: bool, prediction: str
) -> None:
    scheduler = diffusers.DDPMScheduler(
        variance_type="learned_range",
        clip_sample=clip,
        prediction_type=THEIRS[prediction],
        **given,
    )
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = alpha_bar
    levels = diffusion.levels(diffusion.leading(steps, alpha_bar), alpha_bar)
    network = Wide(prediction, levels)
    predict = samplers.moments(network, prediction, clip)
    x = samplers.ddpm_learned(predict, X_T, levels, Noise())
    one, network = [*network.seen, x], Wide(prediction, levels)
    x, generator = X_T, Noise().generator
    for level in levels[:-1]:
        x = scheduler.step(network(x, level.t), level.t, x, generator=generator).prev_sample
    assert_same(one, [*network.seen, x], EXACT)
