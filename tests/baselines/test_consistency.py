"""Consistency models: the boundary, the loss on known paths, teacher and student, sampling."""

import math
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from mixture_oracle import THREE
from pydantic import ValidationError
from torch import Tensor, nn

from baselines._nn import karras
from baselines.diffusion import consistency
from baselines.diffusion.consistency import EPSILON, Consistency, follow
from genbench.api import DataSpec, Noise, Unconditional, count_nfe
from genbench.stepper import Stepper

MU, S = 0.3, 0.5  # of Gaussian data


def make(shape: tuple[int, int] = (1, 8), **config: Any) -> Consistency:
    torch.manual_seed(0)
    small = {"hidden": 16, "depth": 1, "channels": 8, "batch": 16} | config
    return Consistency(Consistency.Config(**small), DataSpec("any", *shape))


def answering(**config: Any) -> Consistency:
    """A model whose answers depend on x and the level."""
    m = make(**config)
    with torch.no_grad():
        for p in m.parameters():
            torch.nn.init.normal_(p, 0, 0.1)
    return m


def wide(level: Tensor | float) -> Tensor:
    level = torch.as_tensor(level)
    return level[:, None, None, None] if level.ndim else level


def weights(network: nn.Module | None) -> Tensor:
    """The weights of a network as one vector, a copy."""
    assert network is not None
    return torch.cat([w.detach().flatten() for w in network.state_dict().values()])


def path(x: Tensor, sigma: Tensor | float) -> Tensor:
    """The consistency function of N(MU, S^2)."""
    level = wide(sigma)
    return MU + ((S**2 + EPSILON**2) / (S**2 + level**2)) ** 0.5 * (x - MU)


def knowing(**config: Any) -> Consistency:
    """A model that knows the best teacher and the exact student for N(MU, S^2)."""
    m = make(distance="l2", **config)

    def denoise(x: Tensor, sigma: Tensor, weights: Any = None, boundary: float = 0.0) -> Tensor:
        level = wide(sigma)
        if boundary:
            return path(x, sigma)
        return (S**2 * x + level**2 * MU) / (S**2 + level**2)

    m.denoise = denoise
    return m


def data(n: int) -> Tensor:
    return MU + S * Noise(5, range(n)).normal(1, 8, 8, dtype=torch.float64)


# --- the function --------------------------------------------------------------------------------


def test_at_the_lowest_level_the_answer_is_x_itself() -> None:
    m = answering()
    x = Noise(0, range(4)).normal(1, 8, 8)
    with torch.no_grad():
        assert torch.equal(m.f(x, torch.full((4,), EPSILON)), x)
        assert not torch.allclose(m.f(x, torch.full((4,), 0.1)), x, atol=1e-2)


def test_diffusers_has_the_same_scaling() -> None:
    diffusers = pytest.importorskip("diffusers", reason="the peer of the scaling is missing")
    peer = diffusers.CMStochasticIterativeScheduler()
    sigma = torch.tensor([0.002, 0.003, 0.5, 7.0, 80.0], dtype=torch.float64)
    c_skip, c_out, c_in = karras.coefficients(sigma, 0.5, EPSILON)
    theirs = [peer.get_scalings_for_boundary_condition(s) for s in sigma]
    torch.testing.assert_close(c_skip, torch.stack([t[0] for t in theirs]))
    torch.testing.assert_close(c_out, torch.stack([t[1] for t in theirs]))
    assert (c_skip[0], c_out[0]) == (1, 0)
    torch.testing.assert_close(c_in, 1 / (sigma**2 + 0.25).sqrt())


# --- the loss ------------------------------------------------------------------------------------


def test_the_exact_function_has_a_loss_of_the_solvers_order() -> None:
    """Heun's step errs by h^3, so twice the levels divide the squared loss by about 64."""
    m, n = knowing(), 400
    losses = [m.consistency_loss(data(n), Noise(1, range(n)), c).item() for c in (18, 36, 72)]
    assert losses[0] < 0.02
    assert 20 < losses[0] / losses[1] < 200
    assert 30 < losses[1] / losses[2] < 130
    mean = knowing()  # the expected image is not the path's start
    mean.f = lambda x, sigma, weights=None: mean.denoise(x, sigma)
    assert mean.consistency_loss(data(n), Noise(1, range(n)), 72).item() > 1000 * losses[2]


