"""Data of the user's own: what all layouts share, and pairs, domains and CelebA."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts_on_disk import SIDE, WRITERS, celeba, domains, pairs, picture, save, two_folders
from PIL import Image

from genbench import data
from genbench.data.listing import hash_split
from genbench.data.resize import resize
from genbench.spec import ConfigError


def load(kind: str, folder: Path, split: str = "train", size: int | None = None):
    return data.load(f"{kind}:{folder}" + (f"@{size}" if size else ""), split)


def refused(kind: str, folder: Path, *parts: object, split: str = "train", size=None) -> None:
    with pytest.raises(ConfigError) as error:
        load(kind, folder, split, size)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message


def chw(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2))


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_is_a_dataset(tmp_path, kind):
    WRITERS[kind](tmp_path)
    train, test = load(kind, tmp_path), load(kind, tmp_path, "test")
    assert train.known.keys() == test.known.keys() != set()
    for dataset in (train, test):
        assert dataset.images.shape[1:] == (3, SIDE, SIDE)
        assert dataset.images.is_contiguous()
        assert dataset.notes[f"{dataset.split}_count"] == len(dataset)
        for name in dataset.annotations:
            assert len(dataset.annotation(name)) == len(dataset)
            assert dataset.words(name) == train.words(name)
    assert load(kind, tmp_path) is train
    assert load(kind, tmp_path, size=8).images.shape[2:] == (8, 8)
    assert data.available(f"{kind}:{tmp_path}")
    assert not data.available(f"{kind}:{tmp_path / 'gone'}")


@pytest.mark.parametrize("kind", WRITERS)
def test_the_fingerprint_changes_with_every_file(tmp_path, kind):
    WRITERS[kind](tmp_path)
    name = f"{kind}:{tmp_path}"
    before = data.fingerprint(name)
    assert data.fingerprint(f"{name}@8") == before
    (tmp_path / "readme.md").write_text("of no effect")
    assert data.fingerprint(name) == before
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".md"):
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert data.fingerprint(name) != before, path
        path.write_bytes(content)
    assert data.fingerprint(name) == before
    path.rename(path.with_name(f"moved{path.name}"))
    assert data.fingerprint(name) != before


@pytest.mark.parametrize("kind", [*WRITERS, "imagefolder"])
def test_a_relative_path_is_looked_up_below_the_data_root(tmp_path, monkeypatch, kind):
    root, here = tmp_path / "root", tmp_path / "here"
    WRITERS.get(kind, domains)(root / "mine")
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GENBENCH_DATA", str(tmp_path / "empty"))
    name = f"{kind}:mine@8"
    with pytest.raises(
        ConfigError, match=r"no folder mine, nor below .*empty \(set by data.root="
    ):
        data.load(name, "train")
    assert not data.available(name)
    assert data.available(name, root)
    data.check(name, root)
    found = data.load(name, "train", root=root)
    assert found.name == name
    assert str(tmp_path) not in repr((found.name, found.notes, found.classes))
    assert data.fingerprint(name, root) == data.fingerprint(f"{kind}:{root / 'mine'}")
    monkeypatch.setenv("GENBENCH_DATA", str(root))
    assert torch.equal(data.load(name, "train").images, found.images)
    # what is here goes first
    shutil.copytree(root / "mine", here / "mine")
    changed = next(p for p in sorted((here / "mine").rglob("*")) if p.suffix in {".png", ".jpg"})
    changed.write_bytes(changed.read_bytes() + b" ")
    assert data.fingerprint(name) != data.fingerprint(f"{kind}:{root / 'mine'}")
    assert data.folder_of(name) == Path("mine")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_broken_image_is_named(tmp_path, kind):
    WRITERS[kind](tmp_path)
    path = next(p for p in sorted(tmp_path.rglob("*")) if p.suffix in {".png", ".jpg"})
    path.write_bytes(b"no image")
    split = "train" if "train" in str(path.relative_to(tmp_path)) or kind == "celeba" else "test"
    said = f"{path.name} (no known image format, or no pixels)"
    refused(kind, tmp_path, f"{kind}: ", "cannot be read: ", said, split=split, size=8)


@pytest.mark.parametrize("kind", ["captions", "label_maps", "layouts", "pairs"])
def test_folders_without_images(tmp_path, kind):
    name = tmp_path / ("images" if kind == "label_maps" else "")
    name.mkdir(exist_ok=True)
    refused(kind, tmp_path, f"{kind}: {name} holds no image file")
    save(name / "train" / "a.png", picture(0, 8, 16))
    refused(kind, tmp_path, "has a folder train, but neither test nor val")
    (name / "val").mkdir()
    save(name / "extra" / "a.png", picture(0, 8, 16))
    refused(kind, tmp_path, "has folders train and val, but extra/a.png is in neither")


def test_one_folder_is_split_by_the_hash_of_the_path(tmp_path):
    for k in range(40):
        save(tmp_path / f"{k}.png", np.concatenate((picture(k), picture(k + 100)), 1))
    train, test = load("pairs", tmp_path), load("pairs", tmp_path, "test")
    found = set(test.annotation("source")[:, 0, 0, 0].tolist())
    assert found == {k for k in range(40) if hash_split(Path(f"{k}.png")) == "test"}
    assert 0 < len(test) < len(train)
    assert found.isdisjoint(train.annotation("source")[:, 0, 0, 0].tolist())
    save(tmp_path / "new.png", np.concatenate((picture(99), picture(199)), 1))
    later = set(load("pairs", tmp_path, "test").annotation("source")[:, 0, 0, 0].tolist())
    assert later - {99} == found


# --- pairs ---------------------------------------------------------------------------------------


def test_the_right_half_is_the_image_and_the_left_half_its_source(tmp_path):
    pairs(tmp_path)
    train, test = load("pairs", tmp_path), load("pairs", tmp_path, "test")
    assert torch.equal(train.images, chw(picture(1), picture(3)))
    assert torch.equal(train.annotation("source"), chw(picture(0), picture(2)))
    assert torch.equal(test.images, chw(picture(5)))
    assert train.notes["split_rule"] == "folders train and test; val is in neither"
    assert (train.notes["test_count"], train.notes["left_out"]) == (1, 1)
    turned = load("pairs_reversed", tmp_path)
    assert torch.equal(turned.images, train.annotation("source"))
    assert torch.equal(turned.annotation("source"), train.images)
    assert (train.notes["direction"], turned.notes["direction"]) == ("AtoB", "BtoA")


def test_folders_a_and_b_are_pairs_too(tmp_path):
    two_folders(tmp_path)
    train, test = load("pairs", tmp_path), load("pairs", tmp_path, "test")
    assert torch.equal(train.images, chw(picture(1), picture(3)))
    assert torch.equal(train.annotation("source"), chw(picture(0), picture(2)))
    assert torch.equal(test.images, chw(picture(5)))  # val, where there is no test
    assert torch.equal(load("pairs_reversed", tmp_path).images, train.annotation("source"))


def test_a_and_b_may_differ_in_colour(tmp_path):
    for name in ("train/1", "test/2"):
        save(tmp_path / "A" / f"{name}.png", picture(0)[..., 1])
        save(tmp_path / "B" / f"{name}.png", picture(1))
    train = load("pairs", tmp_path)
    assert train.annotation("source").shape == (1, 1, SIDE, SIDE)
    assert train.images.shape == (1, 3, SIDE, SIDE)


def test_both_pictures_of_a_pair_are_cropped_alike(tmp_path):
    wide = picture(7, 9, 20)
    for name in ("train/1", "test/2"):
        for side in "AB":
            save(tmp_path / side / f"{name}.png", wide)
    train = load("pairs", tmp_path, size=6)
    assert torch.equal(train.images, train.annotation("source"))
    expected = np.asarray(resize(Image.fromarray(wide), 6))
    assert torch.equal(train.images, chw(expected))


def test_what_is_no_pair_is_refused(tmp_path):
    pairs(tmp_path)
    odd = save(tmp_path / "train" / "odd.png", picture(0, 12, 25))
    refused("pairs", tmp_path, f"{odd} is 25x12 pixels", "twice as wide as high", size=8)
    save(odd, picture(0, 12, 12))
    refused("pairs_reversed", tmp_path, "pairs_reversed: ", f"{odd} is 12x12 pixels", size=8)
    save(odd, picture(0, 10, 20))
    refused("pairs", tmp_path, "several sizes: 12x12 (3), 10x10 (1); add @SIZE")
    assert len(load("pairs", tmp_path, size=8)) == 3


def test_an_a_without_its_b(tmp_path):
    two_folders(tmp_path)
    lone = save(tmp_path / "A" / "train" / "lone.png", picture(0))
    wanted = tmp_path / "B" / "train" / "lone.png"
    refused("pairs", tmp_path, f"{lone} has no partner {wanted} (1 in all)")
    lone.unlink()
    lone = save(wanted, picture(0))
    refused("pairs", tmp_path, f"the partner {lone} belongs to no image in {tmp_path / 'A'}")
    other = save(lone.with_suffix(".bmp"), picture(0))
    refused("pairs", tmp_path, f"{other} and {lone} have one name")
    shutil.rmtree(tmp_path / "B")
    refused("pairs", tmp_path, "has one of the folders A and B")


def test_partners_of_unlike_sizes(tmp_path):
    two_folders(tmp_path)
    small = save(tmp_path / "B" / "train" / "1.bmp", picture(1, 8, 8))
    refused("pairs", tmp_path, f"{small} are 12x12 and 8x8 pixels; give", size=8)
    save(tmp_path / "A" / "train" / "1.png", picture(1, 8, 8))
    refused("pairs", tmp_path, "several sizes: 12x12 (2), 8x8 (1)")


def test_domains_are_no_pairs(tmp_path):
    domains(tmp_path)
    refused("pairs", tmp_path, f"hold no pairs; write domains:{tmp_path}")


# --- domains -------------------------------------------------------------------------------------


def test_domains_are_told_apart(tmp_path):
    domains(tmp_path)
    save(tmp_path / "trainwinter" / "x" / "1.png", picture(9))
    save(tmp_path / "testwinter" / "1.png", picture(8))
    train, test = load("domains", tmp_path), load("domains", tmp_path, "test")
    assert train.words("domain") == ("A", "B", "winter")
    assert train.annotation("domain").tolist() == [0, 1, 1, 2]
    assert torch.equal(train.images, chw(picture(0), picture(1), picture(2), picture(9)))
    assert test.annotation("domain").tolist() == [0, 1, 2]
    assert torch.equal(test.images, chw(picture(3), picture(4), picture(8)))
    assert train.labels is None


def test_domains_that_are_incomplete(tmp_path):
    refused("domains", tmp_path, "fewer than two domains (none); make folders trainA")
    save(tmp_path / "trainA" / "1.png", picture(0))
    (tmp_path / "train").mkdir()
    refused("domains", tmp_path, "fewer than two domains (A)")
    (tmp_path / "testB").mkdir()
    refused("domains", tmp_path, "has no folder trainB")
    save(tmp_path / "trainB" / "1.png", picture(0))
    refused("domains", tmp_path, "has no folder testA")
    save(tmp_path / "testA" / "1.png", picture(0))
    refused("domains", tmp_path, f"{tmp_path / 'testB'} holds no image; add some")
    save(tmp_path / "testB" / "1.png", picture(0, 8, 8))
    refused("domains", tmp_path, "several sizes: 12x12 (3), 8x8 (1); add @SIZE")
    assert len(load("domains", tmp_path, size=8)) == 2


# --- CelebA --------------------------------------------------------------------------------------


def test_celeba_is_read_with_its_own_split(tmp_path):
    celeba(tmp_path)
    train, test = load("celeba", tmp_path), load("celeba", tmp_path, "test")
    assert train.words("attributes") == ("Young", "Bald", "Smiling")
    assert train.annotation("attributes").tolist() == [[True, False, True], [True, False, False]]
    assert train.annotation("attributes").dtype == torch.bool
    assert test.annotation("attributes").tolist() == [[True, False, True]]
    assert train.images[:, 0, 5, 5].tolist() == [0, 50]
    assert test.images[:, 0, 5, 5].tolist() == [100]
    assert (train.notes["train_count"], train.notes["test_count"]) == (2, 1)
    assert train.notes["left_out"] == 1
    assert "validation, is in neither" in train.notes["split_rule"]


def test_celebas_faces_need_a_size(tmp_path):
    celeba(tmp_path)
    for path in (tmp_path / "img_align_celeba").iterdir():
        save(path, picture(1, 22, 18))
    refused("celeba", tmp_path, "18x22, not square; add @SIZE to the dataset's name, e.g. @18")
    assert load("celeba", tmp_path, size=16).images.shape == (2, 3, 16, 16)


ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        (ATTRIBUTES, "4\n", "5\n", "says 5 images and has 4 rows"),
        (ATTRIBUTES, "4\n", "", "does not start with the number of images"),
        (ATTRIBUTES, "000001.jpg  1 -1 -1\n", "", "says 4 images and has 3 rows"),
        (ATTRIBUTES, "000001.jpg  1", "000001.jpg  1 1", "line 4: 000001.jpg needs 3 values of"),
        (ATTRIBUTES, "000001.jpg  1 -1", "000001.jpg  1 0", "and has 3: 1 0 -1"),
        (ATTRIBUTES, "000001.jpg", "000000.jpg", "line 4: 000000.jpg is there twice"),
        (ATTRIBUTES, "000001.jpg", "9.jpg", f"{ATTRIBUTES} has no row of 000001.jpg (1 in all)"),
        (PARTITION, "000001.jpg 0\n", "", f"{PARTITION} has no row of 000001.jpg"),
        (PARTITION, "000001.jpg 0", "000001.jpg 3", "line 2: 000001.jpg needs one part, 0 (train"),
        (PARTITION, "000001.jpg 0", "000001.jpg", "line 2: 000001.jpg needs one part"),
        (PARTITION, " 2\n", " 1\n", "split 'test'"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, file, before, after, message):
    celeba(tmp_path)
    text = (tmp_path / file).read_text()
    assert text.count(before) == 1
    (tmp_path / file).write_text(text.replace(before, after))
    refused("celeba", tmp_path, message, split="test")


def test_files_of_celeba_that_are_missing(tmp_path):
    celeba(tmp_path)
    (tmp_path / "img_align_celeba" / "000002.jpg").unlink()
    refused("celeba", tmp_path, "names 000002.jpg, which is not in img_align_celeba (1 in all)")
    for name in (PARTITION, ATTRIBUTES):
        (tmp_path / name).unlink()
        refused("celeba", tmp_path, f"there is no {tmp_path / name}; unpack CelebA so that")
    (tmp_path / ATTRIBUTES).write_bytes(b"\xff\xfe")
    (tmp_path / PARTITION).write_text("")
    refused("celeba", tmp_path, f"{tmp_path / ATTRIBUTES} cannot be read")
