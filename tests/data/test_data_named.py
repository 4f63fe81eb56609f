"""The named datasets: digits, and those of torchvision."""

import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from genbench import data
from genbench.data import digits
from genbench.data.digits import split_indices
from genbench.data.resize import resize
from genbench.spec import ConfigError


def test_digits_are_all_there_and_stratified():
    train, test = data.load("digits", "train"), data.load("digits", "test")
    assert train.images.shape == (1437, 1, 8, 8)
    assert test.images.shape == (360, 1, 8, 8)
    assert (train.channels, train.size, len(test)) == (1, 8, 360)
    assert train.classes == tuple("0123456789")
    assert train.notes["train_count"] == 1437
    assert train.notes["test_count"] == 360
    assert train.notes["split_seed"] == 0
    whole = torch.from_numpy(np.bincount(load_digits().target))
    assert torch.equal(train.labels.bincount() + test.labels.bincount(), whole)
    assert (test.labels.bincount() - whole * 360 / 1797).abs().max() < 1


def test_the_digits_splits_are_disjoint_and_lose_nothing():
    labels = load_digits().target.astype(np.int64)
    train, test = split_indices(labels)
    assert sorted([*train, *test]) == list(range(1797))
    raw = load_digits().images
    loaded = data.load("digits", "test").images[:, 0].numpy()
    # halves go up: 255 * v / 16 has a half at v = 8, 127.5
    assert np.array_equal(loaded, (raw[test] * 510 + 16).astype(int) // 32)
    assert loaded.max() == 255
    assert 128 in loaded


def test_a_small_split_takes_the_largest_remainders():
    labels = np.array([0] * 5 + [1] * 3 + [2] * 2)
    train, test = split_indices(labels, test_count=4, seed=3)
    # shares are 2, 1.2 and 0.8
    assert np.bincount(labels[test]).tolist() == [2, 1, 1]
    assert len(train) == 6


def test_the_digits_never_change():
    # these change only with the pixels, the split, its seed or the order: a new dataset
    assert data.load("digits", "train").hash[:16] == "05d5eb61112d140a"
    assert data.load("digits", "test").hash[:16] == "2e1ecc9fc7e961a2"
    assert data.load("digits@16", "test").hash != data.load("digits", "test").hash


def test_a_second_load_is_the_same_object():
    assert data.load("digits", "train") is data.load("digits", "train")


def test_an_unknown_split_names_the_nearest():
    with pytest.raises(ConfigError, match="no split 'tests'; did you mean 'test'"):
        data.load("digits", "tests")


def test_a_size_resizes_by_pillows_bicubic():
    plain, large = data.load("digits", "test"), data.load("digits@20", "test")
    assert large.images.shape == (360, 1, 20, 20)
    expected = Image.fromarray(plain.images[7, 0].numpy()).resize((20, 20), Image.BICUBIC)
    assert np.array_equal(large.images[7, 0].numpy(), np.asarray(expected))
    assert "bicubic" in large.notes["resize"]
    assert torch.equal(large.labels, plain.labels)


def test_resizing_crops_the_centred_square():
    wide = np.zeros((4, 9), np.uint8)
    wide[:, 2:6] = 200
    assert np.asarray(resize(Image.fromarray(wide), 4)).tolist() == [[200] * 4] * 4
    assert np.asarray(resize(Image.fromarray(wide.T.copy()), 2)).tolist() == [[200] * 2] * 2


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def small_mnist(root: Path, folder: str = "MNIST") -> dict[str, np.ndarray]:
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = {
        "train": rng.integers(0, 256, (20, 28, 28)),
        "t10k": rng.integers(0, 256, (5, 28, 28)),
    }
    for split, pixels in images.items():
        write_idx(raw / f"{split}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{split}-labels-idx1-ubyte", np.arange(len(pixels)) % 10)
    return images


def no_network(*args, **kwargs):
    raise URLError("no network in tests")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_files_at_hand_are_read_without_the_network(tmp_path, offline, name, folder):
    images = small_mnist(tmp_path, folder)
    train = data.load(name, "train", root=tmp_path)
    test = data.load(name, "test", root=tmp_path)
    assert np.array_equal(train.images[:, 0].numpy(), images["train"])
    assert np.array_equal(test.images[:, 0].numpy(), images["t10k"])
    assert test.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(train.classes) == 10
    assert train.classes[0] == {"mnist": "0", "fashion_mnist": "T-shirt/top"}[name]


def test_the_environment_names_the_root(tmp_path, offline, monkeypatch):
    small_mnist(tmp_path)
    monkeypatch.setenv("GENBENCH_DATA", str(tmp_path))
    assert len(data.load("mnist@8", "test")) == 5


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_missing_files_without_a_network_say_where_and_how_to_go_on(tmp_path, offline, name):
    with pytest.raises(ConfigError) as refused:
        data.load(name, "train", root=tmp_path)
    message = str(refused.value)
    assert message.startswith(f"dataset {name!r} is not in {tmp_path}")
    assert "data.root=PATH" in message
    assert "\n" not in message


def test_a_file_cut_short_is_told(tmp_path, offline):
    small_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"cannot be read .*data\.root=PATH"):
        data.load("mnist", "train", root=tmp_path)


