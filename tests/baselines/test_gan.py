"""The GAN game with its objectives, and the penalties that adversarial families share."""

import itertools
import math
from typing import Any

import pytest
import torch
from steps import Losses
from torch import Tensor, nn
from torch.optim import SGD, Adam, RMSprop

from baselines._nn.gradient_penalty import r1, slope, tracked, wgan_gp
from baselines.gan.gan import GAN
from genbench.api import Config, DataSpec, Noise, Unconditional
from genbench.data import load
from genbench.loop import Loop
from genbench.spec import Budget
from genbench.stepper import Stepper
from genbench.tasks import task

CRITICS = ["wasserstein", "wasserstein_gp"]  # whose scores mean something as differences only
OBJECTIVES = ["minimax", "non_saturating", "least_squares", "hinge", *CRITICS]
S = torch.tensor([-7.0, 0.0, 7.0])


def make(size: int = 8, channels: int = 1, **config: Any) -> GAN:
    torch.manual_seed(0)
    small = {"hidden": 16, "nz": 8, "ngf": 8, "ndf": 8} | config
    return GAN(GAN.Config(**small), DataSpec("any", channels, size))


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *(shape or (1, 8, 8)), generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """s(x) = <a, x> + b: its slope is a everywhere."""

    def __init__(self, length: float, n: int = 64) -> None:
        super().__init__()
        a = torch.arange(1.0, n + 1)
        self.a, self.b = nn.Parameter(length * a / a.norm()), nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.a + self.b


# --- the penalties -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(length: float) -> None:
    D = Linear(length)
    x, fake = images(5), images(5, seed=1)
    penalty = wgan_gp(D, x, fake, torch.full((5, 1, 1, 1), 0.3))
    assert penalty.item() == pytest.approx((length - 1) ** 2, abs=1e-6)


@pytest.mark.parametrize("length", [0.5, 3.0])
def test_r1_of_a_linear_critic(length: float) -> None:
    D, x = Linear(length), tracked(images(5))
    assert r1(D(x), x).item() == pytest.approx(length**2 / 2, rel=1e-5)


def test_a_penalty_is_a_mean_over_images_of_a_sum_over_pixels() -> None:
    x = tracked(images(3))
    s = torch.tensor([1.0, 2.0, 3.0]) * x.flatten(1).sum(1)  # slopes 8, 16 and 24 in length
    torch.testing.assert_close(slope(s, x).norm(dim=1), torch.tensor([8.0, 16.0, 24.0]))
    assert r1(s, x).item() == pytest.approx((8**2 + 16**2 + 24**2) / 3 / 2)


def test_penalties_move_the_discriminator() -> None:
    D, x = Linear(3.0), tracked(images(5))
    (gradient,) = torch.autograd.grad(r1(D(x), x), D.a)
    torch.testing.assert_close(gradient, D.a.detach())  # of 1/2 |a|^2
    penalty = wgan_gp(D, x, images(5, seed=1), torch.zeros(5, 1, 1, 1))
    (gradient,) = torch.autograd.grad(penalty, D.a)
    torch.testing.assert_close(gradient, 2 * (3 - 1) * D.a.detach() / 3)


def test_the_penalty_is_taken_between_image_and_sample_of_the_same_row() -> None:
    seen: list[Tensor] = []

    def D(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    x, fake = images(3), images(3, seed=1)
    u = torch.tensor([0.0, 0.25, 1.0])[:, None, None, None]
    wgan_gp(D, x, fake, u)
    torch.testing.assert_close(seen[0], u * x + (1 - u) * fake)
    assert torch.equal(seen[0][2], x[2])


# --- the objectives ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "gradient"),
    [
        ("minimax", -torch.sigmoid(S)),
        ("non_saturating", -(1 - torch.sigmoid(S))),
        ("least_squares", 2 * (S - 1)),
        ("hinge", -torch.ones(3)),
        ("wasserstein_gp", -torch.ones(3)),
    ],
)
def test_gradient_of_the_generators_loss(objective: str, gradient: Tensor) -> None:
    s = S.clone().requires_grad_()
    (found,) = torch.autograd.grad(3 * make(objective=objective).loss_g(s), s)
    torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize(
    ("objective", "d", "g"),
    [
        ("minimax", 2 * math.log(2), -math.log(2)),
        ("non_saturating", 2 * math.log(2), math.log(2)),
        ("least_squares", 1, 1),
        ("hinge", 2, 0),
        ("wasserstein", 0, 0),
        ("wasserstein_gp", 10, 0),  # the slope is 0, and should be 1
    ],
)
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_losses_at_zero_logits(objective: str, d: float, g: float, net: str) -> None:
    m = make(objective=objective, net=net, n_critic=1)
    for p in m.D[-2].parameters():
        nn.init.zeros_(p)
    update = Losses()
    logged = m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert update.seen["d"] == pytest.approx(d, abs=1e-6)
    assert update.seen["g"] == pytest.approx(g, abs=1e-6)
    assert {k: float(v.detach()) for k, v in logged.items()} == {
        "loss_d": update.seen["d"],
        "loss_g": update.seen["g"],
    }


