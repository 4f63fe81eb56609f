"""Pix2pix and its networks against arXiv 1611.07004."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines._nn.translation import PatchGAN, UNetGenerator
from baselines.translation.pix2pix import Pix2Pix
from genbench.api import DataSpec, Noise, Paired

SMALL = {"ngf": 8, "ndf": 8}


def make(size: int = 16, channels: int = 3, source: int = 1, **config: Any) -> Pix2Pix:
    torch.manual_seed(0)
    spec = DataSpec("any", channels, size, source=source)
    return Pix2Pix(Pix2Pix.Config(**(SMALL | config)), spec)


def pairs(n: int = 4, size: int = 16, channels: int = 3, source: int = 1) -> tuple[Tensor, Paired]:
    generator = torch.Generator().manual_seed(1)
    x, a = (torch.rand(n, c, size, size, generator=generator) * 2 - 1 for c in (channels, source))
    return x, Paired(a)


class Losses:
    """An `update` that keeps the losses, with their graphs, and changes nothing."""

    progress = 0.0

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        assert name not in self.seen
        self.seen[name] = loss


def step(m: Pix2Pix, x: Tensor, cond: Paired) -> tuple[Losses, dict[str, Tensor]]:
    update = Losses()
    return update, m.step(x, cond, Noise(0, range(len(x))), update)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- the networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, 139_585), (2, 666_433), (3, 2_768_705), (4, 6_964_033)]
)
def test_patchgan_has_the_published_size(layers: int, expected: int) -> None:
    assert parameters(PatchGAN(6, 256, 64, layers)) == expected


def test_unet_has_the_published_size() -> None:
    g = UNetGenerator(3, 3, 256, 64, (1, 2, 4, 8, 8, 8, 8, 8), dropouts=3)
    unneeded = 64 + 512  # the reference has no biases in the first and the innermost convolution
    assert parameters(g) - unneeded == 54_413_955
    assert g.masked == [(512, 2, 2), (512, 4, 4), (512, 8, 8)]


@pytest.mark.parametrize(
    ("layers", "side", "field"), [(0, 32, 1), (1, 14, 16), (2, 6, 34), (3, 2, 70)]
)
def test_a_logit_sees_a_square_of_pixels(layers: int, side: int, field: int) -> None:
    torch.manual_seed(0)
    assert PatchGAN(3, 32, 4, layers).eval()(torch.zeros(1, 3, 32, 32)).shape[2:] == (side, side)
    d = PatchGAN(3, 128, 4, layers).eval()  # eval: batch statistics would connect all pixels
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    s = d(x)
    middle = s.shape[-1] // 2
    (grad,) = torch.autograd.grad(s[0, 0, middle, middle], x)
    for axis in (0, 1):
        seen = grad[0].abs().sum(0).sum(axis).nonzero()[:, 0]
        assert len(seen) == field and int(seen[-1] - seen[0]) + 1 == field


def test_a_patchgan_that_is_too_deep_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"3 layers cannot look at 16x16 images.*fewer layers$"):
        make(16, layers=3)
    assert PatchGAN(1, 8, 4, 1)(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 2, 2)


@pytest.mark.parametrize("size", [8, 16, 28, 32])
@pytest.mark.parametrize("skips", [True, False])
def test_sizes(size: int, skips: bool) -> None:
    m = make(size, 3, 7, skips=skips)
    cond = pairs(2, size, source=7)[1]
    x = m.sample(cond, Noise(0, range(2)))
    assert x.shape == (2, 3, size, size) and x.abs().max() <= 1


def test_an_odd_side_is_refused() -> None:
    with pytest.raises(ValueError, match="even side, not 15"):
        make(15)


@pytest.mark.parametrize("skips", [True, False])
def test_the_source_reaches_the_image_past_the_bottleneck_only_with_skips(skips: bool) -> None:
    m = make(16, skips=skips).eval()
    assert isinstance(m.G.down[-1][1], nn.Conv2d)
    m.G.down[-1].register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    a = m.sample(Paired(torch.zeros(1, 1, 16, 16)), Noise(0, [0]))
    b = m.sample(pairs(1)[1], Noise(0, [0]))
    assert torch.equal(a, b) == (not skips)


def test_skips_join_levels_of_one_side() -> None:
    g = UNetGenerator(1, 3, 32, 8, (1, 2, 4, 4))
    assert [u[1].in_channels for u in g.up] == [32, 32 + 32, 16 + 16, 8 + 8]
    g = UNetGenerator(1, 3, 32, 8, (1, 2, 4, 4), skips=False)
    assert [u[1].in_channels for u in g.up] == [32, 32, 16, 8]


def test_normalisation_is_that_of_one_image_and_not_at_the_ends() -> None:
    m = make(32)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in m.G.modules())
    normed = [isinstance(d[-1], nn.InstanceNorm2d) for d in m.G.down]
    assert normed == [False, True, True, False]
    assert [isinstance(u[-1], nn.InstanceNorm2d) for u in m.G.up] == [True, True, True, False]
    assert isinstance(m.G.up[-1][-1], nn.Tanh)
    first = m.D[0]
    assert isinstance(first, nn.Conv2d) and isinstance(m.D[1], nn.LeakyReLU)


# --- noise ---------------------------------------------------------------------------------------


def test_dropout_stays_on_at_sampling_and_depends_on_the_sample_alone() -> None:
    m = make().eval()
    same = Paired(torch.ones(4, 1, 16, 16))
    x = m.sample(same, Noise(0, range(4)))
    assert len(x.flatten(1).unique(dim=0)) == 4
    alone = m.sample(same[:1], Noise(0, [2]))
    torch.testing.assert_close(alone[0], x[2], atol=1e-5, rtol=0)
    assert not torch.allclose(m.sample(same, Noise(1, range(4))), x, atol=1e-2)
    certain = make(dropout=0).eval().sample(same, Noise(0, range(4)))
    torch.testing.assert_close(certain[0], certain[1])


def test_masks_drop_the_share_that_they_should_and_keep_the_mean() -> None:
    m = make(dropout=0.25)
    seen: list[Tensor] = []
    m.G.register_forward_pre_hook(lambda module, args: seen.extend(args[1]))
    m.sample(Paired(torch.zeros(64, 1, 16, 16)), Noise(0, range(64)))
    assert [tuple(mask.shape[1:]) for mask in seen] == m.G.masked and len(seen) == 2
    for mask in seen:
        assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
        assert mask.mean().item() == pytest.approx(1, abs=0.02)
        assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_a_mask_multiplies_the_decoder() -> None:
    m = make(16, skips=False)
    silent = [torch.zeros(1, *shape) for shape in m.G.masked]
    a, b = (m.G(source, silent) for source in (torch.ones(1, 1, 16, 16), pairs(1)[1].source))
    assert torch.equal(a, b)


# --- losses --------------------------------------------------------------------------------------


def test_losses_at_zero_logits() -> None:
    m = make()
    nn.init.zeros_(m.D[-1].weight)
    x, cond = pairs()
    update, losses = step(m, x, cond)
    fake = m.translate(cond.source, Noise(0, range(4)))
    l1 = (fake - x).abs().mean().item()
    assert list(update.seen) == ["d", "g"]
    assert update.seen["d"].item() == pytest.approx(2 * math.log(2), abs=1e-6)
    # the mean over pixels, not their sum
    assert update.seen["g"].item() == pytest.approx(math.log(2) + 100 * l1, rel=1e-5)
    assert losses["l1"].item() == pytest.approx(l1, rel=1e-5)


def test_without_a_discriminator_it_is_the_l1_loss_alone_of_the_same_generator() -> None:
    m, x, cond = make(adversarial=False), *pairs()
    update, losses = step(m, x, cond)
    assert set(m.optimizers()) == set(update.seen) == {"g"} and set(losses) == {"l1"}
    assert update.seen["g"].item() == pytest.approx(100 * losses["l1"].item(), rel=1e-6)
    assert {k.partition(".")[0] for k, _ in m.named_parameters()} == {"G"}
    assert parameters(m.G) == parameters(make().G)


def test_the_discriminator_sees_source_and_image_in_one_order() -> None:
    m, x, cond = make(), *pairs()
    seen: list[Tensor] = []
    m.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    step(m, x, cond)
    real, fake, again = seen
    assert torch.equal(real, torch.cat((cond.source, x), 1))
    for pair in (fake, again):
        assert torch.equal(pair[:, :1], cond.source) and not torch.equal(pair[:, 1:], x)
    torch.testing.assert_close(fake, again)  # L_D and L_G are of one G(A, z)


def test_an_unconditional_discriminator_sees_the_image_alone() -> None:
    m, x, cond = make(conditional=False), *pairs()
    seen: list[Tensor] = []
    m.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    step(m, x, cond)
    assert torch.equal(seen[0], x) and seen[1].shape == x.shape


@pytest.mark.parametrize(("name", "still"), [("d", "G"), ("g", "D")])
def test_gradients_reach_every_parameter_of_their_network(name: str, still: str) -> None:
    m, x, cond = make(lambda_l1=0), *pairs()
    update, _ = step(m, x, cond)
    params = {k: p for k, p in m.named_parameters() if not k.startswith(still)}
    grads = torch.autograd.grad(update.seen[name], list(params.values()))
    for key, grad in zip(params, grads, strict=True):
        assert torch.isfinite(grad).all() and grad.any(), key


def test_both_networks_obey_the_condition() -> None:
    m = make().eval()
    x, cond = pairs(1)
    other = Paired(-cond.source)
    assert (m.sample(cond, Noise(0, [0])) - m.sample(other, Noise(0, [0]))).abs().max() > 1e-3
    assert (m.judge(cond.source, x) - m.judge(other.source, x)).abs().max() > 1e-4


def test_it_learns_pairs_by_heart() -> None:
    m, (x, cond) = make(dropout=0, lr=4e-3), pairs(2)
    x = F.interpolate(F.avg_pool2d(x, 4), scale_factor=4.0)
    optimizers = m.optimizers()

    class Train(Losses):
        def __call__(self, name: str, loss: Tensor) -> None:
            m.zero_grad()
            loss.backward(inputs=list((m.D if name == "d" else m.G).parameters()))
            optimizers[name].step()

    l1 = []
    for i in range(60):
        l1.append(m.step(x, cond, Noise(0, range(2 * i, 2 * i + 2)), Train())["l1"].item())
    assert l1[-1] < 0.5 * l1[0]


def test_weights_start_from_a_narrow_normal() -> None:
    for layer in make(32, ngf=16, ndf=32).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 4000:
            assert layer.weight.std().item() == pytest.approx(0.02, abs=0.002)


def test_optimizers_follow_the_paper() -> None:
    for optimizer in make().optimizers().values():
        assert optimizer.defaults["betas"] == (0.5, 0.999)
