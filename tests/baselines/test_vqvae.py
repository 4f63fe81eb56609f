"""The vector quantiser, the masked prior and VQ-VAE, against loops and enumeration."""

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines._nn.quantize import Quantizer, perplexity, straight_through
from baselines._nn.token_prior import MaskedConv2d, TokenPrior, ancestral, choose, nll
from baselines.autoencoder.vqvae import VQVAE
from genbench.api import DataSpec, Noise, Unconditional

SMALL = {"K": 6, "c": 3, "hidden": 16, "channels": 8, "prior_channels": 8, "prior_blocks": 1}


def make(size: int = 8, colours: int = 1, **config: Any) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(VQVAE.Config(**SMALL | config), DataSpec("any", colours, size))


def quantizer(K: int = 6, c: int = 3, **config: Any) -> Quantizer:
    torch.manual_seed(0)
    return Quantizer(K, c, **config)


def normal(*shape: int, seed: int = 5) -> Tensor:
    return Noise(seed, range(shape[0])).normal(*shape[1:])


class Gradients:
    """An `Update` that keeps the gradient of the loss by parameter, and changes nothing."""

    def __init__(self, m: VQVAE, progress: float = 0.0) -> None:
        self.progress, self.model, self.calls = progress, m, []
        self.found: dict[str, Tensor] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        self.calls.append(name)
        names, parameters = zip(*self.model.named_parameters(), strict=True)
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        self.found = dict(zip(names, found, strict=True))

    def moved(self) -> set[str]:
        return {name.split(".")[0] for name, g in self.found.items() if g.any()}


# --- the quantiser -------------------------------------------------------------------------------


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_the_nearest_code_is_found(codebook: Any) -> None:
    q, z = quantizer(codebook=codebook), normal(4, 3, 2, 5) / 5
    k = q.indices(z)
    for b, i, j in itertools.product(range(4), range(2), range(5)):
        distances = [float((z[b, :, i, j] - e).square().sum()) for e in q.codes.detach()]
        assert distances[int(k[b, i, j])] == pytest.approx(min(distances), abs=1e-7)
    z_q = q.lookup(k)
    assert z_q.shape == z.shape
    torch.testing.assert_close(z_q[2, :, 1, 3], q.codes[k[2, 1, 3]])


def test_a_code_is_its_own_nearest() -> None:
    q = quantizer()
    k = torch.arange(6).view(1, 2, 3)
    assert torch.equal(q.indices(q.lookup(k)), k)


def test_straight_through_gives_the_gradient_of_the_codes_to_the_latents() -> None:
    z = normal(2, 3, 2, 2).requires_grad_()
    z_q = normal(2, 3, 2, 2, seed=6)
    out = straight_through(z, z_q.requires_grad_())
    torch.testing.assert_close(out, z_q)
    weight = normal(2, 3, 2, 2, seed=7)
    to_z, to_q = torch.autograd.grad((out**2 * weight).sum(), (z, z_q), allow_unused=True)
    torch.testing.assert_close(to_z, 2 * z_q * weight)  # as if the latent were the code
    assert to_q is None


def test_averages_follow_counts_and_sums() -> None:
    q, g = quantizer(decay=0.9), 0.9
    N, M = q.share.clone(), q.total.clone()
    for seed in range(3):
        z = normal(4, 3, 2, 2, seed=seed)
        k = q.indices(z)
        q.follow(z, k)
        for j in range(6):
            places = itertools.product(range(4), range(2), range(2))
            mine = [z[b, :, row, column] for b, row, column in places if k[b, row, column] == j]
            N[j] = g * N[j] + (1 - g) * len(mine) / 16
            M[j] = g * M[j] + (1 - g) * sum(mine, torch.zeros(3)) / 16
        torch.testing.assert_close(q.share, N)
        torch.testing.assert_close(q.total, M)
        torch.testing.assert_close(q.codes, M / N[:, None], rtol=1e-4, atol=1e-6)


