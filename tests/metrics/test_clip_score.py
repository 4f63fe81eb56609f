"""The CLIP score and R-precision: closed forms, torchmetrics' definition, and ties."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics import clip_score as module
from genbench.metrics.clip_score import ClipOptions, RPrecisionOptions, distinct, unit_rows
from genbench.spec import ConfigError
from genbench.stats import mean_interval


def draw(n: int, dim: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of images and captions, not normalised; `shift` makes pairs alike."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(n, dim)).astype(np.float32) * 3
    images = rng.normal(size=(n, dim)).astype(np.float32) * 3 + shift * text
    return images, text


def clip(images, text, **options):
    made = FeatureSet.of(images, text=text)
    return metrics.get("clip")(made, None, ClipOptions(**options))


def r_precision(images, text, **options):
    made = FeatureSet.of(images, text=text)
    return metrics.get("r_precision")(made, None, RPrecisionOptions(**options))


def torchmetrics_cosines(images, text) -> torch.Tensor:
    """100 cos of each pair, as torchmetrics.functional.multimodal.clip_score computes it."""
    a, b = torch.from_numpy(images), torch.from_numpy(text)
    a, b = a / a.norm(p=2, dim=-1, keepdim=True), b / b.norm(p=2, dim=-1, keepdim=True)
    return 100 * (a * b).sum(axis=-1)


@pytest.mark.parametrize("shift", [1.0, 0.0, -1.0])
def test_equal_to_torchmetrics_and_to_hessel(shift):
    images, text = draw(200, 24, shift)
    cosines = torchmetrics_cosines(images, text)
    # torchmetrics: the mean, then at least 0
    assert clip(images, text, clamp="mean").value == pytest.approx(
        max(cosines.mean().item(), 0), abs=1e-5
    )
    # Hessel: 2.5 max(cos, 0) of each pair
    hessel = (2.5 * np.maximum((cosines / 100).double().numpy(), 0)).mean()
    assert clip(images, text, scale=2.5).value == pytest.approx(hessel, abs=1e-6)
    assert clip(images, text, clamp="none").value == pytest.approx(cosines.mean().item(), abs=1e-5)


def test_the_default_is_100_times_the_mean_of_what_is_positive():
    images = np.array([[2.0, 0], [0, 3], [5, 5], [-1, 0]])
    text = np.array([[7.0, 0], [0, -2], [1, 0], [-3, 0]])
    score = clip(images, text)
    assert score.value == pytest.approx(100 * (1 + 0 + math.sqrt(0.5) + 1) / 4, rel=1e-7)
    assert clip(images, text, clamp="none").value == pytest.approx(
        100 * (1 - 1 + math.sqrt(0.5) + 1) / 4, rel=1e-7
    )


def test_the_interval_is_over_samples():
    images, text = draw(50, 8, 0.5)
    values = np.maximum(torchmetrics_cosines(images, text).double().numpy(), 0)
    score = clip(images, text)
    _, stderr, ci95 = mean_interval(values.tolist())
    assert score.stderr == pytest.approx(stderr, rel=1e-5)
    assert score.ci95 == pytest.approx(ci95, rel=1e-5)
    assert (score.n, score.method) == (50, "Student, 50 samples")
    below = clip(images, -text, clamp="mean")
    assert (below.value, below.ci95) == (0.0, (0.0, 0.0))


def test_order_and_lengths_of_embeddings_do_not_matter():
    images, text = draw(60, 8, 0.5)
    value = clip(images, text).value
    order = np.random.default_rng(1).permutation(60)
    assert clip(images[order], text[order]).value == pytest.approx(value, rel=1e-12)
    assert clip(images * 2.0**100, text * 2.0**-100).value == value
    assert clip(torch.from_numpy(images), torch.from_numpy(text)).value == value


def test_a_share_by_hand():
    # image 0 likes its own caption best, image 1 caption 0, image 2 is at right angles to all
    text = np.eye(4)[:3]
    images = np.array([[1.0, 0, 0, 0], [2, 1, 0, 0], [0, 0, 0, 1]])
    score = r_precision(images, text, candidates=3)
    assert score.value == pytest.approx(1 / 3)
    assert score.n == 3
    wilson = binomtest(1, 3).proportion_ci(0.95, method="wilson")
    assert score.ci95 == pytest.approx((wilson.low, wilson.high), rel=1e-6)
    assert score.method == "Wilson, images"


def test_against_all_captions_equal_to_the_full_table():
    images, text = draw(90, 6, 0.6)
    cosines = torch.nn.functional.cosine_similarity(
        torch.from_numpy(images)[:, None].double(), torch.from_numpy(text)[None].double(), dim=-1
    )
    expected = (cosines.argmax(1) == torch.arange(90)).double().mean().item()
    assert 0.05 < expected < 0.95
    assert r_precision(images, text, candidates=90).value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("candidates", [2, 5, 20])
def test_by_chance_it_is_one_in_the_number_of_candidates(candidates):
    images, text = draw(2000, 16)
    score = r_precision(images, text, candidates=candidates)
    assert abs(score.value - 1 / candidates) < 4 * score.stderr
    low, high = score.ci95
    assert low < score.value < high


def test_fewer_candidates_make_it_easier_and_another_seed_another_draw():
    images, text = draw(400, 6, 0.3)
    values = [r_precision(images, text, candidates=c).value for c in (2, 10, 100, 400)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4
    first, again, other = (
        r_precision(images, text, candidates=10, seed=seed).value for seed in (0, 0, 1)
    )
    assert first == again != other


def test_the_draw_does_not_depend_on_blocks(monkeypatch):
    images, text = draw(150, 6, 0.3)
    value = r_precision(images, text, candidates=10).value
    for block in (1, 7, 1000):
        monkeypatch.setattr(module, "BLOCK", block)
        assert r_precision(images, text, candidates=10).value == value


def test_captions_that_images_share_never_stand_against_themselves():
    # 4 captions, each of 30 images that show exactly it; the last digits differ
    rng = np.random.default_rng(2)
    text = np.tile(rng.normal(size=(4, 32)), (30, 1))
    shaken = text * (1 + 1e-7 * rng.normal(size=text.shape))
    assert r_precision(text, shaken.astype(np.float32), candidates=4).value == 1.0
    with pytest.raises(ConfigError, match=r"needs 100 different captions, got 4 with 120 images;"):
        r_precision(text, shaken)
    with pytest.raises(ConfigError, match=r"got 4 .*; set r_precision.candidates=4"):
        r_precision(text, shaken, candidates=5)
    with pytest.raises(ConfigError, match=r"got 1 .*; give different captions"):
        r_precision(text, text[:1].repeat(120, 0), candidates=2)


def test_kinds_of_captions():
    rng = np.random.default_rng(3)
    base = unit_rows(rng.normal(size=(50, 8)), "rows")
    kind = rng.integers(50, size=400)
    kind[:50] = rng.permutation(50)
    found, own = distinct(unit_rows(base[kind] + 1e-7 * rng.normal(size=(400, 8)), "rows"))
    assert found.tolist() == list(range(50))
    assert (kind[found][own] == kind).all()
    # captions that differ a little are different
    near = unit_rows(np.array([[1.0, 0], [1, 1e-4], [1, 0]]), "rows")
    assert distinct(near)[1].tolist() == [0, 1, 0]


def test_a_tie_is_a_miss():
    # both captions are as near to each image
    text = np.array([[1.0, 0], [0, 1]])
    assert r_precision(np.ones((2, 2)), text, candidates=2).value == 0.0


def test_bad_input_is_told():
    images, text = draw(20, 8)
    with pytest.raises(ConfigError, match="'clip' needs features of text"):
        metrics.get("clip")(FeatureSet.of(images))
    with pytest.raises(ValueError, match=r"19 captions with 8 features do not fit 20 images"):
        clip(images, text[:19])
    bad = images.copy()
    bad[13] = 0
    with pytest.raises(ValueError, match="features of sample 13 are all zero"):
        clip(bad, text)
    bad[13, 2] = np.nan
    with pytest.raises(ValueError, match="features of text of sample 13 are not finite"):
        clip(images, bad)
    with pytest.raises(ValueError, match=r"must have shape \(N, D\), got \(20,\)"):
        clip(images[:, 0], text)
