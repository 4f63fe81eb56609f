"""One rule for every file, in the same words: for images to score and for datasets."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genbench import data
from genbench.images import Levels
from genbench.inputs import open_source
from genbench.spec import ConfigError

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


def folder(path: Path, name: str, content: bytes) -> Path:
    """A dataset of three good images and an odd one."""
    for place in ("train/a.png", "train/b.png", "test/c.png"):
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(8, 8, 3)).save(path / place)
    (path / "train" / name).write_bytes(content)
    return path


def saved(image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusals(path: Path) -> tuple[str, str]:
    """What both roads say, but for what it is about and for the way on."""
    said = []
    for call in (
        lambda: list(open_source(path, resize=8).batches(4)),
        lambda: data.load(f"imagefolder:{path}@8", "train"),
    ):
        with pytest.raises(ConfigError) as error:
            call()
        said.append(str(error.value))
    return said[0], said[1]


def warned(path: Path, key: str) -> str:
    """What both roads warn of."""
    source = open_source(path, resize=8)
    train = data.load(f"imagefolder:{path}@8", "train")
    text = str(train.notes[key])
    assert text in source.warnings
    assert text in open_source(f"imagefolder:{path}@8:train").warnings
    images = np.concatenate([batch.images.numpy() for batch in source.batches(4)])
    assert np.array_equal(train.images.numpy(), images[1:])
    return text


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SIXTEEN = png(2, 2, 16, 2, (b"\0" + b"\x12\x34" * 6) * 2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.png", saved(noise(8, 8, 4), "PNG"), "x.png (transparent pixels); "),
        ("x.gif", saved(Image.new("P", (8, 8)), "GIF", transparency=0), "(transparent pixels); "),
        ("x.png", SIXTEEN, "x.png (16 bits for a channel); convert to 8 bits for a channel"),
        ("x.ppm", b"P6\n# by hand\n2 2\n65535\n" + b"\x12\x34" * 12, "x.ppm (16 bits for a chan"),
        ("x.tif", saved(Image.new("LAB", (8, 8)), "TIFF"), "x.tif (mode LAB); convert to RGB"),
    ],
)
def test_what_must_not_be_used_as_it_is(tmp_path, name, content, words):
    for text in refusals(folder(tmp_path, name, content)):
        assert " images cannot be used: train/" in text and words in text, text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", "no known image format, or no pixels"),
        (saved(noise(8, 8, 3), "PNG")[:-60], "image file is truncated"),
        (png(20_000, 20_000, 8, 2, b"\0"), "more than the 80,000,000 pixels that are read"),
        (png(9_000, 9_000, 8, 2, b"\0"), "9000x9000 pixels in 66 bytes, more than the 80,"),
        (png(8_000, 8_000, 8, 2, b"\0"), "8000x8000 pixels in 66 bytes, which no picture has"),
    ],
)
def test_what_cannot_be_read(tmp_path, content, words):
    for text in refusals(folder(tmp_path, "x.png", content)):
        assert "images cannot be read: train/x.png (" in text and words in text, text


def test_files_that_are_turned(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    for name, kind in (("x.jpg", "JPEG"), ("y.tif", "TIFF")):
        path = folder(tmp_path / kind, name, saved(noise(16, 8, 3), kind, exif=exif))
        assert warned(path, "turned") == (
            f"1 of 4 files ask by EXIF to be shown turned, and were turned (first: train/{name})"
        )


def test_files_with_several_pictures(tmp_path):
    frames = [Image.fromarray(noise(8, 8, 3)) for _ in range(3)]
    content = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    path = folder(tmp_path, "x.png", content)
    assert warned(path, "animated").startswith("1 of 4 files hold several pictures, of which the ")


def test_opaque_alpha_and_the_colours_of_print(tmp_path):
    opaque = np.dstack([noise(8, 8, 3), np.full((8, 8), 255, np.uint8)])
    path = folder(tmp_path, "x.png", saved(opaque, "PNG"))
    (path / "train" / "y.jpg").write_bytes(saved(Image.new("CMYK", (8, 8), (9, 9, 9, 9)), "JPEG"))
    train, source = data.load(f"imagefolder:{path}", "train"), open_source(path)
    for key in ("alpha", "cmyk"):
        assert train.notes[key] == source.notes[key] and "1 of 5 files" in source.notes[key]


# --- levels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([0, 1], "no uint8 level is above 1; this looks like floats in [0, 1]"),
        ([0], "no uint8 level is above 0; this looks like floats in [0, 1]"),
        ([0, 1, 255], "every uint8 level is 0, 1 or 255; this looks like floats in [-1, 1]"),
        ([0, 255], ""),
        ([255], ""),
        ([0, 1, 2, 255], ""),
    ],
)
def test_floats_that_were_cast_are_told_everywhere(tmp_path, levels, said):
    images = np.random.default_rng(1).choice(np.array(levels, np.uint8), (12, 8, 8, 3))
    for split in ("train", "test"):
        (tmp_path / "in" / split).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "in" / split / f"{i}.png")
    np.save(tmp_path / "x.npy", images)
    for call in (
        lambda: open_source(tmp_path / "in"),
        lambda: open_source(tmp_path / "x.npy"),
        lambda: data.load(f"imagefolder:{tmp_path / 'in'}", "train"),
    ):
        if not said:
            call()
            continue
        with pytest.raises(ConfigError) as error:
            call()
        assert said in str(error.value) and "were cast to uint8; convert them by" in str(
            error.value
        )


def test_one_plausible_image_is_enough():
    levels = Levels()
    for image in (np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 77, np.uint8)):
        assert not levels.plausible
        levels.see(image)
    assert levels.plausible
    levels.check("here")