def test_averages_without_memory_are_the_means_of_their_latents() -> None:
    q, z = quantizer(K=2, decay=0.0), normal(8, 3, 2, 2)
    k = q.indices(z)
    q.follow(z, k)
    rows = z.movedim(1, -1)
    expected = torch.stack([rows[k == j].mean(0) for j in range(2)])
    torch.testing.assert_close(q.codes, expected)


def test_the_mean_over_two_halves_is_what_the_whole_batch_gives() -> None:
    z = normal(8, 3, 2, 2)
    whole, one, two = quantizer(), quantizer(), quantizer()
    k = whole.indices(z)
    for q, part in ((whole, slice(0, 8)), (one, slice(0, 4)), (two, slice(4, 8))):
        q.follow(z[part], k[part])
    torch.testing.assert_close((one.share + two.share) / 2, whole.share)
    torch.testing.assert_close((one.total + two.total) / 2, whole.total)


def test_perplexity() -> None:
    assert perplexity(torch.full((32,), 1 / 32)).item() == pytest.approx(32)
    assert perplexity(F.one_hot(torch.tensor(3), 32).float()).item() == pytest.approx(1)
    assert perplexity(torch.tensor([0.5, 0.5, 0.0])).item() == pytest.approx(2)


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_a_dead_code_splits_the_most_used_one(codebook: Any) -> None:
    q = quantizer(codebook=codebook, restart=0.1)
    before = q.codes.detach().clone()
    q.share.copy_(torch.tensor([0.3, 0.001, 0.4, 0.1, 0.199, 0.0]))
    if codebook == "ema":
        q.total.copy_(before * q.share[:, None])
    q.revive()
    torch.testing.assert_close(q.share, torch.tensor([0.15, 0.2, 0.2, 0.1, 0.199, 0.15]))
    after = q.codes.detach()
    for dead, used in ((1, 2), (5, 0)):
        torch.testing.assert_close(after[dead], torch.lerp(before[used], before[dead], 0.01),
                                   atol=2e-3, rtol=0)  # fmt: skip
        assert not torch.equal(after[dead], after[used])
    for kept in (0, 2, 3, 4):
        torch.testing.assert_close(after[kept], before[kept], atol=1e-6, rtol=1e-5)


def test_no_code_is_moved_unless_asked() -> None:
    q = quantizer(restart=0.0)
    q.share.copy_(torch.tensor([1.0, 0, 0, 0, 0, 0]))
    before = {k: v.clone() for k, v in q.state_dict().items()}
    q.revive()
    assert all(torch.equal(v, before[k]) for k, v in q.state_dict().items())


# --- the prior -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_a_masked_convolution_sees_the_past_alone(own: bool) -> None:
    torch.manual_seed(0)
    conv = MaskedConv2d(1, 1, 5, own)
    x = normal(1, 1, 3, 3).requires_grad_()
    y = conv(x).flatten()
    for p in range(9):
        (seen,) = torch.autograd.grad(y[p], x, retain_graph=True)
        seen = seen.flatten() != 0
        assert seen[:p].all() and not seen[p + 1 :].any()
        assert bool(seen[p]) == own


def test_logits_depend_on_all_earlier_tokens_and_on_no_others() -> None:
    torch.manual_seed(0)
    prior = TokenPrior(K=5, side=3, channels=8, blocks=2)
    tokens = torch.randint(0, 5, (1, 3, 3))
    features: list[Tensor] = []

    def keep(module: Any, args: Any, out: Tensor) -> Tensor:
        features.append(out.requires_grad_())
        return features[-1]

    prior.embedding.weight.requires_grad_(False)
    prior.embedding.register_forward_hook(keep)
    logits = prior(tokens)[0].flatten(1)
    for p in range(9):
        (g,) = torch.autograd.grad(logits[:, p].square().sum(), features[0], retain_graph=True)
        seen = g.flatten(1, 2)[0].any(1)
        assert seen[:p].all() and not seen[p:].any(), p


