"""Folders and zips of images: what is read, and every kind of file that needs a word."""

import io
import struct
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from reading import everything, refused

from genbench.data.resize import RULE, resize
from genbench.inputs import open_source
from genbench.inputs.ahead import ahead
from genbench.spec import ConfigError

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def save(path: Path, image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def fill(folder: Path, count: int = 3, size=(8, 8)) -> list[np.ndarray]:
    """Images 0.png, 1.png, ... of noise."""
    arrays = [noise(size[1], size[0], 3) for _ in range(count)]
    for i, array in enumerate(arrays):
        save(folder / f"{i}.png", array)
    return arrays


def cut(path: Path) -> Path:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


# --- what is read --------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with images in folders, in several formats, and with other things."""
    folder = tmp_path / "photos"
    names = ["b.PNG", "a/z.bmp", "a/b/c.tif", "d.webp", "e.png", "10.png", "9.TIFF"]
    arrays = {name: noise(6, 5, 3) for name in names}
    for name, array in arrays.items():
        options = {"lossless": True} if name.endswith("webp") else {}
        save(folder / name, array, **options)
    (folder / "notes.txt").write_text("not an image")
    for hidden in (".hidden.png", ".cache/x.png", "__MACOSX/y.png"):
        save(folder / hidden, noise(3, 3, 3))
    (folder / "empty").mkdir()
    return folder, arrays


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_folder_is_read_in_the_order_of_its_paths(photos, size):
    folder, arrays = photos
    source = open_source(folder)
    assert (source.name, source.n, source.lossy) == ("photos", 7, False)
    assert source.keys == ("9", "10", "a/b/c", "a/z", "b", "d", "e")
    names = ("9.TIFF", "10.png", "a/b/c.tif", "a/z.bmp", "b.PNG", "d.webp", "e.png")
    expected = np.stack([arrays[name] for name in names]).transpose(0, 3, 1, 2)
    assert np.array_equal(everything(source, size).numpy(), expected)
    assert np.array_equal(everything(source, size).numpy(), expected), "every call reads anew"
    assert source.notes == {} and source.warnings == []


def test_a_zip_is_the_folder_that_it_holds(photos, tmp_path):
    folder, _ = photos
    source, same = open_source(zipped(folder, tmp_path / "p.ZIP")), open_source(folder)
    assert source.name == "p.ZIP"
    assert (source.keys, source.digest) == (same.keys, same.digest)
    assert torch.equal(everything(source), everything(same))
    assert not (tmp_path / "10.png").exists()


def test_batches_across_chunks_of_threads_keep_their_order(tmp_path):
    arrays = [np.full((4, 4, 3), i, np.uint8) for i in range(100)]
    for i, array in enumerate(arrays):
        save(tmp_path / f"{i:03}.png", array)
    source = open_source(tmp_path)
    for size in (1, 7, 40, 256):
        assert everything(source, size)[:, 0, 0, 0].tolist() == list(range(100))
    with pytest.raises(ValueError, match="at least 1 image"):
        next(source.batches(0))


def test_the_digest_is_of_names_bytes_and_what_is_done_to_pixels(tmp_path):
    fill(tmp_path / "a")
    digest = open_source(tmp_path / "a").digest
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "moved" / "notes.txt").write_text("no image")
    assert open_source(tmp_path / "moved").digest == digest
    digests = {digest, open_source(tmp_path / "moved", resize=4).digest}
    first = tmp_path / "moved" / "0.png"
    first = first.rename(first.with_name("00.png"))
    digests.add(open_source(tmp_path / "moved").digest)
    save(first, noise(8, 8, 3))
    digests.add(open_source(tmp_path / "moved").digest)
    save(first, noise(8, 8, 4))
    digests |= {open_source(tmp_path / "moved", alpha=a).digest for a in ("white", "black")}
    assert len(digests) == 6


