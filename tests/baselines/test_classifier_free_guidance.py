"""Classifier-free guidance: what is left out in training, and what is combined in sampling."""

import math
from typing import Any

import pytest
import torch
from mixture_oracle import Mixture
from pydantic import ValidationError
from torch import Tensor, nn

from baselines._nn import diffusion
from baselines.diffusion.classifier_free_guidance import ClassifierFreeGuidance
from genbench import registry
from genbench.api import ClassLabel, DataSpec, Noise, Update, count_nfe

CLASSES, NULL = 3, 3
DDIM = {"sampler": "ddim", "steps": 5}


def make(size: int = 8, **config: Any) -> ClassifierFreeGuidance:
    """A model whose answers depend on x, t and y: it is born with zeros in its last layer."""
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8} | config
    data = DataSpec("any", 1, size, classes=CLASSES)
    m = ClassifierFreeGuidance(ClassifierFreeGuidance.Config(**small), data).eval()
    for p in m.parameters():
        nn.init.normal_(p, 0, 0.3)
    return m


def labels(rows: int) -> ClassLabel:
    return ClassLabel(torch.arange(rows) % CLASSES)


def asked(m: ClassifierFreeGuidance) -> list[Tensor]:
    """The labels that the network is told from now on, call by call."""
    found: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: found.append(args[2]))
    return found


def sample(m: ClassifierFreeGuidance, rows: range = range(4), **options: Any) -> Tensor:
    cond = ClassLabel(torch.tensor(list(rows)) % CLASSES)
    with torch.no_grad():
        return m.sample(cond, Noise(0, rows), **DDIM | options)


# --- training ------------------------------------------------------------------------------------


class Backward(Update):
    """An `update` that keeps the gradients of the label's rows."""

    progress = 0.0

    def __init__(self, m: ClassifierFreeGuidance) -> None:
        self.weight = m.net.time.label.weight

    def __call__(self, name: str, loss: Tensor) -> None:
        self.loss = loss
        (self.gradient,) = torch.autograd.grad(loss, self.weight, retain_graph=True)


def step(m: ClassifierFreeGuidance, rows: int) -> tuple[list[Tensor], Backward]:
    told, update = asked(m), Backward(m)
    x = Noise(1, range(rows)).uniform(1, 8, 8) * 2 - 1
    m.step(x, labels(rows), Noise(2, range(rows)), update)
    return told, update


def test_labels_are_left_out_row_by_row_as_often_as_asked() -> None:
    rows = 4000
    for p in (0.1, 0.5):
        told, _ = step(make(p_uncond=p), rows)
        null = told[0] == NULL
        share = null.float().mean().item()
        assert share == pytest.approx(p, abs=3 * math.sqrt(p * (1 - p) / rows))
        assert torch.equal(told[0][~null], labels(rows).label[~null])


@pytest.mark.parametrize(("p", "learning"), [(0, (True, False)), (1, (False, True))])
def test_no_label_learns_where_labels_are_left_out(p: float, learning: tuple[bool, bool]) -> None:
    _, update = step(make(p_uncond=p), 30)
    moved = update.gradient.abs().sum(dim=1) > 0
    assert moved.tolist() == [learning[0]] * CLASSES + [learning[1]]


def test_both_learn_together() -> None:
    _, update = step(make(p_uncond=0.5), 30)
    assert (update.gradient.abs().sum(dim=1) > 0).all()


# --- sampling ------------------------------------------------------------------------------------


class Fixed(nn.Module):
    """A network that is told one label, whatever it is given."""

    def __init__(self, net: nn.Module, y: int | None) -> None:
        super().__init__()
        self.net, self.y = net, y

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if self.y is not None:
            y = torch.full_like(y, self.y)
        found: Tensor = self.net(x, t, y)
        return found


def test_without_guidance_it_is_the_conditional_model() -> None:
    m = make()
    told = asked(m)
    x = sample(m, w=0)
    assert all(torch.equal(y, labels(4).label) for y in told) and len(told) == 5
    near = sample(m, w=1e-6)
    torch.testing.assert_close(near, x, atol=1e-4, rtol=0)


