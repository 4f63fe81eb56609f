"""DDPM as a family: loss, options, what its samplers evaluate, the codes of images, the U-Net.

What the samplers compute is tested in test_samplers.py and test_samplers_diffusers.py.
"""

import itertools
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from steps import Losses
from torch import Tensor

from baselines._nn.blocks import UNet
from baselines.diffusion.ddpm import DDPM
from genbench.api import DataSpec, Noise, Unconditional, count_nfe
from genbench.stepper import Stepper


def make(size: int = 8, channels: int = 1, **config: Any) -> DDPM:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    return DDPM(DDPM.Config(**small), DataSpec("any", channels, size))


def answering(**config: Any) -> DDPM:
    """A model whose answers depend on x and t: it is born with zeros in its last layer."""
    m = make(**config).eval()
    for p in m.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    return m


def asked(m: DDPM) -> list[Tensor]:
    """The times that the network is told from now on, call by call."""
    times: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: times.append(args[1]))
    return times


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"net": "unet", "attention": (4,)}])
def test_an_untrained_network_answers_zero(config: dict[str, Any]) -> None:
    m, update = make(**config), Losses()
    x = Noise(0, range(500)).uniform(1, 8, 8) * 2 - 1
    m.step(x, Unconditional(), Noise(1, range(500)), update)
    assert update.loss == pytest.approx(1.0, abs=5 * math.sqrt(2 / x.numel()))
    assert not m.net(x[:2], torch.tensor([0, 999])).any()


def test_the_network_sees_the_forward_process() -> None:
    m, update = make(), Losses()
    seen: list[tuple[Tensor, Tensor]] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args))
    n = 4000
    m.step(torch.full((n, 1, 8, 8), 0.5), Unconditional(), Noise(2, range(n)), update)
    x_t, t = seen[0]
    a = m.chain.alpha_bar[t.long()]
    assert set(range(0, 1000, 100)) <= {100 * (int(v) // 100) for v in t}
    assert t.mean().item() == pytest.approx(499.5, abs=5 * 289 / math.sqrt(n))
    assert t.min() < 5 and t.max() > 994
    z = (x_t.double() - 0.5 * a.sqrt()[:, None, None, None]) / (1 - a).sqrt()[:, None, None, None]
    assert z.mean().item() == pytest.approx(0, abs=5 / math.sqrt(z.numel()))
    assert z.var().item() == pytest.approx(1, abs=5 * math.sqrt(2 / z.numel()))


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "spacing", "steps"),
    [
        ({}, "trailing", 1000),
        ({"sampler": "ddim"}, "trailing", 1000),
        ({"sampler": "dpmpp_2m", "steps": 20}, "trailing", 20),
        ({"sampler": "heun", "steps": 18}, "karras", 18),
        ({"sampler": "heun", "spacing": "auto"}, "karras", 1000),
        ({"sampler": "heun", "spacing": "trailing"}, "trailing", 1000),
        ({"spacing": "karras"}, "karras", 1000),
        ({"spacing": [999, 500.5, 0]}, (999.0, 500.5, 0.0), 3),
        ({"spacing": (7,), "steps": 1, "sampler": "heun"}, (7.0,), 1),
    ],
)
def test_spacing_and_steps_are_filled_in(given: dict[str, Any], spacing: Any, steps: int) -> None:
    """A specification must say what was run, not "auto"."""
    options = DDPM.Options(**given)
    assert (options.spacing, options.steps) == (spacing, steps)
    assert DDPM.Options(**options.model_dump(mode="json")) == options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "greater than or equal to 1"),
        ({"sampler": "dimd"}, "'ddpm', 'ddim', 'dpmpp_2m' or 'heun'"),
        ({"sampler": "ddim", "eta": 1.5}, "less than or equal to 1"),
        ({"sampler": "ddim", "eta": -0.5}, "greater than or equal to 0"),
        ({"eta": 0.5}, "eta is an option of sampler 'ddim'; 'ddpm' has none"),
        ({"sampler": "heun", "eta": 1}, "eta is an option of sampler 'ddim'; 'heun' has none"),
        ({"variance": "small"}, "'posterior', 'large' or 'learned'"),
        (
            {"sampler": "ddim", "variance": "large"},
            "variance is an option of sampler 'ddpm'; 'ddim' has none",
        ),
        ({"spacing": "cubic"}, "'quadratic' or 'karras'"),
        ({"spacing": [9, 5], "steps": 3}, "steps=3, but spacing lists 2 time steps"),
        ({"spacing": []}, "greater than or equal to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DDPM.Options(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "with 1000 steps: the model has 1 to 50"),
        ({"steps": 51, "spacing": "karras"}, "with 51 steps: the model has 1 to 50"),
        ({"spacing": [50, 0]}, r"must lie in 0\.\.49, got \[50\.0, 0\.0\]"),
        ({"spacing": [10, -1]}, r"must lie in 0\.\.49"),
        ({"spacing": [10, 20]}, "must descend, but 20 comes after 10"),
    ],
)
def test_options_that_do_not_fit_the_chain_are_refused(
    given: dict[str, Any], message: str
) -> None:
    config, options = DDPM.Config(T=50), DDPM.Options(**given)
    with pytest.raises(ValueError, match=message):
        DDPM.check(config, options)
    with pytest.raises(ValueError, match=message):
        make(T=50).sample(Unconditional(), Noise(0, range(1)), **given)


