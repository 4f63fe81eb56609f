"""The conditional GAN, and the losses and layers that adversarial families share."""

import math
from typing import Any

import pytest
import torch
from steps import Losses
from torch import Tensor, nn

from baselines._nn.gan import d_loss, g_loss, init_normal, is_fake, is_real
from baselines._nn.gan_blocks import ConditionalBatchNorm, spectral, spectral_trunk
from baselines.gan.cgan import CGAN
from genbench.api import ClassLabel, Config, DataSpec, Noise
from genbench.stepper import Stepper

WAYS = ["projection", "concat"]
NETWORKS = ["dcgan", "spectral"]
S = torch.tensor([[-7.0, 0.0], [0.5, 7.0]])


def make(size: int = 8, channels: int = 1, classes: int = 4, **config: Any) -> CGAN:
    torch.manual_seed(0)
    small = {"ngf": 8, "ndf": 8, "nz": 8} | config
    return CGAN(CGAN.Config(**small), DataSpec("any", channels, size, classes=classes))


def z(n: int, nz: int = 8) -> Tensor:
    return Noise(0, range(n)).normal(nz)


# --- the shared losses and layers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "d", "g"),
    [("vanilla", 2 * math.log(2), math.log(2)), ("least_squares", 1, 1), ("hinge", 2, 0)],
)
def test_losses_at_zero_logits(kind: Any, d: float, g: float) -> None:
    s = torch.zeros(2, 1, 3, 3)
    assert d_loss(s, s, kind).item() == pytest.approx(d, abs=1e-6)
    assert g_loss(s, kind).item() == pytest.approx(g, abs=1e-6)


def test_vanilla_is_cross_entropy_on_logits() -> None:
    bce = nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(is_real(S), bce(S, torch.ones_like(S)))
    torch.testing.assert_close(is_fake(S), bce(S, torch.zeros_like(S)))
    torch.testing.assert_close(d_loss(S, 2 * S), is_real(S) + is_fake(2 * S))


def test_the_mean_over_patches_comes_after_the_nonlinearity() -> None:
    s = torch.tensor([-2.0, 2.0])
    assert is_real(s, "hinge") == 1.5  # of the mean logit it would be 1
    assert is_fake(s, "hinge") == 1.5
    assert is_real(s, "least_squares") == 5
    assert is_fake(s, "least_squares") == 4
    assert g_loss(s + 1, "hinge") == -1