def test_a_teacher_step_is_one_of_heun() -> None:
    m = knowing()
    x = data(3)
    y = m.teacher_step(
        m.teacher, x, torch.tensor([2.0] * 3).double(), torch.tensor([1.5] * 3).double()
    )
    expected = karras.heun(lambda x, s: (S**2 * x + s**2 * MU) / (S**2 + s**2), x, [2.0, 1.5])
    torch.testing.assert_close(y, expected)


def test_both_points_lie_on_one_path_and_only_the_noisier_one_learns() -> None:
    for teacher in ("edm", "none"):
        m, n = answering(teacher=teacher), 600
        calls: list[tuple[Tensor, Tensor, Any, float]] = []
        inner = m.denoise

        def spy(
            x: Tensor,
            sigma: Tensor,
            weights: Any = None,
            boundary: float = 0.0,
            calls: Any = calls,
            inner: Any = inner,
        ) -> Tensor:
            calls.append((x, sigma, weights, boundary))
            return inner(x, sigma, weights, boundary)

        m.denoise = spy
        m._distance = Mock(wraps=m._distance)
        x = torch.full((n, 1, 8, 8), 0.25)
        m.consistency_loss(x, Noise(1, range(n)), 6)
        pairs = [call.args for call in m._distance.call_args_list]
        assert pairs[0][0].requires_grad and not pairs[0][1].requires_grad
        *_, target, student = calls
        assert target[2] is m.target and student[2] is None
        assert target[3] == student[3] == EPSILON
        grid = karras.sigmas(6, clean=False)
        index = [min(range(6), key=lambda i: abs(grid[i] - s)) for s in student[1].tolist()]
        assert set(index) == {0, 1, 2, 3, 4}  # never the lowest level, which has nothing below
        below = torch.tensor([grid[i + 1] for i in index])
        torch.testing.assert_close(target[1], below, rtol=1e-5, atol=0)
        z = (student[0] - x) / wide(student[1])
        assert z.std().item() == pytest.approx(1, abs=0.02)
        if teacher == "none":  # the same z
            torch.testing.assert_close((target[0] - x) / wide(below), z, atol=2e-2, rtol=0)
        else:
            assert [c[2] is m.teacher for c in calls] == [True, True, False, False]
            assert [c[3] for c in calls[:2]] == [0.0, 0.0]


def test_distances() -> None:
    x, y = torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), 0.5)
    assert make(distance="l2")._distance(x, y).item() == pytest.approx(0.25)
    c = 0.00054 * 8
    expected = math.sqrt(64 * 0.25 + c * c) - c
    assert make(distance="huber")._distance(x, y).item() == pytest.approx(expected, rel=1e-5)
    assert make(distance="huber")._distance(x, x).item() == pytest.approx(0, abs=1e-8)


def test_the_schedules_of_training_without_a_teacher() -> None:
    m = make(teacher="none", s_0=2, s_1=150)
    assert m.schedule(0.0) == (2, pytest.approx(0.9))
    assert m.schedule(1.0)[0] == 151
    # sqrt(0.5 (151^2 - 4) + 4) = 106.8, minus 1, rounded up, plus 1
    assert m.schedule(0.5) == (107, pytest.approx(math.exp(2 * math.log(0.9) / 107)))
    assert make(levels=9, mu=0.3).schedule(0.7) == (9, 0.3)


# --- teacher and student -------------------------------------------------------------------------


class At:
    """An `update` at some point of the budget."""

    def __init__(self, m: Consistency) -> None:
        self.stepper = Stepper(m, m.config)
        self.progress = 0.0

    def __call__(self, name: str, loss: Tensor) -> None:
        self.stepper(name, loss)


