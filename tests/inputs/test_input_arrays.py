"""Array files: what they may hold, and what is said of the ones that hold something else."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from reading import everything, refused

from genbench.data.resize import resize_all
from genbench.inputs import from_tensors, open_source
from genbench.inputs.pixels import CONVERSIONS, check_range, seems

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 6, 7, 3)).astype(np.uint8)


def write(path: Path, array: np.ndarray, name: str = "arr_0", packed: bool = False) -> Path:
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        (np.savez_compressed if packed else np.savez)(path, **{name: array})
    return path


@pytest.mark.parametrize(
    "kind", ["x.npy", "x.NPY", "x.npz", "packed.npz", "fortran.npy", "fortran.npz"]
)
def test_images_of_array_files(tmp_path, kind):
    images = np.asfortranarray(IMAGES) if "fortran" in kind else IMAGES
    path = tmp_path / kind
    if kind == "x.NPY":
        with path.open("wb") as file:
            np.save(file, images)
    else:
        write(path, images, packed="packed" in kind)
    source = open_source(path)
    assert (source.name, source.n, source.keys, source.lossy) == (kind, 10, None, False)
    for size in (1, 4, 100):
        assert np.array_equal(everything(source, size).numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert next(source.batches(3)).images.is_contiguous()
    assert source.warnings == [] and source.notes == {}
    # one set of images has one digest, however it is stored
    tensor = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())
    assert source.digest == from_tensors(tensor, name="t").digest


def test_labels_beside_the_images_are_not_used(tmp_path):
    np.savez(tmp_path / "adm.npz", IMAGES, np.arange(10))
    assert np.array_equal(
        everything(open_source(tmp_path / "adm.npz")).numpy(), IMAGES.transpose(0, 3, 1, 2)
    )


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_grey_images_need_no_channel(tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}", IMAGES[..., 0])
    source = open_source(path)
    assert np.array_equal(everything(source).numpy(), IMAGES[:, None, :, :, 0])
    assert len(source.warnings) == 1 and "grey" in source.warnings[0]
    with_channel = open_source(write(tmp_path / f"y{suffix}", IMAGES[..., :1]))
    assert with_channel.digest == source.digest


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_are_resized_by_the_rule_of_datasets(tmp_path, suffix):
    path = write(tmp_path / f"x{suffix}", IMAGES)
    plain, source = open_source(path), open_source(path, resize=4)
    assert np.array_equal(everything(source).numpy(), resize_all(IMAGES, 4).transpose(0, 3, 1, 2))
    assert "to 4" in source.notes["resize"]
    assert source.digest != plain.digest
    grey = open_source(write(tmp_path / f"g{suffix}", IMAGES[..., 0]), resize=5)
    assert everything(grey).shape == (10, 1, 5, 5)


def test_a_mapped_file_is_not_read_into_memory(tmp_path):
    source = open_source(write(tmp_path / "x.npy", IMAGES))
    batch = next(source.batches(4)).images
    batch.zero_()  # a batch is the caller's own, the file is not touched
    assert np.array_equal(np.load(tmp_path / "x.npy"), IMAGES)
    (mapped,) = [c.cell_contents for c in source._blocks.__closure__]
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((10, 3, 6, 7), ["(10, 3, 6, 7)", "looks like (N, C, H, W)", "transpose(0, 2, 3, 1)"]),
        ((10, 6, 7, 4), ["4 channels", "images[..., :3]"]),
        ((10, 6, 7, 5), ["5 channels"]),
        ((6, 7, 3), ["looks like one image (H, W, C)"]),
        ((10, 42), ["images have (N, H, W, C)"]),
        ((0, 6, 7, 3), ["holds no images"]),
        ((10, 0, 7, 3), ["7x0 pixels"]),
        ((10, 6, 0, 1), ["0x6 pixels"]),
    ],
)
def test_shapes_that_are_no_images(tmp_path, suffix, shape, parts):
    path = write(tmp_path / f"x{suffix}", np.full(shape, 9, np.uint8))
    refused(lambda: open_source(path), str(path), *parts)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (IMAGES / np.float32(255), ["float32", "looks like [0, 1]", "floor(255 * x + 0.5)"]),
        (IMAGES / 127.5 - 1, ["float64", "looks like [-1, 1]", "floor(127.5 * x + 128)"]),
        (IMAGES.astype(np.float16), ["looks like [0, 255]", "floor(x + 0.5)"]),
        (IMAGES * 1000.0, ["fits no range of images"]),
        (IMAGES.astype(np.int64), ["holds int64, not uint8"]),
        (IMAGES > 9, ["holds bool, not uint8"]),
        (IMAGES.astype(object), ["Python objects"]),
        (IMAGES // 255, ["no uint8 level is above 1", "floor(255 * x + 0.5)"]),
        (IMAGES * 0, ["no uint8 level is above 0"]),
    ],
)
def test_types_that_are_no_levels(tmp_path, suffix, array, parts):
    path = write(tmp_path / f"x{suffix}", array)
    refused(lambda: open_source(path), str(path), *parts)


def test_conversions_that_messages_name_bring_levels_back():
    levels = np.arange(256.0)
    floats = {(-1, 1): levels / 127.5 - 1, (0, 1): levels / 255, (0, 255): levels}
    assert set(floats) == set(CONVERSIONS)
    for value_range, x in floats.items():
        formula = CONVERSIONS[value_range].replace("floor", "np.floor")
        assert np.array_equal(eval(formula, {"np": np, "x": x}), levels)
        assert seems(x.min(), x.max()) == value_range
        assert check_range(x.min(), x.max(), value_range, "x") == []


def test_other_names_in_an_npz(tmp_path):
    path = write(tmp_path / "x.npz", IMAGES, name="samples")
    refused(lambda: open_source(path), "holds samples", "must be in arr_0")
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    refused(lambda: open_source(path), "mu, sigma (statistics of features, not images; as a ref")
    with zipfile.ZipFile(path, "w"):
        pass
    refused(lambda: open_source(path), "holds nothing")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "head"])
def test_array_files_that_are_damaged(tmp_path, suffix, damage):
    path = write(tmp_path / f"x{suffix}", IMAGES)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-300], "text": b"not an array", "empty": b"", "head": whole[:20]}[damage]
    )
    refused(lambda: open_source(path), str(path), "write it again")


def test_an_npz_whose_values_are_damaged(tmp_path):
    path = write(tmp_path / "x.npz", IMAGES)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    refused(lambda: open_source(path), f"{path} cannot be read (Bad CRC-32", "write it again")


def test_an_npz_whose_array_is_shorter_than_its_header(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, IMAGES)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("arr_0.npy", buffer.getvalue()[:-5])
    refused(lambda: open_source(path), f"{path}, arr_0 is cut short", "write it again")


def test_constant_images_of_an_array(tmp_path):
    images = IMAGES.copy()
    images[[3, 8]] = 77
    source = open_source(write(tmp_path / "x.npy", images))
    for _ in range(2):
        everything(source)
    assert source.warnings == ["2 of 10 images are of one single colour (first: image 3)"]
    with pytest.raises(ValueError, match="at least 1 image"):
        next(source.batches(0))
