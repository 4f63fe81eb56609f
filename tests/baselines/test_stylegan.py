"""StyleGAN: mapping, styles, noise inputs, mixing and truncation (arXiv 1812.04948)."""

import math
from typing import Any

import pytest
import torch
from steps import Losses
from torch import Tensor, nn

from baselines.gan.stylegan import Layer, StyleGAN, mix
from genbench.api import Config, DataSpec, Noise, Unconditional, count_nfe
from genbench.stepper import Stepper


def make(size: int = 16, channels: int = 1, **config: Any) -> StyleGAN:
    torch.manual_seed(0)
    small = {"nz": 8, "channels": 8, "widest": 16, "depth": 2} | config
    return StyleGAN(StyleGAN.Config(**small), DataSpec("any", channels, size))


def stirred(m: StyleGAN) -> StyleGAN:
    """As after some training: noise inputs count, styles differ, w_mean is somewhere."""
    for key, p in m.named_parameters():
        if "strength" in key or "const" in key:
            nn.init.normal_(p, std=0.5)
        if key.endswith("bias"):
            nn.init.normal_(p, std=0.1)
    nn.init.normal_(m.G.w_mean, std=0.3)
    return m


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *(shape or (1, 16, 16)), generator=torch.Generator().manual_seed(seed))


def sample(m: StyleGAN, n: int = 4, seed: int = 0, **options: Any) -> Tensor:
    with torch.no_grad():
        return m.eval().sample(Unconditional(), Noise(seed, range(n)), **options)


# --- the generator -------------------------------------------------------------------------------


def test_z_is_normalised() -> None:
    m = make()
    z = images(3, 8)
    torch.testing.assert_close(m.G.f(z), m.G.f(5 * z))
    torch.testing.assert_close(m.G.f[0](z).norm(dim=1), torch.full((3,), math.sqrt(8)))


def test_the_mapping_learns_slower_by_its_layers_and_not_by_the_optimizer() -> None:
    m = make(nz=512, mapping_lr=0.01)
    layers = [layer for layer in m.G.f if isinstance(layer, nn.Linear)]
    assert [layer.weight.std().item() for layer in layers] == pytest.approx([100, 100], rel=0.05)
    # LeakyReLU 0.2 keeps 0.52 of the mean square, and the gain doubles it
    assert m.G.f(images(64, 512)).square().mean().item() == pytest.approx(1.04**2, rel=0.15)
    for optimizer in m.optimizers().values():
        assert [group["lr"] for group in optimizer.param_groups] == [m.config.lr]


def test_after_adain_the_statistics_are_those_of_the_style() -> None:
    style = make().G.g.stay[0].style
    nn.init.normal_(style.A.bias)
    h, w = 9 * images(3, 16, 4, 4) + 5, images(3, 8, seed=1)
    out = style(h, w, images(3, 1, 4, 4))
    y_s, y_b = style.A(w).chunk(2, dim=1)
    torch.testing.assert_close(out.mean((2, 3)), y_b, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        out.std((2, 3), correction=0), (1 + y_s).abs(), atol=1e-5, rtol=1e-5
    )


def test_a_style_is_the_identity_at_the_start_of_w() -> None:
    style = make().G.g.stay[0].style
    assert not style.A.bias.any()
    out = style(images(3, 16, 4, 4), torch.zeros(3, 8), images(3, 1, 4, 4))
    torch.testing.assert_close(out.square().mean((2, 3)), torch.ones(3, 16))


