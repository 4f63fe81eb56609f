"""`genbench reproduce` end to end, in process: every verdict, with its reason and exit code."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import cells, environment, package, run_inline, suite_file, toy

from genbench import registry
from genbench.cli import main
from genbench.record import Failure
from genbench.reproduce import Entry, Source, select
from genbench.runtime import Runtime
from genbench.spec import Budget
from genbench.store import Store
from genbench.worker import configure

SWITCH = "import os; assert 'TOY_BREAKS' not in os.environ, 'it broke'"
ROWS = [
    'baseline = "toy"\nconfig = { batch = 32 }',
    'baseline = "ddpm"\nconfig = { T = 50, hidden = 16, depth = 1 }\n'
    'options = { sampler = "ddim", steps = 4 }',
    'baseline = "ddpm"\nconfig = { T = 50, hidden = 16, depth = 1 }\n'
    'options = { sampler = "ddpm", steps = 6 }',
    'baseline = "real"',
]
FD, IS = "fd@digits-cnn/digits:train/n32", "is@digits-cnn/n32"


def forget():
    """Families are looked up and imported anew."""
    registry.forget()
    for name in [n for n in sys.modules if n == "mine" or n.startswith("mine.")]:
        del sys.modules[name]


@pytest.fixture(scope="module", autouse=True)
def path(tmp_path_factory):
    """A folder on the path with a package that brings the family "toy"."""
    folder = package(tmp_path_factory.mktemp("path"), {"toy": toy("Toy", step=SWITCH)})
    deterministic = torch.get_deterministic_debug_mode()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", environment(folder)["PYTHONPATH"])
        forget()
        yield folder
    torch.set_deterministic_debug_mode(deterministic)
    forget()


@pytest.fixture(scope="module")
def done(tmp_path_factory, path):
    """A finished run of two seeds that tests copy."""
    folder = tmp_path_factory.mktemp("done")
    todo = cells(suite_file(folder, ROWS), "seeds=0,1")
    configure(Runtime(out=folder, device="cpu", threads=1))  # as an executor does
    store, _ = run_inline(folder / "tiny", todo, threads=1)
    store.put_plan("tiny", todo)
    return store


@pytest.fixture
def results(done, tmp_path):
    """A copy of the finished run to tamper with."""
    shutil.copytree(done.root / "records", tmp_path / "tiny" / "records")
    shutil.copy(done.root / "plan.json", tmp_path / "tiny")
    return Store(tmp_path / "tiny")


@pytest.fixture
def again(tmp_path, capsys):
    """Run the command; gives the exit code, the answer and what was printed."""

    def run(target, *options):
        out = tmp_path / "again"
        fixed = ["--out", str(out), "--executor", "inline", "--device", "cpu"]
        code = main(["reproduce", str(target), *fixed, *map(str, options)])
        printed = capsys.readouterr()
        path = out / "reproduction.json"
        return code, json.loads(path.read_text()) if path.exists() else None, printed

    return run


def planted(store, record, **fields):
    """Replace a record by one with other fields, which is whole: key and checksum fit."""
    store.record_path(record.key).unlink()
    changed = record.model_copy(update=fields)
    changed = changed.model_copy(update={"key": changed.cell.key})
    suite, plan = store.plan()
    store.put_plan(suite, [changed.cell if c.key == record.key else c for c in plan])
    store.put_record(changed)
    return changed


def small(store):
    """The store without its slow rows."""
    suite, plan = store.plan()
    store.put_plan(suite, [c for c in plan if c.sample.train.baseline != "ddpm"])
    return store


def trained(record, **fields):
    """The record's cell with other fields of its training."""
    sample = record.cell.sample
    train = sample.train.model_copy(update=fields)
    return record.cell.model_copy(update={"sample": sample.model_copy(update={"train": train})})