def step(m: Consistency, update: At, progress: float, seed: int = 0) -> dict[str, Tensor]:
    update.progress = progress
    x = data(16).float()
    return m.step(x, Unconditional(), Noise(seed, range(16)), update)


def test_the_teacher_is_trained_first_then_left_alone() -> None:
    m = make(mu=0.5, teacher_share=0.5)
    m.fit((Noise(0, range(9)).uniform(1, 8, 8) * 256).to(torch.uint8))
    update, places = At(m), {k: t.data_ptr() for k, t in m.state_dict().items()}
    assert [m.phase(p) for p in (0.0, 0.49, 0.5, 0.9)] == ["teacher"] * 2 + ["student"] * 2
    start = weights(m.teacher)
    for i in range(6):
        assert set(step(m, update, 0.4, i)) == {"teacher"}
    assert not torch.equal(weights(m.teacher), start)
    assert not torch.equal(weights(m.teacher), weights(m.net))  # but their average
    taught = weights(m.teacher)

    seen: list[Tensor] = []
    loss = m.consistency_loss

    def spied(*given: Any) -> Tensor:
        seen.append(weights(m.net))
        return loss(*given)

    m.consistency_loss = spied
    assert set(step(m, update, 0.5)) == {"loss"}
    assert torch.equal(seen[0], taught)  # the student starts from the teacher
    assert torch.equal(weights(m.teacher), taught)
    torch.testing.assert_close(weights(m.target), (taught + weights(m.net)) / 2)
    kept, before = weights(m.target), weights(m.net)
    step(m, update, 0.6, 1)
    assert torch.equal(seen[1], before)  # and is not set back
    torch.testing.assert_close(weights(m.target), (kept + weights(m.net)) / 2)
    assert torch.equal(weights(m.teacher), taught)
    assert {k: t.data_ptr() for k, t in m.state_dict().items()} == places


def test_the_teacher_is_an_average_with_a_half_life_in_images() -> None:
    m = make(ema=1000.0, ema_rampup=0.5)
    update, expected = At(m), weights(m.teacher)
    for i in range(3):
        step(m, update, 0.1, i)
        half_life = 0.5 * 16 * (i + 1)
        expected = torch.lerp(expected, weights(m.net), 1 - 0.5 ** (16 / half_life))
    torch.testing.assert_close(weights(m.teacher), expected)


def test_without_a_teacher_there_is_none() -> None:
    m = make(teacher="none")
    update, start = At(m), weights(m.net)
    assert m.phase(0.0) == "student" and m.teacher is None
    step(m, update, 0.0)
    torch.testing.assert_close(weights(m.target), torch.lerp(start, weights(m.net), 0.1))


def test_with_mu_0_the_target_is_the_student() -> None:
    m = make(mu=0.0)
    step(m, At(m), 0.7)
    assert torch.equal(weights(m.target), weights(m.net))


def test_other_weights_are_used_without_dropout() -> None:
    m = answering(net="unet", dropout=0.5)
    follow(m.target, m.net, 1)
    x, sigma = data(4).float(), torch.full((4,), 3.0)
    with torch.no_grad():
        target = m.f(x, sigma, m.target)
        assert m.training and m.net.training
        assert not torch.allclose(m.f(x, sigma), target, atol=1e-3)
        torch.testing.assert_close(m.eval().f(x, sigma), target)
        for weight in m.target.buffers():
            weight.zero_()
        assert not torch.allclose(m.f(x, sigma, m.target), target, atol=1e-3)


# --- sampling ------------------------------------------------------------------------------------


def test_one_step_with_the_exact_function() -> None:
    m, n = knowing(), 500
    x = m.sample(Unconditional(), Noise(0, range(n)), clip_x0=False)
    z = 80 * Noise(0, range(n)).normal(1, 8, 8)
    torch.testing.assert_close(x, path(z, 80.0).clamp(-1, 1))
    # 80 z lacks the data's own variance
    std = path(z, 80.0).std().item()
    assert std == pytest.approx(S * 80 / math.hypot(80, S), abs=5 * S / math.sqrt(2 * z.numel()))


