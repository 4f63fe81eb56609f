"""Ratios of times against closed forms, and against simulated machines that are never quiet."""

import math
import random

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from genbench.timing import Timing, linear_fit, paired_ratio

EXPERIMENTS = 1000


def timing(*bests: float) -> Timing:
    """Visits of one call each."""
    return Timing(visits=tuple((best,) for best in bests))


def bests(of: Timing) -> list[float]:
    """The best call of each visit."""
    return [min(visit) for visit in of.visits]


# --- Timing --------------------------------------------------------------------------------------


def test_what_a_timing_says_is_over_all_calls() -> None:
    t = Timing(visits=((4.0, 2.0), (1.0, 3.0, 5.0)), batch=8)
    assert t.samples == [4, 2, 1, 3, 5]
    assert (t.minimum, t.median, t.p95, t.iqr) == (1, 3, pytest.approx(4.8), 2)


def test_a_timing_survives_json() -> None:
    t = Timing(visits=((0.1 + 0.2,), (1e-9, 3.0)), batch=8)
    assert Timing.model_validate_json(t.model_dump_json()) == t


@pytest.mark.parametrize("visits", [(), ((),), ((1.0,), ()), ((0.0,),), ((-1.0,),)])
def test_a_timing_without_times_is_refused(visits) -> None:
    with pytest.raises(ValidationError):
        Timing(visits=visits)


# --- ratios: closed forms ------------------------------------------------------------------------


def test_the_interval_is_students_over_rounds() -> None:
    """Rounds as blocks: the mean of the two visits' log ratios is one observation."""
    over, under = timing(3.1, 2.9, 3.3, 3.0, 2.8, 3.6), timing(2.1, 2.0, 1.9, 2.2, 2.0, 2.05)
    logs = np.log(bests(over)) - np.log(bests(under))
    x = logs.reshape(3, 2).mean(1)
    low, high = stats.t.interval(0.95, 2, loc=x.mean(), scale=stats.sem(x))
    ratio = paired_ratio(over, under)
    assert ratio.value == pytest.approx(math.exp(x.mean()))
    assert ratio.ci95 == pytest.approx((math.exp(low), math.exp(high)))
    assert ratio.pairs == 3


def test_a_linear_drift_cancels_within_a_round() -> None:
    """A B B A at times 0 1 2 3: log seconds grow with the position, whatever the slope."""
    for slope in (0.1, -0.3):
        a = timing(*(2 * math.exp(slope * (4 * r + p)) for r in range(3) for p in (0, 3)))
        b = timing(*(1.9 * math.exp(slope * (4 * r + p)) for r in range(3) for p in (1, 2)))
        ratio = paired_ratio(a, b)
        assert ratio.value == pytest.approx(2 / 1.9)
        assert ratio.ci95 == pytest.approx((2 / 1.9, 2 / 1.9))


def test_the_ratio_the_other_way_round_is_the_inverse() -> None:
    rng = np.random.default_rng(0)
    a = Timing(visits=tuple(tuple(v) for v in rng.uniform(1, 2, (6, 30))))
    b = Timing(visits=tuple(tuple(v) for v in rng.uniform(5, 9, (6, 6))))
    there, back = paired_ratio(a, b), paired_ratio(b, a)
    assert there.value == pytest.approx(1 / back.value)
    assert there.ci95 == pytest.approx((1 / back.ci95[1], 1 / back.ci95[0]))


def test_the_faster_one_is_judged_over_as_long_a_stretch() -> None:
    """Every third call of 1 is interrupted for 3; a call of 3 always meets one interruption."""
    slow, fast = (6.0,), (1.0, 1.0, 4.0) * 3
    found = paired_ratio(Timing(visits=(slow,) * 4), Timing(visits=(fast,) * 4))
    assert found.value == pytest.approx(3)  # 6 over 2, the mean of any three calls in a row
    assert slow[0] / min(fast) == 6


def test_a_stretch_that_starts_anywhere_is_found() -> None:
    fast = (9.0, 1.0, 1.5, 9.0)  # the best two in a row are neither the first nor the last
    found = paired_ratio(Timing(visits=((2.5,),) * 4), Timing(visits=(fast,) * 4))
    assert found.value == pytest.approx(2)


def test_a_visit_shorter_than_the_stretch_is_taken_whole() -> None:
    found = paired_ratio(timing(100, 100, 100, 100), Timing(visits=((1.0, 3.0),) * 4))
    assert found.value == pytest.approx(50)


@pytest.mark.parametrize(("over", "under"), [(2, 2), (3, 3), (4, 6), (5, 5)])
def test_visits_that_are_no_rounds_are_refused(over, under) -> None:
    with pytest.raises(ValueError, match="two visits in each of at least 2 rounds"):
        paired_ratio(timing(*[1.0] * over), timing(*[1.0] * under))


