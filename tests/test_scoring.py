"""Cells of conditional tasks from plan to record: reference rows are in the right order."""

import pytest
import torch
from PIL import Image

from genbench import data, features, suite
from genbench.pipeline import run_cell
from genbench.runtime import Runtime
from genbench.scoring import SHOWN
from genbench.spec import ConfigError
from genbench.store import Store

N = 60


def run(folder, task, metrics, rows, dataset="digits", extractor="digits-cnn", **more):
    """Scores of the one cell of each row, by metric name, and the store."""
    content = {
        "name": "made", "dataset": dataset, "task": task, "n": N, "metrics": metrics,
        "extractor": extractor, "budget": {"steps": 1}, "rows": [{"baseline": r} for r in rows],
        **more,
    }  # fmt: skip
    store, found = Store(folder), {}
    for cell in suite.plan(suite.changed(content, [])):
        record = run_cell(cell, store, Runtime(out=folder, device="cpu", batch=32))
        assert record.status == "ok", record.error
        values = {name.partition("@")[0]: score for name, score in record.scores.items()}
        found[cell.sample.train.baseline] = (cell, record, values)
    return store, found


def test_super_resolution_of_any_images(tmp_path):
    metrics = ["psnr", "low_res_error", "feature_distance", "fd"]
    store, found = run(tmp_path, "low_res:2", metrics, ["truth", "copy", "other"])
    truth, copy, other = (found[name][2] for name in ("truth", "copy", "other"))
    assert truth["psnr"].value > copy["psnr"].value > other["psnr"].value
    assert truth["low_res_error"].value == 0 < copy["low_res_error"].value
    assert copy["low_res_error"].value < other["low_res_error"].value
    assert 0 == truth["feature_distance"].value < copy["feature_distance"].value
    assert truth["fd"].value < copy["fd"].value  # smoothed images are another distribution
    assert other["fd"].value < copy["fd"].value  # and real ones are not, whatever they show
    cell, record, _ = found["truth"]
    assert set(record.scores) == {
        f"psnr@pixels/digits:test/n{N}", f"low_res_error@pixels/digits:test/n{N}",
        f"feature_distance@digits-cnn/digits:test/n{N}", f"fd@digits-cnn/digits:train/n{N}",
    }  # fmt: skip
    made = store.get("sample", cell.sample.key).tensors["images"]
    assert torch.equal(torch.from_numpy(made), data.load("digits", "test").images[:N])
    shown = store.get("shown", cell.key)
    assert shown.tensors["asked"].shape == (N, 1, 4, 4) and N < SHOWN
    assert shown.info["texts"] == [""] * N and shown.info["aligned"]


def cell_of(extractor, **more):
    """The one cell of a small suite through this network."""
    content = {
        "name": "made", "dataset": "digits", "n": N, "metrics": ["fd"], "extractor": extractor,
        "budget": {"steps": 1}, "rows": [{"baseline": "gaussian"}], **more,
    }  # fmt: skip
    (cell,) = suite.plan(suite.changed(content, []))
    return cell


def own_network(folder, scale=1):
    """A file with a small network, as `FILE.py:Net`."""
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        f"        return images.float().flatten(1)[:, 18:22] * {scale}\n"
    )
    return f"{folder / 'own.py'}:Net"


def test_where_a_network_of_ones_own_lies_is_in_no_id_and_no_key(tmp_path):
    here, there = (cell_of(own_network(tmp_path / name)) for name in ("a", "b"))
    assert here.metrics[0].id == f"fd@own:Net/digits:train/n{N}"
    assert here.key == there.key and here.metrics[0].file != there.metrics[0].file
    assert type(here).model_validate_json(here.model_dump_json()) == here
    changed = cell_of(own_network(tmp_path / "a", scale=2))
    assert changed.key != here.key and changed.metrics[0].id == here.metrics[0].id
    records = [
        run_cell(cell, Store(tmp_path / "out"), Runtime(out=tmp_path, device="cpu"))
        for cell in (there, changed)
    ]
    one, twice = (record.scores[here.metrics[0].id].value for record in records)
    assert twice == pytest.approx(4 * one, rel=1e-6)
    stale = run_cell(here, Store(tmp_path / "out2"), Runtime(out=tmp_path, device="cpu"))
    assert "weights of own:Net changed since this was planned" in stale.error.message


def test_networks_of_a_suite_are_moved_to_the_device_that_was_asked_for(tmp_path, monkeypatch):
    moved, load = [], features.load

    def recording(name, *rest):
        found = load(name, *rest)
        place = found.to

        def to(device):
            moved.append((name, device))
            return place(device)

        monkeypatch.setattr(found, "to", to)
        return found

    monkeypatch.setattr(features, "load", recording)
    record = run_cell(cell_of("digits-cnn"), Store(tmp_path), Runtime(out=tmp_path, device="cpu"))
    assert record.status == "ok" and moved == [("digits-cnn", "cpu")]


def digit_folders(root, names, counts=(24, 24, 24)):
    """Class folders of digits under other names: `{"zero": 0}`, so many of each in training."""
    for split, of in (("train", counts), ("test", (24, 24, 24))):
        digits = data.load("digits", split)
        for (name, digit), count in zip(names.items(), of, strict=True):
            (root / split / name).mkdir(parents=True)
            rows = (digits.labels == digit).nonzero()[:count, 0].tolist()
            for row in rows:
                image = Image.fromarray(digits.images[row, 0].numpy())
                image.save(root / split / name / f"{row}.png")
    return f"imagefolder:{root}"