def test_the_critic_scores_real_images_higher() -> None:
    m = make(objective="wasserstein_gp", penalty=0)
    m.D = nn.Sequential(Linear(1.0))
    loss = m.loss_d(images(4) + 2, images(4) - 2, Noise(0, range(4)))
    assert loss.item() == pytest.approx(-4 * m.D[0].a.sum().item(), rel=1e-5)


@pytest.mark.parametrize(("frozen", "moved"), [("d", "g"), ("g", "d")])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_an_update_reaches_all_of_its_own_network_and_nothing_else(
    objective: str, frozen: str, moved: str, net: str
) -> None:
    m = make(objective=objective, n_critic=1, net=net, weight_clip=9).train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(images(4), Unconditional(), Noise(0, range(4)), One())
    for key, p in m.named_parameters():
        if objective in {"hinge", *CRITICS} and key == f"D.{len(m.D) - 2}.bias":
            continue  # a constant added to all scores changes nothing (hinge: within the margin)
        assert torch.equal(before[key], p) == key.startswith(frozen.upper()), key


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_a_step_in_bfloat16(net: str) -> None:
    m, update = make(objective="wasserstein_gp", n_critic=1, net=net).train(), Losses()
    with torch.autocast("cpu", torch.bfloat16):
        m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert all(math.isfinite(loss) for loss in update.seen.values())
    assert set(update.seen) == {"d", "g"}


def test_fakes_are_fresh_for_each_network() -> None:
    m = make().train()
    made: list[Tensor] = []
    m.G.register_forward_pre_hook(lambda module, args: made.append(args[0]))
    m.step(images(4), Unconditional(), Noise(0, range(4)), Losses())
    assert len(made) == 2
    assert not torch.allclose(made[0], made[1], atol=1e-2)


# --- what keeps D from becoming steep ------------------------------------------------------------


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_the_weights_of_a_clipped_critic_stay_small(net: str) -> None:
    m = make(objective="wasserstein", net=net, weight_clip=0.02, lr=0.1).train()
    stepper = Stepper(m, Config())
    for i in range(5):
        m.step(images(8), Unconditional(), Noise(i, range(8)), stepper)
        assert all(p.abs().max() <= 0.02 + 1e-7 for p in m.D.parameters())
    assert max(p.abs().max() for p in m.G.parameters()) > 0.05  # G is free


def test_r1_is_added_to_any_objective() -> None:
    for objective in OBJECTIVES:
        plain, flat = (make(objective=objective, r1=gamma) for gamma in (0.0, 3.0))
        x, fake = images(5), images(5, seed=1)
        noise = Noise(0, range(5))
        real = tracked(x)
        more = flat.loss_d(x, fake, noise) - plain.loss_d(x, fake, Noise(0, range(5)))
        assert more.item() == pytest.approx(3 * r1(plain.D(real), real).item(), rel=1e-4)
        assert more.item() > 0


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_spectral_normalisation_bounds_every_layer_of_the_discriminator(net: str) -> None:
    m = make(spectral=True, net=net)
    layers = [layer for layer in m.D if hasattr(layer, "weight")]
    assert len(layers) == 3
    for layer in layers:
        layer.parametrizations.weight.original.data *= 50
    for _ in range(40):
        m.D.train()(images(2))
    for layer in layers:
        length = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        assert length == pytest.approx(1, abs=0.02)


def test_sgd_keeps_the_size_of_the_gradient_that_adam_divides_by() -> None:
    moved = {}
    for kind in ("sgd", "adam"):
        for objective in ("minimax", "non_saturating"):
            m = make(objective=objective, optimizer=kind, lr=1e-3, beta1=0.0).train()
            with torch.no_grad():
                m.D[-2].bias.fill_(-8)  # D is sure of every fake
            before = nn.utils.parameters_to_vector(m.G.parameters()).detach()
            Stepper(m, Config())("g", m.loss_g(m.D(m.G(images(4, 8)))))
            after = nn.utils.parameters_to_vector(m.G.parameters()).detach()
            moved[kind, objective] = (after - before).norm().item()
    assert moved["sgd", "minimax"] < 1e-2 * moved["sgd", "non_saturating"]
    assert moved["adam", "minimax"] > 0.5 * moved["adam", "non_saturating"]


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 28, 32])
@pytest.mark.parametrize("net", ["mlp", "conv", "auto"])
def test_sizes(size: int, net: str) -> None:
    m = make(size, 3, net=net)
    x = m.sample(Unconditional(), Noise(0, range(2)))
    assert x.shape == (2, 3, size, size)
    assert m.D(x).shape == (2,)
    convolutions = any(isinstance(layer, nn.Conv2d) for layer in m.D)
    assert convolutions == (net == "conv" or (net == "auto" and size > 8))