def find(store, baseline, seed=0, **options):
    (record,) = (
        r
        for r in store.records()
        if r.cell.sample.train.baseline == baseline
        and r.cell.sample.train.seed == seed
        and options.items() <= r.cell.sample.options.items()
    )
    return record


def scored(record, name, factor):
    score = record.scores[name]
    return {**record.scores, name: score.model_copy(update={"value": score.value * factor})}


def only(answer, verdict):
    """The one cell of the answer, whose verdict must be this."""
    (cell,) = answer["cells"]
    assert cell["verdict"] == verdict, cell
    return cell


def number(cell, name):
    return next(n for n in cell["numbers"] if n["name"] == name)


# --- it comes out again --------------------------------------------------------------------------


def test_a_results_folder_comes_out_identical_and_is_left_as_it_was(results, again):
    before = {p: p.read_bytes() for p in sorted(results.root.rglob("*")) if p.is_file()}
    code, answer, printed = again(results.root)
    assert code == 0
    assert answer["verdict"] == "7 cells of 4 rows: 7 identical"
    assert printed.out.splitlines()[-1] == answer["verdict"]
    assert [c["name"] for c in answer["cells"]] == [
        "ddpm (linear, epsilon, ddim-4), seed=0", "ddpm (linear, epsilon, ddim-4), seed=1",
        "ddpm (linear, epsilon, ddpm-6), seed=0", "ddpm (linear, epsilon, ddpm-6), seed=1",
        "toy, seed=0", "toy, seed=1", "real",
    ]  # fmt: skip
    for cell in answer["cells"]:
        assert {n["name"] for n in cell["numbers"]} >= {FD, IS, "nfe", "train_flops"}
        assert all(n["then"] == n["now"] and n["verdict"] == "identical" for n in cell["numbers"])
        assert cell["then"] == cell["now"] and not cell["causes"]
    assert "7 cells in" in printed.err and "1 thread(s), 32 images at a time" in printed.err
    assert before == {p: p.read_bytes() for p in sorted(results.root.rglob("*")) if p.is_file()}


def test_rows_that_share_a_training_train_once(results, again, tmp_path):
    code, answer, _ = again(results.root / "plan.json", "--rows", "ddpm", "--seeds", "1")
    assert code == 0 and answer["verdict"] == "2 rows: 2 identical"
    assert len(list((tmp_path / "again/artifacts/train").glob("*.safetensors"))) == 1
    assert len(list((tmp_path / "again/artifacts/sample").glob("*.safetensors"))) == 2


def test_one_record_is_enough(results, again):
    record = find(results, "toy", seed=1)
    code, answer, _ = again(results.record_path(record.key))
    assert code == 0 and answer["verdict"] == "1 row: 1 identical"
    assert only(answer, "identical")["then"] == record.key


def test_without_a_plan_all_records_are_taken(results, again):
    (results.root / "plan.json").unlink()
    (results.root / "leaderboard.csv").write_text("")
    code, answer, _ = again(results.root / "leaderboard.csv", "--rows", "toy,real")
    assert code == 0 and answer["verdict"] == "3 cells of 2 rows: 3 identical"


def test_json_is_all_that_stdout_carries(results, again):
    code, answer, printed = again(results.root, "--rows", "real", "--json")
    assert code == 0 and json.loads(printed.out) == answer


# --- scores move ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "options", "verdict", "code"),
    [
        (1 + 2**-52, (), "equal", 0),  # one bit
        (1.019, (), "equal", 0),
        (1 / 1.03, (), "different", 1),
        (1.03, ("--tolerance", "0.05"), "equal", 0),
        (1.001, ("--tolerance", "0"), "different", 1),
    ],
)
def test_a_score_is_equal_within_the_tolerance_and_different_beyond(
    results, again, factor, options, verdict, code
):
    record = find(results, "real")
    now = record.scores[FD]
    planted(results, record, scores=scored(record, FD, factor))
    found, answer, printed = again(results.root, "--rows", "real", *options)
    cell = only(answer, verdict)
    assert found == code
    moved = number(cell, FD)
    assert moved["change"] == pytest.approx(1 / factor - 1, rel=1e-9)
    assert moved["in_stderr"] == pytest.approx(now.value * (1 - factor) / now.stderr, rel=1e-6)
    assert number(cell, IS)["verdict"] == "identical"
    if verdict == "equal":
        assert f"equal within {100 * float((*options, '0', '0.02')[1] or 0.02):g} %" in printed.out


