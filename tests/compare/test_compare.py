import csv
import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from report_samples import FD, IS, cell, failure, record

from genbench import compare
from genbench.cli import main
from genbench.compare.marks import change, mark
from genbench.record import Counters, Environment, Record, Timings
from genbench.report.rows import Value
from genbench.spec import ConfigError, MetricSpec
from genbench.stats import mean_interval
from genbench.store import Store

HOSTILE = "x|y \x1b[31mred\x1b[0m `c` $d$ <script>alert(1)</script> \\input{z}\nnext\u202e"


def row(name: str, *values: float, half: float = 0.01, **fields: Any) -> list[Record]:
    """A record for each value, which are training seeds."""
    return [record(cell(name, seed=s, **fields), v, half=half) for s, v in enumerate(values)]


def found(old: list[Record], new: list[Record], **options: Any) -> compare.Comparison:
    return compare.compare((old, None), (new, None), **options)


def marks(old: list[Record], new: list[Record], **options: Any) -> list[str]:
    result = found(old, new, **options)
    return [f.mark for f in result.findings if f.metric != "ms_per_image"]


def only(old: list[Record], new: list[Record], **options: Any) -> compare.Finding:
    (finding,) = [f for f in found(old, new, **options).findings if f.metric != "ms_per_image"]
    return finding


# --- statistics ----------------------------------------------------------------------------------


def value(*values: float, half: float = 1.0) -> Value:
    if len(values) == 1:
        return Value(values[0], (values[0] - half, values[0] + half), "")
    mean, _, ci95 = mean_interval(values)
    return Value(mean, ci95, "")


def test_over_seeds_it_is_scipys_t_test_of_logarithms() -> None:
    old, new = (4.0, 4.2, 4.1, 4.4), (4.5, 4.9, 4.6)
    peer = stats.ttest_ind([math.log(v) for v in new], [math.log(v) for v in old])
    got = change(value(*old), value(*new), old, new)
    ends = peer.confidence_interval(0.95)
    assert got.ci95 == pytest.approx((math.exp(ends.low), math.exp(ends.high)))
    assert got.ratio == pytest.approx(stats.gmean(new) / stats.gmean(old))
    assert got.real is bool(peer.pvalue < 0.05)
    assert got.up


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_real_is_a_p_value_below_5_percent(shift: float) -> None:
    old = (-0.1, 0.1, 0.05)  # no logarithm: the values themselves
    new = (shift - 0.02, shift + 0.1, shift + 0.05)
    got = change(value(*old), value(*new), old, new)
    assert got.ratio is None and got.ci95 is None
    assert got.real is bool(stats.ttest_ind(new, old).pvalue < 0.05)


def test_one_seed_is_judged_by_intervals() -> None:
    near = change(value(10.0), value(11.9), [10.0], [11.9])
    far = change(value(10.0), value(12.1), [10.0], [12.1])
    assert (near.real, far.real) == (False, True)
    assert near.ratio == pytest.approx(1.19)
    half = math.hypot(1 / 10, 1 / 11.9)
    assert near.ci95 == pytest.approx((1.19 * math.exp(-half), 1.19 * math.exp(half)))
    bare = change(Value(1.0, None, ""), Value(2.0, None, ""), [1.0], [2.0])
    assert (bare.real, bare.ci95, bare.ratio) == (None, None, 2.0)


def test_marks_by_direction_size_and_chance() -> None:
    def told(new: float, better: Any, half: float = 0.1) -> str:
        got = change(value(10.0, half=half), value(new, half=half), [10.0], [new])
        return mark(got, better, 1.05)

    assert (told(12, "lower"), told(12, "higher")) == ("-", "+")
    assert (told(8, "lower"), told(8, "higher")) == ("+", "-")
    assert told(12, "lower", half=5.0) == "~"
    assert told(12, None) == "~"
    assert told(10.4, "lower") == " " == told(9.6, "lower")
    assert told(10.6, "lower") == "-" and told(9.4, "lower") == "+"


# --- findings ------------------------------------------------------------------------------------


def test_each_mark_over_seeds() -> None:
    old = row("vae", 10.0, 10.1, 9.9)
    assert marks(old, row("vae", 12.0, 12.1, 11.9)) == ["-"]
    assert marks(old, row("vae", 8.0, 8.1, 7.9)) == ["+"]
    assert marks(old, row("vae", 10.2, 10.3, 10.1)) == [" "]
    assert marks(old, row("vae", 9.0, 12.5, 12.0)) == ["~"]
    assert marks(old, row("vae", 12.0, 12.1, 11.9), factor=1.5) == [" "]