def test_classes_are_compared_by_name(tmp_path):
    some = digit_folders(tmp_path / "some", {"0": 0, "2": 2, "7": 7})
    _, found = run(tmp_path / "a", "class_label", ["accuracy"], ["truth"], dataset=some)
    assert found["truth"][2]["accuracy"].value > 0.97
    words = {"zero": 0, "one": 1, "two": 2}
    spelt = digit_folders(tmp_path / "spelt", words)
    mapped = {"accuracy": {"map": "zero:0,one:1,two:2"}}
    _, found = run(
        tmp_path / "b", "class_label", ["accuracy"], ["truth"], dataset=spelt,
        metric_options=mapped,
    )  # fmt: skip
    assert found["truth"][2]["accuracy"].value > 0.97
    (name,) = found["truth"][1].scores
    assert "map=zero:0,one:1,two:2" in name


def test_questions_follow_the_shares_of_the_reference(tmp_path):
    named = {"0": 0, "2": 2, "7": 7}
    skewed = digit_folders(tmp_path / "skewed", named, (100, 12, 8))
    wanted = {"task": "class_label", "metrics": ["fd"], "rows": ["truth"], "dataset": skewed}
    asked = {}
    for choice in ("shares", "balanced"):
        store, found = run(tmp_path / choice, questions=choice, **wanted)
        cell, record, values = found["truth"]
        texts = store.get("shown", cell.key).info["texts"]
        counts = [texts.count(name) for name in named]
        asked[choice] = counts, next(iter(record.scores)), record.data["questions"], values["fd"]
    shares, balanced = asked["shares"], asked["balanced"]
    assert shares[0] == [50, 6, 4] and balanced[0] == [20, 20, 20]
    assert "questions=" not in shares[1]
    assert shares[2] == "classes as often as in train: 0 83.3%, 2 10.0%, 7 6.7%"
    assert balanced[1] == f"{shares[1]}/questions=balanced"
    assert balanced[2] == "each class equally often"
    assert shares[3].value < balanced[3].value / 4  # right answers are of another distribution


def test_classes_asked_for_are_made(tmp_path):
    store, found = run(tmp_path, "class_label", ["accuracy"], ["truth", "other"])
    assert found["truth"][2]["accuracy"].value > 0.97
    assert found["other"][2]["accuracy"].value < 0.3
    shown = store.get("shown", found["truth"][0].key)
    counts = [shown.info["texts"].count(str(digit)) for digit in range(10)]
    assert sum(counts) == N and set(counts) <= {5, 6, 7}
    assert "asked" not in shown.tensors


def test_samples_are_moved_back_to_their_domain(tmp_path):
    metrics = ["cycle_error", "psnr", "fd"]
    rows = ["truth", "copy", "other"]
    where = {"dataset": "scenes@16", "extractor": "pixels"}
    store, found = run(tmp_path, "to_domain:day,night", metrics, rows, **where)
    scores = {name: values for name, (_, _, values) in found.items()}
    assert scores["truth"]["cycle_error"].value == scores["copy"]["cycle_error"].value == 0
    assert scores["other"]["cycle_error"].value > 0.05
    assert scores["truth"]["psnr"].value > scores["other"]["psnr"].value
    assert scores["truth"]["fd"].value < scores["copy"]["fd"].value / 10
    (reference,) = {m.reference for m in found["truth"][0].metrics if m.name == "fd"}
    assert reference == "scenes@16:train[to_domain:day,night]"
    assert store.get("shown", found["copy"][0].key).info["texts"] == ["night"] * N


def test_questions_are_asked_again_with_other_noise(tmp_path):
    rows = ["truth", "other"]
    _, found = run(tmp_path, "paired:outline", ["diversity"], rows)
    assert found["truth"][2]["diversity"].value == 0
    assert found["other"][2]["diversity"].value > 0.1


def test_a_second_run_finds_everything(tmp_path):
    rows, metrics = ["other"], ["diversity", "psnr"]
    _, first = run(tmp_path, "paired:outline", metrics, rows)
    files = sorted((tmp_path / "artifacts").rglob("*.safetensors"))
    times = [path.stat().st_mtime_ns for path in files]
    _, again = run(tmp_path, "paired:outline", metrics, rows)
    assert again["other"][1].scores == first["other"][1].scores
    kept = [p for p in files if p.parent.name != "shown"]
    assert [p.stat().st_mtime_ns for p in kept] == [
        t for p, t in zip(files, times, strict=True) if p in kept
    ]


@pytest.mark.parametrize(
    ("task", "metric", "said"),
    [
        ("class_label", "cycle_error", "is of to_domain, not of class_label"),
        ("unconditional", "accuracy", "is of class_label, not of unconditional"),
        ("class_label", "psnr", "of every question"),
        ("unconditional", "psnr", "of every question"),
        ("class_label", "clip", "of captions"),
    ],
)
def test_metrics_that_do_not_fit_the_task_are_refused_when_planning(task, metric, said):
    content = {
        "name": "made", "dataset": "digits", "task": task, "n": N, "metrics": [metric],
        "extractor": "digits-cnn", "budget": {"steps": 1}, "rows": [{"baseline": "truth"}],
    }  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        suite.plan(suite.changed(content, []))


def test_a_row_without_a_picture_to_copy_fails_with_a_reason(tmp_path):
    content = {
        "name": "made", "dataset": "digits", "task": "class_label", "n": N, "metrics": [],
        "extractor": "digits-cnn", "budget": {"steps": 1}, "rows": [{"baseline": "copy"}],
    }  # fmt: skip
    (cell,) = suite.plan(suite.changed(content, []))
    record = run_cell(cell, Store(tmp_path), Runtime(out=tmp_path, device="cpu"))
    assert "needs a condition that is a picture" in record.error.message
