"""Which networks there are: names, and the files that their loaders look for."""

import pytest

from genbench import features
from genbench.features import NETWORKS, dinov2, inception, vgg16
from genbench.features.weights_file import at_hand
from genbench.spec import ConfigError


def test_the_catalog_names_the_files_that_loaders_look_for():
    assert NETWORKS["inception"].files == (inception.FILE, *inception.ALSO)
    assert NETWORKS["vgg16"].files == (vgg16.FILE,)
    assert NETWORKS["dinov2"].files == (dinov2.FILE,)


def test_a_file_at_hand_is_found_by_either_name(tmp_path, monkeypatch):
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    assert at_hand(NETWORKS["inception"].files) is None
    path = tmp_path / inception.ALSO[0]
    path.touch()
    assert at_hand(NETWORKS["inception"].files) == path


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("inception", ("inception", (), "tf1")),
        ("inception/clean", ("inception", (), "clean")),
        ("open_clip:ViT-B-32:openai", ("open_clip", ("ViT-B-32", "openai"), "")),
        ("nets/mine.py:Net", ("nets/mine.py", ("Net",), "")),
    ],
)
def test_names_are_read(name, parts):
    request = features.parse(name)
    assert (request.name, request.arguments, request.protocol) == parts


@pytest.mark.parametrize("name", ["inception/tf2", "digits-cnn/tf1", "inception:x", "open_clip:a"])
def test_names_that_are_wrong_are_refused(name):
    with pytest.raises(ConfigError):
        features.parse(name)


def test_every_network_has_a_line():
    lines = features.describe()
    assert {"digits-cnn", "inception", "vgg16", "dinov2"} <= set(lines)
    assert "protocols tf1, pytorch-fid, clean" in lines["inception"]
