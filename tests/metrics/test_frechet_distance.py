"""The Frechet distance: closed forms, independent libraries, and the cases that break others."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics.frechet import (
    Moments,
    Reference,
    frechet_distance,
    grouped_moments,
    leave_one_out,
)
from genbench.metrics.metric import fixed_order
from genbench.stats import student_t


def distance(made: np.ndarray, real: np.ndarray) -> float:
    return frechet_distance(Moments.of(made), Reference.of(Moments.of(real)))


def correlated(seed: int, n: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def as_set(features: np.ndarray) -> FeatureSet:
    return FeatureSet.of(features)


def test_gaussians_that_share_axes_have_a_closed_form():
    # commuting covariances: |mu1 - mu2|^2 + sum (sqrt a - sqrt b)^2
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    a, b = rng.uniform(0.1, 9, 5), rng.uniform(0.1, 9, 5)
    mu = rng.normal(size=(2, 5))
    made = Reference(mu[0], axes @ np.diag(a) @ axes.T)
    real = Reference(mu[1], axes @ np.diag(b) @ axes.T)
    expected = ((mu[0] - mu[1]) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(made, real) == pytest.approx(expected, rel=1e-12)


def test_two_dimensions_have_a_closed_form():
    # tr (S1 S2)^(1/2) = sqrt(tr S1 S2 + 2 sqrt(det S1 S2)) for 2x2 matrices
    s1, s2 = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = s1 @ s2
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 3**2 + 4**2 + np.trace(s1 + s2) - 2 * root
    found = frechet_distance(Reference(np.array([3.0, 0]), s1), Reference(np.array([0, -4.0]), s2))
    assert found == pytest.approx(expected, rel=1e-12)


def test_samples_of_known_moments_have_a_closed_form():
    # the columns of +-sqrt((n-1)/n ...) points: mean 0 and covariance diag(s^2), exactly
    def cross(s: np.ndarray) -> np.ndarray:
        n = 2 * len(s)
        return np.concatenate([np.diag(s), -np.diag(s)]) * math.sqrt((n - 1) / 2)

    s, t = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0])
    assert distance(cross(s) + 1, cross(t)) == pytest.approx(3 + 1 + 0 + 4, rel=1e-12)


@pytest.mark.parametrize(("dim", "n"), [(2, 40), (16, 200), (64, 500)])
def test_equal_to_scipy_and_torch_fidelity_on_full_rank(dim, n):
    made, real = correlated(0, n, dim), correlated(1, n + 7, dim)
    s1, s2 = np.cov(made.T), np.cov(real.T)
    shift = ((made.mean(0) - real.mean(0)) ** 2).sum()
    by_scipy = shift + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)
    by_fidelity = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(made)),
        fid_features_to_statistics(torch.from_numpy(real)),
        verbose=False,
    )["frechet_inception_distance"]
    assert distance(made, real) == pytest.approx(by_scipy, rel=1e-8)
    assert distance(made, real) == pytest.approx(by_fidelity, rel=1e-8)
    assert distance(made, real) == pytest.approx(distance(real, made), rel=1e-10)


def test_without_full_rank_equal_to_the_nuclear_norm_of_the_samples():
    made, real = correlated(0, 9, 40), correlated(1, 25, 40)
    m, r = made - made.mean(0), real - real.mean(0)
    overlap = np.linalg.norm(m @ r.T, "nuc") / math.sqrt(8 * 24)
    shift = ((made.mean(0) - real.mean(0)) ** 2).sum()
    expected = shift + (m**2).sum() / 8 + (r**2).sum() / 24 - 2 * overlap
    assert distance(made, real) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "dim"), [(2, 1), (2, 30), (3, 2), (10, 64), (500, 16)])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_identical_sets_give_exactly_zero(n, dim, offset):
    x = correlated(2, n, dim) + offset
    shuffled = np.random.default_rng(3).permutation(x)
    shards = sum((Moments.of(part) for part in np.array_split(shuffled, 2)), Moments.empty(dim))
    assert distance(x, x) == 0.0
    assert distance(shuffled, x) == 0.0
    assert frechet_distance(shards, Reference.of(Moments.of(x))) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_small_variances_beside_large_ones_count_in_full(seed):
    # roots of the eigenvalues of S1 S2, 4e-20 beside 1, would be off by 1e-8
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    made = Reference(np.zeros(3), axes @ np.diag([1, 1, 1e-10]) @ axes.T)
    real = Reference(np.zeros(3), axes @ np.diag([1, 1, 4e-10]) @ axes.T)
    assert frechet_distance(made, real) == pytest.approx((2e-5 - 1e-5) ** 2, rel=1e-4)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e150])
def test_constants_give_exactly_zero_however_they_are_merged(value):
    x = np.full((37, 3), value)
    shards = sum((Moments.of(part) for part in np.array_split(x, 5)), Moments.empty(3))
    assert frechet_distance(shards, Reference.of(Moments.of(x))) == 0.0


def test_a_small_true_distance_is_not_taken_for_zero():
    x = correlated(2, 300, 8)
    moved = x.copy()
    moved[:, 0] += 1e-4
    assert distance(moved, x) == pytest.approx(1e-8, rel=1e-3)


def hard_sets() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    base = rng.normal(size=(50, 6))
    twin = base.copy()
    twin[:, 3] = twin[:, 0]
    ill = base * 10.0 ** np.arange(0, -18, -3)
    return {
        "two": base[:2],
        "constant": np.full((50, 6), 0.1),
        "zero": np.zeros((20, 6)),
        "one column varies": np.eye(1, 6) * base[:, :1],
        "twin columns": twin,
        "ill conditioned": ill,
        "huge": base * 1e150,
        "huge constant": np.full((9, 6), 1e150),
        "tiny": base * 1e-150,
        "plain": base,
    }


@pytest.mark.parametrize("made", hard_sets())
@pytest.mark.parametrize("real", hard_sets())
def test_finite_and_not_negative_for_any_two_sets(made, real):
    sets = hard_sets()
    found = distance(sets[made], sets[real])
    assert math.isfinite(found)
    assert found >= 0
    assert (found == 0) == (made == real)


def test_scaling_features_scales_the_distance():
    made, real = correlated(0, 50, 6), correlated(1, 60, 6)
    plain = distance(made, real)
    assert distance(made * 1e149, real * 1e149) == pytest.approx(plain * 1e298, rel=1e-10)
    assert distance(made * 1e-140, real * 1e-140) == pytest.approx(plain * 1e-280, rel=1e-10)


def test_the_covariance_survives_a_large_mean():
    x = correlated(4, 200, 5)
    expected = np.cov(x.T)
    shifted = x + 1e7
    parts = sum((Moments.of(part) for part in np.array_split(shifted, 7)), Moments.empty(5))
    # shifting itself rounds each number by 1e-9; sums of squares would lose 1e-2
    assert np.abs(parts.cov - expected).max() < 1e-7


def test_four_shards_merge_to_one_pass_in_any_order():
    x = correlated(6, 1003, 24).astype(np.float32)
    whole = Moments.of(x)
    a, b, c, d = (Moments.of(part) for part in np.array_split(x, [100, 101, 700]))
    streamed = Moments.empty(24)
    for start in range(0, 1003, 64):
        streamed = streamed.update(x[start : start + 64])
    for merged in (a + b + c + d, (d + c) + (b + a), streamed):
        assert merged.n == 1003
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-9)
        np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.cov, np.cov(x.astype(float).T), rtol=1e-9)
    real = Reference.of(Moments.of(correlated(7, 900, 24)))
    expected = frechet_distance(whole, real)
    assert frechet_distance(a + b + c + d, real) == pytest.approx(expected, rel=1e-9)


def test_the_order_of_samples_does_not_matter():
    made, real = correlated(0, 300, 12), correlated(1, 300, 12)
    shuffled = np.random.default_rng(9).permutation(made)
    assert distance(shuffled, real) == pytest.approx(distance(made, real), rel=1e-11)


def test_what_has_no_distance_is_refused():
    real = Reference.of(Moments.of(correlated(0, 9, 3)))
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        frechet_distance(Moments.of(np.zeros((1, 3))), real)
    with pytest.raises(ValueError, match="4 features against 3"):
        frechet_distance(Moments.of(np.zeros((5, 4))), real)
    with pytest.raises(ValueError, match="4 and 3 features do not merge"):
        Moments.empty(4) + Moments.empty(3)
    with pytest.raises(ValueError, match=r"must have shape \(N, D\)"):
        Moments.of(np.zeros(4))
    with pytest.raises(ValueError, match=r"up to 1e\+160; the largest is 1e\+151"):
        Moments.of(np.array([[1e160], [-1e160]]))


def test_the_score_is_a_jackknife_over_a_fixed_random_grouping():
    made, real = correlated(0, 105, 4), correlated(1, 200, 4)
    score = metrics.get("fd")(as_set(made), as_set(real))
    group = np.empty(105, int)
    group[fixed_order(105)] = np.arange(105) % 20
    without = [distance(made[group != g], real) for g in range(20)]
    stderr = math.sqrt(19 / 20 * sum((w - np.mean(without)) ** 2 for w in without))
    assert score.value == pytest.approx(distance(made, real), rel=1e-10)
    assert score.stderr == pytest.approx(stderr, rel=1e-8)
    assert score.ci95[1] - score.value == pytest.approx(student_t(19) * stderr, rel=1e-8)
    assert (score.n, score.method) == (105, "jackknife, 20 groups of samples")


def test_groups_mix_classes_that_come_in_turn():
    # sample i of class i % 10, in groups by i % 20, would put one class in each group
    made = np.random.default_rng(0).normal(size=(400, 2))
    made[:, 0] += 10.0 * (np.arange(400) % 10)
    means = [part.mean[0] for part in grouped_moments(made, 20)]
    assert np.std(means) < 3 * made[:, 0].std() / math.sqrt(20)


def test_the_jackknife_sees_the_spread_between_sample_sets():
    rng = np.random.default_rng(11)
    real = as_set(rng.normal(size=(2000, 3)))
    scores = [metrics.get("fd")(as_set(rng.normal(0.5, 1, (300, 3))), real) for _ in range(40)]
    spread = np.std([s.value for s in scores], ddof=1)
    assert np.mean([s.stderr for s in scores]) == pytest.approx(spread, rel=0.35)


def test_leaving_one_out_is_merging_the_others():
    parts = grouped_moments(correlated(0, 50, 3), 5)
    for g, rest in enumerate(leave_one_out(parts)):
        others = [p for i, p in enumerate(parts) if i != g]
        expected = sum(others[1:], others[0])
        assert rest.n == expected.n
        np.testing.assert_allclose(rest.scatter, expected.scatter, rtol=1e-12)


@pytest.mark.parametrize(("n", "method"), [(2, ""), (3, "jackknife, 3 groups of samples")])
def test_few_samples_have_fewer_groups_or_no_interval(n, method):
    score = metrics.get("fd")(as_set(correlated(0, n, 3)), as_set(correlated(1, 50, 3)))
    assert score.method == method
    assert (score.stderr is None) == (n == 2)
    assert math.isfinite(score.value)