def test_sampling_seeds_are_no_repetitions_of_training() -> None:
    def twice(*pairs: tuple[float, float]) -> list[Record]:
        return [
            record(cell("vae", seed=s, sample_seed=t), v, half=0.01)
            for s, pair in enumerate(pairs)
            for t, v in enumerate(pair)
        ]

    finding = only(twice((10, 12), (11, 13)), twice((20, 22), (21, 23)))
    # means of trainings: 11, 12 against 21, 22
    assert finding.ratio == pytest.approx(math.sqrt(21 * 22 / 11 / 12))


def test_failures_and_repairs() -> None:
    good, seeds = row("vae", 10.0, 10.1), [cell("vae", seed=s) for s in (0, 1)]
    half_broken = [good[0], record(seeds[1], status="failed", error=failure("loss is nan"))]
    broken = [record(c, status="timeout", error=failure()) for c in seeds]
    now = only(good, half_broken)
    assert now.mark == "!" and "1 of 2 cells: train: RuntimeError: loss is nan" in now.reason
    assert only(good, broken).mark == "!"
    assert only(half_broken, good).mark == "*" == only(broken, good).mark
    assert only(broken, broken).mark == "x"


def test_a_planned_cell_that_did_not_run_is_not_compared() -> None:
    good = row("vae", 10.0)
    plan = [r.cell for r in good]
    result = compare.compare((good, plan), ([], plan))
    assert [f.mark for f in result.findings] == ["x"]
    assert "newer side has no value: not run yet" in result.findings[0].reason
    assert not result.comparable


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"images": 90_000}, "budget images 60000 -> 90000"),
        ({"dataset": "mnist"}, "dataset digits -> mnist"),
        ({"sample_seed": 1}, "sampling seed 0 -> 1"),
        ({"options": {"clip_x0": True}}, "option clip_x0 none -> true"),
    ],
)
def test_another_protocol_is_not_compared(fields: dict[str, Any], reason: str) -> None:
    finding = only(row("vae", 10.0), row("vae", 99.0, **fields))
    assert finding.mark == "x" and finding.ratio is None
    assert finding.reason == reason


def test_other_data_under_the_same_name_is_not_compared() -> None:
    def hashed(value: str) -> list[Record]:
        place = Environment(hashes={"digits:train": value * 16})
        return [record(cell("vae"), 10.0, environment=place)]

    finding = only(hashed("1a2b"), hashed("3c4d"))
    assert finding.mark == "x"
    assert finding.reason == "data train 1a2b1a2b1a2b -> 3c4d3c4d3c4d"


@pytest.mark.parametrize(
    "change", [{"weights": "cd34" * 16}, {"reference": "digits:test"}, {"extractor": "other"}]
)
def test_another_metric_is_not_compared(change: dict[str, Any]) -> None:
    other = FD.model_copy(update=change)
    (finding,) = [
        f
        for f in found(row("vae", 1.0), row("vae", 2.0, metrics=(other,))).findings
        if f.metric != "ms_per_image"
    ]
    assert finding.mark == "x" and finding.reason
    assert finding.old is not None and finding.new is not None


def test_a_metric_of_one_side_is_told() -> None:
    both = [record(cell("vae", metrics=(FD, IS)), 1.0, 2.0)]
    result = found(row("vae", 1.0), both)
    told = {f.metric: (f.mark, f.reason) for f in result.findings}
    assert told[IS.id] == ("x", "only the newer side has this metric")
    assert told[FD.id][0] == " "


def test_settings_and_versions_are_what_is_compared() -> None:
    old = [record(cell("vae", config={"lr": 0.1}), 10.0, half=0.01)]
    place = Environment(packages={"torch": "9.0"}, machine={"processor": "Test CPU"}, threads=1)
    new = [record(cell("vae", config={"lr": 0.2}), 20.0, half=0.01, environment=place)]
    finding = only(old, new)
    assert finding.mark == "-"
    assert finding.changed == ("lr 0.1 -> 0.2", "torch 2.15.0 -> 9.0")


def test_what_changed_in_every_row_is_told_once() -> None:
    place = Environment(packages={"torch": "9.0"}, machine={"processor": "Test CPU"}, threads=1)
    old = [record(cell(n, config={"lr": 0.1}), 1.0) for n in ("vae", "dcgan")]
    new = [
        record(cell("vae", config={"lr": 0.1}), 1.0, environment=place),
        record(cell("dcgan", config={"lr": 0.2}), 1.0, environment=place),
    ]
    result = found(old, new)
    assert result.everywhere == ("torch 2.15.0 -> 9.0",)
    assert {f.model: f.changed for f in result.findings} == {
        "vae": (),
        "dcgan": ("lr 0.1 -> 0.2",),
    }


