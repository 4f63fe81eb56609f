"""The reference rows: what they return is known exactly or by its moments."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines._nn.reference import Reference
from baselines.reference import gaussian
from baselines.reference.gaussian import Gaussian
from baselines.reference.memoriser import Memoriser
from baselines.reference.noise import UniformNoise
from baselines.reference.real import Real
from genbench.api import Config, DataSpec, Noise, Unconditional
from genbench.tasks import to_float


def data(n: int, *shape: int) -> Tensor:
    """Correlated images with a constant column, as real ones have."""
    rng = np.random.default_rng(0)
    c, h, w = shape
    x = 128 + 25 * rng.standard_normal((n, 1, 1, 1)) + 12 * rng.standard_normal((n, c, h, w))
    x[..., 0] = 0
    return torch.from_numpy(x.clip(0, 255).astype(np.uint8))


def fitted(cls: type[Reference], x: Tensor) -> Any:
    baseline = cls(Config(), DataSpec("any", x.shape[1], x.shape[2]))
    baseline.fit(x)
    return baseline.eval()


def sample(baseline: Reference, n: int, seed: int = 0) -> Tensor:
    return baseline.sample(Unconditional(), Noise(seed, range(n)))


@pytest.mark.parametrize("cls", [Real, Memoriser])
def test_images_come_back_each_once(cls: type[Reference]) -> None:
    x = data(50, 1, 8, 8)
    y = sample(fitted(cls, x), 50)
    levels = ((y + 1) * 127.5).flatten(1)
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    made, given = levels.round().int().tolist(), x.flatten(1).int().tolist()
    assert sorted(made) == sorted(given)
    assert made != given
    assert not torch.equal(y, sample(fitted(cls, x), 50, seed=1))


@pytest.mark.parametrize(("cls", "split"), [(Real, "test"), (Memoriser, "train")])
def test_no_more_images_than_there_are(cls: type[Reference], split: str) -> None:
    assert cls.fit_split == split
    baseline = fitted(cls, data(5, 1, 8, 8))
    with pytest.raises(ValueError, match=rf"has 5 distinct images .*'{split}'.* asked for 6"):
        sample(baseline, 6)


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_any_seed_will_do(seed: int) -> None:
    assert len(sample(fitted(Real, data(5, 1, 8, 8)), 5, seed)) == 5


def test_noise_is_uniform() -> None:
    x = sample(fitted(UniformNoise, data(1, 3, 8, 8)), 2000)
    assert x.shape == (2000, 3, 8, 8)
    assert x.mean().item() == pytest.approx(0, abs=0.01)
    assert x.var().item() == pytest.approx(1 / 3, abs=0.01)
    assert x.min() < -0.999 and x.max() > 0.999


def moments(m: Gaussian) -> tuple[Tensor, Tensor]:
    return m.mean, m.factor @ m.factor.T + m.rest.square().diag()


@pytest.mark.parametrize("n", [40, 300])  # fewer and more images than pixels
def test_gaussian_has_the_moments_of_the_data(n: int) -> None:
    x = data(n, 1, 8, 8)
    rows = to_float(x).flatten(1).double().numpy()
    mean, covariance = moments(fitted(Gaussian, x))
    np.testing.assert_allclose(mean, rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(rows.T), atol=1e-6)


def test_gaussian_samples_have_the_moments_of_the_data() -> None:
    x = data(300, 1, 8, 8)
    rows = to_float(x).flatten(1).double().numpy()
    y = sample(fitted(Gaussian, x), 20_000).flatten(1).double().numpy()
    np.testing.assert_allclose(y.mean(0), rows.mean(0), atol=0.01)
    np.testing.assert_allclose(np.cov(y.T), np.cov(rows.T), atol=0.003)


def test_gaussian_of_large_images_keeps_leading_components_and_variances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gaussian, "FULL", 10)
    monkeypatch.setattr(gaussian, "RANK", 3)
    monkeypatch.setattr(gaussian, "CHUNK", 64)
    x = data(300, 1, 8, 8)
    rows = to_float(x).flatten(1).double().numpy()
    m = fitted(Gaussian, x)
    _, covariance = moments(m)
    exact = np.cov(rows.T)
    assert m.factor.shape == (64, 3)
    np.testing.assert_allclose(covariance.diag(), exact.diagonal(), atol=1e-6)
    values = np.linalg.eigvalsh(exact)[::-1]
    kept = torch.linalg.eigvalsh((m.factor.T @ m.factor).double()).flip(0).numpy()
    assert kept[0] == pytest.approx(values[0], rel=1e-5)
    assert (kept <= values[:3] * (1 + 1e-6)).all() and kept.sum() > 0.95 * values[:3].sum()
    torch.testing.assert_close(sample(m, 4)[:2], sample(m, 2))


def test_gaussian_is_fitted_in_float64() -> None:
    """A faint image (one grey level of contrast on white) loses its variance in float32 sums."""
    x = torch.full((4096, 1, 8, 8), 255, dtype=torch.uint8)
    x[::2] = 254
    _, covariance = moments(fitted(Gaussian, x))
    exact = (1 / 255) ** 2 * 4096 / 4095
    np.testing.assert_allclose(covariance, np.full((64, 64), exact), rtol=1e-5)


def test_a_reference_row_refuses_to_train() -> None:
    m = fitted(UniformNoise, data(1, 1, 8, 8))
    with pytest.raises(RuntimeError, match="UniformNoise is a reference row"):
        m.step(torch.zeros(1, 1, 8, 8), Unconditional(), Noise(0, [0]), lambda name, loss: None)


def test_buffers_of_another_size_are_loaded() -> None:
    old, new = fitted(Real, data(5, 1, 8, 8)), fitted(Real, data(9, 1, 8, 8))
    new.load_state_dict(old.state_dict())
    assert torch.equal(sample(old, 5), sample(new, 5))


def test_a_gaussian_of_one_image_is_refused_by_what_is_wrong():
    made = Gaussian(Config(), DataSpec("tiny", channels=1, size=2))
    with pytest.raises(ValueError, match="needs two training images or more"):
        made.fit(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
