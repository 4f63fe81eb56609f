import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_samples import FD, IS, cell, failure, record
from scipy.stats import mannwhitneyu, trim_mean

from genbench.cli import main
from genbench.record import Record
from genbench.report import aggregate_table
from genbench.report.aggregate import aggregates, bootstrap, improvement, iqm
from genbench.report.several import Several
from genbench.spec import Cell, ConfigError
from genbench.store import Store

# --- statistics ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 8, 20])
def test_iqm_is_scipys_trimmed_mean_where_a_quarter_is_whole(n: int) -> None:
    values = np.random.default_rng(n).lognormal(size=(3, n))
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25, axis=-1))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 11])
def test_iqm_counts_edges_in_part(n: int) -> None:
    # four copies of each value: a quarter of them is whole, and half of the weight the same
    values = np.random.default_rng(n).lognormal(size=n)
    assert float(iqm(values)) == pytest.approx(float(trim_mean(np.repeat(values, 4), 0.25)))


def test_iqm_ignores_outliers_and_order() -> None:
    values = np.array([1e9, 3.0, 2.0, -1e9])
    assert float(iqm(values)) == 2.5
    assert float(iqm(values[::-1])) == 2.5


def test_bootstrap_covers_what_it_says_with_many_seeds() -> None:
    # two datasets of 20 seeds around the same normal: the IQM's expectation is its mean
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(400):
        strata = [rng.normal(3.0, 1.0, 20), rng.normal(3.0, 1.0, 20)]
        low, high = bootstrap(strata, reps=500, seed=trial)
        hits += low <= 3.0 <= high
    assert 0.90 <= hits / 400 <= 0.98


def test_bootstrap_stays_inside_its_strata() -> None:
    # each dataset is constant: resampling within it changes nothing, across it would
    assert bootstrap([np.full(5, 1.0), np.full(5, 9.0)], reps=200) == (5.0, 5.0)


def test_bootstrap_is_the_same_every_time() -> None:
    strata = [np.array([1.0, 2.0, 4.0])]
    assert bootstrap(strata) == bootstrap(strata)
    assert bootstrap(strata, reps=50, seed=1) != bootstrap(strata, reps=50, seed=2)


def test_improvement_is_mann_whitneys_u() -> None:
    rng = np.random.default_rng(0)
    mine = [rng.integers(0, 5, 7).astype(float), rng.integers(2, 6, 4).astype(float)]
    other = [rng.integers(0, 5, 6).astype(float), rng.integers(0, 6, 9).astype(float)]
    each = [
        mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(mine, other, strict=True)
    ]
    assert improvement(mine, other) == pytest.approx(sum(each) / 2)
    assert improvement(mine, other) + improvement(other, mine) == pytest.approx(1)


# --- models over datasets ------------------------------------------------------------------------

PLACES = {"digits": 10.0, "mnist": 1000.0}


def made(
    scores: dict[str, dict[str, list[float]]], metric=FD, anchors: dict[str, float] = PLACES
) -> tuple[list[Record], list[Cell]]:
    """Records of {model: {dataset: a value for each seed}}, and the Gaussian of each dataset."""
    records = []
    for place, anchor in anchors.items():
        own = metric.model_copy(update={"reference": f"{place}:train"})
        base = cell("gaussian", dataset=place, metrics=(own,))
        records.append(record(base, anchor, kind="reference"))
        for model, values in scores.items():
            for seed, value in enumerate(values.get(place, [])):
                c = cell(model, dataset=place, seed=seed, metrics=(own,))
                records.append(record(c, value))
    return records, [r.cell for r in records]


def test_scores_are_logarithms_against_the_reference_of_the_same_dataset() -> None:
    records, cells = made({"vae": {"digits": [5.0, 5.0], "mnist": [500.0, 500.0]}})
    (one,) = aggregates(records, cells)
    (vae,) = one.models
    assert [x.tolist() for x in vae.values] == [pytest.approx([math.log(2)] * 2)] * 2
    assert vae.iqm == pytest.approx(math.log(2))
    assert (one.name, one.header, one.places) == ("fd", "FD", ("digits", "mnist"))
    assert one.ids == ("fd@digits-cnn/digits:train/n360", "fd@digits-cnn/mnist:train/n360")


def test_higher_is_better_turns_the_ratio() -> None:
    records, cells = made({"vae": {"digits": [20.0, 20.0], "mnist": [2000.0, 2000.0]}}, IS)
    (one,) = aggregates(records, cells)
    assert one.models[0].iqm == pytest.approx(math.log(2))


def test_models_stand_in_order_with_ties_and_probabilities() -> None:
    scores = {
        "vae": {"digits": [5.0, 5.1, 5.2], "mnist": [500.0, 510.0, 520.0]},
        "dcgan": {"digits": [1.0, 1.1, 1.2], "mnist": [100.0, 110.0, 120.0]},
        "cgan": {"digits": [5.05, 5.15, 5.1], "mnist": [505.0, 515.0, 510.0]},
    }
    (one,) = aggregates(*made(scores))
    assert one.models[0].label == "dcgan"
    places = {m.label: m.rank for m in one.models}
    assert places["dcgan"] == (1, 1) and places["vae"] == places["cgan"] == (2, 3)
    best = one.models[0]
    assert best.better_than == {"vae": 1.0, "cgan": 1.0}
    assert best.ci95 is not None and best.ci95[0] < best.iqm < best.ci95[1]
    assert "fewer than 5 seeds" in " ".join(one.notes)


