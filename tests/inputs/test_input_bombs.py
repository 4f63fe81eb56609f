"""Files that would fill the memory or never end: told from their headers, before they are read."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from reading import everything, refused

from genbench.inputs import from_tensors, open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)


def npy_header(shape: str, dtype: str = "'|u1'", fortran: str = "False") -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1")


def write(path, data: bytes):
    if path.suffix == ".npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("arr_0.npy", data)
    else:
        path.write_bytes(data)
    return path


@pytest.fixture
def counted(monkeypatch):
    """Bytes that were taken out of archives."""
    taken = [0]
    real = zipfile.ZipExtFile.read

    def read(self, n=-1):
        data = real(self, n)
        taken[0] += len(data)
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", read)
    return taken


# --- archives ------------------------------------------------------------------------------------


def test_a_zip_bomb_is_not_inflated(tmp_path, counted):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", bytes(4 << 20))
    text = refused(lambda: open_source(path), "3 of 3 images cannot be read", "no known image")
    assert text.count("no known image format") == 3
    assert counted[0] < 1 << 20


def test_a_member_that_claims_to_be_huge(tmp_path, counted):
    path = tmp_path / "x.zip"
    buffer = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(buffer, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", buffer.getvalue())
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02") + 24  # the size in the central directory
    path.write_bytes(data[:at] + struct.pack("<I", 3 << 30) + data[at + 4 :])
    refused(lambda: open_source(path), "a.png (it has 3,221,225,472 bytes, and 1,073,741,824 are")


def test_an_npz_bomb_is_not_inflated(tmp_path, counted, monkeypatch):
    monkeypatch.setattr("genbench.inputs.arrays._LARGE", 4 << 20)
    path = write(tmp_path / "x.npz", npy_header("(40000, 8, 8, 3)") + bytes(40000 * 192))
    refused(lambda: open_source(path), "holds 7,680,128 bytes in ", "which no pictures do")
    assert counted[0] < 1 << 20


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ("(10000000000, 8, 8, 3)", ["is cut short", "1920000000"]),
        ("(1, 100000, 100000, 3)", ["100000x100000 pixels, more than the 80,000,000"]),
        ("(6, 8, 8, 1)", ["is longer than it says"]),
        ("(-6, 8, 8, 3)", ["has shape (-6, 8, 8, 3), whose parts must be counts"]),
        ("(6, -8, -8, 3)", ["whose parts must be counts"]),
        ("(True, 8, 8, 3)", ["has shape (True, 8, 8, 3), whose parts must be counts"]),
        ("(6, 8, 8.0, 3)", ["cannot be read"]),
        ("()", ["has shape ()"]),
        ("(" * 3000 + ")" * 3000, ["cannot be read"]),
        ("[" * 900 + "]" * 900, ["cannot be read"]),
        ("(" + "9" * 5000 + ", 8, 8, 3)", ["cannot be read"]),
        ("-" * 3000 + "1", ["cannot be read"]),
        ("__import__('os')", ["cannot be read"]),
    ],
    ids=range(13),
)
def test_headers_of_arrays_that_cannot_be_meant(tmp_path, suffix, shape, parts):
    path = write(tmp_path / f"x{suffix}", npy_header(shape) + IMAGES.tobytes())
    refused(lambda: open_source(path), str(path), *parts)


@pytest.mark.parametrize("dtype", ["'|V0'", "'|S0'", "[('a', '|u1')]", "'|O'", "'<M8[s]'", "'x'"])
def test_types_of_arrays_that_are_none(tmp_path, dtype):
    path = write(tmp_path / "x.npy", npy_header("(6, 8, 8, 3)", dtype) + IMAGES.tobytes())
    refused(lambda: open_source(path), str(path))


def test_an_array_in_fortrans_order_is_read_from_both_files(tmp_path):
    for suffix in (".npy", ".npz"):
        data = npy_header("(6, 8, 8, 3)", fortran="True") + IMAGES.tobytes("F")
        source = open_source(write(tmp_path / f"x{suffix}", data))
        assert np.array_equal(everything(source).numpy(), IMAGES.transpose(0, 3, 1, 2))


def test_arrays_in_memory_without_images():
    for shape in ((0, 3, 8, 8), (2, 3, 0, 8)):
        refused(lambda shape=shape: from_tensors(np.zeros(shape, np.uint8), name="x"), "x holds")


# --- images --------------------------------------------------------------------------------------


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_folder_of_decompression_bombs_is_told_from_headers(tmp_path, monkeypatch):
    from genbench.inputs import files

    def decode(*given):
        raise AssertionError("each takes a second, and 200 MB")

    monkeypatch.setattr(files, "decode", decode)
    bomb = png(8_500, 8_500, bytes(1000))
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(bomb)
    refused(
        lambda: open_source(tmp_path), "40 of 40 images cannot be read", "which no picture has"
    )
    refused(lambda: open_source(tmp_path, on_error="skip"), "none of its 40 images can be read")


def test_the_frames_of_a_tiff_are_not_counted(tmp_path, monkeypatch):
    frames = [Image.fromarray(image) for image in IMAGES]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])

    def n_frames(self):
        raise AssertionError("this walks through all of them")

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(n_frames))
    source = open_source(tmp_path)
    assert "1 of 1 files hold several pictures" in source.warnings[0]
    assert np.array_equal(everything(source)[0].permute(1, 2, 0).numpy(), IMAGES[0])


def test_good_files_are_decoded_once_when_others_are_broken(tmp_path, monkeypatch):
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    from genbench.inputs import files

    decoded: list[int] = []
    real = files.decode
    monkeypatch.setattr(files, "decode", lambda *given: decoded.append(1) or real(*given))
    refused(lambda: open_source(tmp_path), "1 of 6 images cannot be read: 2.png")
    assert len(decoded) == 5


def test_what_an_archive_says_of_itself_is_cut(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", bytes(20_000))
    data = bytearray(path.read_bytes())
    data[26:28] = struct.pack("<H", 15_000)  # the length of a name, in front of the member
    path.write_bytes(data)
    assert len(refused(lambda: open_source(path), "1 of 1 images cannot be read: a.png (")) < 1000


def test_floats_that_are_no_numbers_are_refused_without_a_warning(tmp_path):
    for dtype in ("<f2", "<f4", "<f8", "<f16"):
        values = np.frombuffer(bytes([255, 0x7F, 1, 0xFF]) * 400, dtype)[:96].tobytes()
        shape = f"({len(values) // np.dtype(dtype).itemsize // 12}, 2, 2, 3)"
        path = write(tmp_path / "x.npy", npy_header(shape, f"'{dtype}'") + values)
        refused(lambda path=path: open_source(path), "holds float", "save")