@pytest.mark.data
def test_real_mnist(data_root):
    if not data.available("mnist", data_root):
        pytest.skip("GENBENCH_DATA holds no MNIST")
    train = data.load("mnist", "train", root=data_root)
    test = data.load("mnist", "test", root=data_root)
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    # published class counts of the training set
    assert train.labels.bincount().tolist() == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert train.images.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)


# --- other files under a published name ----------------------------------------------------------


@pytest.mark.data
def test_the_published_files_need_no_fingerprint(data_root):
    if not data.available("mnist", data_root):
        pytest.skip("GENBENCH_DATA holds no MNIST")
    assert data.fingerprint("mnist@32", data_root) == ""
    assert "files" not in data.load("mnist", "test", root=data_root).notes


def test_files_that_are_to_be_downloaded_and_sets_without_files_have_no_fingerprint(tmp_path):
    assert [data.fingerprint(name, tmp_path) for name in ("mnist", "digits", "scenes")] == [""] * 3


def test_other_files_are_told_by_name_in_every_place_that_counts(tmp_path):
    from genbench import suite
    from genbench.evaluation import describe
    from genbench.inputs import open_source

    first, second = tmp_path / "a", tmp_path / "b"
    small_mnist(first), small_mnist(second)
    path = second / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    same = data.fingerprint("mnist", first)
    assert same == data.fingerprint("mnist", second) != ""
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    other = data.fingerprint("mnist", second)
    assert other not in ("", same)
    assert other[:8] in data.load("mnist", "test", root=second).notes["files"]
    loaded = suite.load("mnist", ["baseline=gaussian", "extractor=pixels", "metrics=fd", "n=25"])
    ((one,), (two,)) = (suite.plan(loaded, root) for root in (first, second))
    assert one.key != two.key and one.metrics[0].id != two.metrics[0].id
    assert one.metrics[0].id.endswith(f"/files={same[:8]}")
    source = open_source("mnist:test", data_root=second)
    assert describe.reference_name(source) == f"mnist:test-{source.digest[:8]}"


def test_a_cell_of_other_files_is_not_run(tmp_path):
    from toys import run_inline

    from genbench import suite

    first, second = tmp_path / "a", tmp_path / "b"
    small_mnist(first), small_mnist(second)
    (second / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(
        (first / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").read_bytes()[:-1] + b"\x07"
    )
    loaded = suite.load("mnist", ["baseline=gaussian", "extractor=pixels", "metrics=fd", "n=4"])
    cells = suite.plan(loaded, first)
    _, (record,) = run_inline(tmp_path / "out", cells, data_root=second)
    assert record.status == "failed" and "the files of mnist" in record.error.message


def test_the_table_of_digits_is_read_alike_by_either_way(monkeypatch):
    levels, labels = digits._table()
    raw = load_digits()
    assert np.array_equal(levels, raw.images) and np.array_equal(labels, raw.target)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)  # as where the file lies elsewhere
    again = digits._table()
    assert np.array_equal(levels, again[0]) and np.array_equal(labels, again[1])
