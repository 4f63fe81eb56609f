"""The rule against SciPy's tests, closed forms and simulated power."""

import math

import numpy as np
import pytest
from gate_samples import BANKED, SAME, UNCLEAR, WORSE
from scipy import stats

from genbench.gate.rule import cov, decide, default_margin, detectable, holm, interval, logs


@pytest.mark.parametrize("direction", ["lower", "higher"])
@pytest.mark.parametrize("new", [SAME, WORSE, UNCLEAR, (3.1, 3.3)])
def test_p_and_bounds_are_those_of_the_pooled_t_test(direction, new) -> None:
    sign = 1 if direction == "lower" else -1
    y, x = sign * np.log(new), sign * np.log(BANKED)
    found = decide(BANKED, new, 0.05, 0.02, direction=direction)
    oracle = stats.ttest_ind(y - math.log(1.05), x, equal_var=True, alternative="greater")
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    plain = stats.ttest_ind(y, x, equal_var=True)
    low, high = plain.confidence_interval(1 - 2 * 0.02)
    assert math.log1p(found.lower) == pytest.approx(low, rel=1e-9)
    assert math.log1p(found.bound) == pytest.approx(high, rel=1e-9)
    assert math.log1p(found.change) == pytest.approx(y.mean() - x.mean())


def test_outcomes() -> None:
    assert decide(BANKED, SAME, 0.05).outcome == "PASS"
    assert decide(BANKED, WORSE, 0.05).outcome == "REGRESSED"
    assert decide(BANKED, UNCLEAR, 0.05).outcome == "INCONCLUSIVE"
    assert decide(WORSE * 3, SAME, 0.05).outcome == "PASS"  # better by far
    assert decide(BANKED, WORSE, 0.5).outcome == "PASS"


def test_higher_is_better_turns_the_sign() -> None:
    assert decide(BANKED, WORSE, 0.05, direction="higher").outcome == "PASS"
    assert decide(WORSE * 3, SAME, 0.05, direction="higher").outcome == "REGRESSED"


def test_a_regression_must_be_larger_than_the_margin() -> None:
    new = tuple(v * 1.04 for v in BANKED)  # significantly worse, and within 5 %
    assert decide(BANKED, new, 0.05).lower > 0
    assert decide(BANKED, new, 0.05).outcome != "REGRESSED"
    assert decide(BANKED, new, 0.01).outcome == "REGRESSED"


def test_equal_values_leave_no_doubt() -> None:
    same = decide((2.0,) * 8, (2.0,) * 3, 0.05)
    assert (same.outcome, same.change, same.bound) == ("PASS", 0, 0)
    worse = decide((2.0,) * 8, (2.2,) * 3, 0.05)
    assert worse.outcome == "REGRESSED" and worse.p < 1e-9


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_values_without_a_logarithm_are_refused(bad) -> None:
    with pytest.raises(ValueError, match="logarithm"):
        decide(BANKED, (4.0, bad), 0.05)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="2 seeds"):
        decide(BANKED, (4.0,), 0.05)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.02, "c": 0.03}, 0.05) == {"a", "b", "c"}
    assert holm({"a": 0.01, "b": 0.03, "c": 0.03}, 0.05) == {"a"}
    assert holm({"a": 0.02, "b": 0.02, "c": 0.02}, 0.05) == set()  # 0.05 / 3 is not reached
    assert holm({"b": 0.03, "a": 0.01}, 0.05) == {"a", "b"}
    assert holm({}, 0.05) == set()


@pytest.mark.parametrize(
    ("sd", "n", "margin", "alpha"), [(0.03, 3, 0.05, 0.05), (0.1, 7, 0.3, 0.01)]
)
def test_detectable_has_80_percent_power(sd, n, margin, alpha) -> None:
    truth = math.log1p(detectable(sd, 8, n, margin, alpha))
    rng = np.random.default_rng(5)
    old, new = rng.normal(0, sd, (40_000, 8)), rng.normal(truth, sd, (40_000, n))
    shift, se, t = interval(old, new, alpha)
    assert np.mean(shift - t * se > math.log1p(margin)) == pytest.approx(0.8, abs=0.008)
    df = 8 + n - 2
    nc = (truth - math.log1p(margin)) / (sd * math.sqrt(1 / 8 + 1 / n))
    assert stats.nct.sf(stats.t.ppf(1 - alpha, df), df, nc) == pytest.approx(0.8, abs=1e-6)


def test_a_decision_names_what_it_could_have_seen() -> None:
    alone, among = decide(BANKED, SAME, 0.05), decide(BANKED, SAME, 0.05, tests=9)
    assert 0.05 < alone.detectable < among.detectable
    pooled = math.sqrt((7 * np.log(BANKED).var(ddof=1) + 2 * np.log(SAME).var(ddof=1)) / 9)
    assert alone.detectable == pytest.approx(detectable(pooled, 8, 3, 0.05))
    assert math.isinf(detectable(0.03, 8, 1, 0.05))


def test_spread_and_default_margin() -> None:
    assert cov(BANKED) == pytest.approx(np.log(BANKED).std(ddof=1))
    assert cov((1.0,)) is None and cov((1.0, -1.0)) is None
    assert default_margin(0.01) == 0.05 and default_margin(None) == 0.05
    assert default_margin(0.1) == pytest.approx(0.3)
    assert logs((1.0, math.e), "higher").tolist() == [0, -1]