def test_another_interval_alone_is_not_identical(results, again):
    record = find(results, "real")
    score = record.scores[FD].model_copy(update={"ci95": (0.0, 99.0)})
    planted(results, record, scores={**record.scores, FD: score})
    code, answer, _ = again(results.root, "--rows", "real")
    assert code == 0 and number(only(answer, "equal"), FD)["change"] == 0


def test_another_training_seed_is_different_by_as_much_as_the_seeds_differ(results, again):
    """The numbers of seed 0 under the name of seed 1: what is made again is seed 1's."""
    zero, one = (find(results, "ddpm", seed=s, sampler="ddim") for s in (0, 1))
    results.record_path(one.key).unlink()
    planted(results, zero, cell=one.cell)
    code, answer, printed = again(
        results.root, "--rows", "ddpm (linear, epsilon, ddim-4)", "--tolerance", "1e-6"
    )
    assert code == 1
    cell = next(c for c in answer["cells"] if c["verdict"] == "different")
    was, now = zero.scores[FD], one.scores[FD]
    assert number(cell, FD)["now"] == now.value != was.value
    assert number(cell, FD)["change"] == pytest.approx((now.value - was.value) / was.value)
    assert f"{100 * (now.value - was.value) / was.value:+.2g} %" in printed.out


@pytest.mark.parametrize("name", ["nfe", "params", "train_flops", "train_images", "train_steps"])
def test_counters_have_no_tolerance(results, again, name):
    record = find(results, "toy")
    value = getattr(record.counters, name)
    counters = record.counters.model_copy(update={name: value + 1})
    planted(results, record, counters=counters)
    code, answer, printed = again(results.root, "--rows", "toy", "--seeds", "0")
    moved = number(only(answer, "different"), name)
    assert code == 1 and (moved["then"], moved["now"]) == (value + 1, value)
    assert f"{value + 1:,.17g}" in printed.out or str(value + 1) in printed.out


# --- nothing to compare --------------------------------------------------------------------------


def test_the_family_of_another_version_is_run_and_not_compared(results, again, path):
    file = path / "mine" / "toy.py"
    code = file.read_text()
    was = registry.version("toy")
    try:
        file.write_text(code.replace("0.3 * noise", "0.6 * noise"))
        forget()
        now = registry.version("toy")
        exit_code, answer, printed = again(results.root, "--rows", "toy,real", "--seeds", "0")
    finally:
        file.write_text(code)
        forget()
    assert exit_code == 4
    assert answer["verdict"] == "2 rows: 1 identical, 1 not comparable"
    cell = next(c for c in answer["cells"] if c["verdict"] == "not comparable")
    sentence = f"the family's code differs (version {was[:8]} -> {now[:8]})"
    assert cell["reasons"] == [sentence] and sentence in printed.out
    assert number(cell, FD)["now"] != number(cell, FD)["then"]  # run with today's code
    assert {n["verdict"] for n in cell["numbers"]} == {"not comparable"}


