"""`genbench speed` from the command line: what it prints, keeps, finds again and refuses."""

import json

import pytest
from toys import genbench, suite_file

from genbench.speed.result import SpeedResult

SMALL = 'baseline = "ddpm"\nconfig = { T = 50, hidden = 16, depth = 1 }'
GRID = ("steps=50,5", "samplers=ddpm,ddim", "rounds=2", "batches=1,2", "--threads", "1")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A measurement of a small model, as JSON."""
    folder = tmp_path_factory.mktemp("speed")
    path = suite_file(folder, [SMALL])
    out = folder / "runs" / "one"
    done = genbench("speed", "ddpm", f"suite={path}", *GRID, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    return path, out, done


def test_json_has_a_row_for_every_way_to_sample(ran):
    answer = json.loads(ran[2].stdout)
    rows = answer["rows"]
    found = [(r["sampler"], r["steps"], r["eta"], r["nfe"], r["reference"]) for r in rows]
    assert found == [
        ("ddpm", 50, 1.0, 50, True),
        ("ddpm", 5, 1.0, 5, False),
        ("ddim", 50, 0.0, 50, False),
        ("ddim", 5, 0.0, 5, False),
    ]
    for row in rows:
        assert row["spacing"] == "trailing"
        assert row["images_per_second"] == pytest.approx(1000 / row["ms_per_image"])
        assert row["speedup_ci95"][0] <= row["speedup"] <= row["speedup_ci95"][1]
        assert row["nfe_ratio"] == 50 / row["nfe"]
        assert set(row["scores"]) == {"fd@digits-cnn/digits:train/n32", "is@digits-cnn/n32"}
        assert row["stages"].keys() == {"net", "rest"}
        assert row["peak_bytes"] > 0
    assert rows[0]["speedup"] == 1.0
    assert answer["environment"]["threads"] == 1
    assert "torch" in answer["environment"]["packages"]
    assert answer["control"]["pairs"] == 2


def test_fewer_evaluations_take_less_time(ran):
    rows = json.loads(ran[2].stdout)["rows"]
    assert rows[1]["speedup"] > 2 and rows[3]["speedup"] > 2  # 10 times fewer evaluations


def test_everything_raw_is_kept(ran):
    _, out, _ = ran
    result = SpeedResult.model_validate_json((out / "speed.json").read_text())
    for row in result.rows:
        for size, timing in row.timings.items():
            assert timing.batch == int(size) and len(timing.visits) == 4
            assert timing.minimum <= timing.median <= timing.p95
    assert set(result.sweep) == {"1", "2"}
    for name in ("speed.txt", "speed.md", "speed.csv", "speed.tex", "speed-quality.png"):
        assert (out / name).stat().st_size > 200, name


def test_the_same_command_times_and_scores_nothing_again(ran):
    path, out, first = ran
    before = {p: p.stat().st_mtime_ns for p in out.glob("artifacts/*/*.safetensors")}
    again = genbench("speed", "ddpm", f"suite={path}", *GRID, "--out", out, "--json")
    assert again.returncode == 0, again.stderr
    assert before == {p: p.stat().st_mtime_ns for p in out.glob("artifacts/*/*.safetensors")}
    strip = ("finished",)
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert {k: v for k, v in one.items() if k not in strip} == {
        k: v for k, v in two.items() if k not in strip
    }


def test_more_rounds_go_on_from_those_that_are_there(ran):
    path, out, first = ran
    more = [a.replace("rounds=2", "rounds=3") for a in GRID]
    done = genbench("speed", "ddpm", f"suite={path}", *more, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    old, new = (json.loads(r.stdout)["rows"] for r in (first, done))
    for a, b in zip(old, new, strict=True):
        for size, timing in a["timings"].items():
            kept = b["timings"][size]["visits"]
            assert kept[: len(timing["visits"])] == timing["visits"] and len(kept) == 6


def test_a_run_and_its_weights_are_targets(ran):
    _, out, _ = ran
    weights = next((out / "artifacts" / "train").glob("*.safetensors"))
    grid = [a.replace("steps=50,5", "steps=5") for a in GRID]
    for number, target in enumerate((out, f"{out}#ddpm", weights)):
        mine = out.parent / f"target{number}"
        done = genbench("speed", target, *grid, "quality=false", "--out", mine)
        assert done.returncode == 0, done.stderr
        assert f"trained weights found in {out}" in done.stderr
        for word in ("ddpm", "ddim", "speed-up", "Control:", "Machine:"):
            assert word in done.stdout
        assert "FD (digits-cnn)" not in done.stdout


def test_a_family_with_one_way_to_sample_has_one_row(tmp_path):
    path = suite_file(tmp_path, ['baseline = "vae"'])
    done = genbench(
        "speed", "vae", f"suite={path}", "rounds=2", "batches=1,8", "--out", tmp_path / "o",
        "--json", "--threads", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["sampler"], row["steps"], row["nfe"], row["speedup"]) == (None, 1, 1, None)
    assert row["ms_per_image"] > 0 and row["scores"]


def test_weights_that_are_gone_are_named(ran, tmp_path):
    _, out, _ = ran
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "records").symlink_to(out / "records")
    done = genbench("speed", tmp_path / "old", *GRID, "--out", tmp_path / "runs" / "new")
    assert done.returncode == 2
    assert "has records of ddpm, but its weights are gone" in done.stderr


def test_usage_errors_exit_with_2(tmp_path):
    done = genbench("speed", "ddpm", "steps=7000", "--out", tmp_path / "o")
    assert done.returncode == 2 and "cannot sample with 7000 steps" in done.stderr
    assert not (tmp_path / "o").exists()
