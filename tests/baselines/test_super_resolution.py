"""SRResNet by regression and SRGAN, against arXiv 1609.04802."""

import math
import os
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fuzzing import COUNT, mutations, survives
from pydantic import ValidationError
from torch import Tensor, nn

from baselines._nn import super_resolution
from baselines._nn.super_resolution import VGG54, SRResNet, bicubic, discriminator
from baselines.super_resolution.sr_regression import SRRegression
from baselines.super_resolution.srgan import SRGAN
from genbench.api import DataSpec, LowRes, Noise

SMALL = {"width": 8, "blocks": 1}


def regression(size: int = 16, factor: int = 4, channels: int = 3, **config: Any) -> SRRegression:
    torch.manual_seed(0)
    spec = DataSpec("any", channels, size, factor=factor)
    return SRRegression(SRRegression.Config(**(SMALL | config)), spec)


def srgan(size: int = 16, factor: int = 4, channels: int = 3, **config: Any) -> SRGAN:
    torch.manual_seed(0)
    spec = DataSpec("any", channels, size, factor=factor)
    return SRGAN(SRGAN.Config(**(SMALL | {"ndf": 4} | config)), spec)


def pairs(n: int = 4, size: int = 16, factor: int = 4) -> tuple[Tensor, LowRes]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, size, size, generator=generator) * 2 - 1
    return x, LowRes(F.avg_pool2d(x, factor))


class Losses:
    """An `update` that keeps the losses, with their graphs, and changes nothing."""

    def __init__(self, progress: float = 0.0) -> None:
        self.progress = progress
        self.seen: dict[str, Tensor] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        assert name not in self.seen
        self.seen[name] = loss


def step(m: Any, x: Tensor, cond: LowRes, progress: float = 0.0) -> tuple[Losses, dict[str, Any]]:
    update = Losses(progress)
    return update, m.step(x, cond, Noise(0, range(len(x))), update)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- the networks --------------------------------------------------------------------------------


def test_the_generator_has_the_published_size_but_for_its_ends() -> None:
    g = SRResNet(3, 4, width=64, blocks=16, batch_norm=True)
    ends = 2 * 3 * 64 * (9 * 9 - 5 * 5)
    convolutions = 33 * 64  # biases that batch normalisation subtracts
    slopes = sum(p.numel() for n in g.modules() if isinstance(n, nn.PReLU) for p in n.parameters())
    published = 1_549_462 - 16 - 3  # one slope for each PReLU of head, blocks and doublings
    assert parameters(g) + ends + convolutions - slopes == published


def test_the_discriminator_has_the_published_size() -> None:
    with torch.device("meta"):
        d = discriminator(3, 96, 64)
    biases = 64 + 2 * (128 + 256 + 512)  # that batch normalisation subtracts
    assert parameters(d) + biases == 23_565_505


@pytest.mark.parametrize(("size", "convolutions"), [(8, 2), (16, 4), (28, 4), (32, 6), (96, 8)])
def test_the_discriminator_halves_the_side_to_a_few_pixels(size: int, convolutions: int) -> None:
    d = discriminator(1, size, 2)
    convs = [n for n in d if isinstance(n, nn.Conv2d)]
    assert [n.stride[0] for n in convs] == [1, 2] * (convolutions // 2)
    norms = [isinstance(b, nn.BatchNorm2d) for a, b in pairwise(d) if a in convs]
    assert norms == [False] + [True] * (convolutions - 1)
    assert d(torch.zeros(3, 1, size, size)).shape == (3,)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (32, 3)])
