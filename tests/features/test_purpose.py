"""A network that ships with genbench is for some images, and is not asked of others in silence."""

import numpy as np
import pytest
from PIL import Image

from genbench import cli, features, suite
from genbench.evaluation import score
from genbench.spec import ConfigError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of colour images with two classes, and one of grey ones."""
    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for name, shape in (("colour", (8, 8, 3)), ("grey", (8, 8))):
        for i in range(60):
            path = root / name / ("train" if i < 30 else "test") / "ab"[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path)
    return root


@pytest.mark.parametrize("name", features.names())
def test_every_card_says_what_its_network_is_for(name):
    about = features.card(name)["for"]
    assert about["images"] and about["datasets"] and about["grey"] in (True, False)
    for dataset in about["datasets"]:
        assert features.unfit(name, f"{dataset}@32", not about["grey"]) == ""


def test_what_a_network_is_not_for_is_told():
    assert features.unfit("digits-cnn", "cifar10") == (
        "digits-cnn is for grey handwritten digits and says nothing of cifar10"
    )
    assert "colour images" in features.unfit("mnist-cnn", "imagefolder:x@32", True)
    assert features.unfit("mnist-cnn", "imagefolder:x@32", False) == ""
    assert "grey images" in features.unfit("scenes-parser", colour=False)
    assert features.unfit("inception", "cifar10", True) == ""
    assert features.unsure("digits-cnn", "digits") == ""
    assert "numbers say nothing" in features.unsure("digits-cnn", "imagefolder:x")


@pytest.mark.parametrize("dataset", ["cifar10", "scenes@32"])
def test_a_suite_of_other_images_is_refused_when_it_is_planned(dataset, monkeypatch):
    loaded = suite.load("smoke", [f"dataset={dataset}"])
    with pytest.raises(ConfigError, match="digits-cnn is for grey handwritten digits.*extractor="):
        suite.plan(loaded)


def test_own_images_have_a_network_that_fits(photos, monkeypatch):
    given = [f"dataset=imagefolder:{photos}/colour", "n=20"]
    with pytest.raises(ConfigError, match="colour images"):
        suite.plan(suite.load("smoke", given))
    monkeypatch.setattr("genbench.suite.own_images._at_hand", lambda: False)
    changes, said = suite.settled("smoke", given)
    assert changes == [*given, "extractor=pixels", "metrics=fd"]
    assert "extractor=pixels, as the weights of inception are not at hand" in said[0]
    assert said[1].startswith("is left out")
    suite.plan(suite.load("smoke", changes))
    monkeypatch.setattr("genbench.suite.own_images._at_hand", lambda: True)
    assert suite.settled("smoke", given)[0] == [*given, "extractor=inception"]
    asked = [*given, "extractor=digits-cnn"]
    assert suite.settled("smoke", asked) == (asked, [])
    grey = [f"dataset=imagefolder:{photos}/grey", "n=20"]
    changes, said = suite.settled("smoke", grey)
    assert changes == grey and said == [features.unsure("digits-cnn", grey[0][8:])]
    assert suite.settled("smoke", ["n=20"]) == (["n=20"], [])


def test_the_line_of_the_readme_scores_photographs(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("genbench.suite.own_images._at_hand", lambda: False)
    out = ["--out", str(tmp_path), "--executor", "inline", "--threads", "1"]
    given = [f"dataset=imagefolder:{photos}/colour@8", "baseline=real", "n=20"]
    assert cli.main(["run", "smoke", *given, *out]) == 0
    said = capsys.readouterr()
    assert "extractor=pixels" in said.err and "FD (pixels)" in said.out


def test_colour_images_are_marked_where_a_folder_is_scored(photos):
    sides = (photos / "colour" / "train", photos / "colour" / "test")
    found = score(*sides, metrics=("fd",), extractor="digits-cnn")
    assert any("says nothing of colour images" in warning for warning in found.warnings)
    sides = (photos / "grey" / "train", photos / "grey" / "test")
    found = score(*sides, metrics=("fd",), extractor="digits-cnn")
    assert not any("says nothing" in warning for warning in found.warnings)
    with pytest.raises(ConfigError, match="says nothing of scenes@16"):
        score(sides[0], "scenes@16:test", metrics=("fd",), extractor="digits-cnn")