def test_options_that_fit_the_chain() -> None:
    for given in ({"steps": 50}, {"steps": 1}, {"spacing": [49, 0.5]}):
        DDPM.check(DDPM.Config(T=50), DDPM.Options(**given))


# --- sampling ------------------------------------------------------------------------------------

SAMPLERS = ["ddpm", "ddim", "dpmpp_2m", "heun"]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4, 50])
def test_evaluations_are_counted(sampler: str, steps: int) -> None:
    m = make(T=50).eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(3)), sampler=sampler, steps=steps)
    assert nfe.per_sample(3) == (2 * steps - 1 if sampler == "heun" else steps)
    assert nfe.params == sum(p.numel() for p in m.net.parameters())


def test_quadratic_steps_are_evaluated_once_each() -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(2)), steps=100, spacing="quadratic")
    assert nfe.per_sample(2) == 96


@pytest.mark.parametrize("T", [50, 1000])
def test_the_network_is_told_the_time_of_a_chain_of_1000(T: int) -> None:
    m = answering(T=T)
    times = asked(m)
    with torch.no_grad():
        m.sample(Unconditional(), Noise(0, range(3)), spacing=[T - 1, 10.5, 3, 0])
    expected = torch.tensor([T - 1, 10.5, 3, 0])[:, None] * (1000 / T)
    torch.testing.assert_close(torch.stack(times), expected.expand(4, 3), atol=0, rtol=1e-6)


@pytest.mark.parametrize(
    "spacing", ["uniform", "leading", "trailing", "quadratic", "karras", [49, 20.25, 1]]
)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_takes_every_sequence(sampler: str, spacing: Any) -> None:
    m = answering(T=50)
    steps = len(spacing) if isinstance(spacing, list) else 5
    with torch.no_grad():
        x, y = (
            m.sample(Unconditional(), Noise(0, r), sampler=sampler, spacing=spacing, steps=steps)
            for r in (range(4), range(1, 3))
        )
    assert x.shape == (4, 1, 8, 8) and x.dtype == torch.float32
    assert x.abs().max() <= 1 and x.std() > 0.01
    torch.testing.assert_close(x[1:3], y, atol=1e-5, rtol=0)


def test_options_reach_the_sampler() -> None:
    m = answering(T=50)
    given: list[dict[str, Any]] = [{"sampler": name, "spacing": "trailing"} for name in SAMPLERS]
    given += [{"variance": "large"}, {"clip_x0": False}, {"sampler": "ddim", "eta": 0.5}]
    given += [{"spacing": "leading"}, {"sampler": "ddim", "clip_x0": False}]
    with torch.no_grad():
        found = [m.sample(Unconditional(), Noise(0, range(4)), steps=5, **o) for o in given]
    assert all((x - y).abs().max() > 1e-3 for x, y in itertools.combinations(found, 2))


def test_only_stochastic_samplers_use_more_noise() -> None:
    m = make(T=50).eval()

    def draws(**options: Any) -> int:
        noise = Noise(0, range(2))
        m.sample(Unconditional(), noise, steps=10, **options)
        return noise._draw

    with torch.no_grad():
        assert draws(sampler="ddpm") == draws(sampler="ddim", eta=0.5) == 10
        assert draws(sampler="ddpm", variance="large") == 10
        assert draws(sampler="ddim") == draws(sampler="dpmpp_2m") == draws(sampler="heun") == 1


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"schedule": "cosine", "prediction": "v"},
        {"prediction": "x0", "weighting": "min_snr"},
        {"learn_variance": True, "T": 100},
    ],
    ids=str,
)
def test_it_learns_one_image(config: dict[str, Any]) -> None:
    """Data is one image: the best network knows the noise, and DDIM ends at the image."""
    m = make(hidden=256, depth=2, lr=2e-3, **config).train()
    stepper = Stepper(m, DDPM.Config())
    image = torch.where(Noise(3, [0]).uniform(1, 8, 8) < 0.5, -0.5, 0.5)
    for i in range(150):
        m.step(image.expand(64, -1, -1, -1), Unconditional(), Noise(i, range(64)), stepper)
    with torch.no_grad():
        x = m.eval().sample(Unconditional(), Noise(0, range(16)), sampler="ddim", steps=25)
    right = ((x > 0) == (image > 0)).float().mean().item()  # 0.5 by chance
    assert right > 0.85


