"""What a line of text names: datasets, runs, files, and nothing at all."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from reading import everything, refused

from genbench import data
from genbench.inputs import open_source
from genbench.record import Failure, Record
from genbench.spec import Cell, SampleSpec, TrainSpec
from genbench.store import Store

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)


def test_looking_for_sources_loads_no_torch():
    code = "import sys, genbench.inputs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- datasets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["digits:test", "digits@16:train"])
def test_a_split_of_a_dataset(text):
    name, _, split = text.partition(":")
    expected = data.load(name, split)
    source = open_source(text)
    assert (source.name, source.n, source.keys) == (text, len(expected), None)
    assert torch.equal(everything(source), expected.images)
    assert source.notes == expected.notes
    assert source.digest != open_source("digits:train").digest


def test_a_dataset_can_be_resized():
    source = open_source("digits:test", resize=16)
    assert torch.equal(everything(source), data.load("digits@16", "test").images)


def test_a_folder_as_a_dataset(tmp_path):
    folder = tmp_path / "pictures"
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        Image.new("RGB", (9, 9), (1, 2, 3)).save(folder / split / "a.png")
    source = open_source(f"imagefolder:{folder}@4:test")
    assert (source.name, source.n, source.lossy) == ("pictures@4:test", 1, False)
    assert source.notes["source"] == "imagefolder"
    Image.new("RGB", (9, 9)).save(folder / "train" / "b.png", "JPEG")
    source = open_source(f"imagefolder:{folder}:train")
    assert source.lossy, "the content decides, not the suffix"
    assert source.notes["lossy"] == "1 of 3 files are JPEG or lossy WebP"
    refused(lambda: open_source(f"imagefolder:{folder}"), "names no split", f"{folder}:train")


def test_splits_and_datasets_that_are_not():
    refused(lambda: open_source("digits"), "'digits' names no split", "digits:train")
    refused(lambda: open_source("mnist@32"), "mnist@32:test")
    refused(lambda: open_source("digits:val"), "no split 'val'")
    refused(
        lambda: open_source("digit:test"), "there is no 'digit:test'; did you mean 'digits:test'?"
    )


# --- runs ----------------------------------------------------------------------------------------


def cell(baseline: str, **options) -> Cell:
    train = TrainSpec(baseline=baseline, dataset="digits", version="v")
    return Cell(sample=SampleSpec(train=train, options=options, n=6))


REAL, FAST, SLOW = cell("real"), cell("ddpm", steps=10), cell("ddpm", steps=1000)


@pytest.fixture
def results(tmp_path):
    store = Store(tmp_path / "runs")
    for i, which in enumerate((REAL, FAST, SLOW)):
        store.put_record(Record(key=which.key, cell=which, status="ok"))
        store.put("sample", which.sample.key, {"images": IMAGES ^ np.uint8(i)}, {})
    store.put_plan("mine", [REAL, FAST, SLOW])
    return store


def test_a_run_by_its_name_its_key_and_its_record(results):
    root = results.root
    for text, number, which in [
        (f"{root}#real", 0, REAL),
        (f"{root}#{SLOW.key[:6]}", 2, SLOW),
        (f"{root}#{FAST.key}", 1, FAST),
        (f"{root}/records/{FAST.key}.json", 1, FAST),
    ]:
        source = open_source(text)
        assert np.array_equal(everything(source).numpy(), IMAGES ^ number)
        assert source.name == f"{which.sample.train.baseline}#{which.key[:8]}"
        assert source.notes["run"] == which.key
    for which in (FAST, SLOW):
        results.record_path(which.key).unlink()
    assert open_source(root).name.startswith("real#"), "the only run needs no name"


def test_several_runs_that_fit_are_listed(results):
    root = results.root
    refused(
        lambda: open_source(f"{root}#ddpm"),
        "2 runs",
        f"ddpm steps=10 seed=0 ({FAST.key})",
        f"ddpm steps=1000 seed=0 ({SLOW.key})",
        f"{root}#KEY",
    )
    refused(lambda: open_source(root), "3 runs", REAL.key, FAST.key, SLOW.key)
    refused(lambda: open_source(f"{root}#dppm"), "did you mean 'ddpm'", REAL.key)


def test_a_black_run_is_a_result_not_a_mistake(results):
    results.put("sample", REAL.sample.key, {"images": IMAGES * 0}, {})
    source = open_source(f"{results.root}#real")
    everything(source)
    assert "all 6 images are the same" in source.warnings


def test_samples_that_are_gone_can_be_made_again(results):
    results.drop("sample", SLOW.sample.key)
    refused(
        lambda: open_source(f"{results.root}#{SLOW.key}"),
        "its samples are gone",
        f"genbench run --out {results.root} --cell {SLOW.key}",
    )
    results.put_plan("mine", [REAL])
    refused(
        lambda: open_source(f"{results.root}#{SLOW.key}"),
        f"take {results.record_path(SLOW.key)} away and run its suite again with --out",
    )


def test_a_failed_run_says_how_to_run_it_again(results):
    results.drop("sample", SLOW.sample.key)
    failure = Failure(
        stage="train", type="NaN", message="", traceback="", rerun="genbench run --cell X"
    )
    results.put_record(Record(key=SLOW.key, cell=SLOW, status="failed", error=failure))
    refused(
        lambda: open_source(f"{results.root}#{SLOW.key}"),
        "failed in stage 'train'",
        "genbench run --cell X",
    )


def test_damaged_runs(results):
    (path,) = (results.root / "artifacts" / "sample").glob(f"{SLOW.sample.key}*")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused(lambda: open_source(f"{results.root}#{SLOW.key}"), "gone", "checksum mismatch")
    assert path.is_file(), "reading changes nothing"
    record = results.record_path(REAL.key)
    record.write_text(record.read_text().replace('"ok"', '"skipped"'))
    refused(lambda: open_source(record), str(record), "its checksum does not match")
    assert record.is_file(), "reading changes nothing"


def test_a_folder_of_images_with_records_of_others_is_a_folder_of_images(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    (tmp_path / "records").mkdir()
    other = tmp_path / "records" / "annotations.json"
    other.write_text("{}")
    assert open_source(tmp_path).n == 1 and other.read_text() == "{}"


def test_what_is_no_record(results, tmp_path):
    other = tmp_path / "x.json"
    other.write_text(json.dumps({"a": 1}))
    refused(lambda: open_source(other), "is no record", "FOLDER/records/KEY.json")
    (tmp_path / "plain").mkdir()
    refused(lambda: open_source(f"{tmp_path}/plain#a"), "holds no records of runs")


# --- nothing -------------------------------------------------------------------------------------


def test_names_of_nothing_get_the_nearest_thing(tmp_path):
    (tmp_path / "samples.npz").write_bytes(b"")
    (tmp_path / "photos").mkdir()
    refused(
        lambda: open_source(tmp_path / "sample.npz"),
        f"there is no '{tmp_path}/sample.npz'; did you mean '{tmp_path}/samples.npz'?",
    )
    refused(lambda: open_source(f"{tmp_path}/photo"), f"did you mean '{tmp_path}/photos'?")
    refused(lambda: open_source(f"{tmp_path}/zzz"), "there is no", "a folder of images")
    refused(lambda: open_source(f"{tmp_path}/no/zzz"), f"no folder {tmp_path}/no")


def test_files_that_are_no_source(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    refused(lambda: open_source(tmp_path / "a.tar"), "no source of images", ".zip, .npz or .npy")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    refused(lambda: open_source(tmp_path / "a.png"), "is a single image; name the folder")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"resize": 0}, ["resize=0", "1 to 4096"]),
        ({"on_error": "ignore"}, ["on_error=ignore", "raise, skip"]),
        ({"alpha": "whit"}, ["alpha=whit", "did you mean 'white'?"]),
    ],
)
def test_options_that_are_none(tmp_path, options, parts):
    refused(lambda: open_source(tmp_path, **options), *parts)


def test_the_users_home_is_known_by_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", IMAGES[:, 0])
    assert open_source("~/x.npy").n == 6
