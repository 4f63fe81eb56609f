"""Real trainings, small: a bank, a gate that adds seeds by itself, a family that got worse."""

import json

import pytest
from toys import cells, run_inline, suite_file

from genbench.cli import main
from genbench.store import Store

FAST = ["--executor", "inline", "--threads", "1", "--device", "cpu"]


def run(suite, out, *changes) -> None:
    """`genbench run` without its tables and pictures."""
    todo = cells(suite, *changes)
    store, records = run_inline(out, todo)
    store.put_plan("tiny", todo)
    assert {record.status for record in records} == {"ok"}


@pytest.fixture(scope="module")
def banked(tmp_path_factory):
    """A suite, and its bank of 8 trainings."""
    tmp = tmp_path_factory.mktemp("gate")
    suite = suite_file(tmp, ['baseline = "vae"', 'baseline = "real"'], images=640)
    run(suite, tmp / "eight", "seeds=0,1,2,3,4,5,6,7")
    assert main(["bank", "add", str(tmp / "eight"), "--bank", str(tmp / "bank.json")]) == 0
    return tmp, suite


def test_the_same_code_passes_with_new_seeds(banked, capsys) -> None:
    tmp, suite = banked
    new = tmp / "same"
    run(suite, new, "seeds=20")
    capsys.readouterr()
    code = main(["gate", str(new), "--bank", str(tmp / "bank.json"), "--json", *FAST])
    told = capsys.readouterr()
    assert code == 0, told.out
    assert "more cells are run" in told.err  # one seed does not decide
    found = json.loads(told.out)["findings"]
    assert found[0]["cell"].startswith("vae (") and found[0]["verdict"] == "PASS"
    seeds = {c.sample.train.seed for c in Store(new).plan()[1] if c.sample.train.baseline == "vae"}
    assert {20, 21, 22} <= seeds


def test_worse_training_is_found(banked, capsys) -> None:
    tmp, suite = banked
    new = tmp / "worse"
    run(suite, new, "seeds=0,1,2", "vae.lr=1e-6")
    capsys.readouterr()
    assert main(["gate", str(new), "--bank", str(tmp / "bank.json"), *FAST]) == 1
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("REGRESSED"))
    assert "vae" in line and "changed: lr 0.001 -> 1e-06" in line
