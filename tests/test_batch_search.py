"""The search for the rule of the batch: equal trials for every family, on training images."""

import argparse
import importlib.util
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from genbench import data
from genbench.store import Store

TOOL = Path(__file__).resolve().parents[1] / "tools" / "batch_search.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("batch_search", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ASKED = argparse.Namespace(families=["vae", "dcgan"], images=[60_000, 300_000], seeds=2)


def test_a_fifth_of_the_training_images_is_held_out(tool, tmp_path):
    folder = tool.write_folder("digits", tmp_path)
    counts = {part: len(list((folder / part).rglob("*.png"))) for part in ("train", "test")}
    assert counts == {"train": 1149, "test": 288}
    both = [data.load(f"imagefolder:{folder}", part).images for part in ("train", "test")]
    seen = {image.numpy().tobytes() for images in both for image in images}
    assert seen == {image.numpy().tobytes() for image in data.load("digits", "train").images}
    assert tool.write_folder("digits", tmp_path) == folder  # once is enough


def test_every_family_has_equal_trials(tool, tmp_path):
    suite = tomllib.loads(tool.suite_text(tmp_path, "digits-cnn", ASKED))
    assert suite["reference"] == "test" and suite["seeds"] == [0, 1]
    trials = Counter(row["baseline"] for row in suite["rows"])
    assert trials == {"vae": 8, "dcgan": 8, "gaussian": 1}
    sizes = {row["config"]["batch"] for row in suite["rows"] if "config" in row}
    assert sizes == set(tool.BATCHES)


def test_the_table_marks_what_the_rule_takes(tool, tmp_path):
    lines = tool.table(Store(tmp_path), ASKED).splitlines()
    assert lines[0] == "| family | images | 16 | 32 | 64 | 128 |"
    assert lines[2:4] == [
        "| vae | 60,000 | **-** | - | - | - |", "| vae | 300,000 | - | **-** | - | - |",
    ]  # fmt: skip