def pictures(folder, n=40):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def test_another_image_in_the_data_is_named(tmp_path, again):
    photos = pictures(tmp_path / "photos")
    changes = (f"dataset=imagefolder:{photos}@8", "n=10", "reference=train")
    todo = cells(suite_file(tmp_path, ['baseline = "noise"']), *changes)
    store, (record,) = run_inline(tmp_path / "tiny", todo, threads=1)
    assert record.status == "ok", record.error
    Image.new("L", (8, 8), 9).save(photos / "00.png")
    code, answer, _ = again(store.root)
    from genbench import data

    now = data.fingerprint(record.cell.sample.train.dataset)
    (reason,) = only(answer, "not comparable")["reasons"]
    assert code == 5 and reason.startswith("the data differs (imagefolder:")
    assert reason.endswith(f": {record.cell.sample.train.data[:12]} -> {now[:12]})")
    shutil.rmtree(photos)
    code, answer, _ = again(store.root)
    assert code == 5 and "there is no folder" in only(answer, "not comparable")["reasons"][0]


def test_other_content_behind_the_same_name_is_named(results, again):
    record = find(results, "real")
    hashes = {**record.environment.hashes, "digits:train": "beef" * 16}
    planted(results, record, environment=record.environment.model_copy(update={"hashes": hashes}))
    code, answer, _ = again(results.root, "--rows", "real")
    now = record.environment.hashes["digits:train"][:12]
    assert code == 5
    assert only(answer, "not comparable")["reasons"] == [f"data train beefbeefbeef -> {now}"]


def test_other_weights_of_the_network_are_named_and_the_rest_goes_on(results, again):
    record = find(results, "real")
    fd, inception_score = record.cell.metrics
    metrics = (fd, inception_score.model_copy(update={"weights": "beef" * 16}))
    planted(results, record, cell=record.cell.model_copy(update={"metrics": metrics}))
    code, answer, _ = again(results.root, "--rows", "real")
    cell = only(answer, "not comparable")
    assert code == 5
    assert number(cell, IS)["reason"] == f"weights of digits-cnn beefbeefbeef -> {fd.weights[:12]}"
    assert number(cell, FD)["verdict"] == "identical"


@pytest.mark.parametrize(
    ("train", "metric", "reason"),
    [
        ({"baseline": "toyy"}, {}, "unknown baseline 'toyy'; did you mean 'toy'?"),
        ({"config": {"btach": 3}}, {}, "toy: unknown key 'btach'; did you mean 'batch'?"),
        ({"config": {"batch": -3}}, {}, "toy: batch: Input should be greater than"),
        ({"task": "clas_label"}, {}, "unknown task 'clas_label'; did you mean 'class_label'?"),
        ({"dataset": "imagefolder:gone"}, {}, "there is no folder gone"),
        ({}, {"name": "fdd"}, "unknown metric 'fdd'; did you mean 'fd'?"),
        ({}, {"extractor": "digits-cn"}, "unknown extractor 'digits-cn'; did you mean"),
        ({}, {"options": (("q", 1),)}, "options of fd: unknown key 'q'"),
    ],
)
def test_what_today_does_not_have_costs_its_own_row(results, again, train, metric, reason):
    record = find(small(results), "toy")
    cell = trained(record, **train)
    if metric:
        spec = cell.metrics[0].model_copy(update=metric)
        cell = cell.model_copy(update={"metrics": (spec,)})
        score = record.scores[FD]
        planted(results, record, cell=cell, scores={spec.id: score})
    else:
        planted(results, record, cell=cell)
    code, answer, _ = again(results.root)  # the other rows go on
    (odd,) = (c for c in answer["cells"] if c["verdict"] != "identical")
    assert code == 4 and odd["verdict"] == "not comparable"
    assert reason in odd["reasons"][0] and odd["now"] == ""
    assert len(answer["cells"]) == 3


def test_weights_that_are_missing_here_are_not_a_failure(results, again, monkeypatch):
    from genbench import features
    from genbench.features import WeightsError

    def load(name):
        raise WeightsError("no weights; download them from there")

    monkeypatch.setattr(features, "load", load)
    code, answer, _ = again(results.root, "--rows", "real")
    (reason,) = only(answer, "not comparable")["reasons"]
    assert code == 5 and "missing here" in reason and "download them from there" in reason


