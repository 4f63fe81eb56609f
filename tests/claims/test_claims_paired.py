"""Verdicts in closed form: t quantiles by hand, ties, ratios, chains, missing seeds."""

import math

import pytest

from genbench.claims.expectation import parse
from genbench.claims.paired import compared, together

T2 = 4.302652729911275  # Student's t with 2 degrees of freedom at 95 %
ROWS = ("a", "b", "c")


def by_seed(*values):
    return dict(enumerate(values))


def judged(text, **rows):
    (one,) = parse(text, ROWS)
    return compared(one, {name: by_seed(*v) for name, v in rows.items()})


def test_the_interval_is_students_over_paired_differences():
    found = judged("a < b", a=(1, 2, 3), b=(2, 4, 6))
    stderr = 1 / math.sqrt(3)
    assert found.estimate == pytest.approx(2) and found.form == "difference"
    assert found.ci95 == pytest.approx((2 - T2 * stderr, 2 + T2 * stderr))
    assert found.seeds == (0, 1, 2) and found.verdict == "INCONCLUSIVE" and found.reason == ""


def test_pairs_decide_what_means_do_not():
    """Each seed moves both rows by far more than the gap, which is nearly constant."""
    wide = {"a": (10, 20, 30), "b": (11, 21.1, 31)}
    assert judged("a < b", **wide).verdict == "REPRODUCED"
    assert judged("a > b", **wide).verdict == "NOT REPRODUCED"
    crossed = {"a": (10, 20, 30), "b": (21.1, 31, 11)}
    assert judged("a < b", **crossed).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize("shift", [1e-6, -1e-6])
def test_the_side_of_the_interval_decides(shift):
    """Differences 2, 3, 4 less the half-width: one end at 0, then just above and below it."""
    half = T2 / math.sqrt(3)
    gaps = [3 - 1 + shift, 3 + shift, 3 + 1 + shift]
    b = [g - 3 + half for g in gaps]
    up = judged("a < b", a=(0, 0, 0), b=b)
    assert up.verdict == ("REPRODUCED" if shift > 0 else "INCONCLUSIVE")
    down = judged("a < b", a=b, b=(0, 0, 0))
    assert down.verdict == ("NOT REPRODUCED" if shift > 0 else "INCONCLUSIVE")


def test_a_tie_is_no_verdict():
    found = judged("a < b", a=(1, 1, 1), b=(1, 1, 1))
    assert (found.verdict, found.estimate, found.ci95) == ("INCONCLUSIVE", 0, (0, 0))
    assert judged("a < b", a=(1, 1, 1), b=(2, 2, 2)).verdict == "REPRODUCED"
    assert judged("a < 2 * b", a=(2, 2, 2), b=(1, 1, 1)).verdict == "INCONCLUSIVE"


def test_ratios_are_geometric_and_read_as_the_claim_does():
    found = judged("a < 2 * b", a=(1, 2, 4), b=(1, 1, 1))
    assert found.estimate == pytest.approx(2) and (found.factor, found.side) == (2, "below")
    spread = math.log(2) / math.sqrt(3)
    low, high = 2 * math.exp(-T2 * spread), 2 * math.exp(T2 * spread)
    assert found.ci95 == pytest.approx((low, high)) and found.form == "ratio"
    turned = judged("2 * b > a", a=(1, 2, 4), b=(1, 1, 1))
    assert turned.ci95 == pytest.approx((low, high)) and turned.side == "below"


@pytest.mark.parametrize(
    ("text", "verdict", "side"),
    [
        ("b > 100 * a", "REPRODUCED", "above"),
        ("100 * a < b", "REPRODUCED", "above"),
        ("b > 300 * a", "NOT REPRODUCED", "above"),
        ("b < 300 * a", "REPRODUCED", "below"),
        ("b < 100 * a", "NOT REPRODUCED", "below"),
        ("b > 200 * a", "INCONCLUSIVE", "above"),
    ],
)
def test_a_factor_is_held_against_the_interval_of_the_ratio(text, verdict, side):
    found = judged(text, a=(1, 1, 1), b=(195, 200, 206))
    assert (found.verdict, found.side) == (verdict, side)
    assert found.estimate == pytest.approx((195 * 200 * 206) ** (1 / 3))
    assert found.ci95[0] < found.estimate < found.ci95[1]