def test_counters_that_changed_are_told() -> None:
    new = [record(cell("vae"), 1.0, counters=Counters(nfe=5, params=123_456))]
    assert "nfe 1 -> 5" in only(row("vae", 1.0), new).changed


def test_latency_is_shown_and_never_judged() -> None:
    slow = [record(cell("vae"), 1.0, timings=Timings(ms_per_image=50.0))]
    finding = found(row("vae", 1.0), slow).findings[-1]
    assert (finding.metric, finding.mark, finding.ratio) == ("ms_per_image", " ", 100.0)
    assert "not judged" in finding.reason


def test_a_reference_that_moved_is_told() -> None:
    finding = only(row("real", 1.0), row("real", 1.01))
    assert finding.mark == " " and "the measuring itself changed" in finding.reason


def test_rows_of_one_side_are_listed() -> None:
    result = found(row("vae", 1.0) + row("dcgan", 1.0), row("vae", 1.0) + row("cgan", 1.0))
    assert (result.only_old, result.only_new) == (("dcgan",), ("cgan",))
    text = compare.render(result, "text")
    assert "Only in the older folder: dcgan." in text
    assert "Only in the newer folder: cgan." in text


def test_metrics_are_chosen_by_name_or_id() -> None:
    records = [record(cell("vae", metrics=(FD, IS)), 1.0, 2.0)]
    for name in ("is", IS.id):
        told = [f.metric for f in found(records, records, metrics=[name]).findings]
        assert told == [IS.id, "ms_per_image"]
    with pytest.raises(ConfigError, match="did you mean 'fd'"):
        found(records, records, metrics=["fdd"])
    for factor in (0.9, math.nan, math.inf):
        with pytest.raises(ConfigError, match="from 1 on"):
            found(records, records, factor=factor)


# --- the command ---------------------------------------------------------------------------------


def folder(path: Path, records: list[Record]) -> str:
    store = Store(path)
    store.put_plan("s", [r.cell for r in records])
    for r in records:
        store.put_record(r)
    return str(path)


def test_the_command_informs_and_exits_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = folder(tmp_path / "a", row("vae", 10.0, 10.1, 9.9) + row("dcgan", 5.0))
    new = folder(tmp_path / "b", row("vae", 20.0, 20.1, 19.9) + row("dcgan", 5.0))
    assert main(["compare", old, new, "--metric", "fd"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("-")] == [["-", "vae"]]
    assert main(["compare", old, new, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    first = next(r for r in content["rows"] if r["model"] == "vae")
    assert first["mark"] == "-" and first["metric"] == FD.id
    assert first["old"] == pytest.approx(10.0) and first["new"] == pytest.approx(20.0)
    low, high = first["ci95"]
    assert first["ratio"] == pytest.approx(2.0, rel=1e-3)
    assert low < first["ratio"] < high
    assert main(["compare", old, new, "--factor", "3"]) == 0
    assert "\n-" not in capsys.readouterr().out
    assert main(["compare", old, new, "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["mark"] for r in table if r["metric"] == FD.id] == ["same", "worse"]


def test_nothing_comparable_is_5_and_bad_folders_are_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = folder(tmp_path / "a", row("vae", 10.0))
    other = folder(tmp_path / "b", row("dcgan", 10.0))
    unlike = folder(tmp_path / "c", row("vae", 10.0, images=9))
    assert main(["compare", old, other]) == 5
    assert "No row is in both folders." in capsys.readouterr().out
    assert main(["compare", old, unlike]) == 5
    assert "budget images 60000 -> 9" in capsys.readouterr().out
    assert main(["compare", old, str(tmp_path / "none")]) == 2
    assert "holds no records" in capsys.readouterr().err
    assert main(["compare", old, old, "--metric", "fdd"]) == 2
    assert main(["compare", old, old, "--factor", "0.5"]) == 2


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_hostile_names_are_inert(fmt: Any) -> None:
    odd = MetricSpec(name=HOSTILE, extractor="=1+1", n=360)
    cells = [
        cell(f"=cmd()|{HOSTILE}", config={"a": v}, options={HOSTILE: o}, metrics=(FD, odd))
        for v, o in ((HOSTILE, 1), ("b", 1))
    ]
    old = [record(cells[0], 1.0, 2.0)]
    new = [record(cells[1], 1.0, status="failed", error=failure(HOSTILE))]
    result = found(old, new)
    text = compare.render(result, fmt)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[31m" not in text
    if fmt == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(r) for r in rows}) == 1
        assert not any(c[:1] in "=+-@" for r in rows for c in r if c and not _number(c))
    if fmt == "markdown":
        assert "<script>" not in text.replace("\\<", "")
    if fmt == "latex":
        assert "\\input{" not in text
    json.dumps(compare.as_json(result), allow_nan=False)


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