COMBINATIONS = list(
    itertools.product(
        ("linear", "cosine"), ("epsilon", "x0", "v"), ("simple", "min_snr"), (False, True)
    )
)


@pytest.mark.parametrize(("schedule", "prediction", "weighting", "learned"), COMBINATIONS)
def test_every_sampler_takes_every_kind_of_model(
    schedule: str, prediction: str, weighting: str, learned: bool
) -> None:
    kind = {"schedule": schedule, "prediction": prediction, "weighting": weighting}
    m, update = answering(T=50, learn_variance=learned, **kind), Losses()
    x = (Noise(0, range(9)).uniform(1, 8, 8) * 256).long() / 127.5 - 1
    logged = m.step(x, Unconditional(), Noise(1, range(9)), update)
    assert math.isfinite(update.loss) and ("bound" in logged) == learned
    given: list[dict[str, Any]] = [{"sampler": name} for name in SAMPLERS]
    given += [{"variance": "large"}, {"sampler": "ddim", "eta": 1.0}]
    given += [{"variance": "learned"}] * learned
    with torch.no_grad():
        for options in given:
            x, y = (
                m.sample(Unconditional(), Noise(0, r), steps=6, **options)
                for r in (range(3), range(1, 3))
            )
            assert x.abs().max() <= 1 and x.std() > 0.01
            torch.testing.assert_close(x[1:], y, atol=1e-5, rtol=0)
    if not learned:
        with pytest.raises(ValueError, match="learn_variance = true"):
            m.sample(Unconditional(), Noise(0, range(1)), steps=6, variance="learned")


def test_a_learned_variance_doubles_the_answer_and_leaves_the_image_alone() -> None:
    one, two = make(), make(learn_variance=True)
    x, t = Noise(0, range(2)).normal(1, 8, 8), torch.tensor([3, 900])
    assert one.net(x, t).shape == (2, 1, 8, 8) and two.net(x, t).shape == (2, 2, 8, 8)
    with torch.no_grad():  # born with u = 0, the variance is in the middle of its bounds
        codes = [m.eval().encode(x, steps=5) for m in (one, two)]
    assert torch.equal(*codes)


def test_presets_are_what_the_papers_say() -> None:
    presets = {
        name: {key: value for key, value in preset.items() if key != "options"}
        for name, preset in DDPM.presets.items()
    }
    assert DDPM.presets["paper"]["options"] == {"variance": "large"}  # of its figure of 3.17
    paper = DDPM.Config(**presets["paper"])
    assert (paper.T, paper.schedule, paper.prediction) == (1000, "linear", "epsilon")
    assert paper.ema == pytest.approx(math.log(0.5) / math.log(0.9999) * 128, rel=1e-3)
    net = DDPM(paper, DataSpec("cifar10", 3, 32)).net
    # 35.7 million in the paper; the two gains here are more, the bias of the keys is not there
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(35.7e6, rel=0.03)
    improved = DDPM.Config(**presets["improved"])
    assert (improved.T, improved.schedule, improved.learn_variance) == (4000, "cosine", True)


# --- codes ---------------------------------------------------------------------------------------


def test_without_an_opinion_on_noise_the_code_is_the_image_scaled() -> None:
    m = make(T=50).eval()  # epsilon = 0
    x = Noise(0, range(3)).normal(1, 8, 8).clamp(-1, 1)
    with torch.no_grad():
        x_T = m.encode(x, steps=10)
        torch.testing.assert_close(
            x_T, m.chain.alpha_bar[45].sqrt().float() * x, atol=1e-6, rtol=0
        )
        torch.testing.assert_close(m.decode(x_T, steps=10), x, atol=1e-6, rtol=0)


def test_decoding_leads_back_the_better_the_more_steps() -> None:
    m = answering(T=1000)
    x = Noise(0, range(8)).normal(1, 8, 8).clamp(-1, 1)

    def error(steps: int) -> float:
        return (m.decode(m.encode(x, steps), steps) - x).square().mean().item()

    with torch.no_grad():
        errors = [error(steps) for steps in (10, 50, 250)]
        assert torch.equal(m.encode(x), m.encode(x, 50))
        assert torch.equal(m.decode(x), m.decode(x, 50))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_codes_may_lie_outside_the_range_of_pixels() -> None:
    m = make(T=50).eval()
    with torch.no_grad():
        assert m.decode(torch.full((1, 1, 8, 8), 2.0), steps=10).max() > 1


# --- the U-Net -----------------------------------------------------------------------------------


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
