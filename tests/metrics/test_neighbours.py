"""Precision, recall, density, coverage, AuthPct: definitions spelled out, and other libraries."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import prc_features_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet, gram, neighbours
from genbench.metrics.gram import k_smallest
from genbench.metrics.prdc import PrdcOptions
from genbench.metrics.shared import prepare
from genbench.spec import ConfigError, parse

NAMES = ("precision", "recall", "density", "coverage")
RNG = np.random.default_rng(0)
MADE, REAL = RNG.normal(0.3, 0.9, (230, 6)), RNG.normal(size=(310, 6))


def prdc(made, real, k=None):
    sets = FeatureSet.of(made), FeatureSet.of(real)
    return {name: metrics.get(name)(*sets, PrdcOptions(k=k)) for name in NAMES}


def authentic(made, real):
    return metrics.get("auth_pct")(FeatureSet.of(made), FeatureSet.of(real))


@pytest.fixture(params=[2048, 64], ids=["one block", "many blocks"])
def block(request, monkeypatch):
    monkeypatch.setattr(gram, "BLOCK", request.param)
    monkeypatch.setattr(gram.slices, "__defaults__", (request.param,))


def test_a_part_of_a_large_reference_is_drawn_by_a_seed():
    whole, part = prdc(MADE, REAL), PrdcOptions(subsample=40)
    made, real = FeatureSet.of(MADE), FeatureSet.of(REAL)
    drawn = part.of(real)
    rows = np.sort(np.random.default_rng(0).permutation(len(REAL))[:40])
    assert drawn.n == 40 and np.array_equal(drawn.features, REAL[rows])
    assert part.of(real) is drawn and PrdcOptions(subsample=len(REAL)).of(real) is real
    other = PrdcOptions(subsample=40, seed=1)
    assert not np.array_equal(other.of(real).features, drawn.features)
    alone = prdc(MADE, REAL[rows])
    for name in NAMES:
        metric = metrics.get(name)
        assert metric(made, real, part).value == alone[name].value
        assert metric(made, real, PrdcOptions()).value == whole[name].value
        assert metric.changed(part) == (("subsample", "40"),)
    with pytest.raises(ConfigError, match="is 2 or more images"):
        parse(PrdcOptions, {"subsample": 1}, "options of precision")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("block")
def test_precision_and_recall_are_torch_fidelitys(dtype):
    made, real = MADE.astype(dtype), REAL.astype(dtype)
    theirs = prc_features_to_metric(torch.from_numpy(made), torch.from_numpy(real), verbose=False)
    ours = prdc(made, real)
    assert 0.1 < ours["recall"].value < 0.95
    assert ours["precision"].value == pytest.approx(theirs["precision"], abs=1e-7)
    assert ours["recall"].value == pytest.approx(theirs["recall"], abs=1e-7)


@pytest.mark.parametrize("k", [None, 1, 7])
@pytest.mark.usefixtures("block")
def test_density_and_coverage_are_those_of_the_authors_package(k, capsys):
    theirs = compute_prdc(REAL, MADE, k or 5)
    capsys.readouterr()  # it prints
    ours = prdc(MADE, REAL, k)
    for name in NAMES if k else ("density", "coverage"):
        # without ties, spheres do not matter
        assert ours[name].value == pytest.approx(theirs[name], abs=1e-12), name


@pytest.mark.usefixtures("block")
def test_auth_pct_is_its_definition():
    between, within = cdist(MADE, REAL), cdist(REAL, REAL)
    np.fill_diagonal(within, np.inf)
    nearest = between.argmin(1)
    expected = 100 * np.mean(within.min(1)[nearest] < between.min(1))
    assert 10 < expected < 90
    assert authentic(MADE, REAL).value == pytest.approx(expected, abs=1e-12)
    both = FeatureSet.of(MADE), FeatureSet.of(REAL)
    metrics.get("recall")(*both)
    assert metrics.get("auth_pct")(*both) == authentic(MADE, REAL)


def test_copies_of_the_training_set_are_not_authentic_and_far_samples_are():
    assert authentic(REAL[:100], REAL).value == 0
    assert authentic(REAL[:100] + 50, REAL).value == 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0, 300])
@pytest.mark.usefixtures("block")
def test_identical_sets_score_one(dtype, offset):
    x = (REAL + offset).astype(dtype)
    scores = prdc(np.random.default_rng(1).permutation(x), x)
    for name in ("precision", "recall", "coverage"):
        assert scores[name].value == 1, name
    # each sample lies in its own ball and, on average, in nearly 5 others, less the sphere
    assert 0.9 < scores["density"].value <= 1.2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("block")
def test_duplicates_have_distance_zero(dtype):
    # each real sample twice: the nearest other one is at 0, whatever cancels; with k = 1 a ball is
    # a point, which holds copies where its sphere counts
    real = np.concatenate([REAL, REAL]).astype(dtype) * 1e3
    near = np.concatenate([real[:50], real[:50] + 1])
    scores = prdc(near, real, k=1)
    assert scores["precision"].value == 0.5
    assert scores["density"].value == 0
    assert scores["coverage"].value == 0
    within = neighbours.within(FeatureSet.of(real), 1, "real")
    assert (within.squared == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e17, 1e-17])
def test_clumps_far_apart_are_measured_inside(dtype, scale):
    # two collapsed modes: distances within are 1e-4 of those to the mean, and cancel; their
    # products are made again in float64
    rng = np.random.default_rng(3)
    modes = np.repeat([[1.0], [-1.0]], 150, axis=0)
    made, real = ((modes + 1e-4 * rng.normal(size=(300, 4))) * scale for _ in range(2))
    made, real = made.astype(dtype).astype(float), real.astype(dtype).astype(float)
    exact = cdist(made, real)
    inner = cdist(real, real)
    radius = np.sort(inner, 1)[:, 5]
    scores = prdc(made.astype(dtype), real.astype(dtype))
    assert scores["coverage"].value == pytest.approx(np.mean(exact.min(0) < radius), abs=0.01)
    assert scores["density"].value == pytest.approx((exact < radius).sum(1).mean() / 5, abs=0.01)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e150])
def test_constant_features_give_what_the_definitions_say(value):
    x = np.full((40, 3), value)
    found = {name: score.value for name, score in prdc(x, x).items()}
    # every ball is a point: its sphere counts for precision and recall only
    assert found == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}
    assert authentic(x, x).value == 0


@pytest.mark.parametrize("scale", [1e150, 1e-150])
def test_huge_and_tiny_features_score_as_others(scale):
    plain, scaled = prdc(MADE, REAL), prdc(MADE * scale, REAL * scale)
    assert scaled == plain
    assert all(np.isfinite(s.value) for s in prdc(MADE * scale, REAL).values())


def test_the_order_of_samples_does_not_matter():
    plain, shuffled = prdc(MADE, REAL), prdc(RNG.permutation(MADE), RNG.permutation(REAL))
    assert {n: s.value for n, s in plain.items()} == pytest.approx(
        {n: s.value for n, s in shuffled.items()}, abs=1e-12
    )


def test_planned_and_unplanned_scores_are_equal():
    names = (*NAMES, "auth_pct")
    made, real = FeatureSet.of(MADE), FeatureSet.of(REAL)
    prepare(made, real, {name: metrics.get(name).options() for name in names})
    planned = {name: metrics.get(name)(made, real) for name in names}
    for name in names:
        assert metrics.get(name)(FeatureSet.of(MADE), FeatureSet.of(REAL)) == planned[name]


def test_distances_are_computed_once(monkeypatch):
    calls = []
    plain = neighbours.distances
    monkeypatch.setattr(neighbours, "distances", lambda *a, **k: calls.append(1) or plain(*a, **k))
    made, real = FeatureSet.of(MADE), FeatureSet.of(REAL)
    for name in (*NAMES, "auth_pct"):
        metrics.get(name)(made, real)
    assert len(calls) == 3
    metrics.get("recall")(FeatureSet.of(MADE + 1), real)
    assert len(calls) == 5  # those of the real set stay


def test_intervals_are_over_samples():
    # Wilson's, from the roots of (p - x)^2 = z^2 x (1 - x) / n
    z, scores = 1.959963984540054, prdc(MADE, REAL)
    for name, n in (("precision", 230), ("recall", 310), ("coverage", 310)):
        score = scores[name]
        for end in score.ci95:
            gap = (score.value - end) ** 2 - z * z * end * (1 - end) / n
            assert gap == pytest.approx(0, abs=1e-12), name
        assert score.ci95[0] < score.value < score.ci95[1]
        assert score.stderr == pytest.approx(np.sqrt(score.value * (1 - score.value) / n))
    balls = (cdist(MADE, REAL) < np.sort(cdist(REAL, REAL), 1)[:, 5]).sum(1) / 5
    assert scores["density"].stderr == pytest.approx(balls.std(ddof=1) / np.sqrt(230), rel=1e-9)


def test_few_images_name_the_option_and_its_largest_value():
    with pytest.raises(
        ConfigError, match=r"prdc\.k=5 .* reference are 5.*largest valid value is 4"
    ):
        prdc(MADE, REAL[:5])
    with pytest.raises(ConfigError, match=r"prdc\.k=9 .* samples are 9.*largest valid value is 8"):
        prdc(MADE[:9], REAL, k=9)
    assert prdc(MADE[:2], REAL[:2], k=1)["precision"].n == 2
    with pytest.raises(ValueError, match="6 features against 5"):
        prdc(MADE, REAL[:, :5])


@pytest.mark.parametrize(("width", "k"), [(3, 5), (17, 2), (100, 5), (100, 7), (200, 12)])
def test_the_smallest_of_each_row_are_found(width, k):
    values = np.random.default_rng(width).integers(0, 50, (30, width)).astype(np.float32)
    found = np.sort(k_smallest(values, k), 1)
    np.testing.assert_array_equal(found, np.sort(values, 1)[:, : min(k, width)])
