"""DCGAN against the recipe of arXiv 1511.06434."""

import math
from typing import Any

import pytest
import torch
from steps import Losses
from torch import Tensor, nn

from baselines.gan.dcgan import DCGAN
from genbench.api import Config, DataSpec, Noise, Unconditional
from genbench.stepper import Stepper


def make(size: int = 16, channels: int = 1, **config: Any) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(DCGAN.Config(**config), DataSpec("any", channels, size))


@pytest.mark.parametrize("size", [8, 12, 16, 28, 32, 64])
def test_sizes(size: int) -> None:
    m = make(size, 3, ngf=8, ndf=8)
    x = m.G(m.z(Noise(0, range(2))))
    assert x.shape == (2, 3, size, size)
    assert m.D(x).shape == (2,)


@pytest.mark.parametrize("size", [4, 6, 9, 10, 14, 18, 44])
def test_a_size_that_cannot_be_halved_is_refused_in_one_sentence(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size}x{size} images: the side must be"):
        make(size)


def test_parameter_count_is_that_of_the_pytorch_example() -> None:
    # 64 px, z 100, ngf = ndf = 64: 3,576,704 and 2,765,568 without biases
    m = make(64, 3, nz=100, ngf=64, ndf=64)
    g = sum(p.numel() for n in m.G for k, p in n.named_parameters() if is_counted(n, k))
    d = sum(p.numel() for n in m.D for k, p in n.named_parameters() if is_counted(n, k))
    assert (g, d) == (3_576_704, 2_765_568)


def is_counted(module: nn.Module, parameter: str) -> bool:
    """All but the convolutions' biases, which the example leaves out everywhere."""
    return isinstance(module, nn.BatchNorm2d) or parameter == "weight"


def test_convolutions_only() -> None:
    allowed = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU, nn.LeakyReLU, nn.Tanh)
    m = make(32)
    for layer in (*m.G, *m.D):
        assert isinstance(layer, (*allowed, nn.Flatten)), layer
    assert {layer.negative_slope for layer in m.D if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert not any(isinstance(layer, nn.LeakyReLU) for layer in m.G)


def test_batch_normalisation_everywhere_but_at_the_image() -> None:
    m = make(32)
    assert isinstance(m.G[-1], nn.Tanh)
    assert isinstance(m.G[-2], nn.ConvTranspose2d)
    up = [i for i, layer in enumerate(m.G) if isinstance(layer, nn.ConvTranspose2d)]
    assert [isinstance(m.G[i + 1], nn.BatchNorm2d) for i in up] == [True, True, True, False]
    down = [i for i, layer in enumerate(m.D) if isinstance(layer, nn.Conv2d)]
    assert [isinstance(m.D[i + 1], nn.BatchNorm2d) for i in down] == [False, True, True, False]


def hidden(net: nn.Sequential, kind: type[nn.Module]) -> list[str]:
    """Layers that look at an image or a feature: "norm" where one normalises right after."""
    at = [i for i, layer in enumerate(net) if isinstance(layer, kind)]
    return ["norm" if isinstance(net[i + 1], nn.BatchNorm2d) else "bare" for i in at]


@pytest.mark.parametrize(("size", "hidden_d"), [(8, 1), (16, 1), (32, 2), (64, 3)])
def test_every_hidden_layer_is_normalised_and_there_is_one_at_every_size(
    size: int, hidden_d: int
) -> None:
    m = make(size, ngf=8, ndf=8)
    # its first layer looks at the image, its last one makes the logit
    assert hidden(m.D, nn.Conv2d) == ["bare", *["norm"] * hidden_d, "bare"]
    assert hidden(m.G, nn.ConvTranspose2d) == [*["norm"] * (hidden_d + 1), "bare"]
    assert str(m.D).count("BatchNorm2d") == hidden_d  # what people read when they print it
    assert str(m.G).count("BatchNorm2d") == hidden_d + 1


def test_eight_pixels_are_made_from_one_by_way_of_two_and_four() -> None:
    m, sides = make(8, ngf=8, ndf=8), []
    for layer in (*m.G, *m.D):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda module, args, out: sides.append(out.shape[-1]))
    m.D(m.G(m.z(Noise(0, range(2)))))
    assert sides == [2, 4, 8, 4, 2, 1]