def test_at_minus_one_it_is_the_unconditional_model() -> None:
    m = make()
    told = asked(m)
    x = sample(m, w=-1)
    assert all((y == NULL).all() for y in told) and len(told) == 5
    torch.testing.assert_close(sample(m, w=-1 + 1e-6), x, atol=1e-4, rtol=0)
    m.net = Fixed(m.net, NULL)  # then all guidance is none
    torch.testing.assert_close(sample(m, w=3), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("w", "evaluations"), [(-1, 1), (-0.5, 2), (0, 1), (0.5, 2), (4, 2)])
@pytest.mark.parametrize(("sampler", "calls"), [("ddpm", 5), ("ddim", 5), ("heun", 9)])
def test_a_guided_step_is_two_evaluations(
    sampler: str, calls: int, w: float, evaluations: int
) -> None:
    m = make()
    with count_nfe(m) as nfe:
        sample(m, sampler=sampler, w=w)
    assert nfe.per_sample(4) == calls * evaluations


@pytest.mark.parametrize("w", [-0.5, 0.3, 2.0])
def test_one_step_by_hand(w: float) -> None:
    """x_0 of epsilon~ = (1 + w) epsilon_y - w epsilon_null, from two separate evaluations."""
    m, y = make(), labels(4).label
    x_T = Noise(0, range(4)).normal(1, 8, 8)
    with torch.no_grad():
        t = torch.full((4,), 999.0)
        cond, uncond = m.net(x_T, t, y), m.net(x_T, t, torch.full_like(y, NULL))
    alpha_bar = m.chain.alpha_bar[-1].item()
    gamma = 1 + w
    epsilon = gamma * cond + (1 - gamma) * uncond
    x_0 = (x_T - math.sqrt(1 - alpha_bar) * epsilon) / math.sqrt(alpha_bar)
    found = sample(m, steps=1, w=w)
    torch.testing.assert_close(found, x_0.clamp(-1, 1), atol=1e-3, rtol=0)


def test_x_0_is_clamped_after_the_guidance() -> None:
    """The next x is made of what was clamped, and clamping each answer would end elsewhere."""
    m = make(T=50)
    seen: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m, steps=2, w=6)
    x_T, x_p = seen[0][:4], seen[1][:4]
    t, p, _ = m.chain.levels(m.Options(sampler="ddim", steps=2))
    x_0 = (x_p - p.s / t.s * x_T) / (p.a - p.s / t.s * t.a)
    assert x_0.abs().max() <= 1 + 1e-4
    assert (x_0.abs() > 0.99).float().mean() > 0.5


def test_options_of_the_guidance() -> None:
    for w in (-1.01, math.inf):
        with pytest.raises(ValidationError, match="w"):
            ClassifierFreeGuidance.Options(w=w)
    m = make(T=50)
    found = [sample(m, w=w) for w in (-1, 0, 1, 5)]
    assert all((x - y).abs().max() > 1e-3 for k, x in enumerate(found) for y in found[:k])
    with pytest.raises(ValueError, match="the model has 1 to 50"):
        sample(m, steps=51)


def test_rows_do_not_meet_in_the_doubled_batch() -> None:
    m = make()
    torch.testing.assert_close(sample(m, range(4), w=2)[2:], sample(m, range(2, 4), w=2))


def test_a_learned_variance_is_that_of_the_label_and_not_guided() -> None:
    m = make(learn_variance=True, T=50)
    given = {"sampler": "ddpm", "steps": 2, "variance": "learned", "clip_x0": False, "w": 4.0}
    answers: list[Tensor] = []
    m.net.register_forward_hook(lambda module, args, answer: answers.append(answer))
    seen: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m, **given)
    t, p, _ = m.chain.levels(m.Options(**given))
    with_y, without = answers[0].chunk(2)
    epsilon = without[:, :1] + 5 * (with_y[:, :1] - without[:, :1])
    x_0 = (seen[0][:4] - t.s * epsilon) / t.a
    c_0, c_t, small, large = diffusion.posterior(t, p)
    f = (with_y[:, 1:] + 1) / 2
    sigma = (large**f * small ** (1 - f)).sqrt()
    source = Noise(0, range(4))
    source.normal(1, 8, 8)
    expected = c_0 * x_0 + c_t * seen[0][:4] + sigma * source.normal(1, 8, 8)
    torch.testing.assert_close(seen[1][:4], expected, atol=1e-2, rtol=1e-4)


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="needs classes, and 'any' has none; use ddpm instead"):
        ClassifierFreeGuidance(ClassifierFreeGuidance.Config(), DataSpec("any", 1, 8))


