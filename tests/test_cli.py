"""The command line as a user meets it: outputs, messages, exit codes, kills and interruptions."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toys import content, environment, genbench, package, suite_file, toy

from genbench import cli
from genbench.spec import ConfigError
from genbench.store import Store

ROWS = [
    'baseline = "vae"',
    'baseline = "ddpm"\noptions = { sampler = "ddpm", steps = 200 }',
    'baseline = "real"',
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run, by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    path = suite_file(folder, ROWS)
    ran = genbench("run", path, "--out", folder / "out", "--threads", 1)
    assert ran.returncode == 0, ran.stderr
    return path, folder / "out", ran


def test_a_run_prints_the_table_and_where_the_pictures_are(done):
    _, out, ran = done
    for word in (
        "autoencoder",
        "diffusion",
        "reference",
        "FD (digits-cnn)",
        "IS",
        "NFE",
    ):
        assert word in ran.stdout
    assert f"samples: {out}/grids/overview.png" in ran.stdout
    assert "[3/3] real  digits seed=0  FD" in ran.stderr and "ok" in ran.stderr
    for name in ("leaderboard.txt", "leaderboard.md", "leaderboard.csv", "leaderboard.tex"):
        assert (out / name).stat().st_size > 200
    assert {p.name for p in (out / "grids").glob("*.png")} >= {"overview.png"}


def test_a_second_run_skips_everything_quickly(done):
    path, out, first = done
    before = {p: p.stat().st_mtime_ns for p in (out / "records").iterdir()}
    ran = genbench("run", path, "--out", out)
    assert ran.returncode == 0 and "3 of 3 cells are done already" in ran.stderr
    assert ran.stdout == first.stdout
    assert before == {p: p.stat().st_mtime_ns for p in (out / "records").iterdir()}


def test_json_is_all_that_stdout_carries(done):
    path, out, _ = done
    ran = genbench("run", path, "--out", out, "--json")
    records = json.loads(ran.stdout)["records"]
    assert [r["status"] for r in records] == ["ok"] * 3
    assert records[0]["key"] == json.loads(ran.stdout)["records"][0]["key"]
    again = genbench("report", out, "--json")
    assert sorted(r["key"] for r in json.loads(again.stdout)["records"]) == sorted(
        r["key"] for r in records
    )


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_report_prints_every_format(done, capsys, fmt):
    _, out, _ = done
    assert cli.main(["report", str(out), "--format", fmt]) == 0
    printed = capsys.readouterr().out
    assert "vae" in printed and "digits-cnn" in printed


def test_a_cell_can_be_rerun_by_its_key(done, tmp_path):
    _, out, _ = done
    suite, cells = Store(out).plan()
    copy = Store(tmp_path)
    copy.put_plan(suite, cells)
    ran = genbench("run", "--out", tmp_path, "--cell", cells[2].key)
    assert ran.returncode == 0, ran.stderr
    assert [r.key for r in copy.records()] == [cells[2].key]
    assert "not run" in ran.stdout
    copy.drop("sample", cells[2].sample.key)  # a record alone is not enough
    ran = genbench("run", "--out", tmp_path, "--cell", cells[2].key)
    assert ran.returncode == 0, ran.stderr
    assert copy.has("sample", cells[2].sample.key)


def test_two_suites_in_one_folder_have_one_table(tmp_path):
    for name, rows in (("one", '"gaussian"'), ("two", '"noise"')):
        path = suite_file(tmp_path, [f"baseline = {rows}"]).rename(tmp_path / f"{name}.toml")
        ran = genbench("run", path, "--out", tmp_path / "out", "--executor", "inline")
        assert ran.returncode == 0, ran.stderr
    assert "gaussian" in ran.stdout and "noise" in ran.stdout
    assert Store(tmp_path / "out").plan()[0] == "one + two"
    csv = (tmp_path / "out" / "leaderboard.csv").read_text()
    assert "gaussian" in csv and "noise" in csv


# --- mistakes ------------------------------------------------------------------------------------

MISTAKES = [
    (["run", "quik"], "unknown suite 'quik'; did you mean 'quick'?"),
    (["run", "smoke", "bugdet.images=3"], "unknown key 'bugdet.images'; did you mean 'budget'?"),
    (["run", "smoke", "budget.imges=3"], "unknown key 'imges'; did you mean 'images'?"),
    (["run", "smoke", "dataset=digitz"], "'digitz'; did you mean 'digits'?"),
    (["run", "smoke", "metrics=fdd,is"], "unknown metric 'fdd'; did you mean 'fd'?"),
    (["run", "smoke", "extractor=digit-cnn"], "did you mean 'digits-cnn'?"),
    (["run", "smoke", "baseline=dcgn"], "unknown baseline 'dcgn'; did you mean 'dcgan'?"),
    (["run", "smoke", "ddpm.stepz=3"], "ddpm has no setting 'stepz'; did you mean 'steps'?"),
    (["run", "smoke", "ddpm.steps=lots"], "ddpm options: steps: .*given: 'lots'"),
    (
        ["run", "smoke", "task=clas_label"],
        "unknown task 'clas_label'; did you mean 'class_label'?",
    ),
    (["run", "smoke", "n=0"], "n: .*greater than or equal to 2"),
    (["run", "smoke", "n=5"], "metric 'is' needs n=10 or more, not n=5"),
    (["run", "smoke", "reference=tset"], "reference 'tset' is no split; did you mean 'test'?"),
    (["run", "smoke", "ddpm.lr=inf"], "ddpm: lr: .*finite number"),
    (["run", "smoke", "budget.flops=inf"], "budget.flops: .*finite number"),
    (["run", "smoke", "--device", "cdua"], "no device 'cdua' here; .*valid: auto, cpu"),
    (["run", "smoke", "--cell", "abc", "--out", "x"], "--cell runs a cell as it was planned"),
    (["run", "smoke", "n"], "'n' is not of the form key=value"),
    (["run", "smoke", "--executor", "locl"], "unknown executor 'locl'; did you mean 'local'?"),
    (["run", "smoke", "data.root=/nowhere"], "data.root=/nowhere is not a folder"),
    (["run", "gone.toml"], "cannot read suite file gone.toml"),
    (["run"], "name a suite: digits-zoo, mnist, mnist-zoo, quick, smoke"),
    (["run", "--cell", "abc"], "--cell needs --out"),
    (["report", "/nowhere"], "/nowhere holds no records"),
    (["doctor", "x=1"], "doctor takes data.root=PATH only"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_sentence_with_the_nearest_name(arguments, message, capsys, tmp_path):
    if arguments[0] == "run" and "--out" not in arguments and "--cell" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path)]
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert re.search(message.replace("?", r"\?"), captured.err), captured.err
    assert captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--batch", "0"), ("--threads", "-1"), ("--timeout", "0"), ("--limit", "x")],
)
def test_numbers_that_make_no_sense_are_refused(flag, value, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "smoke", flag, value])
    assert stop.value.code == 2
    assert repr(value) in capsys.readouterr().err


THREADS = [  # what the suite, the environment and the command say; threads, slots, what is told
    ([], {}, 7, 1, ""),
    (["--slots", "2"], {}, 3, 2, "2 slots share 7 cores: a cell gets 3 CPU thread(s)"),
    (["--slots", "2", "--executor", "inline"], {}, 7, 2, ""),
    ([], {"OMP_NUM_THREADS": "5"}, 5, 1, ""),
    (["--slots", "2"], {"OMP_NUM_THREADS": "5,2"}, 5, 2, ""),
    (["--slots", "2"], {"OMP_NUM_THREADS": "all"}, 3, 2, "2 slots share"),
    (["threads=2"], {"OMP_NUM_THREADS": "5"}, 2, 3, ""),
    (["threads=2", "--slots", "1"], {}, 2, 1, ""),
    (["threads=2", "--threads", "4"], {"OMP_NUM_THREADS": "5"}, 4, 1, ""),
    (["threads=2", "--threads", "4", "--slots", "2"], {}, 4, 2, ""),
]


@pytest.mark.parametrize(("given", "environment", "threads", "slots", "told"), THREADS)
def test_threads_are_the_commands_the_suites_the_environments_or_a_share_of_the_cores(
    given, environment, threads, slots, told, tmp_path, monkeypatch, capsys
):
    seen = []

    def make(name, store, runtime, watch, slots, tell):
        seen.append((runtime.threads, slots))
        raise ConfigError("far enough")

    monkeypatch.setattr("genbench.executors.make", make)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = suite_file(tmp_path, ROWS[2:])
    out = ["--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["run", str(path), *out, *given]) == 2
    assert seen == [(threads, slots)]
    said = capsys.readouterr().err
    assert told in said and ("slots share" in said) == bool(told)


def test_changes_may_stand_behind_options(tmp_path, capsys):
    assert cli.main(["run", "smoke", "--out", str(tmp_path), "bugdet.images=3"]) == 2
    assert "did you mean 'budget'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["run", "smoke", "--ouf", "x"])
    assert "unrecognized arguments: --ouf" in capsys.readouterr().err


def test_a_family_that_cannot_be_imported_is_named(tmp_path):
    extra = package(tmp_path / "path", {"typo": "import torhc", "cut": "def f("})
    ran = genbench("run", "smoke", "baseline=typo", cwd=tmp_path, extra_path=extra)
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "baseline 'typo' in" in ran.stderr and "No module named 'torhc'" in ran.stderr
    listed = genbench("ls", extra_path=extra)
    assert listed.returncode == 0 and "cut" in listed.stdout and "cannot be read" in listed.stdout


def test_mistakes_inside_a_suite_file_name_the_file(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('dataset = "digits"\nrowz = []\n')
    assert cli.main(["run", str(path)]) == 2
    assert "suite 'mine': unknown key 'rowz'; did you mean 'rows'?" in capsys.readouterr().err
    path.write_text("dataset = ")
    assert cli.main(["run", str(path)]) == 2
    assert "is not valid TOML" in capsys.readouterr().err


def test_a_read_only_folder_ends_in_one_sentence(tmp_path):
    ran = genbench("run", suite_file(tmp_path, ROWS[2:]), "--out", "/proc/genbench")
    assert ran.returncode == 2
    assert ran.stderr.startswith("genbench: cannot write /proc/genbench") and ran.stdout == ""
    assert ran.stderr.count("\n") == 1 and "--out" in ran.stderr


def test_a_disk_that_fills_up_ends_in_one_sentence_and_loses_nothing(tmp_path):
    path, out = suite_file(tmp_path, [ROWS[2], ROWS[0]]), tmp_path / "out"
    small = 300_000  # bytes that a file may have: enough for the first cell, not for weights
    ran = genbench(
        "run", path, "--out", out,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small, small)),
    )  # fmt: skip
    assert ran.returncode == 2
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("genbench:")]
    assert "File too large" in line and "finished work is kept" in line
    assert "Traceback" not in ran.stderr
    assert len(list((out / "records").glob("*.json"))) == 1
    assert not list(out.rglob("*.tmp"))
    again = genbench("run", path, "--out", out)
    assert again.returncode == 0 and "1 of 2 cells are done already" in again.stderr


def test_failed_cells_are_named_and_give_exit_code_3(tmp_path):
    extra = package(tmp_path / "path", {"broken": toy("Broken", step='raise KeyError("lost")')})
    path = suite_file(tmp_path, ['baseline = "broken"', 'baseline = "real"'])
    ran = genbench("run", path, "--out", "out", cwd=tmp_path, extra_path=extra)
    assert ran.returncode == 3
    assert (
        "failed in train: 'lost'" in ran.stderr and "rerun: genbench run --out out" in ran.stderr
    )
    assert "broken" in ran.stdout and "failed" in ran.stdout and "real" in ran.stdout
    again = genbench("run", path, "--out", "out", cwd=tmp_path, extra_path=extra)
    assert again.returncode == 3 and "1 of 2 cells are done already" in again.stderr


# --- starting up ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["ls"], ["--help"], ["run", "--help"], ["report", "OUT"]])
def test_what_only_looks_loads_no_torch(done, arguments):
    arguments = [str(done[1]) if a == "OUT" else a for a in arguments]
    code = (
        "import sys\nfrom genbench import cli\n"
        f"try:\n    cli.main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_ls_and_doctor_say_what_there_is(capsys):
    assert cli.main(["ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"quick", "smoke", "mnist"} <= set(listed["suites"])
    assert {"dcgan", "vae", "ddpm"} <= set(listed["baselines"])
    assert {"digits", "mnist", "imagefolder"} <= set(listed["datasets"])
    assert {"digits-cnn", "mnist-cnn"} <= set(listed["extractors"])
    assert {"fd", "is", "kid", "precision", "ssim"} <= set(listed["metrics"])
    assert "inception" in listed["extractors"]
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for word in ("device", "torch", "digits", "at hand", "sha256", "can run offline"):
        assert word in said


# --- kills and interruptions ---------------------------------------------------------------------

SLOW = ["--threads", "1", "--checkpoint-seconds", "0.1", "--batch", "4"]
CHANGES = ["budget.images=20000", "n=32"]
MOMENTS = {
    "in training": "artifacts/checkpoint/*.safetensors",
    "in sampling": "artifacts/train/*.safetensors",
    "between stages": "artifacts/sample/*.safetensors",
}


def start(path: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "genbench", "run", str(path), *CHANGES]
    return subprocess.Popen(
        [*command, "--out", str(out), *SLOW], env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(out: Path, pattern: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + 90
    while not any(out.glob(pattern)):
        assert process.poll() is None and time.monotonic() < end, f"no {pattern}"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bits that a run ends in which nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    path = suite_file(folder, ROWS[1:2])
    ran = genbench("run", path, *CHANGES, "--out", folder / "out", *SLOW)
    assert ran.returncode == 0, ran.stderr
    return path, content(folder / "out")


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.mark.parametrize(
    ("moment", "who"), [*((m, "all") for m in MOMENTS), ("in training", "parent")]
)
def test_a_killed_run_ends_in_the_same_bits(tmp_path, undisturbed, moment, who):
    path, expected = undisturbed
    process = start(path, tmp_path)
    wait_for(tmp_path, MOMENTS[moment], process)
    kill = [process.pid, *children(process.pid)]
    for pid in kill if who == "all" else kill[:1]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "records").glob("*.json"))
    again = genbench("run", path, *CHANGES, "--out", tmp_path, *SLOW)
    assert again.returncode == 0, again.stderr
    assert content(tmp_path) == expected


def test_ctrl_c_stops_soon_says_how_to_go_on_and_loses_nothing(tmp_path, undisturbed):
    path, expected = undisturbed
    process = start(path, tmp_path)
    wait_for(tmp_path, MOMENTS["in training"], process)
    before = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - before < 5  # 2 s on an idle machine; tests share theirs
    assert "run the same command again to go on" in errors and "Traceback" not in errors
    (checkpoint,) = (tmp_path / "artifacts" / "checkpoint").glob("*.safetensors")
    assert checkpoint.exists()
    again = genbench("run", path, *CHANGES, "--out", tmp_path, *SLOW)
    assert again.returncode == 0, again.stderr
    assert content(tmp_path) == expected