def test_lossy_files_are_told_from_others(tmp_path):
    for i, (name, options, lossy) in enumerate(
        [
            ("a.jpg", {}, True),
            ("a.png", {}, False),
            ("a.webp", {"lossless": True}, False),
            ("a.webp", {"quality": 80}, True),
            ("a.tif", {"compression": "jpeg"}, True),
            ("a.tif", {"compression": "tiff_lzw"}, False),
        ]
    ):
        path = save(tmp_path / str(i) / name, noise(16, 16, 3), **options)
        source = open_source(path.parent)
        assert source.lossy == lossy, (name, options)
        assert np.array_equal(
            everything(source)[0].permute(1, 2, 0).numpy(), np.asarray(Image.open(path))
        )


def test_the_content_decides_not_the_suffix(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(buffer, "JPEG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    source = open_source(tmp_path)
    assert source.lossy
    expected = np.asarray(Image.open(buffer))
    assert np.array_equal(everything(source)[0].permute(1, 2, 0).numpy(), expected)


# --- names and sizes -----------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [False, True])
def test_two_files_with_one_key_are_refused(tmp_path, pack):
    fill(tmp_path / "in" / "x", 2)
    save(tmp_path / "in" / "x" / "1.jpg", noise(8, 8, 3))
    where = zipped(tmp_path / "in", tmp_path / "in.zip") if pack else tmp_path / "in"
    refused(lambda: open_source(where), str(where), "x/1.jpg and x/1.png", "rename one")


@pytest.mark.parametrize("pack", [False, True])
def test_nothing_to_score_is_refused(tmp_path, pack):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no image")
    where = zipped(tmp_path / "in", tmp_path / "in.zip") if pack else tmp_path / "in"
    refused(lambda: open_source(where), f"{where} holds no image (bmp gif jfif jpe ")


def test_a_single_image_is_scored_with_a_warning(tmp_path):
    fill(tmp_path, 1)
    source = open_source(tmp_path)
    assert source.n == len(everything(source)) == 1
    assert source.warnings == ["there is only one image; metrics of sets need more"]


def test_several_sizes_need_one_to_make_of_them(tmp_path):
    for i, size in enumerate([(8, 9), (8, 9), (20, 30), (11, 7)]):
        save(tmp_path / f"{i}.png", noise(size[1], size[0], 3))
    refused(
        lambda: open_source(tmp_path),
        "3 sizes: 8x9 (2, e.g. 0.png), 20x30 (1, e.g. 2.png), 11x7 (1, e.g. 3.png)",
        "resize=SIZE",
    )
    source = open_source(tmp_path, resize=8)
    assert source.notes["resize"] == f"{RULE} to 8"
    made = everything(source)
    assert made.shape == (4, 3, 8, 8)
    for i in range(4):
        expected = np.asarray(resize(Image.open(tmp_path / f"{i}.png"), 8))
        assert np.array_equal(made[i].permute(1, 2, 0).numpy(), expected)
    # images that have the size in common are resized too
    fill(tmp_path / "same", 2)
    assert everything(open_source(tmp_path / "same", resize=5)).shape == (2, 3, 5, 5)


def test_an_image_without_pixels_is_refused(tmp_path):
    fill(tmp_path, 1)
    (tmp_path / "flat.png").write_bytes(png(0, 4, 8, 2, b""))
    refused(
        lambda: open_source(tmp_path),
        "cannot be read: flat.png (no known image format, or no pixels)",
    )


# --- modes ---------------------------------------------------------------------------------------


def test_grey_only_if_all_are_and_then_with_a_warning(tmp_path):
    grey = noise(8, 8)
    save(tmp_path / "a.png", grey)
    save(tmp_path / "b.png", Image.fromarray(grey > 99))  # one bit
    source = open_source(tmp_path)
    made = everything(source).numpy()
    assert made.shape == (2, 1, 8, 8)
    assert np.array_equal(made[0, 0], grey)
    assert np.array_equal(made[1, 0], (grey > 99) * np.uint8(255))
    assert len(source.warnings) == 1 and "three equal channels" in source.warnings[0]
    save(tmp_path / "c.png", noise(8, 8, 3))
    source = open_source(tmp_path)
    made = everything(source).numpy()
    assert made.shape == (3, 3, 8, 8)
    assert all(np.array_equal(channel, grey) for channel in made[0])
    assert source.warnings == []


def test_alpha_that_hides_nothing_is_dropped_with_a_note(tmp_path):
    colour = noise(8, 8, 3)
    save(tmp_path / "a.png", np.dstack([colour, np.full((8, 8), 255, np.uint8)]))
    save(tmp_path / "b.png", colour)
    source = open_source(tmp_path)
    made = everything(source)
    assert torch.equal(made[0], made[1])
    assert source.notes == {
        "alpha": "1 of 2 files have an alpha channel: opaque everywhere, dropped"
    }
    assert source.warnings == ["all 2 images are the same"]


def transparent(kind: str) -> tuple[Image.Image, np.ndarray, np.ndarray, dict]:
    """An image, its colours (8, 8, 3) or (8, 8, 1), its alpha (8, 8, 1) and how to save it."""
    rng = np.random.default_rng(1)
    alpha = rng.integers(0, 256, (8, 8, 1)).astype(np.uint8)
    if kind == "RGBA":
        colour = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        return Image.fromarray(np.dstack([colour, alpha])), colour, alpha, {}
    if kind == "LA":
        grey = rng.integers(0, 256, (8, 8, 1)).astype(np.uint8)
        return Image.fromarray(np.dstack([grey, alpha]), "LA"), grey, alpha, {}
    entries = rng.integers(0, 4, (8, 8)).astype(np.uint8)
    palette = rng.integers(0, 256, (4, 3)).astype(np.uint8)
    levels = np.array([0, 50, 255, 200], np.uint8)
    image = Image.fromarray(entries, "P")
    image.putpalette(palette.tobytes())
    options = {"transparency": levels.tobytes()}
    return image, palette[entries], levels[entries][..., None], options


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_transparent_pixels_need_a_decision(tmp_path, kind):
    image, colour, alpha, options = transparent(kind)
    save(tmp_path / "a.png", image, **options)
    refused(
        lambda: everything(open_source(tmp_path)),
        "1 of 1 images cannot be used: a.png (transparent pixels)",
        "alpha=white or alpha=black",
        "alpha=drop",
    )
    weight = alpha / 255.0
    expected = {
        "white": colour * weight + 255 * (1 - weight),
        "black": colour * weight,
        "drop": colour.astype(float),
    }
    for choice, wanted in expected.items():
        source = open_source(tmp_path, alpha=choice)
        made = everything(source)[0].permute(1, 2, 0).numpy()
        assert made.shape == colour.shape
        assert np.abs(made - wanted).max() <= (0 if choice == "drop" else 1)
        assert {"drop": "stored colours"}.get(choice, choice) in source.notes["alpha"]


def test_a_single_transparent_colour_counts_as_alpha(tmp_path):
    array = noise(8, 8, 3)
    array[0, 0] = (1, 2, 3)
    save(tmp_path / "a.png", array, transparency=(1, 2, 3))
    refused(lambda: everything(open_source(tmp_path)), "a.png (transparent pixels)")
    made = everything(open_source(tmp_path, alpha="white"))[0].permute(1, 2, 0).numpy()
    array[(array == (1, 2, 3)).all(-1)] = 255
    assert np.array_equal(made, array)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff16(width: int, height: int) -> bytes:
    """An RGB TIFF with 16 bits for a channel."""
    pixels = b"\x34\x12" * (3 * width * height)
    bits = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, bits + 6),
        (277, 3, 1, 3),
        (278, 3, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4
    return head + struct.pack("<HHH", 16, 16, 16) + pixels


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("grey.png", np.full((8, 8), 40000, np.uint16), "16 bits"),
        ("rgb.png", png(2, 2, 16, 2, (b"\0" + b"\x12\x34" * 6) * 2), "16 bits"),
        ("alpha.png", png(2, 2, 16, 6, (b"\0" + b"\x12\x34" * 8) * 2), "16 bits"),
        ("grey.tif", np.full((8, 8), 40000, np.uint16), "16 bits"),
        ("rgb.tif", tiff16(2, 2), "16 bits"),
        ("float.tif", np.full((8, 8), 0.5, np.float32), "32 bits"),
        ("whole.tif", np.full((8, 8), 70000, np.int32), "32 bits"),
    ],
)
def test_more_than_eight_bits_are_refused(tmp_path, name, content, what):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
        with Image.open(tmp_path / name) as image:  # Pillow takes it, and would cut it to 8 bits
            assert image.mode in ("RGB", "RGBA")
    else:
        save(tmp_path / name, content)
    for on_error in ("raise", "skip"):  # such a file can be read, so it is not left out
        refused(
            lambda on_error=on_error: open_source(tmp_path, on_error=on_error),
            f"1 of 1 images cannot be used: {name} ({what} for a channel)",
            "convert to 8 bits",
        )


