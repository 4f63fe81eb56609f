"""Labels of images that a file tells instead of their folders."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench import data, suite
from genbench.spec import ConfigError

LABELS = {f"0000{i % 2}/img{i:04}.png": [10, 2, 0][i % 3] for i in range(40)}


@pytest.fixture
def folder(tmp_path):
    """Images as StyleGAN's tool numbers them: the folders are no classes."""
    for i, name in enumerate(LABELS):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(path)
    return tmp_path / "set"


def load(folder: Path, split: str = "train"):
    return data.load(f"imagefolder:{folder}", split)


def check(folder: Path, note: str) -> None:
    seen = 0
    for split in data.SPLITS:
        loaded = load(folder, split)
        assert loaded.classes == ("0", "2", "10") and loaded.notes["labels"] == note
        for image, label in zip(loaded.images, loaded.labels, strict=True):
            right = list(LABELS.values())[int(image[0, 0, 0])]
            assert loaded.classes[int(label)] == str(right)
            seen += 1
    assert seen == 40


def test_each_form_gives_the_classes(folder):
    assert load(folder).classes == ("00000", "00001")
    plain = data.fingerprint(f"imagefolder:{folder}")
    (folder / "dataset.json").write_text(json.dumps({"labels": list(LABELS.items())}))
    check(folder, "dataset.json")
    assert data.fingerprint(f"imagefolder:{folder}") != plain
    (folder / "dataset.json").unlink()
    lines = [f"{name},{label}" for name, label in LABELS.items()]
    (folder / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    check(folder, "metadata.csv")
    (folder / "metadata.csv").unlink()
    lines = [json.dumps({"file_name": n, "label": str(k)}) for n, k in LABELS.items()]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    check(folder, "metadata.jsonl")


def test_a_file_in_each_split_names_images_beside_it(tmp_path):
    for split in data.SPLITS:
        (tmp_path / split).mkdir()
        for i in range(4):
            Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / split / f"{i}.png")
        rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4))
        (tmp_path / split / "metadata.csv").write_text("file_name,label\n" + rows)
    for split in data.SPLITS:
        loaded = load(tmp_path, split)
        assert loaded.classes == ("a", "b") and loaded.labels.tolist() == [0, 1, 0, 1]


def test_null_labels_mean_no_classes_and_captions_are_not_labels(folder):
    (folder / "dataset.json").write_text('{"labels": null}')
    assert load(folder).classes == () and load(folder).labels is None
    (folder / "dataset.json").write_text('{"other": 1}')
    (folder / "metadata.jsonl").write_text('{"file_name": "x.png", "text": "a cat"}\n')
    assert load(folder).classes == ("00000", "00001")


BROKEN = [
    ("dataset.json", "{", "not what its name says"),
    ("dataset.json", '{"labels": 3}', "not a list of"),
    ("dataset.json", '{"labels": [["gone.png", 1]]}', "no image 'gone.png'"),
    ("dataset.json", '{"labels": [["00000/img0000.png", 1]]}', r"no label of .* \(39 in all\)"),
    ("dataset.json", '{"labels": [["00000/img0000.png", [1, 0]]]}', r"\[1, 0\] is not a label"),
    ("metadata.csv", 'file_name,label\n"x,1\n', "not what its name says"),
    ("metadata.csv", "file,label\nx.png,1\n", "entry 1 has no file_name"),
    ("metadata.jsonl", '{"file_name": "a", "label": null}', "null is not a label"),
    ("metadata.jsonl", "[" * 100_000, "nested too deeply"),
    (
        "metadata.csv",
        "file_name,label\n00000/img0000.png,1\n00000/img0000.png,2\n",
        "has two labels",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_what_is_wrong_in_a_file_is_one_sentence(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load(folder)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_one_class_is_refused_for_class_label_when_it_is_planned(folder):
    for path in (folder / "00001").iterdir():
        path.rename(folder / "00000" / path.name)
    given = [f"dataset=imagefolder:{folder}", "task=class_label", "extractor=pixels"]
    loaded = suite.load("smoke", [*given, "metrics=fd", "n=5", "baseline=truth"])
    with pytest.raises(ConfigError, match="two classes or more, and there is only '00000'"):
        suite.plan(loaded)
