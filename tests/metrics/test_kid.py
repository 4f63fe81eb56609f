"""KID: torch-fidelity, a closed form, both ways to compute it, and what it says of bad input."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics.kid import KidOptions, SharedSubsets, draw, subset_distances
from genbench.metrics.shared import prepare
from genbench.spec import ConfigError

KID = metrics.get("kid")
RNG = np.random.default_rng(0)
MADE, REAL = RNG.normal(0.4, 1.2, (130, 12)), RNG.normal(size=(150, 12))
SMALL = KidOptions(subset_size=40, subsets=7)


def kid(made, real, options=SMALL, shared=False):
    sets = FeatureSet.of(made), FeatureSet.of(real)
    if shared:
        wanted = {"kid": options, "recall": metrics.get("recall").options()}
        with pytest.MonkeyPatch.context() as patch:  # never cheaper for so few features
            patch.setattr(SharedSubsets, "is_cheaper", lambda *sizes: True)
            prepare(*sets, wanted)
        assert any(isinstance(value, np.ndarray) for value in sets[0].cache.values())
    return KID(*sets, options)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-6)], ids=["double", "single"]
)
@pytest.mark.parametrize(
    "kernel", [{}, {"degree": 2, "gamma": 0.3, "coef0": 0.5}, {"degree": 1}], ids=str
)
def test_equal_to_torch_fidelity(kernel, dtype, tolerance, shared):
    made, real = MADE.astype(dtype), REAL.astype(dtype)
    theirs = kid_features_to_metric(
        torch.from_numpy(made),
        torch.from_numpy(real),
        kid_subsets=7,
        kid_subset_size=40,
        verbose=False,
        **{f"kid_kernel_poly_{name}": value for name, value in kernel.items()},
    )
    ours = kid(made, real, KidOptions(subset_size=40, subsets=7, **kernel), shared)
    assert ours.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=tolerance)
    # theirs sums in the features' precision
    spread = theirs["kernel_inception_distance_std"]
    assert ours.spread == pytest.approx(spread, rel=3 * tolerance)


def test_products_that_others_make_give_the_same_far_from_the_origin():
    # centred rows are what distances need; KID needs the features themselves
    made, real = (1e3 * (x + 5) for x in (MADE, REAL))
    apart, together = kid(made, real), kid(made, real, shared=True)
    assert together.value == pytest.approx(apart.value, rel=1e-9)
    assert together.stderr == pytest.approx(apart.stderr, rel=1e-9)


def test_a_linear_kernel_has_a_closed_form():
    # all samples in one subset, k = x.y: sums of products are products of sums
    options = KidOptions(subset_size=100, subsets=3, degree=1, gamma=1.0, coef0=0.0)
    x, y = MADE[:100], REAL[:100]
    inner = [((z.sum(0) ** 2).sum() - (z**2).sum()) / (100 * 99) for z in (x, y)]
    expected = sum(inner) - 2 * (x.mean(0) @ y.mean(0))
    score = kid(x, y, options)
    assert score.value == pytest.approx(expected, rel=1e-12)
    assert (score.stderr, score.ci95) == (None, None)  # one subset, three times


def test_sets_from_one_distribution_score_about_zero_and_others_do_not():
    more = np.random.default_rng(1).normal(size=(130, 12))
    same, other = kid(more, REAL), kid(MADE, REAL)
    assert abs(same.value) < 3 * same.stderr
    assert other.value > 4 * other.stderr


def test_the_standard_error_is_the_spread_over_new_samples():
    rng, options = np.random.default_rng(1), KidOptions(subset_size=30, subsets=20)
    scores = [
        kid(rng.normal(0.5, 1.3, (150, 4)), rng.normal(size=(150, 4)), options) for _ in range(80)
    ]
    spread = np.std([s.value for s in scores], ddof=1)
    assert np.sqrt(np.mean([s.stderr**2 for s in scores])) == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize(("made", "real", "which"), [(39, 60, "generated"), (60, 39, "reference")])
def test_too_few_images_name_the_option_and_its_largest_value(made, real, which):
    for shared in (False, True):
        message = f"needs 40 {which} images or more, got 39; add images, or set kid.subset_size=39"
        with pytest.raises(ConfigError, match=message):
            kid(MADE[:made], REAL[:real], shared=shared)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="12 features against 11"):
        kid(MADE, REAL[:, :11])
    with pytest.raises(ValueError, match="too large for KID's kernel in float32"):
        kid((MADE * 1e15).astype(np.float32), REAL.astype(np.float32))
    bad = MADE.copy()
    bad[3] = np.nan
    with pytest.raises(ValueError, match="1 of 130 samples are not finite"):
        kid(bad, REAL)


def test_whichever_is_cheaper_is_chosen():
    standard = KidOptions()
    assert SharedSubsets.is_cheaper(5000, 5000, 2048, standard)
    assert not SharedSubsets.is_cheaper(50_000, 50_000, 2048, standard)
    sets = FeatureSet.of(MADE), FeatureSet.of(REAL)
    rare = KidOptions(subset_size=5, subsets=1)
    prepare(*sets, {"kid": rare, "recall": metrics.get("recall").options()})
    assert not any(isinstance(value, np.ndarray) for value in sets[0].cache.values())
    expected = subset_distances(MADE, REAL, rare)
    assert KID(*sets, rare).value == pytest.approx(expected[0], rel=1e-12)


def test_subsets_hold_no_sample_twice():
    for chosen in draw(130, 150, SMALL):
        assert all(len(set(subset)) == 40 for subset in chosen.tolist())
