"""Latent diffusion: what learns when, the scale of the latents, guidance, the label's tokens."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.diffusion.ldm import LDM
from genbench.api import ClassLabel, DataSpec, Noise, count_nfe

SMALL = {
    "c": 3,
    "hidden": 16,
    "depth": 1,
    "channels": 8,
    "ae_channels": 8,
    "tokens": 3,
    "token_width": 8,
}
Y = ClassLabel(torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]))


def make(size: int = 8, colours: int = 1, classes: int = 4, **config: Any) -> LDM:
    torch.manual_seed(0)
    return LDM(LDM.Config(**SMALL | config), DataSpec("any", colours, size, classes))


def awake(m: LDM) -> LDM:
    """With numbers in the layers that are born as 0, so that everything reaches the answer."""
    torch.manual_seed(1)
    for p in m.net.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.3)
    return m


def normal(*shape: int, seed: int = 5) -> Tensor:
    return Noise(seed, range(shape[0])).normal(*shape[1:])


class Keep:
    """An `Update` that keeps the losses and the names of the modules that gradients reach."""

    def __init__(self, m: LDM, progress: float) -> None:
        self.progress, self.model, self.losses = progress, m, {}
        self.reached: set[str] = set()

    def __call__(self, name: str, loss: Tensor) -> None:
        self.losses[name] = loss.detach()
        names, parameters = zip(*self.model.named_parameters(), strict=True)
        found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        self.reached = {n.split(".")[0] for n, g in zip(names, found, strict=True) if g.any()}


def step(m: LDM, progress: float, x: Tensor | None = None, seed: int = 0) -> tuple[Any, Keep]:
    x = normal(8, 1, 8, 8) if x is None else x
    update = Keep(m, progress)
    cond = ClassLabel(Y.label.repeat(len(x) // 8))
    return m.step(x, cond, Noise(seed, range(len(x))), update), update


def sample(m: LDM, **options: Any) -> Tensor:
    with torch.no_grad():
        return m.eval().sample(Y, Noise(0, range(8)), **{"steps": 3} | options)


# --- two stages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("regularisation", ["kl", "vq"])
def test_the_autoencoder_learns_first_and_then_rests(regularisation: str) -> None:
    m = awake(make(regularisation=regularisation, diffusion_start=0.3))
    assert [m.phase(p) for p in (0.0, 0.29, 0.3, 0.9)] == ["autoencoder"] * 2 + ["net"] * 2
    _, update = step(m, 0.29)
    assert list(update.losses) == ["autoencoder"] and update.reached == {"encoder", "decoder"}
    assert m.batches == 1  # so the scale is settled when the denoiser begins
    before = {k: v.clone() for k, v in m.state_dict().items()}
    _, update = step(m, 0.3)
    assert list(update.losses) == ["net"] and update.reached == {"net", "tau"}
    changed = {k for k, v in m.state_dict().items() if not torch.equal(v, before[k])}
    assert "batches" in changed and changed <= {"mean", "square", "batches"}


def test_the_loss_of_the_first_stage() -> None:
    x, m = normal(8, 1, 8, 8), make(kl_weight=0.5)
    mu, logvar = m.encoder(x).chunk(2, dim=1)
    z = mu + (logvar / 2).exp() * Noise(0, range(8)).normal(3, 4, 4)
    kl = (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).sum() / 8
    expected = F.mse_loss(m.decoder(z), x) + 0.5 * kl / 64
    logged, update = step(m, 0.0, x)
    torch.testing.assert_close(update.losses["autoencoder"], expected)
    torch.testing.assert_close(logged["kl"], kl)


def test_vq_diffuses_the_latent_and_decodes_its_code() -> None:
    m = make(regularisation="vq", K=6)
    x = normal(8, 1, 8, 8)
    assert torch.equal(m.encode(x, Noise(0, range(8))), m.encoder(x))
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    z = normal(8, 3, 4, 4) / 5
    m.decode(z)
    rows = seen[0].movedim(1, -1).flatten(0, 2)
    codes = m.quantizer.codes
    nearest = (z.movedim(1, -1).flatten(0, 2)[:, None] - codes).norm(dim=2).argmin(1)
    torch.testing.assert_close(rows, codes[nearest])


# --- the scale -----------------------------------------------------------------------------------


@pytest.mark.parametrize("regularisation", ["kl", "vq"])
def test_what_is_diffused_has_unit_variance(regularisation: str) -> None:
    m = make(regularisation=regularisation)
    with torch.no_grad():
        m.encoder[-1].weight *= 7
        m.encoder[-1].bias += 2  # a mean that is not 0
    for seed in range(20):
        step(m, 0.9, normal(64, 1, 8, 8, seed=seed), seed)
    assert m.batches == 20
    x = normal(1000, 1, 8, 8, seed=99)
    z = m.encode(x, Noise(99, range(1000)))
    assert abs((m.scale * z).std().item() - 1) < 0.05
    assert not 0.8 < m.scale < 1.25  # nothing that the untrained scale of 1 would do


def test_the_scale_is_that_of_all_latents_seen_and_not_of_the_last() -> None:
    m = make()
    z = [normal(8, 4, 4, 4, seed=n) * n for n in (8, 16, 4)]
    for batch in z:
        m._measure(batch)
    torch.testing.assert_close(m.scale, 1 / torch.cat(z).std(correction=0))


def test_the_denoiser_sees_scaled_latents_and_the_decoder_unscaled_ones() -> None:
    m = make(p_uncond=0.0)
    m.mean.fill_(0.0)
    m.square.fill_(4.0)
    assert m.scale == 0.5
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m)
    scaled = m.chain.sample(lambda x_t, t: torch.zeros_like(x_t), Noise(0, range(8)),
                            LDM.Options(steps=3))  # fmt: skip
    torch.testing.assert_close(seen[-1], scaled * 2)  # the untrained denoiser answers 0
    given: list[Tensor] = []
    m.net.register_forward_pre_hook(lambda module, args, kwargs: given.append(args[0]),
                                    with_kwargs=True)  # fmt: skip
    noise = Noise(0, range(8))
    x = normal(8, 1, 8, 8)
    z = m.encode(x, noise)
    expected = m.chain.noised(z / 2, noise).x_t
    step(m, 0.9, x)
    torch.testing.assert_close(given[0], expected, rtol=1e-5, atol=1e-5)


def test_latents_are_not_clipped() -> None:
    with pytest.raises(ValueError, match="clip_x0"):
        LDM.Options(clip_x0=True)
    m = make(prediction="epsilon")
    seen: list[Tensor] = []
    m.decoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    sample(m)
    assert seen[0].abs().max() > 10  # 1 / a_T, as the untrained denoiser answers 0


# --- labels and guidance -------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["mlp", "unet"])
def test_the_answer_depends_on_the_label_through_attention_alone(net: str) -> None:
    m = awake(make(net=net)).eval()
    x_t, t = normal(8, 3, 4, 4), torch.full((8,), 500.0)
    with torch.no_grad():
        tokens = m.context(Y.label)
        answer = m.net(x_t, t, context=tokens)
        assert tokens.shape == (8, 3, 8)
        # attention is over a set: the order of the tokens is nothing to it, each of them is
        torch.testing.assert_close(m.net(x_t, t, context=tokens.flip(1)), answer)
        for token in range(3):
            other = tokens.clone()
            other[:, token] += 1
            assert (m.net(x_t, t, context=other) - answer).abs().max() > 1e-3
        same = m.net(x_t[:1].expand(8, -1, -1, -1), t, context=tokens)
    assert torch.equal(same[0], same[4]) and not torch.allclose(same[0], same[1], atol=1e-3)


def test_labels_are_left_out_row_by_row() -> None:
    m = make(p_uncond=0.2)
    seen: list[Tensor] = []
    m.tau.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.zeros(2000, 1, 8, 8)
    cond = ClassLabel(torch.arange(2000) % 4)
    m.step(x, cond, Noise(0, range(2000)), Keep(m, 0.9))
    dropped = seen[0] == 4
    assert abs(dropped.float().mean().item() - 0.2) < 3 * (0.2 * 0.8 / 2000) ** 0.5
    assert torch.equal(seen[0][~dropped], cond.label[~dropped])


def test_guidance() -> None:
    m = awake(make()).eval()
    y = m.context(Y.label)
    null = m.context(torch.full((8,), 4))

    def alone(context: Tensor, weight: float = 0.0) -> Tensor:
        def network(x_t: Tensor, t: Tensor) -> Tensor:
            answer = m.net(x_t, t, context=context)
            return answer + weight * (answer - m.net(x_t, t, context=null))

        with torch.no_grad():
            z = m.chain.sample(network, Noise(0, range(8)), LDM.Options(steps=3))
            return m.decode(z / m.scale).clamp(-1, 1)

    assert torch.equal(sample(m, w=0), alone(y))
    assert torch.equal(sample(m, w=-1), alone(null))
    torch.testing.assert_close(sample(m, w=1.5), alone(y, 1.5), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(sample(m, w=1.5), sample(m, w=0), atol=1e-2)


@pytest.mark.parametrize(("w", "evaluations"), [(0, 3), (-1, 3), (0.5, 6)])
def test_evaluations_are_counted(w: float, evaluations: int) -> None:
    m = make()
    with count_nfe(m) as nfe:
        sample(m, w=w)
    assert nfe.per_sample(8) == evaluations + 1  # the decoder


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="'any' has none; use ddpm instead"):
        make(classes=0)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 3), (28, 1), (32, 3)])
def test_sizes(size: int, channels: int) -> None:
    m = make(size, channels)
    assert isinstance(m.encode(torch.zeros(8, channels, size, size), Noise(0, range(8))), Tensor)
    assert sample(m).shape == (8, channels, size, size)


@pytest.mark.parametrize(("size", "colours"), [(8, 1), (8, 3), (16, 1), (28, 1), (32, 3), (64, 3)])
def test_latents_are_fewer_numbers_than_the_image(size: int, colours: int) -> None:
    m = make(size, colours, c=None)
    assert 2 * torch.Size(m.shape).numel() < colours * size**2


def test_latents_as_large_as_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="4 x 4 x 4 latents, which is not fewer .* image's 64"):
        make(8, c=4)


def test_a_variance_that_is_learned_from_the_bins_of_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="learn_variance scores 8-bit pixels"):
        LDM.Config(learn_variance=True)
    with pytest.raises(ValueError, match="variance"):
        LDM.Options(variance="learned")
