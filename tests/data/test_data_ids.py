"""Dataset ids: the grammar, its messages, and what is known without loading anything."""

from pathlib import Path

import pytest

from genbench import data
from genbench.data import DatasetId, parse_id
from genbench.spec import ConfigError


def test_ids_are_read_in_their_parts():
    assert parse_id("digits") == DatasetId("digits")
    assert parse_id("mnist@32") == DatasetId("mnist", None, 32)
    assert parse_id("imagefolder:/a/b@64") == DatasetId("imagefolder", Path("/a/b"), 64)
    assert parse_id("imagefolder:/a@b/c@8") == DatasetId("imagefolder", Path("/a@b/c"), 8)
    assert parse_id("imagefolder:C:/a") == DatasetId("imagefolder", Path("C:/a"), None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnits",
            "unknown dataset 'mnits' in 'mnits'; did you mean 'mnist'? valid: captions, ",
        ),
        ("cifar@32", "did you mean 'cifar10'?"),
        ("", "unknown dataset ''"),
        ("mnist@", "'' is not a size"),
        ("mnist@big", "'big' is not a size"),
        ("mnist@0", "'0' is not a size"),
        ("mnist@-8", "'-8' is not a size"),
        ("mnist@3.5", "'3.5' is not a size"),
        ("mnist@5000", "1 to 4096"),
        ("imagefolder", "names no folder"),
        ("imagefolder:@32", "names no folder"),
        (
            "mnist:/data",
            "mnist takes no path, its place is set by data.root; these take one: capt",
        ),
        ("imagefolder:/no/such/folder@32", "there is no folder /no/such/folder; check the path"),
    ],
)
def test_a_bad_id_is_refused_with_a_way_on(name, message):
    with pytest.raises(ConfigError) as refused:
        data.check(name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_good_ids_pass(tmp_path):
    for name in ("digits", "digits@16", "mnist", "cifar10@64", f"imagefolder:{tmp_path}@32"):
        data.check(name)


def test_every_name_has_a_line_of_its_own():
    assert list(data.describe()) == data.names()
    assert len(set(data.describe().values())) == len(data.names())


def test_availability_is_the_presence_of_the_files(tmp_path, monkeypatch):
    assert data.available("digits")
    assert data.available(f"imagefolder:{tmp_path}")
    assert not data.available(f"imagefolder:{tmp_path / 'none'}")
    assert not data.available("mnist@32", tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for what in ("images-idx3", "labels-idx1"):
            assert not data.available("mnist", tmp_path)
            (raw / f"{split}-{what}-ubyte").touch()
    assert data.available("mnist", tmp_path)
    monkeypatch.setenv("GENBENCH_DATA", str(tmp_path))
    assert data.available("mnist")
    assert not data.available("fashion_mnist")