def test_bias_and_noise_come_before_the_nonlinearity_and_the_norm() -> None:
    style = make().G.g.stay[0].style
    nn.init.normal_(style.bias)
    nn.init.constant_(style.strength, 2.0)
    h, n, w = images(1, 16, 4, 4), images(1, 1, 4, 4, seed=1), torch.zeros(1, 8)
    g = nn.functional.leaky_relu(h + style.bias + 2 * n, 0.2)
    expected = (g - g.mean((2, 3), keepdim=True)) / g.std((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(style(h, w, n), expected)


@pytest.mark.parametrize("doubles", [True, False])
def test_a_bias_is_the_same_at_every_pixel(doubles: bool) -> None:
    """In front of the blur it would be weaker at the border, which AdaIN would then make large."""
    torch.manual_seed(0)
    layer = Layer(3, 3, 8, doubles=doubles)
    nn.init.zeros_(layer.conv.weight)
    for key, p in layer.named_parameters():
        if key.endswith("bias") and "A" not in key:
            nn.init.constant_(p, 2.0)
    side = 8 if doubles else 4
    out = layer(images(2, 3, 4, 4), torch.zeros(2, 8), torch.zeros(2, 1, side, side))
    assert not out.any()  # a constant has no deviation from its mean


def test_the_input_is_a_learned_constant() -> None:
    m = make()
    assert torch.equal(m.G.g.const, torch.ones(16, 4, 4))
    seen: list[Tensor] = []
    stirred(m).G.g.enter[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m)
    for row in seen[0]:
        assert torch.equal(row, m.G.g.const)


def test_noise_inputs_have_no_effect_at_the_start_and_then_they_do() -> None:
    m = make()
    assert torch.equal(sample(m), sample(m, noise_inputs=False))
    stirred(m)
    assert (sample(m) - sample(m, noise_inputs=False)).abs().amax((1, 2, 3)).min() > 1e-2


def test_every_image_and_every_layer_has_noise_of_its_own() -> None:
    maps = make().maps(Noise(0, range(3)), 2)
    assert [tuple(n.shape) for n in maps] == [(3, 1, side, side) for side in (4, 4, 8, 8, 16, 16)]
    for n in maps:
        assert not torch.allclose(n[0], n[1], atol=1e-2)
    assert not torch.allclose(maps[0], maps[1], atol=1e-2)
    assert torch.cat([n.flatten() for n in maps]).std().item() == pytest.approx(1, abs=0.1)


def test_there_are_two_layers_for_each_resolution_each_with_its_style() -> None:
    m = stirred(make(32))
    w, maps = images(2, 1, 8).expand(-1, 8, -1), m.maps(Noise(0, range(2)), 3)
    before = m.G.g(w, maps)
    for layer in range(8):
        other = w.clone()
        other[:, layer] += 1
        assert (m.G.g(other, maps) - before).abs().max() > 1e-3, layer


def test_one_call_of_the_generator_makes_a_sample() -> None:
    m = make()
    with count_nfe(m) as nfe:
        sample(m, 3)
    assert nfe.per_sample(3) == 1
    assert nfe.params == sum(p.numel() for p in m.G.parameters())


@pytest.mark.parametrize("size", [8, 16, 28, 32])
@pytest.mark.parametrize("grow", [True, False])
def test_sizes(size: int, grow: bool) -> None:
    m = make(size, 3, grow=grow)
    x = sample(m, 3)
    assert x.shape == (3, 3, size, size)
    assert x.min() >= -1 and x.max() <= 1
    assert m.D(x).shape == (3,)


def test_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        m = StyleGAN(StyleGAN.Config(**StyleGAN.presets["paper"]), DataSpec("any", 3, 1024))
    f, g = (sum(p.numel() for p in net.parameters()) for net in (m.G.f, m.G.g))
    assert f == 2_101_248
    assert g == 24_118_379
    assert len(m.maps(Noise(0, range(0)), 8)) == 18


# --- mixing and truncation -----------------------------------------------------------------------


def test_mixing_takes_the_second_w_from_the_crossover_on() -> None:
    w1, w2 = torch.zeros(4, 3), torch.ones(4, 3)
    mixed = mix(w1, w2, torch.tensor([1, 2, 5, 6]), 6)
    assert mixed.shape == (4, 6, 3)
    assert mixed[:, :, 0].tolist() == [
        [0, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_crossovers_of_the_training_images(share: float) -> None:
    m = make(mixing=share)
    seen: list[Tensor] = []
    m.G.g.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    m.fakes(Noise(0, range(1000)), 2, 1.0)
    w = seen[0]
    changes = (w[:, 1:] != w[:, :-1]).any(2)  # (B, 5): between layers
    assert changes.sum(1).max() <= 1
    assert changes.any(1).float().mean().item() == pytest.approx(share, abs=0.05)
    if share:  # at each of the five places alike
        assert (changes.float().mean(0) / share).tolist() == pytest.approx([0.2] * 5, abs=0.05)


def test_samples_are_not_mixed() -> None:
    m, seen = make(mixing=1.0), []
    m.G.g.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m)
    assert torch.equal(seen[0], seen[0][:, :1].expand_as(seen[0]))


def test_a_crossover_leaves_the_layers_below_it_alone() -> None:
    m = stirred(make()).eval()
    out: list[list[Tensor]] = []
    for module in (m.G.g.stay[0], m.G.g.stay[1], m.G.g.stay[2]):
        kept: list[Tensor] = []
        module.register_forward_hook(lambda module, args, y, kept=kept: kept.append(y))
        out.append(kept)
    w1, w2, maps = images(2, 8), images(2, 8, seed=1), m.maps(Noise(0, range(2)), 2)
    for crossover in (6, 4):  # none, and the last two of six layers
        m.G.g(mix(w1, w2, torch.full((2,), crossover), 6), maps)
    for level, (plain, mixed) in enumerate(out):
        assert torch.equal(plain, mixed) == (level < 2)


def test_truncation() -> None:
    m = stirred(make())
    plain, mean = sample(m, noise_inputs=False), sample(m, truncation=0, noise_inputs=False)
    assert torch.equal(sample(m, truncation=1, noise_inputs=False), plain)
    torch.testing.assert_close(mean, mean[:1].expand_as(mean))  # one image
    with torch.no_grad():
        w = m.G.w_mean.expand(1, 6, -1)
        expected = m.G.g(w, [0 * n for n in m.maps(Noise(0, range(1)), 2)])
    torch.testing.assert_close(mean[:1], expected.clamp(-1, 1))
    spread = [
        sample(m, 32, truncation=psi, noise_inputs=False).std(0).mean() for psi in (0, 0.5, 1)
    ]
    assert spread[0] < 1e-6 < spread[1] < spread[2]


def test_truncation_is_linear_in_w() -> None:
    m, seen = stirred(make()), []
    m.G.g.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 0]))
    sample(m)
    sample(m, truncation=0.7)
    torch.testing.assert_close(seen[1], m.G.w_mean + 0.7 * (seen[0] - m.G.w_mean))