# --- ratios: simulated machines ------------------------------------------------------------------


class Machine:
    """A clock, and a processor that others use too: noise in bursts, and a drift.

    Another process comes after 0.3 s on average and stays for 20 slices on average. While it is
    there, it gets the processor for up to 8 ms after every 2 to 6 ms of ours, as a scheduler
    would have it. All work takes longer as the machine gets hotter, by 1 % a second.
    """

    def __init__(self, seed: int, stays: float = 0.95) -> None:
        self.rng = random.Random(seed)
        self.now, self.stays = 0.0, stays
        self.left = self.rng.expovariate(1 / 0.3)

    def run(self, work: float) -> float:
        """Seconds that so many undisturbed seconds of work take now."""
        begin = self.now
        while (need := work * (1 + 0.01 * self.now)) > self.left:
            work *= 1 - self.left / need
            self.now += self.left + self.rng.uniform(0.001, 0.008)
            stays = self.rng.random() < self.stays
            self.left = self.rng.uniform(0.002, 0.006) if stays else self.rng.expovariate(1 / 0.3)
        self.left -= need
        self.now += need
        return self.now - begin


def experiment(machine: Machine, over: float, under: float, rounds: int) -> tuple[Timing, Timing]:
    """Two variants of so much work, visited as `latency.alternate` does."""
    least = max(0.1, over, under)
    visits: tuple[list[tuple[float, ...]], list[tuple[float, ...]]] = ([], [])
    for r in range(rounds):
        order = (0, 1) if r % 2 == 0 else (1, 0)
        for which in order + order[::-1]:
            calls: list[float] = []
            end = machine.now + least
            while machine.now < end and len(calls) < 200:
                calls.append(machine.run((over, under)[which]))
            visits[which].append(tuple(calls))
    return Timing(visits=tuple(visits[0])), Timing(visits=tuple(visits[1]))


def study(over: float, under: float, rounds: int, n: int) -> tuple[float, float]:
    """Share of intervals that hold the truth, and the median of their half-widths (of logs)."""
    held, widths = 0, []
    for seed in range(n):
        low, high = paired_ratio(*experiment(Machine(seed), over, under, rounds)).ci95
        held += low <= over / under <= high
        widths.append(math.log(high / low) / 2)
    return held / n, float(np.median(widths))


@pytest.mark.parametrize(
    ("seconds", "rounds", "width"),
    [(0.01, 5, 0.25), (0.05, 3, 0.6), (0.05, 5, 0.3), (0.2, 5, 0.3)],
)
def test_a_code_against_itself_gives_an_interval_that_holds_1(seconds, rounds, width) -> None:
    coverage, found = study(seconds, seconds, rounds, EXPERIMENTS)
    assert coverage >= 0.93
    assert found < width  # an interval that holds everything says nothing


def test_a_difference_of_5_percent_is_in_the_interval() -> None:
    coverage, _ = study(1.05 * 0.05, 0.05, 5, EXPERIMENTS)
    assert coverage >= 0.93


@pytest.mark.parametrize("seconds", [0.002, 0.01])
def test_twenty_times_is_in_the_interval_and_best_calls_would_miss_it(seconds) -> None:
    """On a machine that another process never leaves, calls of 2 ms fit between its slices."""
    held = naive = 0
    n = 200
    for seed in range(n):
        over, under = experiment(Machine(seed, stays=1), 20 * seconds, seconds, 5)
        low, high = paired_ratio(over, under).ci95
        held += low <= 20 <= high
        low, high = paired_ratio(timing(*bests(over)), timing(*bests(under))).ci95
        naive += low <= 20 <= high
    assert held >= 0.9 * n
    assert naive <= 0.6 * n


# --- the line ------------------------------------------------------------------------------------


def test_a_line_through_points_on_a_line() -> None:
    fit = linear_fit([10, 50, 1000], [0.3, 1.1, 20.1])
    assert (fit.start, fit.slope, fit.r2) == pytest.approx((0.1, 0.02, 1))
    assert fit.residuals == pytest.approx((0, 0, 0), abs=1e-12)


def test_residuals_are_shares_of_what_was_measured() -> None:
    x, seconds = [1, 2, 3, 4], [1.0, 2.5, 2.5, 4.0]
    oracle = stats.linregress(x, seconds)
    fit = linear_fit(x, seconds)
    assert (fit.start, fit.slope) == pytest.approx((oracle.intercept, oracle.slope))
    assert fit.r2 == pytest.approx(oracle.rvalue**2)
    assert fit.residuals[1] == pytest.approx(1 - (fit.start + 2 * fit.slope) / 2.5)


@pytest.mark.parametrize("x", [[1, 2], [5, 5, 5]])
def test_a_line_that_anything_fits_is_refused(x) -> None:
    with pytest.raises(ValueError, match="at least 3 points at 2 places"):
        linear_fit(x, [1.0] * len(x))