def test_colours_that_have_no_rgb_are_refused(tmp_path):
    save(tmp_path / "a.tif", Image.new("LAB", (8, 8)))
    refused(lambda: open_source(tmp_path), "a.tif (mode LAB); convert to RGB")


def test_cmyk_is_converted_with_a_note(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(noise(8, 8, 4), "CMYK"))
    source = open_source(tmp_path)
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert np.array_equal(everything(source)[0].permute(1, 2, 0).numpy(), expected)
    assert "1 of 1 files" in source.notes["cmyk"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_images_of_every_format_and_this_is_said(tmp_path, suffix, orientation):
    array, exif = noise(8, 12, 3), Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", array, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(path))
    source = open_source(tmp_path)
    made = everything(source)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(made, np.asarray(upright))
    assert made.shape[:2] == ((12, 8) if orientation >= 5 else (8, 12))
    said = [warning for warning in source.warnings if "EXIF" in warning]
    expected = f"1 of 1 files ask by EXIF to be shown turned, and were turned (first: a.{suffix})"
    assert said == ([] if orientation == 1 else [expected])


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif"])
def test_of_several_frames_the_first_is_read_with_a_warning(tmp_path, suffix):
    frames = [Image.fromarray(noise(8, 8, 3)) for _ in range(3)]
    options = {"lossless": True} if suffix == "webp" else {}
    save(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    save(tmp_path / "b.png", noise(8, 8, 3))
    source = open_source(tmp_path)
    made = everything(source)[0].permute(1, 2, 0).numpy()
    with Image.open(tmp_path / f"a.{suffix}") as first:
        assert np.array_equal(made, np.asarray(first.convert("RGB")))
    (warning,) = source.warnings
    assert warning.startswith("1 of 2 files hold several pictures") and f"a.{suffix}" in warning


# --- files that cannot be read -------------------------------------------------------------------


def test_all_files_that_are_cut_short_are_told_at_once(tmp_path):
    fill(tmp_path, 60, size=(16, 16))
    bad = [cut(tmp_path / f"{i}.png").name for i in (3, 7, 11, 19, 23, 31, 47)]
    source = open_source(tmp_path)  # their headers are whole
    seen: list[int] = []
    with pytest.raises(ConfigError) as error:
        for batch in source.batches(8):
            seen += batch.index.tolist()
    text = str(error.value)
    assert "7 of 60 images cannot be read: 3.png (" in text
    assert sum(name in text for name in bad) == 5 and "and 2 more" in text
    assert "on_error=skip" in text and "\n" not in text
    # nothing at or after the first bad batch was handed out
    assert seen == list(range(len(seen))) and len(seen) <= source.keys.index("3")


def test_files_without_a_header_are_told_with_those_cut_short(tmp_path):
    fill(tmp_path, 6)
    (tmp_path / "1.png").write_text("not an image")
    (tmp_path / "2.png").write_bytes(b"")
    cut(tmp_path / "4.png")
    refused(
        lambda: open_source(tmp_path),
        "3 of 6 images cannot be read: 1.png (no known image format, or no pixels), 2.png (",
        ", 4.png (",
        "on_error=skip",
    )


@pytest.mark.parametrize("pack", [False, True])
def test_skipping_leaves_out_what_cannot_be_read_and_says_so(tmp_path, pack):
    arrays = fill(tmp_path / "in", 6)
    (tmp_path / "in" / "1.png").write_text("not an image")
    cut(tmp_path / "in" / "4.png")
    save(tmp_path / "in" / "cut.jpg", noise(99, 99, 3))  # of another size
    cut(tmp_path / "in" / "cut.jpg")
    where = zipped(tmp_path / "in", tmp_path / "in.zip") if pack else tmp_path / "in"
    source = open_source(where, on_error="skip")
    assert source.n == 4 and source.keys == ("0", "2", "3", "5")
    expected = np.stack([arrays[i] for i in (0, 2, 3, 5)]).transpose(0, 3, 1, 2)
    assert np.array_equal(everything(source).numpy(), expected)
    assert source.notes["skipped"] == "1.png, 4.png, cut.jpg"
    assert source.warnings == [
        "3 of 7 files cannot be read and were left out: 1.png, 4.png, cut.jpg; 4 images are scored"
    ]
    for name in ("1.png", "4.png", "cut.jpg"):
        (tmp_path / "in" / name).unlink()
    assert open_source(tmp_path / "in").digest == source.digest


def test_skipping_everything_is_refused(tmp_path):
    fill(tmp_path, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    refused(lambda: open_source(tmp_path, on_error="skip"), "none of its 2 images", "first: 0.png")


def test_a_file_that_changes_while_it_is_used_is_noticed(tmp_path):
    fill(tmp_path, 2)
    source = open_source(tmp_path)
    save(tmp_path / "0.png", noise(9, 9, 3))
    (tmp_path / "1.png").unlink()
    refused(
        lambda: everything(source), "2 of 2 images", "0.png (its size changed", "1.png (No such"
    )


def test_a_zip_that_is_damaged(tmp_path):
    fill(tmp_path / "in", 3)
    path = zipped(tmp_path / "in", tmp_path / "in.zip")
    whole = path.read_bytes()
    image = (tmp_path / "in" / "1.png").read_bytes()
    at = whole.index(image) + len(image) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    refused(lambda: open_source(path), "1 of 3 images cannot be read: 1.png (Bad CRC-32")
    assert open_source(path, on_error="skip").keys == ("0", "2")
    path.write_bytes(whole[: len(whole) // 2])
    refused(lambda: open_source(path), f"{path} cannot be read as a zip archive", "write it again")


# --- what only the pixels tell -------------------------------------------------------------------


def test_images_of_one_colour_are_counted_once_all_were_read(tmp_path):
    fill(tmp_path, 40, size=(20, 20))
    for i in (19, 30):  # in the order of names the 12th and the 25th
        save(tmp_path / f"{i}.png", np.full((20, 20, 3), (9, 8, 7), np.uint8))
    for at in range(3):  # one pixel differs
        almost = np.full((20, 20, 3), 5, np.uint8)
        almost[18 + at % 2, 7 * at, at] = 6
        save(tmp_path / f"{at}.png", almost)
    source = open_source(tmp_path)
    assert source.warnings == []
    for size in (7, 16):
        everything(source, size)
        assert source.warnings == ["2 of 40 images are of one single colour (first: 19.png)"]


def test_a_set_of_one_image_many_times_is_only_warned_of(tmp_path):
    for i in range(3):
        save(tmp_path / f"{i}.png", np.full((20, 20, 3), 4, np.uint8))
    source = open_source(tmp_path)
    everything(source)
    assert source.warnings == [
        "all 3 images are of one single colour (first: 0.png)",
        "all 3 images are the same",
    ]


# --- threads -------------------------------------------------------------------------------------


def test_work_is_done_ahead_but_not_too_far():
    taken: list[int] = []
    results = ahead((taken.append(job) or job for job in range(1000)), lambda job: job, most=20)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert 20 <= len(taken) <= 3 + 20
    assert list(results) == list(range(3, 1000))


def test_a_caller_that_stops_leaves_no_work_behind():
    started: list[int] = []
    go = threading.Event()

    def work(job: int) -> int:
        started.append(job)
        if job:
            go.wait(10)
        return job

    results = ahead(range(1000), work, most=40)
    assert next(results) == 0
    timer = threading.Timer(0.2, go.set)  # while the generator is closed
    timer.start()
    results.close()
    timer.join()
    assert len(started) <= 1 + 8, "what had not begun was given up"
    assert not [t for t in threading.enumerate() if t.name.startswith("images")]


def test_an_error_in_a_thread_reaches_the_caller():
    def work(job: int) -> int:
        if job == 5:
            raise KeyError("five")
        return job

    results = ahead(range(50), work)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError, match="five"):
        next(results)
