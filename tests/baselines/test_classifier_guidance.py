"""Classifier guidance: the noisy classifier, its gradient, and where it goes in a step."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mixture_oracle import Mixture
from pydantic import ValidationError
from torch import Tensor, nn

from baselines.diffusion.classifier_guidance import ClassifierGuidance
from genbench.api import ClassLabel, DataSpec, Noise, count_nfe
from genbench.stepper import Stepper

CLASSES = 3
DDIM = {"sampler": "ddim", "steps": 5}


def make(size: int = 8, answering: bool = True, **config: Any) -> ClassifierGuidance:
    """A model whose answers depend on all that it is told: it is born with zeros at its ends."""
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    data = DataSpec("any", 1, size, classes=CLASSES)
    m = ClassifierGuidance(ClassifierGuidance.Config(**small), data).eval()
    for p in m.parameters() if answering else ():
        nn.init.normal_(p, 0, 0.3)
    return m


def sample(m: ClassifierGuidance, rows: range = range(4), **options: Any) -> Tensor:
    cond = ClassLabel(torch.tensor(list(rows)) % CLASSES)
    with torch.no_grad():
        return m.sample(cond, Noise(0, rows), **DDIM | options)


# --- training ------------------------------------------------------------------------------------


class Keep:
    """An `update` that keeps the losses and what they move."""

    progress = 0.0

    def __init__(self, m: ClassifierGuidance) -> None:
        self.m, self.losses = m, dict[str, float]()

    def __call__(self, name: str, loss: Tensor) -> None:
        self.losses[name] = loss.item()
        own = {"net": self.m.net, "classifier": self.m.classifier}.pop(name)
        loss.backward(retain_graph=True)
        for module in (self.m.net, self.m.classifier):
            moved = any(p.grad is not None for p in module.parameters())
            assert moved == (module is own)
            module.zero_grad()


@pytest.mark.parametrize("size", [8, 16])
@pytest.mark.parametrize("conditional", [False, True])
def test_an_untrained_classifier_knows_nothing(size: int, conditional: bool) -> None:
    m = make(size, answering=False, conditional=conditional)
    rows = 200
    x = Noise(0, range(rows)).uniform(1, size, size) * 2 - 1
    update = Keep(m)
    logged = m.step(x, ClassLabel(torch.arange(rows) % 3), Noise(1, range(rows)), update)
    assert update.losses["classifier"] == pytest.approx(math.log(CLASSES), rel=1e-6)
    assert update.losses["net"] == pytest.approx(1, abs=0.1)
    assert set(logged) == {"loss", "classifier"}


def test_both_networks_see_the_same_noisy_images_at_the_same_time() -> None:
    m = make(T=100)
    seen: dict[str, tuple[Tensor, ...]] = {}
    for name in ("net", "classifier"):
        m.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: seen.update({name: args})
        )
    x = torch.zeros(50, 1, 8, 8)
    m.step(x, ClassLabel(torch.zeros(50, dtype=torch.int64)), Noise(1, range(50)), Keep(m))
    assert torch.equal(seen["net"][0], seen["classifier"][0])
    assert torch.equal(seen["net"][1], seen["classifier"][1])
    assert seen["net"][1].max() > 900 and len(seen["net"]) == 2
    # of images that are 0 only the noise is left, whose strength follows the time
    alpha_bar = m.chain.alpha_bar[(seen["net"][1] / 10).round().long()]
    strength = seen["net"][0].double().flatten(1).var(dim=1) / (1 - alpha_bar)
    assert strength.mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [8, 16])
def test_the_classifier_learns_and_uses_the_time(size: int) -> None:
    m = make(size, answering=False, lr=1e-2).train()
    stepper = Stepper(m, m.config)
    y = torch.arange(48) % CLASSES
    x = (y.float() - 1)[:, None, None, None].expand(-1, 1, size, size) * 0.8
    found = [
        m.step(x, ClassLabel(y), Noise(k, range(48)), stepper)["classifier"].item()
        for k in range(60)
    ]
    assert sum(found[-10:]) / 10 < 0.75 * math.log(3)
    m.eval()
    with torch.no_grad():
        early, late = (m.classifier(x, torch.full((48,), t)) for t in (0.0, 999.0))
    assert (early.argmax(dim=1) == y).float().mean() > 0.95
    assert not torch.allclose(early, late, atol=1e-2)


# --- the gradient --------------------------------------------------------------------------------


class Gaussians(nn.Module):
    """p(y | x_t) for classes that are Gaussians around `means`, of one width."""

    def __init__(self, means: Tensor, var: float) -> None:
        super().__init__()
        self.means, self.var = means, var

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        distances = (x.flatten(1)[:, None] - self.means).square().sum(dim=2)
        return -distances / (2 * self.var)


def test_the_gradient_of_gaussian_classes() -> None:
    """grad log p(y | x) = (mu_y - sum_k p(k | x) mu_k) / var."""
    m, var = make(), 7.0
    means = Noise(3, range(CLASSES)).normal(64)
    m.classifier = Gaussians(means, var)
    x, y = Noise(0, range(5)).normal(1, 8, 8), torch.tensor([0, 1, 2, 1, 0])
    p = F.softmax(m.classifier(x, x), dim=1)
    expected = (means[y] - p @ means) / var
    with torch.no_grad():
        found = m.gradient(x, torch.zeros(5), y)
    torch.testing.assert_close(found.flatten(1), expected, atol=1e-6, rtol=1e-4)
    assert not found.requires_grad


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [8, 16])
def test_the_gradient_needs_no_gradient_mode_and_is_of_each_row(size: int, half: bool) -> None:
    m = make(size)
    x, t = Noise(0, range(6)).normal(1, size, size), torch.linspace(0, 999, 6)
    y = torch.arange(6) % CLASSES
    plain = m.gradient(x, t, y)
    assert plain.abs().flatten(1).max(dim=1).values.all()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        inside = m.gradient(x.clone(), t.clone(), y.clone())
        alone = m.gradient(x[2:3], t[2:3], y[2:3])
    tolerance = 0.05 * plain.abs().max().item() if half else 1e-6
    torch.testing.assert_close(inside, plain, atol=tolerance, rtol=0)
    torch.testing.assert_close(alone, inside[2:3], atol=tolerance, rtol=0)
    assert all(p.grad is None for p in m.parameters())


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("conditional", [False, True])
def test_one_step_by_hand(mode: Any, conditional: bool) -> None:
    m = make(conditional=conditional)
    x_T, y = Noise(0, range(4)).normal(1, 8, 8), torch.arange(4) % CLASSES
    t = torch.full((4,), 999.0)
    alpha_bar = m.chain.alpha_bar[-1].item()
    with torch.no_grad():
        epsilon = m.net(x_T, t, y) if conditional else m.net(x_T, t)
    epsilon = epsilon - 2.5 * math.sqrt(1 - alpha_bar) * m.gradient(x_T, t, y)
    x_0 = (x_T - math.sqrt(1 - alpha_bar) * epsilon) / math.sqrt(alpha_bar)
    with mode():
        found = m.sample(
            ClassLabel(y.clone()), Noise(0, range(4)), sampler="ddim", steps=1, scale=2.5
        )
    torch.testing.assert_close(found, x_0.clamp(-1, 1), atol=1e-3, rtol=0)


def test_without_guidance_it_is_the_denoiser_alone() -> None:
    m = make()
    with count_nfe(m) as nfe:
        x = sample(m, scale=0)
    assert nfe.per_sample(4) == 5 and nfe.modules == {m.net}
    torch.testing.assert_close(sample(m, scale=1e-7), x, atol=1e-4, rtol=0)
    cond = ClassLabel(torch.full((4,), 2))
    with torch.no_grad():
        other = m.sample(cond, Noise(0, range(4)), **DDIM, scale=0)
    assert torch.equal(other, x)  # no label is looked at
    assert not torch.allclose(sample(m, scale=5), x, atol=1e-2)


@pytest.mark.parametrize(("sampler", "calls"), [("ddpm", 5), ("ddim", 5), ("heun", 9)])
def test_a_guided_step_evaluates_both_networks(sampler: str, calls: int) -> None:
    m = make()
    with count_nfe(m) as nfe:
        sample(m, sampler=sampler, scale=2)
    assert nfe.per_sample(4) == 2 * calls
    assert nfe.modules == {m.net, m.classifier}


def test_rows_do_not_meet_in_the_gradient() -> None:
    m = make()
    torch.testing.assert_close(sample(m, range(4), scale=3)[2:], sample(m, range(2, 4), scale=3))


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v"])
def test_every_prediction_and_a_learned_variance_can_be_guided(prediction: str) -> None:
    m = make(prediction=prediction, learn_variance=True, schedule="cosine", T=50)
    given = {"sampler": "ddpm", "variance": "learned"}
    one, two = (sample(m, scale=s, **given) for s in (0, 3))
    assert one.shape == two.shape == (4, 1, 8, 8)
    assert (one - two).abs().max() > 1e-2


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="scale"):
        ClassifierGuidance.Options(scale=-1)
    with pytest.raises(ValueError, match="needs classes, and 'any' has none; use ddpm instead"):
        ClassifierGuidance(ClassifierGuidance.Config(), DataSpec("any", 1, 8))
    with pytest.raises(ValueError, match="variance 'learned' is one that the network answers"):
        sample(make(), sampler="ddpm", variance="learned")


# --- data whose best networks are known ----------------------------------------------------------

WIDE = Mixture.of(
    (0.5, 0.3, 0.2),
    tuple(tuple(0.25 * math.cos(k + j * (k + 1)) for j in range(64)) for k in range(3)),
    (0.2, 0.3, 0.25),
)


class Best(nn.Module):
    """What the data make of x_t and t: epsilon for all or one class each, or log p(y | x_t)."""

    def __init__(self, alpha_bar: Tensor, answer: str) -> None:
        super().__init__()
        self.alpha_bar, self.answer = alpha_bar, answer

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        alpha_bar = self.alpha_bar[round(t[0].item())].item()
        level, flat = (math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)), x.double().flatten(1)
        if self.answer == "class":
            return WIDE.log_densities(flat, *level)
        if y is None:
            return WIDE.epsilon(flat, *level).view_as(x).to(x.dtype)
        each = torch.stack([WIDE.given(k).epsilon(flat, *level) for k in range(CLASSES)])
        return each[y, torch.arange(len(x))].view_as(x).to(x.dtype)


@pytest.mark.parametrize("options", [DDIM, {"sampler": "ddpm", "steps": 20}, {"sampler": "heun"}])
def test_the_best_classifier_makes_the_conditional_model(options: dict[str, Any]) -> None:
    """Bayes: at scale 1 the score of all data and log p(y | x_t) are the score of a class."""
    m, exact = make(), make(conditional=True)
    m.net, m.classifier = (Best(m.chain.alpha_bar, answer) for answer in ("epsilon", "class"))
    exact.net = m.net
    options = {"steps": 5} | options
    guided = sample(m, range(12), scale=1, **options)
    expected = sample(exact, range(12), scale=0, **options)
    assert (sample(m, range(12), scale=0, **options) - expected).abs().max() > 0.1
    torch.testing.assert_close(guided, expected, atol=2e-3, rtol=0)