def test_probabilities_of_all_grids_sum_to_one() -> None:
    torch.manual_seed(0)
    prior = TokenPrior(K=3, side=2, channels=8, blocks=1)
    grids = torch.tensor(list(itertools.product(range(3), repeat=4))).view(-1, 2, 2)
    p = (-nll(prior(grids), grids)).double().exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    assert p.std() > 1e-4  # and is no uniform distribution by chance


def test_the_prior_learns_a_distribution_and_draws_from_it() -> None:
    """Over grids of four bits in which the last is nearly always the first."""
    torch.manual_seed(0)
    prior = TokenPrior(K=2, side=2, channels=16, blocks=2)
    grids = torch.tensor(list(itertools.product(range(2), repeat=4)))
    same = (grids[:, 0] == grids[:, 3]).long()
    p = torch.tensor([0.8, 0.2])[grids[:, 0]] * 0.25 * torch.tensor([0.1, 0.9])[same]
    grids = grids.view(-1, 2, 2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(100):
        loss = p @ nll(prior(grids), grids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = -(p * p.log()).sum()
    assert entropy.item() <= loss.item() <= entropy.item() + 0.02
    with torch.no_grad():
        drawn = ancestral(prior, Noise(0, range(4000)))
        code = (drawn.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1)
        shares = code.bincount(minlength=16) / 4000
        torch.testing.assert_close(shares, p, atol=0.02, rtol=0)
        cold = ancestral(prior, Noise(0, range(500)), temperature=0.05)
    assert not cold[:, 0, 0].any()  # the likelier of 0.8 and 0.2, always


def test_a_token_is_chosen_by_its_interval() -> None:
    p = torch.tensor([0.25, 0.0, 0.5, 0.25, 0.0], dtype=torch.float64)
    u = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2**-24], dtype=torch.float64)
    chosen = choose(p.expand(6, 5), u)
    assert chosen.tolist() == [0, 0, 2, 2, 3, 3]


# --- the family ----------------------------------------------------------------------------------


def test_which_term_moves_what() -> None:
    x = normal(4, 1, 8, 8)
    m = make(codebook="gradient", beta=0.25, restart=0.0)
    update = Gradients(m)
    m.step(x, Unconditional(), Noise(0, range(4)), update)
    assert update.moved() == {"encoder", "decoder", "quantizer"}
    whole = update.found
    z_e = m.encoder(x)
    z_q = m.quantizer.lookup(m.quantizer.indices(z_e))
    # the codebook's gradient is that of the codebook term alone
    expected = torch.autograd.grad((z_q - z_e.detach()).square().mean(), m.quantizer.learned)[0]
    torch.testing.assert_close(whole["quantizer.learned"], expected)
    # the encoder's is that of the commitment, and of the decoder's input, copied
    m.config = m.config.model_copy(update={"beta": 0.0})
    m.step(x, Unconditional(), Noise(0, range(4)), update)
    names = [n for n, _ in m.named_parameters() if n.startswith("encoder")]
    parameters = [m.get_parameter(n) for n in names]
    z_e = m.encoder(x)
    leaf = z_q.detach().requires_grad_()
    (copied,) = torch.autograd.grad((m.decoder(leaf) - x).square().mean(), leaf)
    straight = torch.autograd.grad(z_e, parameters, copied, retain_graph=True)
    rest = torch.autograd.grad((z_e - z_q.detach()).square().mean(), parameters)
    for name, one, other in zip(names, straight, rest, strict=True):
        torch.testing.assert_close(update.found[name], one)
        torch.testing.assert_close(whole[name], one + 0.25 * other)
    for name in (n for n in whole if n.startswith("decoder")):
        torch.testing.assert_close(whole[name], update.found[name])