def test_the_generators_loss_does_not_saturate() -> None:
    s = torch.tensor([-7.0, 0.0, 7.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(3 * g_loss(s), s)
    torch.testing.assert_close(gradient, -(1 - torch.sigmoid(s)))


def test_initial_weights() -> None:
    layers = [nn.Conv2d(32, 32, 4), nn.ConvTranspose2d(32, 32, 4), nn.Linear(128, 128)]
    norms = [nn.BatchNorm2d(400), nn.InstanceNorm2d(400, affine=True)]
    bare = nn.InstanceNorm2d(4)  # has no weights at all
    embedding = nn.Embedding(9, 9)
    kept = embedding.weight.detach().clone()
    nn.ModuleList([*layers, *norms, bare, embedding]).apply(init_normal)
    for layer, mean in [*((layer, 0) for layer in layers), *((norm, 1) for norm in norms)]:
        assert layer.weight.mean().item() == pytest.approx(mean, abs=0.005)
        assert layer.weight.std().item() == pytest.approx(0.02, abs=0.003)
        assert not layer.bias.any()
    assert torch.equal(embedding.weight, kept)


def test_conditional_batch_norm_is_affine_in_the_condition() -> None:
    norm = ConditionalBatchNorm(3, 2)
    nn.init.zeros_(norm.affine.weight)
    norm.affine.bias.data = torch.tensor([0.0, 1, 2, 5, 6, 7])
    h = torch.randn(64, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 9 + 4
    out = norm(h, torch.zeros(64, 2))
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.tensor([5.0, 6, 7]))
    torch.testing.assert_close(out.std((0, 2, 3)), torch.tensor([1.0, 2, 3]), rtol=1e-2, atol=0)


def test_spectral_norm_bounds_the_slope() -> None:
    layer = spectral(nn.Linear(20, 10))
    layer.parametrizations.weight.original.data *= 50
    for _ in range(30):
        layer(torch.zeros(1, 20))
    assert torch.linalg.matrix_norm(layer.eval().weight, 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("size", "base"), [(8, 4), (28, 7), (32, 4)])
def test_the_trunk_says_what_it_gives(size: int, base: int) -> None:
    net, c, side = spectral_trunk(3, size, 4)
    assert net(torch.zeros(2, 3, size, size)).shape == (2, c, side, side)
    assert side == base


# --- the family ----------------------------------------------------------------------------------


@pytest.mark.parametrize("conditioning", [*WAYS, "auxiliary", "none"])
@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("size", [8, 28, 32])
def test_sizes(size: int, networks: str, conditioning: str) -> None:
    m = make(size, 3, conditioning=conditioning, networks=networks)
    y = torch.tensor([0, 3])
    x = m.G(z(2), y)
    assert x.shape == (2, 3, size, size)
    assert x.abs().max() <= 1
    s, guess = m.D(x, y)
    assert s.shape == (2,) and guess.shape == ()
    assert (guess > 0) == (conditioning == "auxiliary")


def test_data_without_classes_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"needs classes, and 'any' has none; use dcgan instead"):
        make(classes=0)


@pytest.mark.parametrize("networks", NETWORKS)
def test_the_label_alone_changes_the_image(networks: str) -> None:
    m = make(networks=networks).eval()
    one, other = (m.sample(ClassLabel(torch.full((4,), y)), Noise(0, range(4))) for y in (0, 1))
    assert (one - other).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("conditioning", WAYS)
def test_the_discriminator_reads_image_and_label_together(conditioning: str) -> None:
    m = make(conditioning=conditioning).eval()
    for p in m.D.parameters():
        nn.init.normal_(p, std=0.3)  # far from linear
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    s = torch.stack([m.D(x, torch.full((2,), y))[0] for y in (0, 1)])
    assert (s[0] - s[1]).abs().min() > 1e-2  # the label counts
    assert (s[:, 0] - s[:, 1]).abs().min() > 1e-2  # and the image
    # whether a label fits depends on the image: no sum of two separate scores
    assert (s[0, 0] - s[1, 0] - s[0, 1] + s[1, 1]).abs() > 1e-2


def test_projection_is_the_inner_product_with_the_summed_features() -> None:
    m = make().eval()
    nn.init.normal_(m.D.v.weight)
    x, y = (
        torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0, 2, 2]),
    )
    phi = m.D.phi(x)
    expected = m.D.psi(phi).flatten() + torch.einsum("bc,bchw->b", m.D.v.weight[y], phi)
    torch.testing.assert_close(m.D(x, y)[0], expected)


@pytest.mark.parametrize("conditioning", ["none", "auxiliary"])
def test_a_discriminator_that_is_not_told_the_label_ignores_it(conditioning: str) -> None:
    m = make(conditioning=conditioning).eval()
    x = torch.ones(2, 1, 8, 8)
    assert torch.equal(m.D(x, torch.tensor([0, 1]))[0], m.D(x, torch.tensor([2, 3]))[0])


