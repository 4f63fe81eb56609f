"""CMMD: the definition in NumPy, closed forms, a jackknife by hand, and how it rounds."""

import math
import tracemalloc

import numpy as np
import pytest

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics import cmmd as module
from genbench.metrics.cmmd import CmmdOptions
from genbench.spec import ConfigError, parse
from genbench.stats import student_t


def draw(seed: int, n: int, dim: int, shift: float = 0.3) -> np.ndarray:
    """Embeddings that share a direction, as CLIP's do; not normalised."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(size=dim) + shift * seed
    return (5 * (rng.normal(size=(n, dim)) + common)).astype(np.float32)


def cmmd(made: np.ndarray, real: np.ndarray, **options):
    chosen = CmmdOptions(**options)
    return metrics.get("cmmd")(FeatureSet.of(made), FeatureSet.of(real), chosen)


def by_numpy(made: np.ndarray, real: np.ndarray, sigma: float = 10.0) -> float:
    """1000 times the biased MMD^2, from distances, in float64."""
    x, y = (a.astype(np.float64) for a in (made, real))
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))

    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / (2 * sigma**2))

    return 1000 * (k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean())


@pytest.mark.parametrize(("n", "m", "dim"), [(40, 60, 8), (150, 100, 64), (2, 3, 5), (90, 2, 3)])
@pytest.mark.parametrize("sigma", [10.0, 1.0, 0.5])
def test_equal_to_the_definition(n, m, dim, sigma):
    made, real = draw(0, n, dim), draw(1, m, dim)
    expected = by_numpy(made, real, sigma)
    found = cmmd(made, real, sigma=sigma).value
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9 if sigma == 10 else 1e-4)


def test_small_values_keep_their_digits():
    # sums of the kernel in float32 would be off by 1e-1 of this
    made = draw(0, 300, 32)
    real = made + np.float32(0.05) * draw(2, 300, 32, shift=0)
    expected = by_numpy(made, real)
    assert 1e-5 < expected < 0.05
    assert cmmd(made, real).value == pytest.approx(expected, rel=1e-5)


def test_two_points_have_a_closed_form():
    # all of one set at a, all of the other at b: 2 - 2 exp(-|a - b|^2 / 2 sigma^2)
    a, b = np.array([3.0, 0, 0]), np.array([0, 0.5, 0])
    expected = 1000 * (2 - 2 * math.exp(-2 / (2 * 10**2)))
    score = cmmd(np.tile(a, (7, 1)), np.tile(b, (4, 1)))
    assert score.value == pytest.approx(expected, rel=1e-9)
    assert score.stderr == pytest.approx(0, abs=1e-9)
    half = cmmd(np.tile(a, (7, 1)), np.tile(b, (4, 1)), scale=500)
    assert half.value == pytest.approx(expected / 2, rel=1e-9)


@pytest.mark.parametrize(("n", "dim"), [(2, 4), (50, 4), (300, 64)])
def test_identical_sets_give_exactly_zero(n, dim, monkeypatch):
    x = draw(0, n, dim)
    shuffled = np.random.default_rng(1).permutation(x)
    for block in (module.BLOCK, 64):
        monkeypatch.setattr(module, "BLOCK", block)
        assert cmmd(x, x).value == 0.0
        assert cmmd(shuffled, x).value == 0.0
        assert cmmd(x * 4, x).value == 0.0  # lengths do not count


@pytest.mark.parametrize("block", [3, 7, 64, 1000])
def test_blocks_and_order_change_nothing_but_rounding(block, monkeypatch):
    made, real = draw(0, 130, 16), draw(1, 110, 16)
    whole = cmmd(made, real)
    monkeypatch.setattr(module, "BLOCK", block)
    order = np.random.default_rng(2).permutation(130)
    found = cmmd(made[order], real)
    assert found.value == pytest.approx(whole.value, rel=1e-9)
    assert found.stderr == pytest.approx(whole.stderr, rel=1e-6)
    assert cmmd(real, made).value == pytest.approx(whole.value, rel=1e-9)  # symmetric


def test_the_interval_is_a_jackknife_over_generated_samples():
    made, real = draw(0, 25, 6), draw(1, 40, 6)
    score = cmmd(made, real)
    without = np.array([by_numpy(np.delete(made, i, 0), real) for i in range(25)])
    stderr = math.sqrt(24 / 25 * ((without - without.mean()) ** 2).sum())
    assert score.stderr == pytest.approx(stderr, rel=1e-4)
    half = student_t(24) * score.stderr
    assert score.ci95 == pytest.approx((score.value - half, score.value + half))
    assert (score.n, score.method) == (25, "jackknife, 25 samples")


def test_the_standard_error_is_the_spread_over_draws():
    real = draw(1, 400, 16)
    scores = [cmmd(draw(0, 120, 16) if s == 0 else redraw(s), real) for s in range(60)]
    spread = np.std([s.value for s in scores], ddof=1)
    assert np.mean([s.stderr for s in scores]) == pytest.approx(spread, rel=0.3)


def redraw(seed: int) -> np.ndarray:
    """Another draw of what `draw(0, ...)` draws."""
    rng = np.random.default_rng(1000 + seed)
    common = np.random.default_rng(99).normal(size=16)
    return (5 * (rng.normal(size=(120, 16)) + common)).astype(np.float32)


def test_no_table_of_all_pairs_is_held():
    made, real = draw(0, 5000, 4), draw(1, 5000, 4)
    tracemalloc.start()
    cmmd(made, real)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    block = 8 * module.BLOCK**2
    assert block < peak < 5 * block < 8 * 5000 * 5000  # bytes


def test_bad_input_is_told():
    made, real = draw(0, 20, 6), draw(1, 20, 6)
    with pytest.raises(ValueError, match="6 features against 5"):
        cmmd(made, real[:, :5])
    made[4] = 0
    with pytest.raises(ValueError, match="features of sample 4 are all zero"):
        cmmd(made, real)
    with pytest.raises(ConfigError, match=r"sigma: .*greater than or equal to 0.5"):
        parse(CmmdOptions, {"sigma": 0.1}, "cmmd")
    with pytest.raises(ConfigError, match="'cmmd' needs a reference"):
        metrics.get("cmmd")(FeatureSet.of(real))
