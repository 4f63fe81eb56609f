"""Genbench's own code has a version, and a row never averages what two versions made."""

import ast
import shutil
from pathlib import Path

import pytest
from toys import cells, run_inline, suite_file

from genbench import cli, differences, own_code
from genbench.report.rows import collect
from genbench.store import Store

ROOT = Path(own_code.__file__).parent


def copied(folder: Path) -> Path:
    for name in own_code.MODULES:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return folder


def test_words_do_not_change_the_digest_and_code_does(tmp_path):
    root = copied(tmp_path)
    assert own_code.digest_of(root) == own_code.digest() and len(own_code.digest()) == 16
    loop = root / "loop.py"
    code = loop.read_text("utf-8")
    loop.write_text('"""Other words."""\n# a comment\n' + code.partition('"""\n')[2])
    assert own_code.digest_of(root) == own_code.digest()
    loop.write_text(code + "\nX = 1\n")
    changed = own_code.digest_of(root)
    assert changed != own_code.digest()
    loop.write_text(code + "\nX = 2\n")
    assert own_code.digest_of(root) not in (changed, own_code.digest())
    loop.write_text(code)
    (root / "tasks" / "more.py").write_text("")
    assert own_code.digest_of(root) != own_code.digest()


# what the code imports of genbench besides itself: names, files and words, no arithmetic
HARMLESS = {"files", "own_code", "runtime", "spec", "store", "task_names", "terminal", "text"}
HARMLESS |= {"inputs", "registry", "stats", "timing"}


def test_no_module_that_the_bits_depend_on_is_forgotten():
    mine = {name.removesuffix(".py").partition("/")[0] for name in own_code.MODULES}
    paths = [path for name in own_code.MODULES for path in own_code._files(ROOT / name)]
    used = set()
    for node in (n for path in paths for n in ast.walk(ast.parse(path.read_text("utf-8")))):
        if isinstance(node, ast.ImportFrom) and node.module == "genbench":
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genbench."):
            used.add(node.module.split(".")[1])
    assert used - mine - HARMLESS == set()


# --- records and rows ----------------------------------------------------------------------------


def made_by(code: str, monkeypatch) -> None:
    monkeypatch.setattr(own_code, "digest", lambda: code)
    monkeypatch.setattr("genbench.cli.running.digest", lambda: code)


def test_two_codes_are_two_rows_and_can_be_made_one_again(tmp_path, monkeypatch, capsys):
    path, out = suite_file(tmp_path, ['baseline = "gaussian"', 'baseline = "vae"'], 300), tmp_path
    run = ["run", str(path), "--out", str(out), "--executor", "inline", "--threads", "1"]
    made_by("a" * 16, monkeypatch)
    assert cli.main([*run, "seeds=0"]) == 0
    made_by("b" * 16, monkeypatch)
    capsys.readouterr()
    assert cli.main([*run, "seeds=0,1"]) == 0
    said = capsys.readouterr()
    assert "2 of 3 cells are of another code of genbench" in said.err and "--renew" in said.err
    assert "code aaaaaaaa" in said.out and "code bbbbbbbb" in said.out
    records = {r.cell.sample.train.seed: r for r in Store(out).records() if r.kind != "reference"}
    assert records[0].code == {"train": "a" * 16, "sample": "a" * 16}
    changes = differences.changes(records[0], records[1])
    assert f"genbench's code {'a' * 16} -> {'b' * 16}" in changes
    rows = collect(Store(out).records(), None, {})
    assert [len(row.cells) for row in rows] == [1, 1, 1]

    assert cli.main([*run, "seeds=0,1", "--renew"]) == 0
    said = capsys.readouterr()
    assert "and are made again" in said.err and "code bbbbbbbb" not in said.out
    assert {r.code["train"] for r in Store(out).records()} == {"b" * 16}
    rows = collect(Store(out).records(), None, {})
    assert sorted(len(row.cells) for row in rows) == [1, 2]


def test_records_without_a_code_stay_one_row_and_are_told(tmp_path, monkeypatch, capsys):
    path, out = suite_file(tmp_path, ['baseline = "vae"'], 300), tmp_path / "out"
    store, (first, second) = run_inline(out, cells(path, "seeds=0,1"))
    for record in (first, second):
        store.put_record(record.model_copy(update={"code": {}}))
    (row,) = collect(store.records(), None, {})
    assert row.label == "vae (discretized_logistic, prior)" and len(row.cells) == 2
    run = ["run", str(path), "--out", str(out), "--executor", "inline", "--threads", "1"]
    assert cli.main([*run, "seeds=0,1"]) == 0
    assert "2 of 2 cells are of another code of genbench (2 of unknown code)" in (
        capsys.readouterr().err
    )
    store.put_record(first)
    labels = {row.label for row in collect(store.records(), None, {})}
    codes = ("unknown code", f"code {own_code.digest()[:8]}")
    assert labels == {f"vae (discretized_logistic, prior, {code})" for code in codes}


def test_a_checkpoint_of_another_code_is_not_gone_on_from(tmp_path, monkeypatch):
    path = suite_file(tmp_path, ['baseline = "vae"'], 2_000)
    (cell,) = cells(path)
    _, (whole,) = run_inline(tmp_path / "whole", [cell])
    store = Store(tmp_path / "out")

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("genbench.loop.Loop.finish", stopped)
        patch.setattr(own_code, "digest", lambda: "a" * 16)
        with pytest.raises(KeyboardInterrupt):
            run_inline(store.root, [cell], checkpoint_seconds=0.0)
    saved = store.get("checkpoint", cell.sample.train.key)
    assert saved.info["code"] == "a" * 16
    steps = []
    load = "genbench.loop.Loop.load"
    monkeypatch.setattr(load, lambda *_: steps.append(1))
    _, (record,) = run_inline(store.root, [cell])
    assert steps == [] and record.scores == whole.scores
