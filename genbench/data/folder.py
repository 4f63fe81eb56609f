"""Any folder of images as a dataset."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from genbench.data.dataset import SPLITS, Note
from genbench.data.resize import resize
from genbench.spec import ConfigError

__all__ = ["SUFFIXES", "TEST_SHARE", "fingerprint", "read"]

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TEST_SHARE = 0.2
_SPLIT_RULE = (
    f"test if the first 8 bytes of sha256(relative path) are in the lowest {TEST_SHARE:.0%}"
)
# what Pillow raises for a file that is cut short, no image at all, broken or too large
_READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class ImageFile:
    """A file, its name below the dataset's folder, the split and the class that it is in."""

    path: Path
    relative: str
    split: str
    label: str | None


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before it is decoded."""

    size: tuple[int, int]
    mode: str


def fingerprint(folder: Path) -> str:
    """sha256 over the sorted relative paths and the bytes of every image file; decodes nothing.

    Raises:
        ConfigError: For a folder that is missing or holds no image.
    """
    digest = hashlib.sha256()
    for file in sorted(_files(folder), key=lambda f: f.relative):
        content = hashlib.sha256(file.path.read_bytes()).hexdigest()
        digest.update(f"{file.relative}\0{content}\n".encode())
    return digest.hexdigest()


def read(
    folder: Path, split: str, size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, tuple[str, ...], dict[str, Note]]:
    """Images (N, H, W, C), labels (N,) or None, class names and notes of a split.

    Folders right below are the classes; images right below have no class. Where both `train` and
    `test` exist they are the splits, else the hash of its relative path puts a file in one of
    them, so that a file stays where it is when others come or go. Images are grey only if every
    file of both splits is (mode L), else RGB; alpha is dropped, EXIF rotation is not applied.

    Raises:
        ConfigError: No images, an unreadable file, several sizes without a size to make of them.
    """
    files = _files(folder)
    mine = [file for file in files if file.split == split]
    if not mine:
        raise ConfigError(
            f"split {split!r} of {folder} holds no image ({len(files)} in all); add images, or "
            f"make folders {folder / 'train'} and {folder / 'test'}"
        )
    headers = [_header(file.path) for file in files]
    if size is None:
        _check_one_size(folder, headers)
    mode = "L" if all(header.mode == "L" for header in headers) else "RGB"
    images = np.stack([_decode(file.path, mode, size) for file in mine])
    classes = tuple(sorted({file.label for file in files if file.label is not None}))
    labels = np.array([classes.index(f.label) for f in mine if f.label is not None], np.int64)
    notes: dict[str, Note] = {
        "source": "imagefolder",
        "split_rule": "folders train and test" if _has_splits(folder) else _SPLIT_RULE,
        "train_count": sum(file.split == "train" for file in files),
        "test_count": sum(file.split == "test" for file in files),
    }
    return images, labels if classes else None, classes, notes


def _files(folder: Path) -> list[ImageFile]:
    if not folder.is_dir():
        raise ConfigError(f"imagefolder: there is no folder {folder}; check the path")
    files = [_place(folder, path) for path in sorted(folder.rglob("*")) if _is_image(folder, path)]
    if not files:
        known = ", ".join(sorted(SUFFIXES))
        raise ConfigError(f"imagefolder: {folder} holds no image file ({known})")
    classless = [file.relative for file in files if file.label is None]
    if classless and len(classless) < len(files):
        raise ConfigError(
            f"imagefolder: {folder} holds images in class folders and outside of them "
            f"({classless[0]}); put every image in a class folder, or none"
        )
    return files


def _is_image(folder: Path, path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()


def _has_splits(folder: Path) -> bool:
    return all((folder / split).is_dir() for split in SPLITS)


def _place(folder: Path, path: Path) -> ImageFile:
    relative = path.relative_to(folder)
    parents = relative.parts[:-1]
    if _has_splits(folder):
        if not parents or parents[0] not in SPLITS:
            raise ConfigError(
                f"imagefolder: {folder} has folders train and test, but {relative} is in neither"
            )
        split, *parents_left = parents
    else:
        digest = hashlib.sha256(relative.as_posix().encode()).digest()
        below = int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64
        split, parents_left = "test" if below else "train", list(parents)
    label = parents_left[0] if parents_left else None
    return ImageFile(path, relative.as_posix(), split, label)


def _header(path: Path) -> Header:
    try:
        with Image.open(path) as image:
            header = Header(image.size, image.mode)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if header.mode.startswith(("I", "F")):
        raise ConfigError(f"image {path} has mode {header.mode}, not 8 bits; convert it to 8 bits")
    return header


def _decode(path: Path, mode: str, size: int | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            # a palette with transparency goes by way of RGBA, which Pillow asks for with a warning
            plain = image.convert("RGBA") if "transparency" in image.info else image
            plain = plain.convert(mode)
            array = np.asarray(plain if size is None else resize(plain, size))
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    return array[..., None] if array.ndim == 2 else array


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = "no known image format" if isinstance(error, UnidentifiedImageError) else error
    return ConfigError(f"image {path} cannot be read ({reason}); replace it or take it out")


def _check_one_size(folder: Path, headers: list[Header]) -> None:
    sizes = Counter(header.size for header in headers)
    if len(sizes) > 1:
        seen = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(5))
        more = ", ..." if len(sizes) > 5 else ""
        raise ConfigError(
            f"imagefolder: {folder} holds images of several sizes: {seen}{more}; "
            "add @SIZE to the dataset's name, e.g. @64"
        )
    ((width, height),) = sizes
    if width != height:
        raise ConfigError(
            f"imagefolder: the images of {folder} are {width}x{height}, not square; "
            f"add @SIZE to the dataset's name, e.g. @{min(width, height)}"
        )