def test_a_row_against_a_number():
    assert judged("a < 1", a=(0.5, 0.51, 0.52)).verdict == "REPRODUCED"
    assert judged("a > 1", a=(0.5, 0.51, 0.52)).verdict == "NOT REPRODUCED"
    assert judged("a < 1", a=(0.9, 1.0, 0.95)).verdict == "INCONCLUSIVE"
    assert judged("a < 1", a=(0.5, 0.51, 0.52)).estimate == pytest.approx(0.49)


def test_two_seeds_are_too_few_whatever_they_say():
    found = judged("a < b", a=(1, 1), b=(5, 5))
    assert found.verdict == "INCONCLUSIVE" and found.ci95 == (4, 4)
    assert found.reason.startswith("2 training seeds, a verdict needs 3")
    one = judged("a < b", a=(1,), b=(5,))
    assert (one.verdict, one.ci95, one.estimate) == ("INCONCLUSIVE", None, 4)
    assert one.reason.startswith("1 training seed, ")


def test_only_seeds_that_both_rows_have_are_paired():
    (one,) = parse("a < b", ROWS)
    values = {"a": {0: 1.0, 1: 1.0, 2: 1.0, 7: 99.0}, "b": {2: 3.0, 1: 2.5, 0: 2.0, 5: 0.0}}
    found = compared(one, values)
    assert found.seeds == (0, 1, 2) and found.estimate == pytest.approx(1.5)
    assert (
        compared(one, {"a": {0: 1.0}, "b": {1: 1.0}}).reason == "no training seed has both sides"
    )
    assert compared(one, {}).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("text", "a", "said"),
    [
        ("a < b", (math.nan, 1, 1), "no numbers"),
        ("a < b", (math.inf, 1, 1), "no numbers"),
        ("a < 2 * b", (0, 1, 1), "not above 0"),
        ("a < 2 * b", (-1, 1, 1), "not above 0"),
    ],
)
def test_values_that_no_interval_can_hold(text, a, said):
    found = judged(text, a=a, b=(1, 1, 1))
    assert found.verdict == "INCONCLUSIVE" and said in found.reason and found.estimate is None


def test_exact_counts_need_one_seed_and_no_interval():
    (less,) = parse("a < b", ROWS)
    for b, verdict in ((2, "REPRODUCED"), (1, "NOT REPRODUCED"), (0.5, "NOT REPRODUCED")):
        found = compared(less, {"a": {0: 1}, "b": {0: b}}, exact=True)
        assert (found.verdict, found.ci95) == (verdict, None)
    twice = parse("1.9 * a < b < 2.1 * a", ROWS)
    links = [compared(c, {"a": {0: 50}, "b": {0: 100}}, exact=True, links=2) for c in twice]
    assert together(links) == "REPRODUCED" and links[0].estimate == pytest.approx(2)
    mixed = compared(less, {"a": {0: 1, 1: 1}, "b": {0: 2, 1: 0}}, exact=True)
    assert mixed.verdict == "INCONCLUSIVE" and "differ between seeds" in mixed.reason


def chain(text, **rows):
    found = parse(text, ROWS)
    values = {name: by_seed(*v) for name, v in rows.items()}
    return [compared(c, values, links=len(found)) for c in found]


def test_a_chain_needs_all_of_its_links():
    rows = {"a": (1, 1.1, 1), "b": (2, 2, 2.1), "c": (3, 3.1, 3)}
    assert together(chain("a < b < c", **rows)) == "REPRODUCED"
    assert together(chain("a < c < b", **rows)) == "NOT REPRODUCED"
    assert together(chain("c > a < b", **rows)) == "REPRODUCED"  # a valley
    assert together(chain("a < b < c", **{**rows, "c": (1, 3, 3)})) == "INCONCLUSIVE"


def test_that_a_link_fails_is_told_at_95_percent_over_all_links():
    """A gap of -1 with an interval that excludes 0 at 95 %, but not at 97.5 %: t(2) = 6.205."""
    gaps = [-1 - d for d in (-1, 0, 1)]
    scale = 5.2 / math.sqrt(3)  # -1 / stderr = -5.2, between 4.303 and 6.205
    b = [-1 + (g + 1) / scale for g in gaps]
    a = (0, 0, 0)
    alone, = chain("a < b", a=a, b=b)  # fmt: skip
    assert alone.verdict == "NOT REPRODUCED" and alone.ci95[1] < 0
    first, second = chain("a < b > c", a=a, b=b, c=[x - 1 for x in b])
    assert (first.verdict, second.verdict) == ("INCONCLUSIVE", "REPRODUCED")
    assert first.ci95 == alone.ci95
