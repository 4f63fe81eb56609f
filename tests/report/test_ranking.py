import itertools
import math
from typing import Any

import pytest
from report_samples import FD, IS, cell, failure, record

from genbench.report import frame, render
from genbench.report.ranking import Rank, grouped, interval, ranks, shown

FD_ID, IS_ID = FD.id, IS.id


def places(table: Any, metric: str = FD_ID) -> list[tuple[int, int] | None]:
    ends = zip(table[f"{metric} rank low"], table[f"{metric} rank high"], strict=True)
    return [None if a is table[f"{metric} rank low"].dtype.na_value else (a, b) for a, b in ends]


# --- the rule ------------------------------------------------------------------------------------


def test_separate_intervals_are_places_in_order() -> None:
    ends = [(5.0, 6.0), (1.0, 2.0), (3.0, 4.0)]
    assert ranks(ends, "lower") == [Rank(3, 3), Rank(1, 1), Rank(2, 2)]
    assert ranks(ends, "higher") == [Rank(1, 1), Rank(3, 3), Rank(2, 2)]


def test_overlap_is_not_transitive_and_ranges_show_it() -> None:
    # a overlaps b, b overlaps c, a is clearly better than c
    assert ranks([(0, 2), (1, 4), (3, 5)], "lower") == [Rank(1, 2), Rank(1, 3), Rank(2, 3)]


def test_touching_intervals_overlap_and_equal_points_tie() -> None:
    assert ranks([(0, 1), (1, 2)], "lower") == [Rank(1, 2), Rank(1, 2)]
    assert ranks([(1, 1), (1, 1), (2, 2)], "lower") == [Rank(1, 2), Rank(1, 2), Rank(3, 3)]


def test_rows_without_a_value_have_no_place_and_take_none() -> None:
    assert ranks([None, (1, 2), None, (3, 4)], "lower") == [None, Rank(1, 1), None, Rank(2, 2)]
    assert ranks([], "lower") == []


def test_clearly_better_rows_never_stand_behind() -> None:
    ends = [(a, a + w) for a, w in itertools.product((0, 1, 2.5, 4), (0, 1, 3))]
    found = ranks(ends, "lower")
    for (a, mine), (b, other) in itertools.product(zip(ends, found, strict=True), repeat=2):
        assert mine is not None and other is not None and 1 <= mine.low <= mine.high <= len(ends)
        if a[1] < b[0]:
            assert mine.low < other.low and mine.high < other.high


def test_groups_do_not_meet() -> None:
    ends = [(1, 1), (2, 2), (3, 3), (4, 4)]
    found = grouped(ends, ["x", "y", "x", "y"], "lower")
    assert found == [Rank(1, 1), Rank(1, 1), Rank(2, 2), Rank(2, 2)]


def test_a_value_without_an_interval_is_a_point() -> None:
    assert interval(2.0, None) == (2.0, 2.0)
    assert interval(2.0, (1.0, math.inf)) == (2.0, 2.0)
    assert interval(2.0, (1.0, 3.0)) == (1.0, 3.0)
    assert interval(math.nan, (1.0, 3.0)) is None


def test_people_read_a_place_or_a_range() -> None:
    assert [shown(r) for r in (Rank(2, 2), Rank(2, 4), None)] == ["2", "2–4", "–"]


# --- in the leaderboard --------------------------------------------------------------------------


def test_every_metric_ranks_in_its_own_direction() -> None:
    names, values = ("dcgan", "vae", "ddpm"), ((1.0, 9.0), (5.0, 5.0), (5.5, 1.0))
    cells = [cell(n, metrics=(FD, IS)) for n in names]
    table = frame([record(c, *v) for c, v in zip(cells, values, strict=True)], cells)
    assert places(table) == [(1, 1), (2, 3), (2, 3)]  # ± 1: 5 and 5.5 overlap
    assert places(table, IS_ID) == [(1, 1), (2, 2), (3, 3)]
    text = render(table, "text")
    assert [line.split()[2] for line in text.splitlines()[:4]] == ["rank", "1", "2–3", "2–3"]
    assert "rank: by FD (digits-cnn)" in text
    assert ",1,1," in render(table, "csv") and "2--3" in render(table, "latex")


def test_references_failures_and_missing_cells_are_listed_without_a_place() -> None:
    cells = [cell(n) for n in ("dcgan", "vae", "cgan", "ddpm", "real")]
    records = [record(cells[0], 1.0), record(cells[1], 9.0), record(cells[4], 0.1)]
    records.append(record(cells[2], 0.5, status="failed", error=failure()))
    table = frame(records, cells)
    found = dict(zip(table["model"], places(table), strict=True))
    assert found == {"dcgan": (1, 1), "vae": (2, 2), "cgan": None, "ddpm": None, "real": None}


def test_a_row_that_lost_a_seed_has_no_place() -> None:
    cells = [cell(n, seed=s) for n in ("dcgan", "vae", "ddpm") for s in (0, 1)]
    records = [record(c, float(i)) for i, c in enumerate(cells)]
    records[0] = record(cells[0], status="failed", error=failure())
    table = frame(records, cells)
    assert places(table)[0] is None
    assert [p is None for p in places(table)] == [True, False, False]


def test_datasets_are_ranked_apart() -> None:
    cells = [cell(n, dataset=d) for n in ("dcgan", "vae") for d in ("digits", "mnist")]
    values = (1.0, 50.0, 9.0, 90.0)
    table = frame([record(c, v) for c, v in zip(cells, values, strict=True)], cells)
    found = dict(zip(table["model"], places(table), strict=True))
    assert found == {
        "dcgan on digits": (1, 1),
        "dcgan on mnist": (1, 1),
        "vae on digits": (2, 2),
        "vae on mnist": (2, 2),
    }


def test_one_row_needs_no_column_of_places() -> None:
    text = render(frame([record(cell("dcgan"), 1.0)]), "text")
    assert "rank" not in text.split("\n")[0] and "rank:" not in text


def test_rows_of_one_training_are_told_to_be_uncertain() -> None:
    once = [cell(n) for n in ("dcgan", "vae")]
    text = render(frame([record(c, 1.0) for c in once]), "text")
    assert "with one training seed are over samples alone" in text
    twice = [cell(n, seed=s) for n in ("dcgan", "vae") for s in (0, 1)]
    text = render(frame([record(c, 1.0 + c.sample.train.seed) for c in twice]), "text")
    assert "rank:" in text and "one training seed" not in text


@pytest.mark.parametrize("name", ["unheard_of"])
def test_a_metric_of_unknown_direction_ranks_nothing(name: str) -> None:
    odd = FD.model_copy(update={"name": name})
    cells = [cell(n, metrics=(odd,)) for n in ("dcgan", "vae")]
    table = frame([record(c, float(i)) for i, c in enumerate(cells)], cells)
    assert places(table, odd.id) == [None, None]
