"""GAN-CLS against the losses and the pairs of arXiv 1605.05396."""

import math
from typing import Any

import pytest
import torch
from steps import Losses
from torch import Tensor, nn
from torch.nn.functional import softplus

from baselines.text_to_image.gan_cls import GANCLS, TextEncoder, wrong
from genbench.api import Caption, Config, DataSpec, Noise
from genbench.data.scenes import VOCABULARY, encode
from genbench.stepper import Stepper

LN2 = math.log(2)


def make(size: int = 8, **config: Any) -> GANCLS:
    torch.manual_seed(0)
    small = {"ngf": 4, "ndf": 4, "nz": 8, "text": 16, "nt": 8} | config
    data = DataSpec("any", 3, size, words=len(VOCABULARY), length=28)
    return GANCLS(GANCLS.Config(**small), data)


def captions(*texts: str) -> Tensor:
    return encode(list(texts))


FOUR = captions(
    "a red circle", "a blue square", "a red circle", "a small green star above a large red ring"
)
X = torch.linspace(-1, 1, 4 * 3 * 64).view(4, 3, 8, 8)


def losses(m: GANCLS, tokens: Tensor = FOUR, x: Tensor = X) -> dict[str, float]:
    update = Losses()
    m.step(x, Caption(tokens), Noise(0, range(len(x))), update)
    return update.seen


def silence(m: GANCLS) -> None:
    """D answers 0 to everything."""
    m.D.head.register_forward_hook(lambda module, args, out: 0 * out)