def test_more_steps_add_the_noise_that_leads_to_the_level() -> None:
    m, n = knowing(), 400
    m._answer = Mock(wraps=m._answer)
    m.sample(Unconditional(), Noise(0, range(n)), steps=4, clip_x0=False)
    asked = [call.args[:2] for call in m._answer.call_args_list]
    assert [s for _, s in asked] == pytest.approx((80, 23.60, 5.374, 0.821), rel=5e-4)
    for x, s in asked[1:]:  # the marginal of the data at that level
        assert x.var().item() == pytest.approx(S**2 + s**2, rel=0.05)
    noise = Noise(0, range(n))
    z = [noise.normal(1, 8, 8) for _ in range(4)][3]
    added = asked[3][0] - path(asked[2][0], asked[2][1])
    scale = (added * z).sum().item() / (z * z).sum().item()
    assert scale == pytest.approx(math.sqrt(asked[3][1] ** 2 - EPSILON**2), rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_mixture_gets_its_weights_and_moments(steps: int) -> None:
    """f by hundreds of Heun's steps down the probability flow of the mixture."""
    m, n = make(), 1500

    def f(x: Tensor, sigma: Tensor, *others: Any) -> Tensor:
        levels = karras.sigmas(60, EPSILON, float(sigma[0]), clean=False)
        flat = x.flatten(1).double()
        y = karras.heun(lambda x, s: THREE.x_0(x, 1.0, s), flat, levels)
        return y.view_as(x).float()

    m.denoise, m.shape = f, (1, 1, 2)
    y = m.sample(Unconditional(), Noise(0, range(n)), steps=steps, clip_x0=False)[:, 0, 0].double()
    torch.testing.assert_close(THREE.shares(y), THREE.weights, atol=4 * 0.5 / n**0.5, rtol=0)
    torch.testing.assert_close(y.mean(0), THREE.mean, atol=0.06, rtol=0)
    torch.testing.assert_close(y.T.cov(), THREE.cov, atol=0.05, rtol=0)


def test_answers_are_clamped_unless_told_otherwise() -> None:
    m = answering().eval()
    m.sigma_data.fill_(5.0)  # the answers leave [-1, 1]
    seen: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        m.sample(Unconditional(), Noise(0, range(8)), steps=2)
        m.sample(Unconditional(), Noise(0, range(8)), steps=2, clip_x0=False)
    assert torch.equal(seen[0], seen[2]) and not torch.allclose(seen[1], seen[3], atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_evaluations_are_counted(steps: int) -> None:
    m = make().eval()
    with torch.no_grad(), count_nfe(m) as nfe:
        m.sample(Unconditional(), Noise(0, range(3)), steps=steps)
    assert nfe.per_sample(3) == steps
    assert nfe.params == sum(p.numel() for p in m.net.parameters())


@pytest.mark.parametrize(
    "given", [{"teacher": "ddpm"}, {"levels": 1}, {"teacher_share": 1.0}, {"s_0": 9, "s_1": 8}]
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Consistency.Config(**given)


@pytest.mark.parametrize("teacher", ["edm", "none"])
def test_it_learns_one_image(teacher: str) -> None:
    m = make(hidden=64, lr=4e-3, teacher=teacher, batch=32, s_1=10, mu=0.8).train()
    m.sigma_data.fill_(0.5)
    update = At(m)
    image = torch.where(Noise(3, [0]).uniform(1, 8, 8) < 0.5, -0.5, 0.5)
    for i in range(120):
        update.progress = i / 120
        m.step(image.expand(32, -1, -1, -1), Unconditional(), Noise(i, range(32)), update)
    with torch.no_grad():
        x = m.eval().sample(Unconditional(), Noise(0, range(16)))
    right = ((x > 0) == (image > 0)).float().mean().item()  # 0.5 by chance
    assert right > 0.85


def test_the_lowest_level_is_edms() -> None:
    assert karras.sigmas(7)[-2] == consistency.EPSILON