def test_the_auxiliary_guess_is_paid_for_by_both_networks() -> None:
    m, update = make(conditioning="auxiliary"), Losses()
    for layer in (m.D.psi, m.D.guess):
        nn.init.zeros_(layer.weight)
    m.step(torch.zeros(4, 1, 8, 8), ClassLabel(torch.arange(4)), Noise(0, range(4)), update)
    # four classes, all as likely: log 4 for real images, log 4 for fakes
    assert update.seen["d"] == pytest.approx(2 * math.log(2) + 2 * math.log(4), abs=1e-6)
    assert update.seen["g"] == pytest.approx(math.log(2) + math.log(4), abs=1e-6)
    with torch.no_grad():
        m.D.guess.bias[1] = 50  # sure that it is class 1
    x = torch.zeros(2, 1, 8, 8)
    assert m.D(x, torch.tensor([1, 1]))[1] < 1e-6
    assert m.D(x, torch.tensor([0, 0]))[1].item() == pytest.approx(50, rel=1e-4)


def test_the_networks_of_the_projection_paper() -> None:
    m = make(16, networks="spectral")
    norms = [n for n in m.modules() if isinstance(n, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 3  # of G, all told the label
    assert all(not n.affine for n in norms)
    layers = [n for n in m.D.modules() if isinstance(n, nn.Conv2d | nn.Embedding)]
    assert len(layers) == 4  # two convolutions, psi, v
    assert all(hasattr(layer, "parametrizations") for layer in layers)
    norm, h = m.G.net.blocks[0].norm.eval(), torch.ones(2, 32, 4, 4)
    one, other = (norm(h, m.G.embedding(torch.tensor([0, y]))) for y in (0, 1))
    assert torch.equal(one[0], other[0]) and not torch.allclose(one[1], other[1])


def test_hinge_losses_of_the_family() -> None:
    m, update = make(loss="hinge"), Losses()
    nn.init.zeros_(m.D.psi.weight)
    nn.init.zeros_(m.D.v.weight)
    m.step(torch.zeros(4, 1, 8, 8), ClassLabel(torch.arange(4)), Noise(0, range(4)), update)
    assert update.seen == {"d": 2.0, "g": 0.0}


def test_adams_moments_are_those_that_were_asked_for() -> None:
    m = CGAN(CGAN.Config(**CGAN.presets["projection"]), DataSpec("any", 3, 32, classes=4))
    for optimizer in m.optimizers().values():
        assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (2e-4, (0.0, 0.9))


def test_a_fake_is_shown_with_the_label_that_it_was_made_for() -> None:
    m = make().train()
    made, shown = [], []
    m.G.register_forward_pre_hook(lambda module, args: made.append(args))
    m.D.register_forward_pre_hook(lambda module, args: shown.append(args))
    y = torch.tensor([3, 1, 0, 2])
    x = torch.zeros(4, 1, 8, 8)
    m.step(x, ClassLabel(y), Noise(0, range(4)), Losses())
    assert all(torch.equal(label, y) for _, label in (*made, *shown))
    assert not torch.equal(made[0][0], made[1][0])  # a fresh z for G
    assert torch.equal(shown[0][0], x)
    assert len(shown) == 3


@pytest.mark.parametrize("conditioning", WAYS)
def test_losses_at_zero_logits_of_the_family(conditioning: str) -> None:
    m = make(conditioning=conditioning)
    nn.init.zeros_(m.D.psi.weight)
    nn.init.zeros_(m.D.v.weight)
    update = Losses()
    m.step(torch.zeros(4, 1, 8, 8), ClassLabel(torch.arange(4)), Noise(0, range(4)), update)
    assert update.seen["d"] == pytest.approx(2 * math.log(2), abs=1e-6)
    assert update.seen["g"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(("moved", "frozen"), [("d", "g"), ("g", "d")])
@pytest.mark.parametrize("conditioning", [*WAYS, "auxiliary"])
@pytest.mark.parametrize("networks", NETWORKS)
def test_an_update_reaches_all_of_its_own_network_and_nothing_else(
    moved: str, frozen: str, conditioning: str, networks: str
) -> None:
    m = make(conditioning=conditioning, networks=networks).train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(torch.ones(4, 1, 8, 8), ClassLabel(torch.arange(4)), Noise(0, range(4)), One())
    for key, p in m.named_parameters():
        assert torch.equal(before[key], p) == key.startswith(frozen.upper()), key