def test_a_budget_in_seconds_becomes_the_steps_that_were_counted(results, again):
    record = find(results, "toy")
    planted(results, record, cell=trained(record, budget=Budget(seconds=3600.0)))
    code, answer, printed = again(results.root, "--rows", "toy", "--seeds", "0")
    cell = only(answer, "identical")
    assert code == 0 and cell["then"] != cell["now"]
    assert "rerun for the 20 steps that its record counts" in printed.out  # 640 images by 32


# --- failures, damage, interruptions -------------------------------------------------------------

FAILED = Failure(
    stage="train", type="KeyError", message="\x1b[31m`lost` <b>|", traceback="", rerun="x"
)


def test_failures_then_and_now(results, again, monkeypatch):
    record = find(results, "toy")
    planted(results, record, status="failed", error=FAILED, scores={})
    rows = ("--rows", "toy,real")
    code, answer, _ = again(results.root, *rows)
    assert code == 0
    assert answer["verdict"] == "3 cells of 2 rows: 2 identical, 1 failed then and ok now"
    shutil.rmtree(results.root.parent / "again")
    monkeypatch.setenv("TOY_BREAKS", "1")
    code, answer, printed = again(results.root, *rows)
    assert code == 1
    assert answer["verdict"] == "3 cells of 2 rows: 1 identical, 1 failed, 1 failed then and now"
    failed = next(c for c in answer["cells"] if c["verdict"] == "failed")
    assert failed["reasons"] == ["in stage train: AssertionError: it broke"]
    assert again(results.root, "--rows", "toy")[0] == 3  # nothing but failures
    assert again(results.root, "--rows", "toy", "--seeds", "0")[0] == 3
    text = (results.root.parent / "again/reproduction.md").read_text()
    assert "\x1b" not in text + printed.out and "<b>|" not in text and "\\<b\\>\\|" in text


def test_damaged_and_missing_records_are_named_and_left_alone(results, again):
    broken, foreign = (find(results, "toy", seed=s) for s in (0, 1))
    gone = find(results, "ddpm", sampler="ddpm")
    path = results.record_path(broken.key)
    path.write_text(path.read_text().replace('"nfe": 1.0', '"nfe": 2.0'))
    other = results.record_path(foreign.key)
    body = foreign.model_dump(mode="json") | {"schema_version": 99}
    from genbench.spec import canonical_json
    from genbench.stored import digest

    other.write_text(json.dumps({"sha256": digest(canonical_json(body).encode()), **body}))
    results.record_path(gone.key).unlink()
    code, answer, printed = again(results.root)
    cells = {c["name"]: c for c in answer["cells"]}
    assert code == 4  # the others are identical
    assert cells["toy, seed=0"]["verdict"] == cells["toy, seed=1"]["verdict"] == "damaged"
    assert cells["toy, seed=0"]["reasons"] == ["its checksum does not match its content"]
    assert cells["toy, seed=1"]["reasons"] == ["it has schema 99, this is 1"]
    assert cells["ddpm (linear, epsilon, ddpm-6), seed=0"]["verdict"] == "not finished then"
    assert answer["verdict"].endswith("4 identical, 1 not finished then, 2 damaged")
    assert path.exists() and other.exists() and "set aside" not in printed.err
    assert again(path)[0] == 2  # its folder holds the other reproduction
    shutil.rmtree(results.root.parent / "again")
    assert again(path)[0] == 5


def test_it_goes_on_where_it_was_stopped(results, again, monkeypatch, tmp_path):
    from genbench import pipeline

    run, seen = pipeline.run_cell, []

    def stopping(cell, store, runtime):
        seen.append(cell.key)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return run(cell, store, runtime)

    monkeypatch.setattr(pipeline, "run_cell", stopping)
    small(results)
    code, answer, printed = again(results.root)
    assert code == 130 and answer is None and "same command again to go on" in printed.err
    code, answer, printed = again(results.root)
    assert code == 0 and "2 of 3 cells are done already" in printed.err
    assert len(seen) == 3 + 1 and answer["verdict"].endswith("3 identical")


