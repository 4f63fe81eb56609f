"""Arrays of images as a source: in memory, mapped from a .npy or streamed from a .npz file."""

import hashlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Note
from genbench.data.resize import RULE, resize_all
from genbench.files import MALFORMED, opened
from genbench.images import CONVERSIONS, Levels, shown
from genbench.inputs.containers import ARCHIVE_ERRORS, archive_of
from genbench.inputs.pixels import nhwc, seems
from genbench.inputs.source import Batch
from genbench.inputs.watch import Watch, plain_warnings
from genbench.spec import ConfigError

__all__ = ["Arrays", "Blocks", "in_memory", "npy", "npz"]

# all images in order, some at a time: uint8 (B, C, H, W), in memory that must not be written to
Blocks = Callable[[int], Iterator[NDArray[np.uint8]]]

_EXPECTED = "arr_0"  # the name that NumPy gives, and that sample files of ADM therefore have
_SAMPLE = 64  # images of floats that are looked at, to say how they should be converted
_SCAN = 64 << 20  # bytes that are hashed at a time
_SHOWN = 300  # characters of a reason that messages have
# an archive that holds more for each of its bytes, and much of it, holds no pictures
_DENSEST, _LARGE = 200, 256 << 20


class Arrays:
    """Images of one array; see `Source`.

    Args:
        name: Short, without a path.
        n: Number of images.
        blocks: Gives them.
        where: What messages call them.
        size: Crop and scale to this height and width by `genbench.data.resize.RULE`; None to keep.
        levels: Whether to refuse images whose highest level is 1, as a cast of floats in [0, 1]
            has. Not asked of images that genbench made itself.

    Raises:
        ConfigError: For levels that are none.
    """

    keys: tuple[str, ...] | None = None
    dataset = ""

    def __init__(
        self,
        name: str,
        n: int,
        blocks: Blocks,
        *,
        where: str,
        size: int | None = None,
        levels: bool = True,
    ) -> None:
        self.name, self.n, self.lossy = name, n, False
        self._blocks, self._size = blocks, size
        self.notes: dict[str, Note] = {}
        seen = Levels()
        self.digest, channels = _scan(n, blocks, seen)
        if levels:
            seen.check(where)
        if size is not None:
            self.digest = hashlib.sha256(f"{self.digest} resize {size}".encode()).hexdigest()
            self.notes["resize"] = f"{RULE} to {size}"
        self.warnings = plain_warnings(n, channels)

    def batches(self, size: int) -> Iterator[Batch]:
        """All images in order, `size` at a time, each batch in memory of its own."""
        import torch

        if size < 1:
            raise ValueError(f"batches have at least 1 image, not {size}")
        watch, start = Watch(), 0
        for block in self._blocks(size):
            images = np.array(self._resized(block), order="C")
            watch.see(images)
            index = np.arange(start, start + len(images))
            start += len(images)
            yield Batch(index, torch.from_numpy(images))
        found = watch.warnings(lambda i: f"image {i}")
        self.warnings += [warning for warning in found if warning not in self.warnings]

    def _resized(self, block: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._size is None:
            return block
        # Pillow wants rows of pixels, without gaps
        rows = np.ascontiguousarray(block.transpose(0, 2, 3, 1))
        return resize_all(rows, self._size).transpose(0, 3, 1, 2)


def _scan(n: int, blocks: Blocks, levels: Levels) -> tuple[str, int]:
    """sha256 of type, shape and values as (N, C, H, W), and C; shows all levels to `levels`."""
    digest, channels = hashlib.sha256(), 0
    first = next(iter(blocks(1)))
    for block in blocks(max(1, min(n, _SCAN // first.nbytes))):
        if not channels:
            channels = block.shape[1]
            digest.update(f"{block.dtype.str}{(n, *block.shape[1:])}".encode())
        digest.update(np.ascontiguousarray(block).data)
        levels.see(block)
    return digest.hexdigest(), channels


def in_memory(images: NDArray[np.uint8]) -> Blocks:
    """Of an array (N, C, H, W)."""
    return lambda size: (images[start : start + size] for start in range(0, len(images), size))


# --- files ---------------------------------------------------------------------------------------


def npy(path: Path, size: int | None = None) -> Arrays:
    """A .npy file of uint8 (N, H, W, C) or (N, H, W), mapped: only what is used is in memory.

    Raises:
        ConfigError: For a damaged file, another type or another shape.
    """
    where = str(path)
    with _damage(where), opened(path) as file:
        shape, fortran, dtype = _header(file)
        offset, length = file.tell(), os.fstat(file.fileno()).st_size
        if dtype != np.uint8:
            raise ConfigError(_other_type(where, dtype, _sample(file, dtype)))
    n, height, width, channels = nhwc(shape, where)
    _check_length(where, length, offset + math.prod(shape))
    with _damage(where):
        stored = np.memmap(path, np.uint8, "r", offset, shape, "F" if fortran else "C")
    images = stored.reshape(n, height, width, channels) if len(shape) == 3 else stored
    name = shown(path.name)
    return Arrays(name, n, in_memory(images.transpose(0, 3, 1, 2)), where=where, size=size)


def npz(path: Path, size: int | None = None) -> Arrays:
    """A .npz file whose `arr_0` is uint8 (N, H, W, C), read in a stream.

    Sample files of ADM (Dhariwal and Nichol, arXiv 2105.05233) have this form; their second array
    `arr_1` holds labels, which are not used.

    Raises:
        ConfigError: For a damaged file, another name, another type or another shape.
    """
    where, array = str(path), f"{path}, {_EXPECTED}"
    with _damage(where), archive_of(path) as archive:
        members = [name.removesuffix(".npy") for name in archive.namelist()]
        if _EXPECTED not in members:
            raise ConfigError(_other_names(where, members))
        with archive.open(f"{_EXPECTED}.npy") as file:
            shape, fortran, dtype = _header(file)
            offset = file.tell()
            if dtype != np.uint8:
                raise ConfigError(_other_type(array, dtype, _sample(file, dtype)))
        stored = archive.getinfo(f"{_EXPECTED}.npy")
    images = nhwc(shape, array)
    _check_length(array, stored.file_size, offset + math.prod(shape))
    if stored.file_size > max(_LARGE, _DENSEST * stored.compress_size):
        raise ConfigError(
            f"{array} holds {stored.file_size:,} bytes in {stored.compress_size:,}, which no "
            "pictures do; write it again"
        )
    blocks = _whole(path, images) if fortran else _stream(path, images)
    source = Arrays(shown(path.name), images[0], blocks, where=where, size=size)
    if {"mu", "sigma"} <= set(members):
        source.warnings.append(
            "it also holds mu and sigma, statistics of features, which are not read; to compare "
            "with them, name the file with --load-stats, their protocol with --protocol and their "
            "number of images with reference_n=NUMBER"
        )
    return source


def _check_length(where: str, found: int, told: int) -> None:
    """Refuse an array whose header and length differ, before its values are read."""
    if found != told:
        how = "is cut short" if found < told else "is longer than it says"
        raise ConfigError(f"{where} {how}: {found} bytes, its header tells {told}; write it again")


def _stream(path: Path, shape: tuple[int, int, int, int]) -> Blocks:
    n, *image = shape

    def blocks(size: int) -> Iterator[NDArray[np.uint8]]:
        with (
            _damage(str(path)),
            archive_of(path) as archive,
            archive.open(f"{_EXPECTED}.npy") as file,
        ):
            _header(file)
            for start in range(0, n, size):
                count = min(size, n - start)
                data = file.read(count * math.prod(image))
                rows = np.frombuffer(data, np.uint8).reshape(count, *image)
                yield rows.transpose(0, 3, 1, 2)

    return blocks


def _whole(path: Path, shape: tuple[int, int, int, int]) -> Blocks:
    """For an array in Fortran's order, whose images do not follow one another in the file."""
    with _damage(str(path)), np.load(path, allow_pickle=False) as arrays:
        images: NDArray[np.uint8] = arrays[_EXPECTED].reshape(shape)
    return in_memory(images.transpose(0, 3, 1, 2))


@contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except (*ARCHIVE_ERRORS, *MALFORMED, SyntaxError, TokenError) as error:
        reason = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
        raise ConfigError(f"{where} cannot be read ({reason}); write it again") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type of a .npy file; leaves `file` at the values."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError("version {}.{} of the .npy format".format(*version))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files that Python 2 wrote, which are read
        return readers[version](file)


def _sample(file: IO[bytes], dtype: np.dtype[Any]) -> NDArray[np.float64] | None:
    """The first values of floats, at which `file` stands."""
    if dtype.kind != "f":
        return None
    data = file.read(_SAMPLE * 4096 * dtype.itemsize)
    values = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    with np.errstate(all="ignore"):  # damage may be any number, and none
        return values.astype(np.float64)


def _other_type(where: str, dtype: np.dtype[Any], values: NDArray[np.float64] | None) -> str:
    if dtype.hasobject:
        return f"{where} holds Python objects, which are never read; save uint8 images"
    if values is None or not values.size:
        return f"{where} holds {dtype}, not uint8; save levels 0 to 255 as uint8"
    likely = seems(float(values.min()), float(values.max()))
    span = f"from {values.min():.4g} to {values.max():.4g}"
    if likely is None:
        return f"{where} holds {dtype} {span}, which fits no range of images; save uint8 levels"
    return (
        f"{where} holds {dtype} {span}, which looks like [{likely[0]:g}, {likely[1]:g}]; convert "
        f"it by {CONVERSIONS[likely]}, clipped to 0..255, and save it as uint8"
    )


def _other_names(where: str, members: list[str]) -> str:
    has = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "") if members else "nothing"
    if {"mu", "sigma"} <= set(members):
        has += " (statistics of features, not images; as a reference, name it with --load-stats)"
    return (
        f"{where} holds {has}; images must be in {_EXPECTED}, as numpy.savez(file, images) names "
        "them"
    )
