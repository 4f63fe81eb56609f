"""Folders of images: classes, splits, modes, sizes, and files that are broken."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genbench import data
from genbench.spec import ConfigError


def paint(path: Path, value: int | tuple[int, ...] = 9, size=(8, 8), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


def load(folder: Path, split: str = "train", size: str = ""):
    return data.load(f"imagefolder:{folder}{size}", split)


def test_train_and_test_folders_are_the_splits(tmp_path):
    for split, value in (("train", 10), ("test", 20)):
        paint(tmp_path / split / "dog" / "a.png", (value, 0, 0))
        paint(tmp_path / split / "cat" / "deeper" / "b.PNG", (value, 1, 0))
    paint(tmp_path / "test" / "emu" / "c.bmp", (20, 2, 0))
    train, test = load(tmp_path), load(tmp_path, "test")
    assert train.images.shape == (2, 3, 8, 8)
    assert train.classes == test.classes == ("cat", "dog", "emu")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [0, 1, 2]
    assert test.images[:, :, 0, 0].tolist() == [[20, 1, 0], [20, 0, 0], [20, 2, 0]]
    assert train.notes["split_rule"] == "folders train and test"


def test_one_folder_is_split_by_the_hash_of_the_path(tmp_path):
    paths = [paint(tmp_path / f"c{i % 2}" / f"{i}.png", i, mode="L") for i in range(60)]
    train, test = load(tmp_path), load(tmp_path, "test")
    share = {
        int(path.stem): int(
            hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).hexdigest(), 16
        )
        for path in paths
    }
    expected = {i for i, number in share.items() if number / 2**256 < 0.2}
    found = set(test.images[:, 0, 0, 0].tolist())
    assert found == expected
    assert found.isdisjoint(train.images[:, 0, 0, 0].tolist())
    assert len(train) + len(test) == 60
    assert train.notes["test_count"] == len(test)
    # a newcomer moves no other file
    paint(tmp_path / "c0" / "new.png", 200, mode="L")
    later = set(load(tmp_path, "test").images[:, 0, 0, 0].tolist())
    assert later - {200} == found


def test_images_without_class_folders_have_no_labels(tmp_path):
    for i in range(12):
        paint(tmp_path / f"{i}.png")
    dataset = load(tmp_path)
    assert dataset.labels is None
    assert dataset.classes == ()


def test_grey_only_if_every_file_is_grey(tmp_path):
    paint(tmp_path / "train" / "a.png", 7, mode="L")
    paint(tmp_path / "test" / "b.png", 8, mode="L")
    assert load(tmp_path).images.shape == (1, 1, 8, 8)
    paint(tmp_path / "test" / "c.png", (1, 2, 3))  # the other split's, and still it decides
    assert load(tmp_path).images[0, :, 0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("LA", (5, 255), [5, 5, 5]),
        ("1", 1, [255, 255, 255]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
    ],
)
def test_other_modes_become_rgb_and_opaque_alpha_is_dropped(tmp_path, mode, value, expected):
    paint(tmp_path / "train" / "a.png", value, mode=mode)
    paint(tmp_path / "test" / "b.png")
    train = load(tmp_path)
    assert train.images[0, :, 0, 0].tolist() == expected
    said = "1 of 2 files have an alpha channel: opaque everywhere, dropped"
    assert train.notes.get("alpha") == (said if mode.endswith("A") else None)


def test_a_palette_with_transparency_that_is_not_used_warns_of_nothing(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    (tmp_path / "train").mkdir()
    image.save(tmp_path / "train" / "a.png", transparency=b"\x00\xff")
    paint(tmp_path / "test" / "b.png")
    assert load(tmp_path).images[0, :, 0, 0].tolist() == [10, 20, 30]


def test_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "a.png")
    paint(tmp_path / "b.png")
    with pytest.raises(ConfigError, match=r"a\.png \(16 bits for a channel\); convert to 8"):
        load(tmp_path)


def test_several_sizes_need_a_size(tmp_path):
    paint(tmp_path / "train" / "a.png", size=(8, 8))
    paint(tmp_path / "train" / "b.png", size=(9, 30))
    paint(tmp_path / "test" / "c.png", size=(8, 8))
    with pytest.raises(ConfigError, match=r"several sizes: 8x8 \(2\), 9x30 \(1\); add @SIZE"):
        load(tmp_path)
    assert load(tmp_path, size="@6").images.shape == (2, 3, 6, 6)


def test_one_size_that_is_not_square_needs_a_size(tmp_path):
    paint(tmp_path / "train" / "a.png", size=(12, 8))
    paint(tmp_path / "test" / "b.png", size=(12, 8))
    with pytest.raises(ConfigError, match=r"12x8, not square; add @SIZE .* @8"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["short", "text", "empty"])
def test_a_broken_file_is_named(tmp_path, content):
    paint(tmp_path / "train" / "good.png")
    paint(tmp_path / "test" / "good.png")
    bad = tmp_path / "train" / "bad.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(bad)
    whole = bad.read_bytes()
    bad.write_bytes(
        {"short": whole[: len(whole) // 2], "text": b"not an image", "empty": b""}[content]
    )
    with pytest.raises(
        ConfigError, match=r"1 of \d images cannot be read: train/bad\.png .*; replace them"
    ) as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)


def test_folders_that_cannot_be_a_dataset(tmp_path):
    with pytest.raises(ConfigError, match="holds no image file"):
        load(tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / ".hidden").mkdir()
    paint(tmp_path / ".hidden" / "a.png")
    with pytest.raises(ConfigError, match="holds no image file"):
        load(tmp_path)
    paint(tmp_path / "cat" / "a.png")
    paint(tmp_path / "b.png")
    with pytest.raises(ConfigError, match=r"outside of them \(b\.png\)"):
        load(tmp_path)


def test_an_empty_split_and_a_stray_image_are_told(tmp_path):
    (tmp_path / "test").mkdir()
    paint(tmp_path / "train" / "a.png")
    with pytest.raises(ConfigError, match=r"split 'test' of .* holds no image \(1 in all\)"):
        load(tmp_path, "test")
    paint(tmp_path / "extra" / "b.png")
    with pytest.raises(ConfigError, match=r"extra/b\.png is in neither"):
        load(tmp_path)


def test_the_fingerprint_is_of_paths_and_bytes(tmp_path):
    name = f"imagefolder:{tmp_path}"
    first = paint(tmp_path / "cat" / "a.png", (1, 1, 1))
    paint(tmp_path / "dog" / "b.png", (2, 2, 2))
    before = data.fingerprint(name)
    assert data.fingerprint(f"{name}@32") == before  # the size is in the name
    (tmp_path / "notes.txt").write_text("not an image")
    assert data.fingerprint(name) == before
    first.rename(tmp_path / "dog" / "a.png")
    moved = data.fingerprint(name)
    paint(tmp_path / "dog" / "a.png", (3, 1, 1))
    assert len({before, moved, data.fingerprint(name)}) == 3
    assert data.fingerprint("mnist@32") == data.fingerprint("digits") == ""


def test_a_changed_folder_is_read_again(tmp_path):
    path = paint(tmp_path / "train" / "a.png", (3, 3, 3))
    paint(tmp_path / "test" / "b.png", (3, 3, 3))
    before = load(tmp_path)
    assert load(tmp_path) is before
    paint(path, (2, 2, 2))
    after = load(tmp_path)
    assert after.hash != before.hash
    assert torch.equal(after.images, torch.full((1, 3, 8, 8), 2, dtype=torch.uint8))