def test_other_results_are_not_mixed_in(results, again, tmp_path, capsys):
    (tmp_path / "again" / "artifacts").mkdir(parents=True)
    assert again(results.root)[0] == 2
    (tmp_path / "again" / "artifacts").rmdir()
    shutil.copy(results.root / "plan.json", tmp_path / "again")
    code, _, printed = again(results.root)
    assert code == 2 and "holds other results" in printed.err
    assert main(["reproduce", str(results.root), "--out", str(results.root)]) == 2
    assert not (tmp_path / "again" / "records").exists()


def test_a_reproduction_is_not_compared_with_itself(results, tmp_path, capsys):
    fixed = ["--rows", "real", "--executor", "inline", "--device", "cpu"]
    out = str(tmp_path / "second" / "tiny")  # so that its plan has the name that is expected
    assert main(["reproduce", str(results.root), "--out", out, *fixed]) == 0
    assert main(["reproduce", out, "--out", out, *fixed]) == 2
    assert "holds other results" in capsys.readouterr().err


def test_a_label_may_hold_commas_inside_brackets():
    entries = [Entry(name, name) for name in ("ddpm (ddim-4, eta=1)", "ddpm (ddim-4)", "vae")]
    source = Source("x", Path(), tuple(entries))
    assert select(source, "ddpm (ddim-4, eta=1),vae") == (entries[0], entries[2])


def test_hostile_text_is_inert(results, again):
    record = find(small(results), "toy")
    cell = trained(record, baseline="\x1b[31mtoy\n| <b>x</b> `y` ::error::\u202e")
    planted(results, record, cell=cell)
    _, answer, _ = again(results.root, "--seeds", "0", "--json")
    text = (results.root.parent / "again" / "reproduction.md").read_text()
    code, _, plain = again(results.root, "--seeds", "0")
    assert answer["cells"] and code == 4
    for printed_text in (text, plain.out, plain.err):
        assert "\x1b" not in printed_text and "\u202e" not in printed_text
    assert "<b>" not in text.replace("\\<b\\>", "") and "\\| \\<b\\>x" in text


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("tinny", (), "there is no .*tinny; did you mean 'tiny'?"),
        (".", (), "holds no records; name a folder that `genbench run` wrote"),
        ("other.json", (), "other.json is no record"),
        ("tiny", ("--rows", "toi"), "--rows: tiny has no row 'toi'; did you mean 'toy'?"),
        ("tiny", ("--seeds", "3"), "--seeds: no such row has seed '3'; valid: 0, 1"),
        ("tiny", ("--rows", "real", "--seeds", "1"), "no such row has seed '1'"),
        ("tiny", ("n=3",), "reproduce takes data.root=PATH only, not 'n=3'"),
        ("tiny", ("--executor", "inlin"), "unknown executor 'inlin'; did you mean 'inline'"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(results, capsys, target, options, message):
    import re

    root: Path = results.root.parent
    (root / "other.json").write_text("{}")
    assert main(["reproduce", str(root / target), "--out", str(root / "new"), *options]) == 2
    errors = capsys.readouterr().err.strip()
    assert re.search(message, errors) and len(errors.splitlines()) == 1


def test_a_plan_that_is_damaged_leaves_the_records(results, again):
    (results.root / "plan.json").write_text("{")
    code, answer, _ = again(results.root, "--rows", "real")
    assert code == 0 and only(answer, "identical")
    assert (results.root / "plan.json").read_text() == "{"


def test_a_tolerance_is_a_share(results, capsys):
    for text in ("2", "-1", "nan", "x"):
        with pytest.raises(SystemExit):
            main(["reproduce", str(results.root), "--tolerance", text])
    assert "is not a share from 0 to 1" in capsys.readouterr().err