def test_truncation_may_stop_at_a_layer() -> None:
    m, seen = stirred(make()), []
    m.G.g.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    plain, whole = sample(m), sample(m, truncation=0.7)
    sample(m, truncation=0.7, cutoff=2)
    assert torch.equal(seen[2][:, :2], seen[1][:, :2])
    assert torch.equal(seen[2][:, 2:], seen[0][:, 2:])
    assert torch.equal(sample(m, truncation=0.7, cutoff=6), whole)
    assert torch.equal(sample(m, truncation=1, cutoff=2), plain)


def test_the_mean_of_w_moves_in_training_alone() -> None:
    m = make(mapping_lr=1.0).train()
    seen: list[Tensor] = []
    m.G.f.register_forward_hook(lambda module, args, w: seen.append(w.detach()))
    assert not m.G.w_mean.any()
    sample(m)
    assert not m.G.w_mean.any()
    seen.clear()
    m.step(images(8), Unconditional(), Noise(0, range(8)), Losses())
    first, _, second, _ = seen  # of D's step and of G's, each with a w to mix in
    expected = 0.005 * (0.995 * first.mean(0) + second.mean(0))
    torch.testing.assert_close(m.G.w_mean, expected)
    for _ in range(1500):
        m.G.w_mean.lerp_(first.mean(0), 0.005)
    torch.testing.assert_close(m.G.w_mean, first.mean(0), atol=1e-3, rtol=0)


# --- training ------------------------------------------------------------------------------------