def test_parts_of_the_recipe_can_be_switched_off() -> None:
    m = make(batch_norm=False, init="pytorch", ngf=8, ndf=8)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in m.modules())
    convs = [c for c in m.modules() if isinstance(c, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(c.bias is not None and c.bias.any() for c in convs)  # nothing takes it away
    assert m.G[0].weight.std().item() == pytest.approx((3 * 16 * 16) ** -0.5, rel=0.05)


def test_z_is_normal_or_uniform() -> None:
    z = make(z="uniform").z(Noise(0, range(500)))
    assert z.shape == (500, 64, 1, 1)
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() < 1
    assert z.square().mean().item() == pytest.approx(1 / 3, abs=0.01)
    assert make().z(Noise(0, range(500))).square().mean().item() == pytest.approx(1, abs=0.03)


def test_the_paper() -> None:
    with torch.device("meta"):
        m = DCGAN(DCGAN.Config(**DCGAN.presets["paper"]), DataSpec("any", 3, 64))
    shapes = [c.weight.shape for c in m.G if isinstance(c, nn.ConvTranspose2d)]
    assert [shape[0] for shape in shapes] == [100, 1024, 512, 256, 128]
    g = sum(p.numel() for n in m.G for k, p in n.named_parameters() if is_counted(n, k))
    assert g == 100 * 1024 * 16 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * 1920


def test_weights_start_from_a_narrow_normal() -> None:
    m = make(32, ngf=32, ndf=32)
    for layer in m.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 4000:
            assert layer.weight.std().item() == pytest.approx(0.02, abs=0.002)
            assert abs(layer.weight.mean().item()) < 0.002
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert 0.01 < layer.weight.std().item() < 0.03
            assert not layer.bias.any()


def test_losses_at_zero_logits() -> None:
    m = make()
    nn.init.zeros_(m.D[-2].weight)
    update = Losses()
    m.step(torch.zeros(4, 1, 16, 16), Unconditional(), Noise(0, range(4)), update)
    assert update.seen["d"] == pytest.approx(2 * math.log(2), abs=1e-6)
    assert update.seen["g"] == pytest.approx(math.log(2), abs=1e-6)


def test_losses_are_non_saturating() -> None:
    m = make()
    nn.init.zeros_(m.D[-2].weight)
    nn.init.constant_(m.D[-2].bias, -7.0)  # D rejects everything with confidence
    update = Losses()
    m.step(torch.zeros(4, 1, 16, 16), Unconditional(), Noise(0, range(4)), update)
    rejected = math.log1p(math.exp(-7))
    assert update.seen["d"] == pytest.approx(7 + 2 * rejected, rel=1e-5)
    assert update.seen["g"] == pytest.approx(7 + rejected, rel=1e-5)


@pytest.mark.parametrize(("frozen", "moved"), [("d", "g"), ("g", "d")])
def test_an_update_moves_its_own_network_only(frozen: str, moved: str) -> None:
    m = make(ngf=8, ndf=8).train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(torch.zeros(4, 1, 16, 16), Unconditional(), Noise(0, range(4)), One())
    for key, p in m.named_parameters():
        assert torch.equal(before[key], p) == key.startswith(frozen.upper()), key


def test_real_and_fake_are_separate_batches_with_fresh_z() -> None:
    m = make(ngf=8, ndf=8).train()
    seen: list[Tensor] = []
    m.D.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
    x = torch.zeros(4, 1, 16, 16)
    m.step(x, Unconditional(), Noise(0, range(4)), Losses())
    real, fake_d, fake_g = seen
    assert torch.equal(real, x)
    assert fake_d.shape == fake_g.shape == x.shape
    assert not torch.allclose(fake_d, fake_g, atol=1e-3)


def test_optimizers_follow_the_paper() -> None:
    for optimizer in make().optimizers().values():
        assert optimizer.defaults["lr"] == 2e-4
        assert optimizer.defaults["betas"] == (0.5, 0.999)
