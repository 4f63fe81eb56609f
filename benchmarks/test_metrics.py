"""What scores cost, against torch-fidelity and scipy in the same run, from the same features."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics.frechet import FrechetSums, Moments, Reference, frechet_distance
from genbench.metrics.shared import prepare

DIM = 2048
TOGETHER = ("kid", "precision", "recall", "density", "coverage", "auth_pct")


def features(n: int, seed: int, dim: int = DIM) -> np.ndarray:
    """Float32 (n, dim) with a mean, correlations and a falling spectrum, as Inception's have."""
    rng, axes = np.random.default_rng(seed), np.random.default_rng(99)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.8
    x = rng.standard_normal((n, dim), dtype=np.float32) * spread * (1 + 0.1 * seed)
    mix = np.linalg.qr(axes.standard_normal((dim, dim), dtype=np.float32))[0]
    return x @ mix + np.float32(0.4)


@pytest.mark.parametrize("peer", ["scipy", "torch-fidelity"])
def test_distance_from_mean_and_covariance(ratio, sized, peer):
    n, dim = sized(6000, 500), sized(DIM, 64)
    made, real = (features(n, seed, dim) for seed in (0, 1))
    moments = [Moments.of(x) for x in (made, real)]
    means, covs = [m.mean for m in moments], [m.cov for m in moments]
    found = []

    def ours():
        found.append(frechet_distance(Reference(means[0], covs[0]), Reference(means[1], covs[1])))

    def by_scipy():
        root = sqrtm(covs[0] @ covs[1]).real
        apart = ((means[0] - means[1]) ** 2).sum() + np.trace(covs[0]) + np.trace(covs[1])
        found.append(apart - 2 * np.trace(root))

    def by_fidelity():
        sides = [{"mu": m, "sigma": c} for m, c in zip(means, covs, strict=True)]
        found.append(fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"])

    ratio(ours, by_scipy if peer == "scipy" else by_fidelity, pairs=3, warm_up=1)
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


def test_kid_and_neighbours_together(ratio, sized):
    n, dim = sized(5000, 1000), sized(DIM, 64)
    made, real = (features(n, seed, dim) for seed in (0, 1))
    tensors = [torch.from_numpy(x) for x in (made, real)]
    wanted = {name: metrics.get(name).options() for name in TOGETHER}
    found, theirs = {}, {}

    def ours():
        sets = FeatureSet.of(made), FeatureSet.of(real)
        prepare(*sets, wanted)
        found.update({name: metrics.get(name)(*sets).value for name in wanted})

    def peer():
        kid = {"kid_subsets": 100, "kid_subset_size": 1000}
        theirs.update(kid_features_to_metric(*tensors, verbose=False, **kid))
        theirs.update(prc_features_to_metric(*tensors, verbose=False))

    ratio(ours, peer, pairs=3, warm_up=1)
    # a difference of sums of numbers near 1, which the peer adds up in float32
    assert found["kid"] == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-7)
    assert found["precision"] == pytest.approx(theirs["precision"], abs=5e-4)
    assert found["recall"] == pytest.approx(theirs["recall"], abs=5e-4)


@pytest.mark.parametrize("batch", [64, 256])
def test_streaming_moments(ratio, sized, batch):
    dim = sized(DIM, 64)
    rows, index = features(2048, 0, dim), np.arange(2048)

    def ours():
        sums = FrechetSums.start(2048, dim)
        for start in range(0, 2048, batch):
            sums.update(rows[start : start + batch], index[start : start + batch])
        _ = sums.moments.packed

    def peer():  # float64 sums of products, as torchmetrics streams them
        total, outer = np.zeros(dim), np.zeros((dim, dim))
        for start in range(0, 2048, batch):
            x = rows[start : start + batch].astype(np.float64)
            total += x.sum(0)
            outer += x.T @ x

    ratio(ours, peer, pairs=4)