# --- data whose best networks are known ----------------------------------------------------------

PAIR = Mixture.of((0.5, 0.5), ((-0.5,), (0.5,)), (0.25, 0.25))


class Best(nn.Module):
    """The best epsilon for each pixel of its own: class 0, class 1, and 2 for no label."""

    def __init__(self, alpha_bar: Tensor) -> None:
        super().__init__()
        self.alpha_bar = alpha_bar

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        alpha_bar = self.alpha_bar[round(t[0].item())].item()
        level = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        column = x.double().reshape(-1, 1)
        each = [of.epsilon(column, *level) for of in (PAIR.given(0), PAIR.given(1), PAIR)]
        found = torch.stack(each).view(3, *x.shape)
        return found[y, torch.arange(len(x))].to(x.dtype)


def flow(x: Tensor, sigma: float, w: float, steps: int = 200) -> Tensor:
    """The probability flow dy / dsigma = epsilon~(y, sigma) from y to sigma = 0 by Runge-Kutta."""
    grid = sigma * torch.linspace(1, 0, steps + 1).double() ** 4
    one = PAIR.given(1)

    def slope(y: Tensor, s: float) -> Tensor:
        level = 1.0, max(s, 1e-9)
        return (1 + w) * one.epsilon(y, *level) - w * PAIR.epsilon(y, *level)

    for high, low in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        h, middle = low - high, (high + low) / 2
        k1 = slope(x, high)
        k2 = slope(x + h / 2 * k1, middle)
        k3 = slope(x + h / 2 * k2, middle)
        k4 = slope(x + h * k3, low)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def test_the_flow_has_the_known_moments() -> None:
    """Published for DDIM-200 with classes N(+-1, 0.5^2), which is this at twice the scale."""
    known = {0.0: (0.989, 0.492), 1.0: (1.313, 0.352), 4.0: (1.797, 0.268)}
    sigma = 80.0
    x = torch.special.ndtri((torch.arange(500) + 0.5).double() / 500)[:, None] * sigma
    for w, (mean, std) in known.items():
        y = 2 * flow(x, sigma, w)
        assert y.mean().item() == pytest.approx(mean, abs=0.015)
        assert y.std().item() == pytest.approx(std, abs=0.012)


@pytest.mark.parametrize("w", [-1.0, -0.5, 0.0, 0.5, 2.0])
def test_samples_of_a_pair_of_classes_follow_the_guided_flow(w: float) -> None:
    m = ClassifierFreeGuidance(
        ClassifierFreeGuidance.Config(hidden=2, depth=1), DataSpec("any", 1, 8, classes=2)
    )
    m.net = Best(m.chain.alpha_bar)
    rows = range(20)
    y = ClassLabel(torch.ones(20, dtype=torch.int64))
    options = {"sampler": "dpmpp_2m", "steps": 200, "clip_x0": False, "w": w}
    x = m.sample(y, Noise(0, rows), **options).double().view(-1, 1)
    alpha_bar = m.chain.alpha_bar[-1].item()
    start = Noise(0, rows).normal(1, 8, 8).double().view(-1, 1) / math.sqrt(alpha_bar)
    expected = flow(start, math.sqrt(1 / alpha_bar - 1), w)
    inside = expected.abs() < 0.99  # samples are clamped at last
    assert inside.float().mean() > 0.85
    error = (x - expected)[inside].abs()
    assert error.mean() < 3e-3 and error.quantile(0.99) < 2e-2


@pytest.mark.parametrize("name", ["classifier_free_guidance", "ldm"])
def test_guidance_by_a_branch_that_never_learned_is_refused(name: str) -> None:
    cls = registry.load(name)

    def check(p_uncond: float, w: float) -> None:
        cls.check(cls.Config(p_uncond=p_uncond), cls.Options(w=w))

    for p_uncond, w in ((0.1, 0.5), (0.1, -1), (0, 0), (1, -1)):
        check(p_uncond, w)
    for w in (0.5, -1):
        with pytest.raises(ValueError, match=r"p_uncond = 0 never.*set w = 0"):
            check(0, w)
    for w in (0.5, 0):
        with pytest.raises(ValueError, match=r"p_uncond = 1 leaves.*set w = -1"):
            check(1, w)