def test_sizes(size: int, channels: int, factor: int) -> None:
    low = LowRes(torch.zeros(2, channels, size // factor, size // factor))
    for m in (regression(size, factor, channels), srgan(size, factor, channels)):
        assert m.eval().sample(low, Noise(0, range(2))).shape == (2, channels, size, size)


@pytest.mark.parametrize("factor", [1, 3, 8])
def test_other_factors_are_refused_in_one_sentence(factor: int) -> None:
    with pytest.raises(ValueError, match=f"enlarged by 2 or by 4, not by {factor}$"):
        regression(16, factor)


def test_four_channels_become_the_four_pixels_of_a_square_in_reading_order() -> None:
    g = SRResNet(1, 2, width=1, blocks=0)
    conv, shuffle, _ = g.up
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.bias.copy_(torch.arange(4.0))
    h = shuffle(conv(torch.zeros(1, 1, 3, 3)))
    assert torch.equal(h[0, 0], torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(3, 3))


def test_what_is_learned_is_added_to_the_bicubic_image() -> None:
    g, y = SRResNet(3, 4, width=4, blocks=1), pairs()[1].image
    for p in g.tail.parameters():
        nn.init.zeros_(p)
    assert torch.equal(g(y), bicubic(y, 4))


def test_bicubic_interpolation_does_not_move_the_image() -> None:
    ramp = torch.arange(8.0)[None, None, None, :].expand(1, 1, 8, 8)
    wide = bicubic(ramp, 4)[0, 0, 16]
    # the centre of output pixel i lies at (i + 1/2) / 4 - 1/2 of the input
    expected = (torch.arange(32) + 0.5) / 4 - 0.5
    torch.testing.assert_close(wide[8:24], expected[8:24])


def test_a_block_adds_to_its_input_and_a_skip_spans_all_blocks() -> None:
    g = SRResNet(3, 2, width=4, blocks=2)
    h = torch.randn(1, 4, 5, 5)
    nn.init.zeros_(g.body[0].net[-1].weight)
    nn.init.zeros_(g.body[0].net[-1].bias)
    assert torch.equal(g.body[0](h), h)
    inner: list[Tensor] = []
    g.up.register_forward_pre_hook(lambda module, args: inner.append(args[0]))
    for p in g.body[-1].parameters():
        nn.init.zeros_(p)
    y = torch.rand(1, 3, 5, 5)
    g(y)
    assert torch.equal(inner[0], g.head(y))


# --- regression ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "best"), [("l2", 0.4), ("l1", 1.0)])
def test_l2_finds_the_mean_and_l1_the_median(loss: str, best: float) -> None:
    """y is constant, x is -1 with probability 0.3 and 1 with 0.7."""
    m = regression(8, 4, loss=loss)
    bias = m.G.tail.bias
    x = torch.ones(10, 3, 8, 8)
    x[:3] = -1
    low = LowRes(torch.zeros(10, 3, 2, 2))
    for p in m.parameters():
        if p is not bias:
            nn.init.zeros_(p)
    optimizer = torch.optim.Adam([bias], lr=0.05)

    class Train(Losses):
        def __call__(self, name: str, loss: Tensor) -> None:
            bias.grad = torch.autograd.grad(loss, bias)[0]
            optimizer.step()

    bias.data.zero_()
    for _ in range(80):
        m.step(x, low, Noise(0, range(10)), Train())
    answer = m.sample(low, Noise(0, range(10)))
    assert answer.mean().item() == pytest.approx(best, abs=0.02)


def test_losses_are_means_over_pixels_and_not_clamped() -> None:
    x, cond = pairs()
    m = regression(width=8)
    nn.init.constant_(m.G.tail.bias, 3.0)  # far outside of [-1, 1]
    y = m.G(cond.image)
    assert y.min() > 1
    l2, l1 = step(m, x, cond), step(regression(loss="l1"), x, cond)
    assert l2[0].seen["g"].item() == pytest.approx((y - x).square().mean().item(), rel=1e-5)
    plain = regression(loss="l1").G(cond.image)
    assert l1[0].seen["g"].item() == pytest.approx((plain - x).abs().mean().item(), rel=1e-5)
    (grad,) = torch.autograd.grad(l2[0].seen["g"], m.G.tail.bias)
    assert (grad > 0).all()
    assert torch.equal(m.sample(cond, Noise(0, range(4))), torch.ones_like(x))


def test_both_families_have_one_generator() -> None:
    one, other = regression(), srgan()
    shapes = [(k, p.shape) for k, p in one.G.named_parameters()]
    assert shapes == [(k, p.shape) for k, p in other.G.named_parameters()]
    same = SRRegression.Config(), SRGAN.Config()
    for field in ("width", "blocks", "batch", "batch_norm"):
        assert getattr(same[0], field) == getattr(same[1], field), field


def test_it_learns_what_interpolation_lacks() -> None:
    m, (x, cond) = regression(lr=3e-3), pairs()
    x = F.interpolate((x > 0).float() * 2 - 1, scale_factor=0.5)
    x = F.interpolate(x, scale_factor=2.0)
    cond = LowRes(F.avg_pool2d(x, 4))
    (optimizer,) = m.optimizers().values()

    class Train(Losses):
        def __call__(self, name: str, loss: Tensor) -> None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    for _ in range(100):
        m.step(x, cond, Noise(0, range(4)), Train())
    made = m.sample(cond, Noise(0, range(4)))
    assert F.mse_loss(made, x) < 0.5 * F.mse_loss(bicubic(cond.image, 4).clamp(-1, 1), x)


# --- SRGAN ---------------------------------------------------------------------------------------


def test_losses_at_zero_logits_alone_and_in_the_game() -> None:
    m = srgan(adversarial=0.25, warmup_share=0.5)
    last = m.D[-2]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    x, cond = pairs()
    mse = F.mse_loss(m.G(cond.image), x).item()
    for progress, game in ((0.0, 0.0), (0.49, 0.0), (0.5, math.log(2)), (0.99, math.log(2))):
        update, losses = step(m, x, cond, progress)
        assert list(update.seen) == ["d", "g"]
        assert update.seen["d"].item() == pytest.approx(2 * math.log(2), abs=1e-6)
        assert update.seen["g"].item() == pytest.approx(mse + 0.25 * game, rel=1e-5)
        assert m.phase(progress) == ("game" if game else "alone")
        assert ("gan" in losses) == bool(game)


def test_gradients_reach_every_parameter() -> None:
    m = srgan(warmup_share=0, adversarial=1)
    update, _ = step(m, *pairs())
    for name, net in (("d", m.D), ("g", m.G)):
        grads = torch.autograd.grad(update.seen[name], list(net.parameters()))
        assert all(torch.isfinite(g).all() for g in grads)
        still = [k for (k, _), g in zip(net.named_parameters(), grads, strict=True) if not g.any()]
        assert not still


def test_the_discriminator_sees_real_images_and_unclamped_answers_apart() -> None:
    m, (x, cond) = srgan(warmup_share=0), pairs()
    seen: list[Tensor] = []
    m.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    step(m, x, cond)
    assert torch.equal(seen[0], x)
    torch.testing.assert_close(seen[1], m.G(cond.image).detach())
    torch.testing.assert_close(seen[2], seen[1])


# --- features of VGG19 ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's layout with random weights, halves to make it small."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        layout = vgg19(weights=None).features.state_dict()
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, value in layout.items():
        fan = math.prod(value.shape[1:]) or 1
        random = torch.randn(value.shape, generator=generator) * math.sqrt(2 / fan)
        weights[f"features.{key}"] = (random if value.ndim > 1 else 0.1 * random).half()
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def vgg(vgg_file: Path) -> VGG54:
    return VGG54(str(vgg_file), 32)


def by_hand(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """VGG19 up to relu5_4: blocks of 2, 2, 4, 4, 4 convolutions with a pooling between them."""
    h, layer = x, 0
    for block, convolutions in enumerate((2, 2, 4, 4, 4)):
        for _ in range(convolutions):
            weight, bias = (weights[f"features.{layer}.{k}"].float() for k in ("weight", "bias"))
            h, layer = F.relu(F.conv2d(h, weight, bias, padding=1)), layer + 2
        if block < 4:
            h, layer = F.max_pool2d(h, 2), layer + 1
    assert layer == 36
    return h


def test_the_features_are_those_after_the_last_convolution(vgg: VGG54, vgg_file: Path) -> None:
    weights = torch.load(vgg_file, weights_only=True)
    x = pairs(1, 32)[0]
    normed = ((x + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(vgg(x), by_hand(weights, normed) / 12.75)
    assert vgg(x).shape == (1, 512, 2, 2)
    grey = x[:, :1]
    torch.testing.assert_close(vgg(grey), vgg(grey.repeat(1, 3, 1, 1)))


def test_the_content_loss_trains_the_generator_and_nothing_of_vgg(vgg_file: Path) -> None:
    m = srgan(content="vgg19", vgg_weights=str(vgg_file), warmup_share=0.5, adversarial=0)
    x, cond = pairs(2)
    assert {k.partition(".")[0] for k in m.state_dict()} == {"G", "D"}
    assert m.vgg is not None and not any(p.requires_grad for p in m.vgg.net.parameters())
    assert not m.vgg.net.training
    alone, losses = step(m, x, cond, 0.0)
    assert alone.seen["g"].item() == pytest.approx(losses["mse"].item())
    game, losses = step(m, x, cond, 0.5)
    expected = (m.vgg(m.G(cond.image)) - m.vgg(x)).square().mean().item()
    assert game.seen["g"].item() == pytest.approx(expected, rel=1e-4)
    grads = torch.autograd.grad(game.seen["g"], list(m.G.parameters()))
    assert all(g.any() for g in grads)
    m.train()
    assert not m.vgg.net.training


def test_files_that_are_not_vgg19_are_refused_in_one_sentence(tmp_path: Path) -> None:
    def refused(path: Path, match: str) -> None:
        with pytest.raises(ValueError, match=match) as caught:
            srgan(content="vgg19", vgg_weights=str(path))
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.pth", "cannot read vgg_weights '.*none.pth': .*No such file")
    (tmp_path / "text.pth").write_text("no weights\n")
    refused(tmp_path / "text.pth", "cannot read vgg_weights '.*text.pth'")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    missing = r"it has no 'features.0.weight' of shape \(64, 3, 3, 3\)$"
    refused(tmp_path / "other.pth", missing)
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    refused(tmp_path / "grey.pth", missing)
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", missing)
    with pytest.raises(ValueError, match="at least 16 pixels, not 8; choose content 'mse'"):
        srgan(8, content="vgg19", vgg_weights=str(tmp_path / "other.pth"))


def test_settings_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="content 'vgg19' needs vgg_weights"):
        SRGAN.Config(content="vgg19")
    with pytest.raises(ValidationError, match="vgg_weights belongs to content 'vgg19'"):
        SRGAN.Config(vgg_weights="a.pth")


def test_damaged_files_of_vgg19_are_one_sentence(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    whole = tmp_path / "whole.pth"
    torch.save({f"features.{key}": value for key, value in net.state_dict().items()}, whole)
    assert set(super_resolution._read_vgg19(str(whole), net)) == {"0.weight", "0.bias"}
    damaged = tmp_path / "damaged.pth"
    for i, content in enumerate(mutations(whole.read_bytes(), 0, COUNT)):
        damaged.write_bytes(content)
        survives(partial(super_resolution._read_vgg19, str(damaged), net), (ValueError,), f"{i}")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(ValueError, match=r"cannot read vgg_weights '.*pipe.pth': it is no file"):
        super_resolution._read_vgg19(str(tmp_path / "pipe.pth"), net)