def test_the_discriminator_normalises_nothing_and_answers_with_logits() -> None:
    for net in ("mlp", "conv"):
        allowed = (nn.Linear, nn.Conv2d, nn.LeakyReLU, nn.Flatten)
        m = make(16, net=net)
        assert all(isinstance(layer, allowed) for layer in m.D)
        assert not isinstance(m.D[-2], nn.LeakyReLU)
        x = images(4, 1, 16, 16)
        torch.testing.assert_close(m.D.train()(x)[:1], m.D(x[:1]))  # of one image alone


# --- steps of the critic -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 1),
        ({"objective": "wasserstein_gp"}, 5),
        ({"objective": "wasserstein"}, 5),
        ({"objective": "wasserstein_gp", "n_critic": 2}, 2),
        ({"n_critic": 3}, 3),
    ],
)
def test_the_generator_has_a_step_after_n_of_the_critic(
    config: dict[str, Any], expected: int
) -> None:
    m = make(**config).train()
    pattern, phases = [], []
    for _ in range(2 * expected):
        update = Losses()
        phases.append(m.phase(0.0))
        logged = m.step(images(2), Unconditional(), Noise(0, range(2)), update)
        pattern.append("".join(update.seen))
        assert len(logged) == len(update.seen)
    assert pattern == 2 * [*["d"] * (expected - 1), "dg"]
    assert phases == ["d and g" if "g" in done else "d" for done in pattern]


def test_budget_and_flops_count_the_critics_steps() -> None:
    m = make(objective="wasserstein_gp", n_critic=2, batch=8)
    data = load("digits", "train")
    loop = Loop(m.train(), m.config, Budget(images=160), 0, task("unconditional").training(data))
    flops, steps = [0.0], 0
    while loop.ended_by is None:
        loop.step()
        flops.append(loop.meter.flops)
        steps += 1
    assert loop.meter.images >= 160 and loop.meter.images - 160 < 2 * 8
    cost = [round(b - a) for a, b in itertools.pairwise(flops)]
    assert cost[0] == cost[2] < cost[1] == cost[3]
    assert int(m.steps) == steps


# --- presets, and that it learns -----------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GAN.presets))
def test_presets_can_be_built(name: str) -> None:
    m = GAN(GAN.Config(**GAN.presets[name]), DataSpec("any", 1, 28))
    assert m.sample(Unconditional(), Noise(0, range(2))).shape == (2, 1, 28, 28)
    assert m.n_critic == (1 if name == "paper" else 5)


def test_optimizers_of_the_papers() -> None:
    made = {}
    for name in ("paper", "wgan", "wgan_gp"):
        m = GAN(GAN.Config(**GAN.presets[name]), DataSpec("any", 1, 8))
        d, g = (m.optimizers()[key] for key in "dg")
        assert type(d) is type(g) and d.defaults == g.defaults
        made[name] = d
    assert isinstance(made["paper"], SGD)
    assert (made["paper"].defaults["lr"], made["paper"].defaults["momentum"]) == (0.1, 0.5)
    assert isinstance(made["wgan"], RMSprop) and made["wgan"].defaults["lr"] == 5e-5
    assert isinstance(made["wgan_gp"], Adam)
    assert (made["wgan_gp"].defaults["lr"], made["wgan_gp"].defaults["betas"]) == (1e-4, (0, 0.9))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_where_the_data_are(objective: str) -> None:
    # a Wasserstein critic must be nearly optimal, and without momentum
    wasserstein = {"n_critic": 3, "beta1": 0.0} if objective in CRITICS else {}
    if objective == "wasserstein":
        wasserstein["weight_clip"] = 0.1  # D has few layers and channels
    m = make(objective=objective, nz=4, hidden=32, lr=2e-3, **wasserstein).train()
    stepper = Stepper(m, Config())
    x = torch.full((32, 1, 8, 8), -0.5)
    x[..., :4] = 0.5
    for i in range(150 * m.n_critic):
        m.step(x, Unconditional(), Noise(0, range(32 * i, 32 * i + 32)), stepper)
    made = m.sample(Unconditional(), Noise(1, range(64))).detach()
    assert (made - x[:1]).square().mean() < 0.1  # before: 0.25