def test_a_model_that_lacks_a_dataset_or_a_seed_is_left_out_and_named() -> None:
    scores = {
        "vae": {"digits": [5.0, 5.1], "mnist": [500.0, 510.0]},
        "dcgan": {"digits": [1.0, 1.0]},
        "cgan": {"digits": [1.0, 1.1], "mnist": [1.0, 1.1]},
    }
    records, cells = made(scores)
    broken = next(
        i
        for i, r in enumerate(records)
        if (r.cell.sample.train.baseline, r.cell.sample.train.dataset) == ("cgan", "mnist")
    )
    records[broken] = record(records[broken].cell, status="failed", error=failure())
    (one,) = aggregates(records, cells)
    assert [m.label for m in one.models] == ["vae"]
    assert one.left_out == (
        "dcgan (mnist: no such row)",
        "cgan (mnist: 1 of 2 cells have a result)",
    )
    assert "dcgan (mnist: no such row)" in aggregate_table.render([one], "text")


def test_one_seed_has_neither_interval_nor_place() -> None:
    (one,) = aggregates(*made({"vae": {"digits": [5.0], "mnist": [500.0, 510.0]}}))
    assert one.models[0].ci95 is None and one.models[0].rank is None
    assert "neither interval nor place" in " ".join(one.notes)
    assert "not equally many" in " ".join(one.notes)


def test_values_without_a_logarithm_are_left_out() -> None:
    (one,) = aggregates(*made({"vae": {"digits": [5.0, -0.1], "mnist": [1.0, 1.0]}}))
    assert one.models == () and "no logarithm" in one.left_out[0]
    assert "No model has a number" in aggregate_table.render([one], "text")
    assert aggregate_table.render([one], "csv")
    assert aggregates(*made({}, anchors={"digits": 1.0, "mnist": -1.0})) == []


def test_settings_that_differ_between_datasets_are_told() -> None:
    cells = [
        cell("vae", dataset=d, seed=s, config={"width": w}, metrics=(FD,))
        for d, w in (("digits", 32), ("mnist", 64))
        for s in (0, 1)
    ]
    base = [cell("gaussian", dataset=d) for d in ("digits", "mnist")]
    records = [record(c, 1.0) for c in cells] + [record(c, 9.0, kind="reference") for c in base]
    (one,) = aggregates(records, None)
    assert [m.label for m in one.models] == ["vae"]
    assert "vae is not the same on every dataset: width." in one.notes


def test_one_dataset_needs_no_aggregate_and_a_reference_is_needed() -> None:
    scores = {"vae": {"digits": [5.0], "mnist": [500.0]}}
    records, cells = made(scores, anchors={"digits": 10.0})
    assert aggregates(records, cells) == []
    records, cells = made(scores)
    kept = [r for r in records if r.cell.sample.train.baseline != "gaussian"]
    assert aggregates(kept, None) == []
    with pytest.raises(ConfigError, match="did you mean 'gaussian'"):
        aggregates(records, cells, baseline="gausian")
    (one,) = aggregates(records, cells, baseline="vae")
    assert one.models[0].iqm == pytest.approx(0, abs=1e-12)


# --- folders -------------------------------------------------------------------------------------


def folders(root: Path) -> list[Path]:
    scores = {
        "vae": {"digits": [5.0, 5.1, 5.3], "mnist": [500.0, 510.0, 530.0]},
        "=dcgan|x": {"digits": [1.0, 1.1, 1.3], "mnist": [100.0, 110.0, 130.0]},
    }
    records, _ = made(scores)
    paths = []
    for place in PLACES:
        store = Store(root / place)
        mine = [r for r in records if r.cell.sample.train.dataset == place]
        store.put_plan(place, [r.cell for r in mine])
        for r in mine:
            store.put_record(r)
        paths.append(root / place)
    return paths


def test_several_folders_are_one_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, out = folders(tmp_path), tmp_path / "both"
    assert main(["report", *map(str, paths), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line in PLACES] == list(PLACES)
    assert "IQM (FD)" in text
    for ending in ("txt", "md", "csv", "tex"):
        assert (out / f"leaderboard.{ending}").exists()
        assert "vae" in (out / f"aggregate.{ending}").read_text("utf-8")
    table = pd.read_csv(out / "aggregate.csv")
    assert (
        table["iqm"].tolist()[0]
        > table["iqm"].tolist()[1]
        == pytest.approx(math.log(10 / 5.1), abs=0.03)
    )
    assert table["model"].tolist()[0] == "'=dcgan|x"  # no formula
    assert r"=dcgan\|x" in (out / "aggregate.md").read_text("utf-8")
    assert not (paths[0] / "aggregate.csv").exists()


def test_several_folders_need_a_place_to_write_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = folders(tmp_path)
    assert main(["report", *map(str, paths)]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["report"]) == 2
    out = str(tmp_path / "o")
    assert main(["report", *map(str, paths), "--out", out, "--baseline-row", "vea"]) == 2
    assert "did you mean 'vae'" in capsys.readouterr().err


def test_a_record_that_ran_comes_before_one_that_failed(tmp_path: Path) -> None:
    c = cell("vae")
    bad, good = Store(tmp_path / "a"), Store(tmp_path / "b")
    bad.put_record(record(c, status="failed", error=failure()))
    good.put_record(record(c, 1.0))
    good.put_plan("s", [c])
    for parts in ([bad, good], [good, bad]):
        both = Several(parts)
        assert [r.status for r in both.records()] == ["ok"]
        found = both.record(c.key)
        assert found is not None and found.status == "ok"
        assert both.plan() == ("s", [c])
