"""ProgressiveGAN: its layers, its growing, its losses (arXiv 1710.10196)."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from steps import Losses
from torch import Tensor, nn

from baselines._nn.equalized import (
    EqualConv2d,
    EqualLinear,
    MinibatchStd,
    PixelNorm,
    blur,
    down,
    up,
)
from baselines._nn.growing import Discriminator, Growth, widths
from baselines.gan.progressive_gan import ProgressiveGAN
from genbench.api import Config, DataSpec, Noise, Unconditional
from genbench.data import load
from genbench.loop import Loop
from genbench.spec import Budget
from genbench.stepper import Stepper
from genbench.tasks import task


def make(size: int = 16, channels: int = 1, **config: Any) -> ProgressiveGAN:
    torch.manual_seed(0)
    small = {"nz": 8, "channels": 8, "widest": 16, "growth": 0.5} | config
    return ProgressiveGAN(ProgressiveGAN.Config(**small), DataSpec("any", channels, size))


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *(shape or (1, 16, 16)), generator=torch.Generator().manual_seed(seed))


# --- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "fan_in", "gain"),
    [
        (EqualConv2d(32, 64, 3), 32 * 9, math.sqrt(2)),
        (EqualConv2d(64, 300, 1, gain=1), 64, 1),
        (EqualLinear(200, 300), 200, math.sqrt(2)),
        (EqualLinear(200, 300, lr=0.01), 200, math.sqrt(2)),
    ],
    ids=str,
)
def test_equalised_layers_keep_the_size_of_what_they_see(
    layer: Any, fan_in: int, gain: float
) -> None:
    x = images(64, *([fan_in] if isinstance(layer, EqualLinear) else [layer.in_channels, 5, 5]))
    y = layer(x)
    y = y if y.ndim == 2 else y[..., 1:-1, 1:-1]  # the border sees zeros
    assert y.std().item() == pytest.approx(gain, rel=0.03)
    lr = getattr(layer, "lr", 1.0)
    assert layer.weight.std().item() == pytest.approx(1 / lr, rel=0.02)
    assert not layer.bias.any()


def test_the_runtime_scale_is_not_that_of_the_bias() -> None:
    conv, dense = EqualConv2d(4, 4, 3), EqualLinear(4, 4)
    for layer in (conv, dense):
        nn.init.constant_(layer.bias, 2.0)
        nn.init.zeros_(layer.weight)
    assert torch.equal(conv(images(1, 4, 3, 3)), torch.full((1, 4, 3, 3), 2.0))
    assert torch.equal(dense(images(1, 4)), torch.full((1, 4), 2.0))
    slow = EqualLinear(4, 4, lr=0.1)
    nn.init.constant_(slow.bias, 2.0)
    nn.init.zeros_(slow.weight)
    torch.testing.assert_close(slow(images(1, 4)), torch.full((1, 4), 0.2))


def test_the_rate_of_a_layer_scales_the_step_of_adam() -> None:
    x, moved = images(4, 6), []
    for lr in (1.0, 0.01):
        torch.manual_seed(0)
        layer = EqualLinear(6, 6, lr=lr)
        before = layer(x).detach()
        adam = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).sum().backward()
        adam.step()
        moved.append((layer(x).detach() - before).abs().mean().item())
    assert moved[1] == pytest.approx(0.01 * moved[0], rel=1e-2)


def test_the_rate_of_a_layer_scales_its_bias() -> None:
    layer = EqualLinear(3, 2, lr=0.01)
    with torch.no_grad():
        layer.bias.fill_(100)
    torch.testing.assert_close(layer(torch.zeros(1, 3)), torch.ones(1, 2))


def test_pixel_norm_makes_the_mean_square_of_every_pixel_one() -> None:
    h = 7 * images(3, 5, 4, 4) + 2
    torch.testing.assert_close(PixelNorm()(h).square().mean(1), torch.ones(3, 4, 4))
    torch.testing.assert_close(PixelNorm()(images(3, 9)).norm(dim=1), torch.full((3,), 3.0))
    assert torch.isfinite(PixelNorm()(torch.zeros(1, 2, 2, 2))).all()


@pytest.mark.parametrize(
    ("n", "groups"),
    [
        (8, [4, 4]),
        (4, [4]),
        (6, [6]),
        (9, [5, 4]),
        (11, [6, 5]),
        (15, [5, 5, 5]),
        (3, [3]),
        (1, [1]),
    ],
)
def test_minibatch_standard_deviation_against_a_loop(n: int, groups: list[int]) -> None:
    h = images(n, 3, 2, 2)
    out = MinibatchStd()(h)
    assert out.shape == (n, 4, 2, 2)
    assert torch.equal(out[:, :3], h)
    start = 0
    for size in groups:
        group = h[start : start + size]
        number = 0.0
        for c in range(3):
            for i in range(2):
                for j in range(2):
                    values = group[:, c, i, j].tolist()
                    mean = sum(values) / size
                    number += math.sqrt(sum((v - mean) ** 2 for v in values) / size + 1e-8) / 12
        expected = torch.full((size, 2, 2), number)
        torch.testing.assert_close(out[start : start + size, 3], expected)
        start += size
    assert start == n


def test_minibatch_standard_deviation_sees_a_collapse() -> None:
    out = MinibatchStd()(images(1, 3, 2, 2).expand(8, -1, -1, -1))
    torch.testing.assert_close(out[:, 3], torch.full((8, 2, 2), 1e-4))


def test_resampling() -> None:
    x = images(2, 3, 4, 4)
    assert torch.equal(down(up(x)), x)
    k = torch.tensor([1.0, 2, 1])
    kernel = (k[:, None] * k / 16).expand(3, 1, 3, 3)
    torch.testing.assert_close(blur(x), F.conv2d(x, kernel, padding=1, groups=3))


# --- growing -------------------------------------------------------------------------------------


def test_the_schedule() -> None:
    growth = Growth(32, share=0.6, fade=0.5)  # 4, 8 and 16 pixels have 0.2 of the budget each
    for progress, side, alpha in [
        (0.0, 4, 1),
        (0.19, 4, 1),
        (0.2, 8, 0),
        (0.25, 8, 0.5),
        (0.31, 8, 1),
        (0.45, 16, 0.5),
        (0.61, 32, 0.1),
        (0.65, 32, 0.5),
        (0.71, 32, 1),
        (0.999, 32, 1),
        (1.0, 32, 1),
    ]:
        level, a = growth.at(progress + 1e-9)
        assert (4 << level, round(a, 4)) == (side, alpha), progress
        assert growth.phase(progress + 1e-9) == f"{side} fading" * (alpha < 1) + f"{side}" * (
            alpha == 1
        )


def test_the_schedule_without_growing() -> None:
    growth = Growth(16, share=0.0, fade=0.5)
    assert [growth.at(p) for p in (0.0, 0.5)] == [(2, 1.0)] * 2
    assert make(grow=False).phase(0.0) == "16"


@pytest.mark.parametrize(("size", "share"), [(8, 0.2), (16, 0.4), (32, 0.5), (64, 0.5)])
def test_few_doublings_take_a_small_share_of_the_budget(size: int, share: float) -> None:
    growth, same = (Growth(size, s, 0.5) for s in (None, share))
    assert [growth.at(p / 50) for p in range(50)] == [same.at(p / 50) for p in range(50)]
    assert growth.at(share - 1e-3)[0] == growth.last - 1


def test_28_pixels_grow_from_7() -> None:
    growth = Growth(28, share=0.5, fade=0.5)
    assert [growth.phase(p) for p in (0, 0.26, 0.4, 0.51, 0.9)] == [
        "7",
        "14 fading",
        "14",
        "28 fading",
        "28",
    ]


def test_widths_are_those_of_the_paper() -> None:
    assert widths(1024, 16, 512) == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert widths(8, 16, 64) == [32, 16]


def test_real_images_are_faded_too() -> None:
    growth, x = Growth(16, 0.5, 0.5), images(2)
    assert torch.equal(growth.reals(x, 2, 1.0), x)
    assert torch.equal(growth.reals(x, 0, 1.0), down(down(x)))
    torch.testing.assert_close(growth.reals(x, 2, 0.0), up(down(x)))
    torch.testing.assert_close(growth.reals(x, 1, 0.3), 0.7 * up(down(down(x))) + 0.3 * down(x))


@pytest.mark.parametrize("level", [1, 2])
def test_fading_the_generator_in(level: int) -> None:
    m = make()
    z = images(3, 8)
    old, grown = m.G(z, level - 1), m.G(z, level)
    assert grown.shape[-1] == 2 * old.shape[-1] == 4 << level
    torch.testing.assert_close(m.G(z, level, 0.0), up(old))
    torch.testing.assert_close(m.G(z, level, 0.3), 0.7 * up(old) + 0.3 * grown)
    assert (m.G(z, level, 1.0) - grown).abs().max() == 0
    assert (grown - up(old)).abs().max() > 1e-2


@pytest.mark.parametrize("level", [1, 2])
def test_fading_the_discriminator_in(level: int) -> None:
    D = make().D
    x = images(3, 1, 4 << level, 4 << level)
    old, grown = D(down(x), level - 1), D(x, level)
    torch.testing.assert_close(D(x, level, 0.0), old)
    assert (D(x, level, 1.0) - grown).abs().max() == 0
    assert (D(x, level, 0.5) - old).abs().max() > 1e-3
    assert (old - grown).abs().max() > 1e-3


@pytest.mark.parametrize("blurred", [False, True])
def test_a_level_of_the_discriminator(blurred: bool) -> None:
    D, act = Discriminator(1, 4, [8, 4], True, blurred), nn.LeakyReLU(0.2)
    x = images(4, 1, 8, 8)
    h = act(D.conv0[0](act(D.from_rgb["1"](x))))
    h = F.avg_pool2d(act(D.conv1[0](blur(h) if blurred else h)), 2)
    torch.testing.assert_close(D(x), D.head(h))
    assert not make().D.blurred


@pytest.mark.parametrize("blurred", [False, True])
def test_the_whole_network_is_the_same_without_growing(blurred: bool) -> None:
    grown, fixed = (Discriminator(1, 4, [8, 4], grow, blurred) for grow in (True, False))
    fixed.load_state_dict(grown.state_dict(), strict=False)
    x = images(4, 1, 8, 8)
    assert torch.equal(grown(x), fixed(x))
    m, whole = make(), make(grow=False)
    left = whole.load_state_dict(m.state_dict(), strict=False)
    assert not left.missing_keys
    assert {k.split(".")[1] for k in left.unexpected_keys} == {"to_rgb", "from_rgb"}
    z = images(2, 8)
    assert torch.equal(m.G(z), whole.G(z))


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.45, 0.55, 0.9])
@pytest.mark.parametrize("loss", ["wasserstein_gp", "r1"])
def test_a_step_trains_the_layers_that_are_due(progress: float, loss: str) -> None:
    m = make(loss=loss).train()
    level, alpha = m.growth.at(progress)
    stepper = Stepper(m, Config())
    stepper.progress = progress
    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(images(8), Unconditional(), Noise(0, range(8)), stepper)
    rgb = {level, level - 1} if alpha < 1 else {level}
    for key, p in m.named_parameters():
        _, part, number, *_ = key.split(".")
        if part in {"to_rgb", "from_rgb"}:
            due = int(number) in rgb
        else:
            due = part in {"input", "head"} or int(number) < level
        assert torch.equal(before[key], p) != due, key


def test_growing_costs_fewer_flops_and_ends_with_the_whole_network() -> None:
    data, flops = load("digits", "train"), []
    for grow in (True, False):
        m = ProgressiveGAN(
            ProgressiveGAN.Config(nz=8, channels=4, batch=8, grow=grow, growth=0.5),
            task("unconditional").data_spec(data),
        ).train()
        loop = Loop(m, m.config, Budget(steps=20), 0, task("unconditional").training(data))
        cost = []
        while loop.ended_by is None:
            before = loop.meter.flops
            loop.step()
            cost.append(loop.meter.flops - before)
        flops.append(cost)
    grown, whole = flops
    assert len(set(whole)) == 1
    assert len(set(grown[:10])) == len(set(grown[10:15])) == len(set(grown[15:])) == 1
    assert grown[0] < whole[0] / 3
    assert grown[10] > grown[15] == whole[15]  # fading needs both ways


# --- losses --------------------------------------------------------------------------------------


def answering(m: ProgressiveGAN, s: float) -> ProgressiveGAN:
    """D answers s whatever it sees."""
    nn.init.zeros_(m.D.head[-2].weight)
    nn.init.constant_(m.D.head[-2].bias, s)
    return m


def test_wasserstein_losses_of_a_constant_critic() -> None:
    m, update = answering(make(), 3.0), Losses()
    m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    # no slope: the penalty is lambda (0 - 1)^2; the drift term is 0.001 3^2
    assert update.seen["d"] == pytest.approx(10 + 0.009, rel=1e-5)
    assert update.seen["g"] == pytest.approx(-3.0, rel=1e-5)


def test_r1_losses_of_a_constant_discriminator() -> None:
    m, update = answering(make(loss="r1"), 3.0), Losses()
    m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    says_real, says_fake = math.log1p(math.exp(-3)), 3 + math.log1p(math.exp(-3))
    assert update.seen["d"] == pytest.approx(says_real + says_fake, rel=1e-5)
    assert update.seen["g"] == pytest.approx(says_real, rel=1e-5)


@pytest.mark.parametrize(("loss", "penalty"), [("wasserstein_gp", (3 - 1) ** 2), ("r1", 9 / 2)])
def test_the_penalty_is_that_of_its_paper(loss: str, penalty: float) -> None:
    class Sloped(nn.Module):
        """A slope of length 3: the same for all pixels of 4x4."""

        def forward(self, x: Tensor, level: int, alpha: float) -> Tensor:
            return 0.75 * x.flatten(1).sum(1) + 0 * self.p

        p = nn.Parameter(torch.zeros(()))

    m = make(loss=loss, penalty=7.0)
    m.D = Sloped()
    update = Losses()
    logged = m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert logged["penalty"].item() == pytest.approx(penalty, rel=1e-4)
    rest = update.seen["d"] - logged["loss_d"].item()
    assert rest == pytest.approx(7 * penalty, rel=1e-4)


def test_the_critic_scores_real_images_higher() -> None:
    m = make(penalty=0.0).train()
    adam = torch.optim.Adam(m.D.parameters(), lr=1e-3)
    noise, x = Noise(0, range(8)), images(8) + 2

    class Step:
        progress = 0.9

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == "d":
                adam.zero_grad()
                loss.backward(inputs=list(m.D.parameters()))
                adam.step()

    for _ in range(5):
        m.step(x, Unconditional(), noise, Step())
    fake = m.G(images(8, 8)).detach()
    assert m.D(x).mean() > m.D(fake).mean()


def test_a_step_in_bfloat16() -> None:
    m, update = make().train(), Losses(0.3)
    with torch.autocast("cpu", torch.bfloat16):
        m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert all(math.isfinite(loss) for loss in update.seen.values())
    assert set(update.seen) == {"d", "g"}


def test_real_and_fake_do_not_share_a_group() -> None:
    m = make().train()
    seen: list[Tensor] = []
    m.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    x = images(4)
    m.step(x, Unconditional(), Noise(0, range(4)), Losses(0.9))
    assert [len(s) for s in seen] == [4, 4, 4, 4]  # real, fake, between, fake for G
    assert torch.equal(seen[0], x)
    assert not torch.allclose(seen[1], seen[3], atol=1e-3)


# --- the networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 28, 32])
@pytest.mark.parametrize("grow", [True, False])
def test_sizes(size: int, grow: bool) -> None:
    m = make(size, 3, grow=grow)
    x = m.sample(Unconditional(), Noise(0, range(3)))
    assert x.shape == (3, 3, size, size)
    assert x.min() >= -1 and x.max() <= 1
    assert m.D(x).shape == (3,)


def test_no_batch_normalisation_and_a_linear_image() -> None:
    m = make()
    assert not any("Norm2d" in type(layer).__name__ for layer in m.modules())
    assert not any(isinstance(layer, nn.Tanh) for layer in m.modules())
    z = images(64, 8)
    assert m.G(z).std() > 0.3 and m.G(10 * z).allclose(m.G(z), atol=1e-4)  # z is normalised


def test_every_hidden_feature_of_the_generator_is_normalised() -> None:
    m, seen = make(), []
    m.G.input.register_forward_hook(lambda module, args, out: seen.append(out))
    for block in m.G.blocks:
        block.register_forward_hook(lambda module, args, out: seen.append(out))
    m.G(images(4, 8))
    assert len(seen) == 3
    for h in seen:
        torch.testing.assert_close(h.square().mean(1), torch.ones_like(h[:, 0]), atol=1e-3, rtol=0)


def test_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        m = ProgressiveGAN(
            ProgressiveGAN.Config(**ProgressiveGAN.presets["paper"]), DataSpec("any", 3, 1024)
        )
    g, d = (sum(p.numel() for p in net.parameters()) for net in (m.G, m.D))
    # the authors' first layer has a bias for each feature, ours for each place of 4x4 too
    assert (g, d) == (23_079_115 + 15 * 512, 23_087_249)


def test_optimizers_follow_the_paper() -> None:
    for optimizer in (
        ProgressiveGAN(ProgressiveGAN.Config(), DataSpec("x", 1, 8)).optimizers().values()
    ):
        assert optimizer.defaults["betas"] == (0.0, 0.99)
        assert optimizer.defaults["eps"] == 1e-8
