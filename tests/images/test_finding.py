"""Which files count, in which order, and that nothing disappears without a word: on both roads."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench import data
from genbench.images import find, natural, shown
from genbench.inputs import open_source, pairs
from genbench.spec import ConfigError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)


def fill(folder: Path, name: str = "{:02}.png", start: int = 0, stop: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, stop):
        Image.fromarray(IMAGES[i]).save(folder / name.format(i))
    return folder


def as_source(folder: Path):
    return open_source(folder)


def as_dataset(folder: Path):
    return data.load(f"imagefolder:{folder}", "train")


def told(road, folder: Path) -> str:
    """The one sentence that a folder is refused with."""
    with pytest.raises(ConfigError) as error:
        road(folder)
    text = str(error.value)
    assert "\n" not in text
    return text


roads = pytest.mark.parametrize("road", [as_source, as_dataset])


# --- order ---------------------------------------------------------------------------------------


def test_paths_are_sorted_as_people_number_them():
    right = ["1.png", "2.png", "002.png", "10.png", "a2b1.png", "a2b10.png", "a10b1.png"]
    right += ["b/9.png", "b/10.png", f"{'9' * 5000}.png", "é.png"]
    wrong = sorted(right, key=lambda name: name[::-1])
    numbers = [r for r in right if r[0].isdigit()]
    assert sorted(numbers, key=lambda n: natural(n)) == ["1.png", "002.png", "2.png", *numbers[3:]]
    others = [r for r in wrong if not r[0].isdigit()]
    assert sorted(others, key=natural) == [r for r in right if not r[0].isdigit()]


@pytest.mark.parametrize("pack", [False, True])
def test_positions_follow_the_numbers_of_files(tmp_path, pack):
    where = fill(tmp_path / "in", "{}.png")
    if pack:
        import zipfile

        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for path in sorted(where.iterdir()):
                archive.write(path, path.name)
        where = tmp_path / "in.zip"
    np.save(tmp_path / "x.npy", IMAGES)
    made, real = open_source(where), open_source(tmp_path / "x.npy")
    (one,), (other,) = made.batches(12), real.batches(12)
    assert np.array_equal(one.images.numpy()[np.argsort(pairs(made, real))], other.images.numpy())


def test_images_of_a_dataset_follow_the_numbers_of_files(tmp_path):
    fill(tmp_path / "test", "{}.png", stop=1)
    fill(tmp_path / "train", "{}.png")
    images = as_dataset(tmp_path).images.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images, IMAGES)


# --- links ---------------------------------------------------------------------------------------


def test_linked_folders_and_files_count(tmp_path):
    fill(tmp_path / "other", start=4)
    fill(tmp_path / "mix" / "own", stop=4)
    (tmp_path / "mix" / "linked").symlink_to(tmp_path / "other")
    assert open_source(tmp_path / "mix").n == 12
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for name in ("own", "linked"):
            (tmp_path / "data" / split / name).symlink_to(tmp_path / "mix" / name)
    train = as_dataset(tmp_path / "data")
    assert train.classes == ("linked", "own")
    assert train.labels.tolist() == [0] * 8 + [1] * 4
    before = data.fingerprint(f"imagefolder:{tmp_path / 'data'}")
    Image.fromarray(IMAGES[0]).save(tmp_path / "other" / "new.png")
    assert data.fingerprint(f"imagefolder:{tmp_path / 'data'}") != before
    (tmp_path / "files").mkdir()
    for i in range(12):
        target = tmp_path / "mix" / ("own" if i < 4 else "linked") / f"{i:02}.png"
        (tmp_path / "files" / f"{i:02}.png").symlink_to(target)
    assert open_source(tmp_path / "files").n == 12


def test_links_in_a_circle_are_not_followed_and_this_is_said(tmp_path):
    folder = fill(tmp_path / "in" / "a")
    (folder / "up").symlink_to(tmp_path / "in")
    (folder / "here").symlink_to(folder)
    source = open_source(tmp_path / "in")
    assert source.n == 12
    assert source.warnings == [
        "links that lead back to a folder above them were not followed: a/here, a/up"
    ]


@roads
def test_links_without_number_come_to_an_end(tmp_path, road, monkeypatch):
    monkeypatch.setattr("genbench.images.finding._MOST_FOLDERS", 1000)
    fill(tmp_path / "in" / "train")
    fill(tmp_path / "in" / "test")
    for level in range(20):  # 2^20 ways to the last one
        (tmp_path / str(level)).mkdir()
        for name in "ab":
            (tmp_path / str(level) / name).symlink_to(tmp_path / str(level + 1))
    fill(tmp_path / "20", stop=1)
    (tmp_path / "in" / "train" / "many").symlink_to(tmp_path / "0")
    assert "leads to more than 1,000 folders" in told(road, tmp_path / "in")


# --- what stands in the place of an image --------------------------------------------------------


def dangling(path: Path) -> None:
    path.symlink_to("/nonexistent/gone.png")


def circular(path: Path) -> None:
    path.symlink_to(path.name)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


def empty_folder(path: Path) -> None:
    path.mkdir()


ODD = {
    "a link to nothing": dangling,
    "Too many levels of symbolic links": circular,
    "it is a pipe, not a file": pipe,
    "it is a device, not a file": device,
    "it is a socket, not a file": unix_socket,
    "it has 5,368,709,120 bytes, and": sparse,
    "it is a folder, not a file": empty_folder,
}


@roads
@pytest.mark.parametrize("reason", ODD)
def test_what_is_no_file_is_named(tmp_path, road, reason):
    for split in ("train", "test"):
        fill(tmp_path / split)
    odd = tmp_path / "train" / "03.png"
    odd.unlink()
    ODD[reason](odd)
    text = told(road, tmp_path)
    assert f"1 of 24 images cannot be read: train/03.png ({reason}" in text
    if road is as_source:
        source = open_source(tmp_path, on_error="skip")
        assert source.n == 23 and source.notes["skipped"] == "train/03.png"


@pytest.mark.parametrize("reason", [r for r in ODD if "folder" not in r])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".zip"])
def test_a_source_that_is_no_file(tmp_path, reason, suffix):
    path = tmp_path / f"x{suffix}"
    ODD[reason](path)
    text = told(as_source, path)
    assert str(path) in text
    assert "cannot be read" in text or reason in text


@roads
def test_a_folder_that_cannot_be_read_is_named(tmp_path, road, monkeypatch):
    for split in ("train", "test"):
        fill(tmp_path / split)
    fill(tmp_path / "train" / "shut")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    text = told(road, tmp_path)
    assert "1 of 25 images cannot be read: train/shut (Permission denied)" in text
    monkeypatch.setattr(os, "scandir", lambda path: scandir("shut"))
    assert "cannot be read (Permission denied)" in told(road, tmp_path)


def test_a_linked_folder_that_is_gone_is_named(tmp_path):
    fill(tmp_path / "in")
    (tmp_path / "in" / "more").symlink_to("/nonexistent")
    (tmp_path / "in" / "notes.txt").symlink_to("/nonexistent")
    assert "1 of 13 images cannot be read: more (a link to nothing)" in told(
        as_source, tmp_path / "in"
    )


# --- images that are left out --------------------------------------------------------------------


@roads
def test_images_of_other_suffixes_are_read_or_named(tmp_path, road):
    for split in ("train", "test"):
        fill(tmp_path / split, "{}.png", stop=2)
        for suffix in ("gif", "ppm", "jfif"):
            fill(tmp_path / split, f"{suffix}{{}}.{suffix}", stop=1)
        (tmp_path / split / "notes.txt").write_text("no image")
    for name in ("a.png.bak", "b.heic", "without"):
        (tmp_path / "train" / name).write_bytes((tmp_path / "train" / "0.png").read_bytes())
    found = road(tmp_path)
    said = "3 more images were left out, as their suffix is not one that is read: train/a.png.bak"
    if road is as_source:
        assert found.n == 10
        (warning,) = [w for w in found.warnings if "left out" in w]
        (same,) = [w for w in open_source(f"imagefolder:{tmp_path}:test").warnings if "out" in w]
        assert same == warning
    else:
        assert len(found) == 5
        warning = found.notes["left_out_files"]
    assert warning.startswith(said) and "notes.txt" not in warning


def test_a_folder_of_images_that_are_not_read_names_them(tmp_path):
    (tmp_path / "a.avif").write_bytes(b"")
    assert "holds no image" in told(as_source, tmp_path) and "a.avif" in told(as_source, tmp_path)


# --- names that are not UTF-8 --------------------------------------------------------------------


def renamed(path: Path, name: bytes) -> None:
    path.rename(path.with_name(os.fsdecode(name)))


def test_names_that_are_not_utf_8(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split / "x", stop=3)
        renamed(tmp_path / split / "x" / "00.png", b"caf\xe9.png")
    renamed(tmp_path / "train" / "x", b"\xff")
    source = open_source(tmp_path)
    assert source.keys[-1] == "train/\\xff/caf\\xe9"
    assert next(source.batches(6)).images.shape == (6, 3, 8, 8)
    assert as_dataset(tmp_path).classes == ("\\xff", "x")
    renamed(fill(tmp_path / "single") / "00.png", b"\xe9.png")
    found = [data.load(f"imagefolder:{tmp_path / 'single'}", split) for split in data.SPLITS]
    assert sum(map(len, found)) == 12
    assert shown(os.fsdecode(b"caf\xe9.png")).encode() == b"caf\\xe9.png"


def test_what_is_found_is_said_in_natural_order(tmp_path):
    fill(tmp_path, "{}.png")
    found = find(tmp_path, ("list.txt",))
    assert found.names == [f"{i}.png" for i in range(12)] and found.texts == []
    (tmp_path / "list.txt").write_text("")
    assert find(tmp_path, ("list.txt",)).texts == ["list.txt"]
