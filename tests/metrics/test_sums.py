"""Sums of features: batches, shards and files give what all at once gives; the error of FD."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics import gaussian as gaussians
from genbench.metrics.frechet import (
    FrechetSums,
    Moments,
    Reference,
    frechet_distance,
    frechet_score,
    influence,
)
from genbench.metrics.inception_score import SplitSums
from genbench.metrics.moments import SpatialMoments
from genbench.metrics.sfid import SpatialFrechetSums

WIDE = 270  # features above which the distance and its error are computed in another way


def features(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, dim)) * np.arange(1, dim + 1) ** -0.6 + 3).astype(np.float32)


def streamed(kind, rows, batch, order=None):
    order = np.arange(len(rows)) if order is None else order
    sums = kind.start(len(rows), rows.shape[1])
    for start in range(0, len(rows), batch):
        index = order[start : start + batch]
        sums = sums.update(rows[index], index)
    return sums


def fd(made, real):
    return frechet_score(made, Reference.of(real))


@pytest.mark.parametrize("dim", [20, WIDE])
@pytest.mark.parametrize("batch", [1, 7, 64, 603])
def test_batches_give_what_all_at_once_gives(dim, batch):
    made, real = features(603, dim), features(700, dim, 1)
    whole = metrics.get("fd")(FeatureSet.of(made), FeatureSet.of(real))
    found = fd(streamed(FrechetSums, made, batch), streamed(Moments, real, batch))
    assert found.value == pytest.approx(whole.value, rel=1e-9)
    assert found.stderr == pytest.approx(whole.stderr, rel=1e-4 if dim == WIDE else 1e-9)
    assert found.method == whole.method


@pytest.mark.parametrize("dim", [20, WIDE])
@pytest.mark.parametrize("kind", [FrechetSums, Moments, SplitSums])
def test_four_shards_from_files_give_what_one_pass_gives(dim, kind):
    rows = features(603, dim)
    if kind is SplitSums:
        rows = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    shards = []
    for index in np.array_split(np.random.default_rng(4).permutation(603), 4):
        part = kind.start(603, dim).update(rows[index], index)
        shards.append(kind.restore({k: v.copy() for k, v in part.arrays().items()}))
    kept = shards[0].arrays()
    merged, whole = sum(shards[1:], shards[0]).arrays(), streamed(kind, rows, 64).arrays()
    assert merged.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(merged[name], value, rtol=1e-9, atol=1e-9, err_msg=name)
    for name, value in shards[0].arrays().items():
        np.testing.assert_array_equal(kept[name], value)


@pytest.mark.parametrize(("n", "batch"), [(512, 512), (513, 512), (1024, 512), (1500, 500)])
def test_the_moments_of_any_number_of_rows_are_numpys(n, batch):
    x = features(n, 9)
    moments = streamed(Moments, x, batch)
    assert moments.n == n
    np.testing.assert_allclose(moments.mean, x.mean(0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(moments.cov, np.cov(x.T.astype(float)), rtol=1e-9, atol=1e-14)


def test_only_whole_sets_of_samples_are_scored():
    x = features(30, 4)
    part = FrechetSums.start(30, 4).update(x[:9], np.arange(9))
    with pytest.raises(ValueError, match="saw 9 of 30 samples"):
        _ = part.moments
    with pytest.raises(ValueError, match="same set of samples"):
        part + FrechetSums.start(31, 4)
    with pytest.raises(ValueError, match="3 features against 4"):
        Moments.empty(4).update(x[:, :3])


@pytest.mark.parametrize(
    ("made", "real"), [(900, 1000), (900, 100), (100, 900), (60, 40)], ids=lambda n: f"n{n}"
)
def test_many_features_equal_torch_fidelity(made, real):
    x, y = features(made, WIDE).astype(float), features(real, WIDE, 1).astype(float) * 1.1
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(x)),
        fid_features_to_statistics(torch.from_numpy(y)),
        verbose=False,
    )["frechet_inception_distance"]
    ours = frechet_distance(Moments.of(x), Reference.of(Moments.of(y)))
    # roots of the zeros among the eigenvalues are noise in torch-fidelity
    assert ours == pytest.approx(theirs, rel=1e-8 if min(made, real) > WIDE else 1e-6)
    exact = gaussians._overlap_by_singular_values(
        Reference.of(Moments.of(x)), Reference.of(Moments.of(y))
    )
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum() + x.var(0, ddof=1).sum() + y.var(0, ddof=1).sum()
    assert ours == pytest.approx(shift - 2 * exact, rel=1e-9)


@pytest.mark.parametrize("n", [2, 40, 500])
@pytest.mark.parametrize("scale", [1.0, 1e150, 1e-150])
def test_many_features_hard_cases(n, scale):
    x = features(n, WIDE).astype(float)
    x[: n // 2] = x[0]  # duplicates
    x *= scale
    assert frechet_distance(Moments.of(x), Reference.of(Moments.of(x[::-1]))) == 0
    other = features(90, WIDE, 1).astype(float) * scale
    found = metrics.get("fd")(FeatureSet.of(x), FeatureSet.of(other))
    plain = frechet_distance(Moments.of(x / scale), Reference.of(Moments.of(other / scale)))
    assert found.value / scale / scale == pytest.approx(plain, rel=1e-8)
    assert (found.stderr is None) if n == 2 else math.isfinite(found.stderr)
    constant = np.full((n, WIDE), 0.1 * scale)
    assert frechet_distance(Moments.of(constant), Reference.of(Moments.of(constant))) == 0
    assert metrics.get("fd")(FeatureSet.of(constant), FeatureSet.of(other)).value > 0
    assert metrics.get("fd")(FeatureSet.of(other), FeatureSet.of(constant)).value > 0


def test_influence_is_the_derivative_by_a_samples_weight():
    x, y = features(400, WIDE).astype(float), features(500, WIDE, 1).astype(float) * 1.2
    real, moments = Reference.of(Moments.of(y)), Moments.of(x)

    def weighted(i: int, extra: float) -> float:
        """The distance with sample i counted 1 + extra times; covariances over N here."""
        weights = np.ones(400)
        weights[i] += extra
        weights /= weights.sum()
        mean = weights @ x
        cov = (weights[:, None] * (x - mean)).T @ (x - mean) * 400 / 399
        return frechet_distance(Reference(mean, cov), real)

    chosen = [3, 77, 200, 311]
    slopes = np.array([(weighted(i, 1e-3) - weighted(i, -1e-3)) / 2e-3 * 400 for i in chosen])
    found = influence(x[chosen], Reference.of(moments), real)
    np.testing.assert_allclose(found - found[0], slopes - slopes[0], rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("n", [60, 400])
def test_the_influence_sees_the_spread_between_sample_sets(n):
    rng, sd = np.random.default_rng(11), np.arange(1, WIDE + 1) ** -0.6
    real = Reference.of(Moments.of(rng.normal(size=(2000, WIDE)) * sd))

    def score():
        x = rng.exponential(size=(n, WIDE)) * sd * 1.3
        return frechet_score(FrechetSums.start(n, WIDE).update(x, np.arange(n)), real)

    scores = [score() for _ in range(40)]
    spread = np.std([s.value for s in scores], ddof=1)
    stderr = np.sqrt(np.mean([s.stderr**2 for s in scores]))
    assert stderr == pytest.approx(spread, rel=0.3)
    assert scores[0].method == f"infinitesimal jackknife, {n} samples"


def test_the_error_streams_from_a_random_part_of_many_samples(monkeypatch):
    monkeypatch.setattr("genbench.metrics.frechet.KEPT", 300)
    made, real = features(1000, WIDE) * 1.2, Moments.of(features(900, WIDE, 1))
    part = fd(streamed(FrechetSums, made, 64), real)
    monkeypatch.setattr("genbench.metrics.frechet.KEPT", 1000)
    whole = fd(streamed(FrechetSums, made, 64), real)
    assert part.method == "infinitesimal jackknife, 300 samples"
    assert part.value == pytest.approx(whole.value, rel=1e-12)
    assert part.stderr == pytest.approx(whole.stderr, rel=0.2)


def test_sfid_is_the_distance_of_spatial_features():
    made, real = features(40, 6), features(50, 6, 1)
    nothing = np.zeros((40, 2), np.float32)
    sets = FeatureSet.of(nothing, spatial=made), FeatureSet.of(nothing[:50], spatial=real)
    expected = metrics.get("fd")(FeatureSet.of(made), FeatureSet.of(real))
    assert metrics.get("sfid")(*sets) == expected
    kept = {SpatialFrechetSums: streamed(SpatialFrechetSums, made, 7)}
    sums = FeatureSet(40, sums=kept), FeatureSet(50, sums={SpatialMoments: Moments.of(real)})
    assert metrics.get("sfid")(*sums).value == pytest.approx(expected.value, rel=1e-9)