def test_moving_averages_take_the_place_of_the_codebook_term() -> None:
    m = make(restart=0.0)
    x = normal(4, 1, 8, 8)
    before = m.quantizer.total.clone()
    update = Gradients(m)
    logged = m.step(x, Unconditional(), Noise(0, range(4)), update)
    assert update.moved() == {"encoder", "decoder"}
    assert not torch.equal(m.quantizer.total, before)
    assert logged["perplexity"] == perplexity(m.quantizer.share)


def test_the_decoder_sees_codes_alone() -> None:
    m = make(restart=0.0)
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    codes = m.quantizer.codes.clone()
    m.step(normal(4, 1, 8, 8), Unconditional(), Noise(0, range(4)), Gradients(m))
    rows = seen[0].movedim(1, -1).flatten(0, 2)
    assert (rows[:, None] - codes).norm(dim=2).min(1).values.max() < 1e-6


def test_the_prior_learns_last_and_alone() -> None:
    m = make(prior_start=0.6)
    assert [m.phase(p) for p in (0.0, 0.59, 0.6, 0.99)] == ["autoencoder"] * 2 + ["prior"] * 2
    before = {k: v.clone() for k, v in m.state_dict().items()}
    update = Gradients(m, progress=0.7)
    logged = m.step(normal(4, 1, 8, 8), Unconditional(), Noise(0, range(4)), update)
    assert update.calls == ["prior"] and update.moved() == {"prior"}
    assert all(torch.equal(v, before[k]) for k, v in m.state_dict().items())
    assert abs(logged["prior"].item() - math.log(6)) < 0.5  # nats per code, untrained


def test_the_marginals_are_counted_and_drawn_from() -> None:
    m = make()
    m.quantizer.follow(m.encoder(normal(64, 1, 8, 8)), torch.randint(0, 6, (64, 4, 4)))
    x = torch.randint(0, 256, (200, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    k = m.quantizer.indices(m.encoder(x / 127.5 - 1))
    m.eval().finish(x.to(torch.uint8))
    expected = torch.stack([(k == j).float().mean(0) for j in range(6)], dim=-1)
    torch.testing.assert_close(m.marginal, expected)
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for prior, shares in (("marginal", expected), ("uniform", torch.full((4, 4, 6), 1 / 6))):
        m.sample(Unconditional(), Noise(0, range(4000)), prior=prior)
        drawn = m.quantizer.indices(seen.pop())
        found = torch.stack([(drawn == j).float().mean(0) for j in range(6)], dim=-1)
        torch.testing.assert_close(found, shares, atol=0.03, rtol=0)


def test_decoding_the_codes_is_what_training_saw() -> None:
    m = make().eval()
    seen: list[Tensor] = []
    m.decoder.register_forward_hook(lambda module, args, out: seen.append(out))
    x = normal(4, 1, 8, 8)
    k = m.quantizer.indices(m.encoder(x))
    m.step(x, Unconditional(), Noise(0, range(4)), Gradients(m))
    torch.testing.assert_close(make().decoder(make().quantizer.lookup(k)), seen[0])


def test_temperature_belongs_to_the_autoregressive_prior() -> None:
    with pytest.raises(ValueError, match="temperature is an option of prior 'autoregressive'"):
        VQVAE.Options(prior="uniform", temperature=0.5)


@pytest.mark.parametrize(
    ("size", "channels", "side"), [(8, 1, 4), (16, 3, 4), (28, 1, 7), (32, 3, 8)]
)
def test_sizes(size: int, channels: int, side: int) -> None:
    m = make(size, channels)
    assert m.encoder(torch.zeros(2, channels, size, size)).shape == (2, 3, side, side)
    x = m.sample(Unconditional(), Noise(0, range(2)), prior="uniform")
    assert x.shape == (2, channels, size, size)
    with pytest.raises(ValueError, match="cannot reduce 28x28 images by 3"):
        make(28, factor=3)