def test_losses_at_zero_logits() -> None:
    m, update = make(), Losses()
    nn.init.zeros_(m.D.head[-2].weight)
    m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert update.seen["d"] == pytest.approx(2 * math.log(2), abs=1e-6)
    assert update.seen["g"] == pytest.approx(math.log(2), abs=1e-6)


class Sloped(nn.Module):
    """A slope of length 3 on images above 0, and none below."""

    p = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, level: int, alpha: float) -> Tensor:
        return 3 / 16 * x.clamp(min=0).flatten(1).sum(1) + 0 * self.p


def test_a_lazy_r1_is_rare_and_as_much_in_the_mean() -> None:
    m = make(gamma=10.0, lazy=4)
    m.D = Sloped()
    penalties, phases = [], []
    for i in range(8):
        update = Losses()
        phases.append(m.phase(0.0))
        logged = m.step(torch.ones(4, 1, 16, 16), Unconditional(), Noise(i, range(4)), update)
        penalties.append(update.seen["d"] - logged["loss_d"].item())
        assert ("r1" in logged) == (i % 4 == 0)
    assert penalties == pytest.approx(2 * [4 * 10 * 9 / 2, 0, 0, 0], rel=1e-4, abs=1e-4)
    assert phases == 2 * ["16 with R1", "16", "16", "16"]  # whose FLOPs differ


@pytest.mark.parametrize(("size", "batch", "gamma"), [(8, 32, 4e-4), (32, 32, 6.4e-3)])
def test_the_weight_of_r1_may_follow_size_and_batch(size: int, batch: int, gamma: float) -> None:
    assert make(size, gamma=None, batch=batch).gamma == pytest.approx(gamma)
    assert make(size, gamma=0.5, batch=batch).gamma == 0.5


def test_r1_is_of_real_images_and_halved() -> None:
    m = make(gamma=10.0)
    m.D = Sloped()
    penalties = []
    for x in (torch.ones(4, 1, 16, 16), -torch.ones(4, 1, 16, 16)):
        update = Losses()
        logged = m.step(x, Unconditional(), Noise(0, range(4)), update)
        penalties.append(update.seen["d"] - logged["loss_d"].item())
    assert penalties == pytest.approx([10 * 9 / 2, 0], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("frozen", "moved"), [("d", "g"), ("g", "d")])
def test_an_update_reaches_all_of_its_own_network_and_nothing_else(
    frozen: str, moved: str
) -> None:
    m = make(mixing=1.0).train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(images(8), Unconditional(), Noise(0, range(8)), One())
    for key, p in m.named_parameters():
        assert torch.equal(before[key], p) == key.startswith(frozen.upper()), key


def test_a_step_in_bfloat16() -> None:
    m, update = make(grow=True).train(), Losses(0.3)
    with torch.autocast("cpu", torch.bfloat16):
        m.step(images(4), Unconditional(), Noise(0, range(4)), update)
    assert all(math.isfinite(loss) for loss in update.seen.values())
    assert set(update.seen) == {"d", "g"}


def test_growing_is_an_option_and_fades() -> None:
    assert make().phase(0.0) == "16 with R1"
    m = make(grow=True)
    assert m.D.blurred
    assert [m.phase(p) for p in (0.0, 0.3, 0.9)] == [
        f"{level} with R1" for level in ("4", "8 fading", "16")
    ]
    w, noise = images(3, 1, 8).expand(-1, 6, -1), Noise(0, range(3))
    maps = m.maps(noise, 2)
    old, grown = m.G.g(w[:, :4], maps[:4]), m.G.g(w, maps)
    doubled = nn.functional.interpolate(old, scale_factor=2.0)
    torch.testing.assert_close(m.G.g(w, maps, 0.0), doubled)
    torch.testing.assert_close(m.G.g(w, maps, 0.25), 0.75 * doubled + 0.25 * grown)
    for progress in (0.0, 0.3, 0.9):
        m.step(images(4), Unconditional(), Noise(0, range(4)), Losses(progress))


def test_optimizers_follow_the_paper() -> None:
    for optimizer in make().optimizers().values():
        assert optimizer.defaults["betas"] == (0.0, 0.99)
