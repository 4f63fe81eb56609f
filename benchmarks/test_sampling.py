"""What a diffusion sampler adds to its network, beside the bare network and diffusers.

The weights are random: no time depends on them. Around a network, both sides take the same time
steps, clamp x_0, run without gradients and give tensors.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bare import evaluations, untrained
from diffusers import (
    ConfigMixin,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    ModelMixin,
)
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from baselines._nn import diffusion, samplers
from genbench import api

# diffusers hands NumPy a tensor of a torch that does not know the argument yet
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

STEPS = 50
SHAPES = {"8x8 batch 64": (64, 8), "32x32 batch 16": (16, 32)}
NETWORKS: dict[str, dict[str, int]] = {  # an MLP of 8x8 pixels, and a U-Net
    "8x8 batch 64": {},
    "32x32 batch 16": {"channels": 48, "patch": 4},
}
shapes = pytest.mark.parametrize("shape", SHAPES)

# --- one step, without a network -----------------------------------------------------------------

OURS: dict[str, tuple[str, Callable[..., Tensor]]] = {  # sequence, sampler
    "ddpm": ("leading", samplers.ddpm),
    "ddim": ("leading", samplers.ddim),
    "dpmpp_2m": ("trailing", lambda f, x, levels, noise: samplers.dpmpp_2m(f, x, levels)),
    "heun": ("karras", lambda f, x, levels, noise: samplers.heun(f, x, levels)),
}
THEIRS: dict[str, Callable[[], Any]] = {
    "ddpm": lambda: DDPMScheduler(timestep_spacing="leading"),
    "ddim": lambda: DDIMScheduler(timestep_spacing="leading"),
    "dpmpp_2m": lambda: DPMSolverMultistepScheduler(
        beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing"
    ),
    "heun": lambda: HeunDiscreteScheduler(
        beta_start=1e-4, beta_end=0.02, use_karras_sigmas=True, clip_sample=True
    ),
}


@shapes
@pytest.mark.parametrize("name", OURS)
def test_step_without_a_network(rivals, sized, device, name, shape):
    """50 steps around an answer that is always the same, the sequence and its levels included."""
    batch, size = SHAPES[shape]
    batch = sized(batch, 2)
    generator = torch.Generator().manual_seed(0)
    x, answer = torch.randn(2, batch, 1, size, size, generator=generator).to(device)
    alpha_bar = diffusion.linear_alpha_bar(1000)
    spacing, sampler = OURS[name]
    noise = api.Noise(0, range(batch), device=device)
    scheduler = THEIRS[name]()
    asked = {"ours": 0, "theirs": 0}

    def network(x_t: Tensor, t: float) -> Tensor:
        asked["ours"] += 1
        return answer

    # DPM-Solver++ in diffusers has no clamp
    denoise = samplers.denoiser(network, clip_x0=name != "dpmpp_2m")

    def ours() -> Tensor:
        steps = diffusion.timesteps(spacing, STEPS, alpha_bar)
        return sampler(denoise, x, diffusion.levels(steps, alpha_bar), noise)

    def theirs() -> Tensor:
        scheduler.set_timesteps(STEPS, device=device)
        y = x
        for t in scheduler.timesteps:
            scheduler.scale_model_input(y, t)  # what a network would be given
            asked["theirs"] += 1
            y = scheduler.step(answer, t, y, return_dict=False)[0]
        return y

    assert ours().shape == theirs().shape
    assert asked["ours"] == asked["theirs"] == (2 * STEPS - 1 if name == "heun" else STEPS)
    rivals(ours, {"diffusers": theirs}, images=batch, steps=STEPS, device=device)


# --- whole loops around a network ----------------------------------------------------------------

LOOPS: dict[str, dict[str, Any]] = {
    "ddim-50": {"sampler": "ddim", "steps": 50, "spacing": "leading"},
    "ddpm-200": {"sampler": "ddpm", "steps": 200, "spacing": "leading"},
    "dpmpp_2m-20": {"sampler": "dpmpp_2m", "steps": 20, "spacing": "trailing"},
}


class Predictor(ModelMixin, ConfigMixin):
    """Our network as diffusers' pipelines want it; they read the settings only for the shape."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, sample_size: int, in_channels: int = 1):
        super().__init__()

    def forward(self, x: Tensor, t: Tensor) -> SimpleNamespace:
        times = self.baseline.chain.time(t.to(x.device).expand(len(x)))
        return SimpleNamespace(sample=self.baseline.net(x, times))


def pipeline(baseline: api.Baseline[Any], loop: str, batch: int, device: str):
    """A call of diffusers' own pipeline around the network of `baseline`; None if it has none."""
    if loop == "dpmpp_2m-20":
        return None
    predictor = Predictor(baseline.chain.shape[1])
    predictor.baseline = baseline
    options = LOOPS[loop]
    scheduler = THEIRS[options["sampler"]]()
    pipe = {"ddim": DDIMPipeline, "ddpm": DDPMPipeline}[options["sampler"]](predictor, scheduler)
    pipe.to(device).set_progress_bar_config(disable=True)

    def call(**more: bool) -> Tensor:
        return pipe(
            batch_size=batch,
            num_inference_steps=options["steps"],
            output_type="pt",  # the others go through the CPU, NumPy and PIL
            return_dict=False,
            **more,
        )[0]

    return call


@shapes
@pytest.mark.parametrize("loop", LOOPS)
def test_loop_around_a_network(rivals, sized, monkeypatch, device, loop, shape):
    """The family's `sample`, noise included; at most 1.05 of the network alone is the aim."""
    batch, size = SHAPES[shape]
    batch = sized(batch, 2)
    baseline = untrained("ddpm", api.DataSpec("digits", 1, size, 10), device, **NETWORKS[shape])
    index = torch.arange(batch, device=device)

    def noise() -> api.Noise:
        return api.Noise(0, index, device=device)

    def ours() -> Tensor:
        return baseline.sample(api.Unconditional(), noise(), **LOOPS[loop])

    inputs, bare = evaluations(baseline, ours)
    assert len(inputs) == LOOPS[loop]["steps"]
    peers = {"bare network": bare}
    theirs = pipeline(baseline, loop, batch, device)
    if theirs is not None:
        check_same_images(monkeypatch, ours, theirs, noise(), inputs, baseline)
        peers["diffusers"] = theirs
    rivals(ours, peers, images=batch, steps=LOOPS[loop]["steps"], device=device)


def check_same_images(monkeypatch, ours, theirs, noise, inputs, baseline) -> None:
    """Given the same noise, diffusers makes the same images with the same evaluations.

    Timed is its default, which leaves out `use_clipped_model_output` and draws its own noise.
    """

    def drawn(shape, **_settings) -> Tensor:
        return noise.normal(*shape[1:])

    modules = ("pipelines.ddpm.pipeline_ddpm", "pipelines.ddim.pipeline_ddim")
    with monkeypatch.context() as patch, torch.inference_mode():
        for module in (*modules, "schedulers.scheduling_ddpm"):
            patch.setattr(f"diffusers.{module}.randn_tensor", drawn)
        clipped = {"use_clipped_model_output": True} if len(inputs) == STEPS else {}
        made = []
        again, _ = evaluations(baseline, lambda: made.append(theirs(**clipped)))
        assert len(again) == len(inputs)
        torch.testing.assert_close(made[0] * 2 - 1, ours(), atol=2e-3, rtol=0)
