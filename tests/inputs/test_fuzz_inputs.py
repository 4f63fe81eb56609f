"""Damaged images, arrays, archives and captions: one sentence or a number, never a traceback."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import COUNT, mutations, survives
from PIL import Image

from genbench import data
from genbench.inputs import Source, captions, open_source
from genbench.spec import ConfigError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.uint8)
KEYS = ("a/1", "b", "c")


def picture(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.fromarray(image) for image in IMAGES]
    if options.pop("frames", False):
        options |= {"save_all": True, "append_images": frames[1:]}
    if options.pop("palette", False):
        frames[0] = frames[0].quantize(16)
    if options.pop("turned", False):
        exif = Image.Exif()
        exif[274] = 6
        options["exif"] = exif
    frames[0].save(buffer, kind, **options)
    return buffer.getvalue()


def npy(**options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(IMAGES, **options))
    return buffer.getvalue()


def npz(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, IMAGES)
    return buffer.getvalue()


def archive(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("a/1.png", picture("PNG"))
        file.writestr("b.jpg", picture("JPEG"))
        file.writestr("c.txt", "no image")
    return buffer.getvalue()


JSON = '{"file": "a/1.png", "caption": "a dog"}\n{"file": "b", "caption": "„zwei“, 3"}\n'
JSON += '{"file": "c", "text": "x"}\n'
FILES = {
    "png": ("a.png", picture("PNG")),
    "palette.png": ("a.png", picture("PNG", palette=True, transparency=3)),
    "frames.png": ("a.png", picture("PNG", frames=True, turned=True)),
    "jpg": ("a.jpg", picture("JPEG", turned=True)),
    "webp": ("a.webp", picture("WEBP", lossless=True, frames=True, turned=True)),
    "gif": ("a.gif", picture("GIF", frames=True)),
    "bmp": ("a.bmp", picture("BMP")),
    "tif": ("a.tif", picture("TIFF", frames=True, turned=True)),
    "lzw.tif": ("a.tif", picture("TIFF", compression="tiff_lzw")),
    "ppm": ("a.ppm", picture("PPM")),
    "npy": ("x.npy", npy()),
    "fortran.npy": ("x.npy", npy(order="F")),
    "floats.npy": ("x.npy", npy(dtype=np.float32)),
    "npz": ("x.npz", npz(np.savez)),
    "deflated.npz": ("x.npz", npz(np.savez_compressed)),
    "zip": ("x.zip", archive(zipfile.ZIP_STORED)),
    "deflated.zip": ("x.zip", archive(zipfile.ZIP_DEFLATED)),
    "bzip2.zip": ("x.zip", archive(zipfile.ZIP_BZIP2)),
    "lzma.zip": ("x.zip", archive(zipfile.ZIP_LZMA)),
    "txt": ("c.txt", "a dog\n„zwei“, 3\nx\n".encode()),
    "jsonl": ("c.jsonl", JSON.encode()),
    "csv": ("c.csv", b'file,caption\na/1.png,"a ""dog"""\nb,"x\ny"\nc,z\n'),
}
IN_FOLDERS = ("png", "jpg", "webp", "gif", "bmp", "tif", "ppm")


def reader(folder: Path, name: str) -> Callable[[], object]:
    """What reads a file as a command does: all of its pixels, on all the roads that there are."""
    suffix = name.rpartition(".")[2]
    if suffix in ("txt", "jsonl", "csv"):
        return lambda: captions.read(folder / name, KEYS)
    if suffix in IN_FOLDERS:
        return lambda: [
            pixels(open_source(folder, on_error=way, alpha="white", resize=8))
            for way in ("skip", "raise")
        ]
    return lambda: pixels(open_source(folder / name))


def pixels(source: Source) -> torch.Tensor:
    return torch.cat([batch.images for batch in source.batches(3)])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path, kind):
    name, content = FILES[kind]
    (tmp_path / name).write_bytes(content)
    # the whole one is read, so that damage is all that is refused
    whole = survives(reader(tmp_path, name), (ConfigError,), kind)
    assert whole == (kind != "floats.npy")
    for number, damaged in enumerate(mutations(content, seed=1, n=COUNT)):
        (tmp_path / name).write_bytes(damaged)
        survives(reader(tmp_path, name), (ConfigError,), f"{kind}, mutation {number}")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_datasets_are_read_or_refused_in_one_sentence(tmp_path):
    lines = b'{"file_name": "1.png", "text": "a dog", "objects": {"bbox": [[0, 0, 4, 4]], '
    lines += b'"categories": ["dog"]}}\n{"file_name": "2.png", "text": "x", "objects": '
    lines += b'{"bbox": [], "categories": []}}\n'
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in (1, 2):
            Image.fromarray(IMAGES[i]).save(tmp_path / split / f"{i}.png")
        (tmp_path / split / "metadata.jsonl").write_bytes(lines)
    for kind in ("captions", "layouts"):
        data.load(f"{kind}:{tmp_path}", "train")
    files = ("train/metadata.jsonl", "train/1.png", "classes.txt")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for number in range(COUNT):
        path = tmp_path / files[number % len(files)]
        content = path.read_bytes()
        (damaged,) = mutations(content, seed=number, n=1)
        path.write_bytes(damaged)
        for kind in ("captions", "layouts", "imagefolder"):
            dataset = f"{kind}:{tmp_path}@8"
            what = f"{kind}, mutation {number}"
            survives(lambda name=dataset: data.load(name, "train"), (ConfigError,), what)
        path.write_bytes(content)


def test_mutations_are_the_same_for_the_same_seed():
    content = bytes(range(256)) * 4
    once, again = list(mutations(content, 3, 50)), list(mutations(content, 3, 50))
    assert once == again and len(set(once)) > 45
    assert once[:10] == list(mutations(content, 3, 10))
    assert list(mutations(content, 4, 50)) != once
    assert len(list(mutations(b"", 1, 200))) == 200


def test_a_reader_that_fails_is_caught():
    def broken() -> None:
        raise KeyError("x")

    def endless() -> None:
        raise TimeoutError

    with pytest.raises(AssertionError, match="here: KeyError"):
        survives(broken, (ConfigError,), "here")
    with pytest.raises(AssertionError, match="here: TimeoutError"):
        survives(endless, (ConfigError,), "here")
    assert survives(lambda: 1, (ConfigError,), "here")