def watch(m: GANCLS) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(features, texts, logits) of every pair that D is shown from now on."""
    seen = []
    match = m.D.match

    def record(phi: Tensor, t: Tensor) -> Tensor:
        s = match(phi, t)
        seen.append((phi.detach(), t.detach(), s.detach()))
        return s

    m.D.match = record  # type: ignore[method-assign]
    return seen


# --- wrong captions ------------------------------------------------------------------------------


def test_wrong_captions_differ_from_the_right_ones() -> None:
    other, differs = wrong(FOUR)
    assert differs.all()
    assert (FOUR[other] != FOUR).any(dim=1).all()
    assert other.tolist() == [1, 2, 3, 0]


def test_equal_captions_are_passed_over() -> None:
    a, b = captions("a red circle", "a blue square")
    other, differs = wrong(torch.stack([a, a, b, a]))
    assert other.tolist() == [2, 2, 3, 2]
    assert differs.all()


def test_one_word_at_the_end_makes_a_caption_another() -> None:
    other, differs = wrong(captions("a small red circle", "a small red square"))
    assert other.tolist() == [1, 0]
    assert differs.all()


@pytest.mark.parametrize("n", [1, 3])
def test_without_another_caption_there_is_no_wrong_pair(n: int) -> None:
    tokens = FOUR[:1].expand(n, -1)
    assert not wrong(tokens)[1].any()
    m = make()
    silence(m)
    seen = losses(m, tokens, X[:n])
    assert seen["d"] == pytest.approx(1.5 * LN2, abs=1e-5)


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "d", "g"),
    [
        ({}, 2 * LN2, LN2),
        ({"mismatch": False}, 2 * LN2, LN2),
        ({"interpolation": 0.5}, 2 * LN2, 1.5 * LN2),
    ],
)
def test_losses_at_zero_logits(config: dict[str, Any], d: float, g: float) -> None:
    m = make(**config)
    silence(m)
    assert losses(m) == {"d": pytest.approx(d, abs=1e-5), "g": pytest.approx(g, abs=1e-5)}


@pytest.mark.parametrize("mismatch", [True, False])
def test_each_pair_has_its_weight(mismatch: bool) -> None:
    m = make(mismatch=mismatch)
    for p in m.D.parameters():
        nn.init.normal_(p, std=0.5)
    seen = watch(m)
    found = losses(m)
    s_r, s_f, *s_w, s_g = (s for _, _, s in seen)
    expected = softplus(-s_r).mean() + softplus(s_f).mean() * (0.5 if mismatch else 1)
    if mismatch:
        expected = expected + 0.5 * softplus(s_w[0]).mean()
    assert len(s_w) == mismatch
    assert found["d"] == pytest.approx(float(expected), rel=1e-5)
    assert found["g"] == pytest.approx(float(softplus(-s_g).mean()), rel=1e-5)


def test_the_wrong_pair_is_the_real_image_with_another_text() -> None:
    m = make()
    seen = watch(m)
    losses(m)
    (real, right, _), (fake, with_fake, _), (again, other, _), (last, with_last, _) = seen
    t = m.text(FOUR)
    assert torch.equal(real, again)
    assert not torch.allclose(real, fake)
    assert torch.equal(right, t)
    assert torch.equal(with_fake, t)
    assert torch.equal(with_last, t)
    assert torch.equal(other, t[[1, 2, 3, 0]])
    assert not torch.allclose(fake, last)  # a fresh z for G


def test_texts_between_are_for_the_generator_alone() -> None:
    m = make(interpolation=1.0)
    seen = watch(m)
    losses(m)
    t = m.text(FOUR)
    *of_d, whole, between = [texts for _, texts, _ in seen]
    assert len(of_d) == 3
    for texts in of_d:
        assert all((row == t).all(dim=1).any() for row in texts)
    assert torch.equal(whole, t)
    torch.testing.assert_close(between, (t[:2] + t[2:]) / 2)


def test_a_batch_of_one_can_be_interpolated() -> None:
    assert math.isfinite(losses(make(interpolation=1.0), FOUR[:1], X[:1])["g"])


@pytest.mark.parametrize(("moved", "frozen"), [("d", "G"), ("g", "D")])
def test_an_update_reaches_all_of_its_own_parameters_and_nothing_else(
    moved: str, frozen: str
) -> None:
    m = make(interpolation=1.0).train()
    stepper = Stepper(m, Config())

    class One:
        progress = 0.0

        def __call__(self, name: str, loss: Tensor) -> None:
            if name == moved:
                stepper(name, loss)

    before = {k: p.detach().clone() for k, p in m.named_parameters()}
    m.step(X, Caption(FOUR), Noise(0, range(4)), One())
    still = (frozen, "text") if moved == "g" else (frozen,)
    for key, p in m.named_parameters():
        assert torch.equal(before[key], p) == key.startswith(still), key


# --- what is read --------------------------------------------------------------------------------


def test_the_text_is_more_than_a_bag_of_words() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(len(VOCABULARY), 16)
    same = "a small {} circle left of a large {} square"
    t = encoder(captions(same.format("red", "blue"), same.format("blue", "red")))
    assert (t[0] - t[1]).abs().max() > 1e-2


def test_a_word_counts_wherever_it_stands() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(len(VOCABULARY), 16)
    start = "three objects: a large red circle, a small blue square and a small green"
    t = encoder(captions(f"{start} star", f"{start} ring"))
    assert (t[0] - t[1]).abs().max() > 1e-2


def test_the_caption_alone_changes_the_image() -> None:
    m = make().eval()
    two = (m.sample(Caption(FOUR[[k, k]]), Noise(0, range(2))) for k in (0, 1))
    one, other = two
    assert (one - other).abs().amax((1, 2, 3)).min() > 1e-3


def test_the_discriminator_reads_image_and_text_together() -> None:
    m = make().eval()
    for p in m.D.parameters():
        nn.init.normal_(p, std=0.5)
    t = m.text(FOUR[:2])
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    s = torch.stack([m.D(x, t[k].expand(2, -1)) for k in (0, 1)])
    assert (s[0] - s[1]).abs().min() > 1e-4
    assert (s[:, 0] - s[:, 1]).abs().min() > 1e-4
    # whether a text fits depends on the image: no sum of two separate scores
    assert (s[0, 0] - s[1, 0] - s[0, 1] + s[1, 1]).abs() > 1e-5


@pytest.mark.parametrize("size", [8, 16, 28, 32])
def test_sizes(size: int) -> None:
    m = make(size).eval()
    x = m.sample(Caption(FOUR), Noise(0, range(4)))
    assert x.shape == (4, 3, size, size)
    assert m.D(x, m.text(FOUR)).shape == (4,)


def test_data_without_captions_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="needs captions, and 'any' has none"):
        GANCLS(GANCLS.Config(), DataSpec("any", 3, 16))
