"""FD-infinity: its regression against scipy, its subsets spelled out, its bias and interval."""

import numpy as np
import pytest
from scipy.stats import linregress

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics.fd_infinity import intercept, sizes
from genbench.metrics.frechet import Moments, Reference, frechet_distance
from genbench.spec import ConfigError

FD, INFINITE = metrics.get("fd"), metrics.get("fd_infinity")


def test_the_intercept_and_its_error_are_scipys():
    rng = np.random.default_rng(0)
    x, y = 1 / sizes(5000), rng.normal(size=15)
    value, stderr = intercept(x, y)
    expected = linregress(x, y)
    assert value == pytest.approx(expected.intercept, rel=1e-9)
    assert stderr == pytest.approx(expected.intercept_stderr, rel=1e-9)


@pytest.mark.parametrize(("n", "first"), [(30, 3), (400, 40), (60_000, 5000), (200_000, 5000)])
def test_sizes_are_dgm_evals(n, first):
    found = sizes(n)
    assert (found[0], found[-1], len(found)) == (first, n, 15)
    assert np.ptp(np.diff(found)) <= 1


def test_the_value_is_a_regression_over_subsets():
    rng = np.random.default_rng(1)
    made, real = rng.normal(size=(700, 3)), rng.normal(0.2, 1.2, size=(900, 3))
    draws, reference = np.random.default_rng(2020), Reference.of(Moments.of(real))
    points = [
        frechet_distance(Moments.of(made[draws.choice(700, n, replace=False)]), reference)
        for n in sizes(700)
    ]
    expected = linregress(1 / sizes(700), points)
    score = INFINITE(FeatureSet.of(made), FeatureSet.of(real))
    assert score.value == pytest.approx(expected.intercept, rel=1e-8)
    whole = FD(FeatureSet.of(made), FeatureSet.of(real)).stderr
    assert score.stderr == pytest.approx(np.hypot(whole, expected.intercept_stderr), rel=1e-8)


def test_it_is_less_biased_than_the_distance_and_its_interval_holds_the_truth():
    # closed form of commuting Gaussians: sum (0.3 sd)^2
    rng, sd = np.random.default_rng(2), np.arange(1, 17) ** -0.6
    real = FeatureSet.of(rng.normal(size=(20_000, 16)) * sd)
    truth = (0.3**2 * sd**2).sum()
    made = [FeatureSet.of(rng.normal(size=(300, 16)) * sd * 1.3) for _ in range(12)]
    plain = np.mean([FD(m, real).value for m in made])
    scores = [INFINITE(m, real) for m in made]
    assert abs(np.mean([s.value for s in scores]) - truth) < 0.5 * (plain - truth)
    assert sum(s.ci95[0] < truth < s.ci95[1] for s in scores) >= 9


def test_too_few_samples_are_told():
    x = FeatureSet.of(np.random.default_rng(0).normal(size=(29, 2)))
    with pytest.raises(
        ConfigError, match="'fd_infinity' needs 30 generated images or more, got 29"
    ):
        INFINITE(x, x)
