"""CycleGAN and its networks against arXiv 1703.10593."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines._nn.translation import PatchGAN, ResNetGenerator
from baselines.translation.cyclegan import CycleGAN, ImagePool
from genbench.api import DataSpec, Noise, ToDomain, count_nfe

SMALL = {"ngf": 4, "ndf": 4, "blocks": 1}


def make(size: int = 8, channels: int = 3, **config: Any) -> CycleGAN:
    torch.manual_seed(0)
    spec = DataSpec("any", channels, size, domains=2)
    return CycleGAN(CycleGAN.Config(**(SMALL | config)), spec)


def unpaired(target: list[int], size: int = 8) -> tuple[Tensor, ToDomain]:
    """Images of domain 0 are negative, those of domain 1 positive."""
    t = torch.tensor(target)
    generator = torch.Generator().manual_seed(1)
    x, source = (torch.rand(len(t), 3, size, size, generator=generator) for _ in range(2))
    sign = (2.0 * t - 1)[:, None, None, None]
    return sign * x, ToDomain(-sign * source, 1 - t, t)


class Losses:
    """An `update` that keeps the losses, with their graphs, and changes nothing."""

    progress = 0.0

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        self.seen[name] = loss


def step(
    m: CycleGAN, x: Tensor, cond: ToDomain, first: int = 0
) -> tuple[Losses, dict[str, float]]:
    update = Losses()
    losses = m.step(x, cond, Noise(0, range(first, first + len(x))), update)
    return update, {k: float(v.detach()) for k, v in losses.items()}


def watch(module: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach().clone()))
    return seen


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def redundant(module: nn.Module) -> int:
    """Biases that the reference has and a normalisation subtracts."""
    layers = [n for n in module.modules() if isinstance(n, nn.Conv2d | nn.ConvTranspose2d)]
    return sum(n.out_channels for n in layers if n.bias is None)


@pytest.mark.parametrize(("blocks", "expected"), [(9, 11_378_179), (6, 7_837_699)])
def test_the_generator_has_the_published_size(blocks: int, expected: int) -> None:
    with torch.device("meta"):
        g = ResNetGenerator(3, 3, ngf=64, downs=2, blocks=blocks, kernel=7)
    assert parameters(g) + redundant(g) == expected


def test_the_discriminator_has_the_published_size_and_no_batch_statistics() -> None:
    d = PatchGAN(3, 256, 64, 3, norm="instance")
    assert parameters(d) + redundant(d) == 2_764_737
    for module in make().modules():
        assert not isinstance(module, nn.BatchNorm2d)


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("downs", [0, 1, 2])
@pytest.mark.parametrize("kernel", [3, 7])
def test_sizes(size: int, downs: int, kernel: int) -> None:
    g = ResNetGenerator(1, 1, 4, downs, 1, kernel)
    x = g(torch.zeros(2, 1, size, size))
    assert x.shape == (2, 1, size, size) and x.abs().max() <= 1


def test_a_residual_block_adds_to_its_input_and_reflects_at_the_edge() -> None:
    torch.manual_seed(0)
    g = ResNetGenerator(1, 1, 4, 0, 2, 3)
    block = g[4]
    h = torch.randn(2, 4, 6, 6)
    with torch.no_grad():
        added = block(h) - h
        w = [layer.weight for layer in block.net if isinstance(layer, nn.Conv2d)]
        r = F.relu(F.instance_norm(F.conv2d(F.pad(h, (1, 1, 1, 1), "reflect"), w[0])))
        r = F.instance_norm(F.conv2d(F.pad(r, (1, 1, 1, 1), "reflect"), w[1]))
    torch.testing.assert_close(added, r, atol=1e-5, rtol=1e-4)


def test_other_than_two_domains_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="between two domains, not 4; .*'to_domain:day,night'$"):
        CycleGAN(CycleGAN.Config(), DataSpec("any", 3, 8, domains=4))


# --- losses --------------------------------------------------------------------------------------


def test_identical_networks_of_the_identity_pay_nothing_for_cycle_and_identity() -> None:
    m = make()
    m.G, m.F = nn.Identity(), nn.Identity()
    for d in (m.D_X, m.D_Y):
        nn.init.zeros_(d[-1].weight)
    x, cond = unpaired([0, 1, 1, 0])
    update, losses = step(m, x, cond)
    assert losses["cycle"] == losses["identity"] == 0
    assert losses["gan"] == pytest.approx(2)  # (0 - 1)^2 for both
    assert losses["d_x"] == losses["d_y"] == pytest.approx(1)
    assert update.seen["d"].item() == pytest.approx(2)


def test_the_generators_loss_is_the_weighted_sum() -> None:
    x, cond = unpaired([0, 1, 1, 0])
    for config, cycle, identity in (
        ({}, 10, 5),
        ({"lambda_cycle": 3, "lambda_identity": 0}, 3, 0),
    ):
        update, losses = step(make(**config), x, cond)
        expected = losses["gan"] + cycle * losses["cycle"] + identity * losses["identity"]
        assert update.seen["g"].item() == pytest.approx(expected, rel=1e-5)


def test_cycle_and_identity_by_hand() -> None:
    m = make(pool=0)
    x, cond = unpaired([0, 1, 0, 1])
    zero = torch.tensor([0, 2])  # rows whose x is of domain 0
    a, b = torch.empty_like(x), torch.empty_like(x)
    a[zero], a[1 - zero % 2 + zero] = x[zero], cond.source[[1, 3]]
    b[zero], b[1 - zero % 2 + zero] = cond.source[zero], x[[1, 3]]
    assert (a <= 0).all() and (b >= 0).all()
    _, losses = step(m, x, cond)
    to_y, to_x = m.G(a), m.F(b)
    cycle = (m.F(to_y) - a).abs().mean() + (m.G(to_x) - b).abs().mean()
    identity = (m.G(b) - b).abs().mean() + (m.F(a) - a).abs().mean()
    gan = (m.D_Y(to_y) - 1).square().mean() + (m.D_X(to_x) - 1).square().mean()
    d_x = (m.D_X(a) - 1).square().mean() + m.D_X(to_x).square().mean()
    expected = {"cycle": cycle, "identity": identity, "gan": gan, "d_x": d_x}
    for name, value in expected.items():
        assert losses[name] == pytest.approx(value.item(), rel=1e-4), name


def test_each_discriminator_sees_its_own_domain_first_as_real() -> None:
    m = make(pool=0)
    d_x, d_y, g, f = (watch(n) for n in (m.D_X, m.D_Y, m.G, m.F))
    x, cond = unpaired([0, 1, 1, 1])
    step(m, x, cond)
    real_x, real_y = d_x[1], d_y[1]  # after the generators' turn
    assert (real_x <= 0).all() and (real_y >= 0).all()
    assert (g[0][:4] <= 0).all() and (f[0][:4] >= 0).all()  # G takes X, F takes Y
    with torch.no_grad():
        torch.testing.assert_close(d_y[0], m.G(real_x))
        torch.testing.assert_close(d_x[0], m.F(real_y))


def test_cycle_gradients_reach_both_generators() -> None:
    m = make(lambda_identity=0)
    for d in (m.D_X, m.D_Y):
        nn.init.zeros_(d[-1].weight)  # nothing but the cycle is left
    update, _ = step(m, *unpaired([0, 1]))
    for net in (m.G, m.F):
        grads = torch.autograd.grad(update.seen["g"], list(net.parameters()), retain_graph=True)
        assert all(g.any() for g in grads)


def test_a_round_trip_is_not_cut_in_the_middle() -> None:
    """G learns from |F(G(x)) - x| when nothing else depends on it."""
    m = make(lambda_identity=0)
    for d in (m.D_X, m.D_Y):
        nn.init.zeros_(d[-1].weight)
    kept = m.G.forward

    def only_first(x: Tensor) -> Tensor:
        out = kept(x)
        return out if len(x) == 4 else out.detach()  # the call on (x, y), not that on F(y)

    m.G.forward = only_first
    update, _ = step(m, *unpaired([0, 1]))
    grads = torch.autograd.grad(update.seen["g"], list(m.G.parameters()))
    assert all(g.any() for g in grads)


def test_gradients_reach_every_parameter_of_the_player_and_no_other() -> None:
    m = make()
    update, _ = step(m, *unpaired([0, 1, 1, 0]))
    d = [*m.D_X.parameters(), *m.D_Y.parameters()]
    g = [*m.G.parameters(), *m.F.parameters()]
    assert all(p.any() for p in torch.autograd.grad(update.seen["g"], g))
    grads = torch.autograd.grad(update.seen["d"], [*d, *g], allow_unused=True)
    assert all(p is not None and p.any() for p in grads[: len(d)])
    assert all(p is None for p in grads[len(d) :])
    owned = {k: o.param_groups[0]["params"] for k, o in m.optimizers().items()}
    assert [id(p) for p in owned["g"]] == [id(p) for p in g]
    assert [id(p) for p in owned["d"]] == [id(p) for p in d]


# --- the pool ------------------------------------------------------------------------------------


def numbered(first: int, n: int) -> Tensor:
    """Images whose every pixel is a number that 8 bits hold: 2 k / 255 - 1."""
    return (torch.arange(first, first + n) / 127.5 - 1)[:, None, None, None].expand(n, 1, 2, 2)


def test_the_pool_gives_back_its_input_until_it_is_full() -> None:
    pool = ImagePool(6, (1, 2, 2))
    always = torch.zeros(4, 2)  # swap if there is a choice, with slot 0
    odd = numbered(0, 4) + 1e-3  # not a multiple of 1/255
    assert torch.equal(pool(odd, always), odd) and int(pool.count) == 4
    shown = pool(numbered(4, 4), always)
    assert torch.equal(shown[:2], numbered(4, 2)) and int(pool.count) == 6
    # full: the third swaps with slot 0, the fourth with the third
    torch.testing.assert_close(shown[2:], torch.cat((numbered(0, 1), numbered(6, 1))))
    assert pool.images[:, 0, 0, 0].tolist() == [7, 1, 2, 3, 4, 5]


def test_a_full_pool_swaps_half_of_the_time_with_any_slot() -> None:
    pool = ImagePool(50, (1, 2, 2))
    pool(numbered(0, 50), torch.zeros(50, 2))
    new = torch.full((4000, 1, 2, 2), 1.0)
    u = Noise(0, range(4000)).uniform(2)
    shown = pool(new, u)
    assert pool.images.min() == 255  # every slot was reached
    kept = pool(numbered(0, 50), torch.full((50, 2), 0.7))
    assert torch.equal(kept, numbered(0, 50)) and pool.images.min() == 255
    assert int((shown[:, 0, 0, 0] < 1).sum()) == 50  # each stored image was shown once


def test_the_pool_keeps_no_graph_and_none_of_its_callers_memory() -> None:
    pool = ImagePool(3, (1, 2, 2))
    fake = numbered(0, 3).clone().requires_grad_()
    where = pool.images.data_ptr()
    shown = pool(fake * 1, torch.zeros(3, 2))
    assert not shown.requires_grad and not pool.images.requires_grad
    shown.zero_()
    assert pool.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert pool.images.data_ptr() == where
    assert not ImagePool(0, (1, 2, 2))(fake, torch.zeros(3, 2)).requires_grad


def test_the_pools_are_saved_and_belong_to_one_direction_each() -> None:
    m = make(pool=3)
    m.G.register_forward_hook(lambda net, args, out: out * 0 + 0.2)
    m.F.register_forward_hook(lambda net, args, out: out * 0 - 0.6)
    for first in range(0, 12, 2):
        step(m, *unpaired([0, 1]), first=first)
    state = m.state_dict()
    assert state["pool_y.images"].unique().tolist() == [153]  # (0.2 + 1) / 2 * 255
    assert state["pool_x.images"].unique().tolist() == [51]
    assert state["pool_x.images"].shape == (3, 3, 8, 8)
    assert int(state["pool_y.count._extra_state"]) == 3
    other = make(pool=3)
    other.load_state_dict(state)
    assert torch.equal(other.pool_x.images, m.pool_x.images)


def test_discriminators_see_what_the_pool_shows() -> None:
    m = make(pool=2)
    d_x, d_y = watch(m.D_X), watch(m.D_Y)
    m.pool_x.register_forward_hook(lambda net, args, out: out * 0 + 0.3)
    m.pool_y.register_forward_hook(lambda net, args, out: out * 0 - 0.3)
    step(m, *unpaired([0, 1]))
    assert d_x[2].unique().item() == pytest.approx(0.3)
    assert d_y[2].unique().item() == pytest.approx(-0.3)


# --- sampling ------------------------------------------------------------------------------------


def test_each_row_goes_its_own_way_through_one_network() -> None:
    m = make().eval()
    x, cond = unpaired([0, 1, 1, 0, 1])
    with count_nfe(m) as nfe, torch.no_grad():
        out = m.sample(cond, Noise(0, range(5)))
    assert nfe.per_sample(5) == 1
    with torch.no_grad():
        for i, to in enumerate(cond.target.tolist()):
            net = m.G if to == 1 else m.F
            torch.testing.assert_close(out[i], net(cond.source[i : i + 1])[0], msg=str(i))
        for only in (0, 1):  # a batch of one direction leaves the other network alone
            rows = cond.target == only
            part = m.sample(cond[rows], Noise(0, range(int(rows.sum()))))
            torch.testing.assert_close(part, out[rows])
    assert x.shape == out.shape


def test_a_few_steps_move_the_mean_colour_to_the_other_domain() -> None:
    m = make(lr=4e-3, lambda_cycle=1, lambda_identity=0)
    optimizers = m.optimizers()

    class Train(Losses):
        def __call__(self, name: str, loss: Tensor) -> None:
            params = optimizers[name].param_groups[0]["params"]
            m.zero_grad()
            loss.backward(inputs=params)
            optimizers[name].step()

    x, cond = unpaired([0, 1] * 4)
    for i in range(40):
        m.step(x, cond, Noise(0, range(8 * i, 8 * i + 8)), Train())
    with torch.no_grad():
        out = m.eval().sample(cond, Noise(0, range(8))).mean((1, 2, 3))
    assert (out[1::2] > 0.2).all() and (out[::2] < -0.2).all()
