"""What is in the image files of a dataset: headers and pixels, by one rule for all layouts."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genbench import images
from genbench.data.dataset import Note
from genbench.data.listing import WAY, Listing
from genbench.data.resize import resize
from genbench.images import BrokenImage, Header, Levels, UnfitImage, shown
from genbench.spec import ConfigError

__all__ = [
    "check_one_size",
    "decode",
    "header",
    "headers",
    "ids",
    "mode_of",
    "pixels",
    "read_images",
    "scaled",
    "stack",
    "told",
]

_BEHIND = "save them without transparency, over the colour that lies behind"
Result = TypeVar("Result")


def headers(kind: str, folder: Path, paths: Sequence[Path]) -> list[Header]:
    """What image files say of themselves; decodes nothing.

    Raises:
        ConfigError: For files that cannot be read or used: all of them, in one message.
    """
    return _each(kind, folder, paths, lambda path: images.header(images.read(path)))


def header(kind: str, folder: Path, path: Path) -> Header:
    """`headers` of one file."""
    return headers(kind, folder, [path])[0]


def mode_of(found: Iterable[Header]) -> str:
    """Pillow's mode for images that share a tensor: grey only if all of them are."""
    return "L" if all(header.grey for header in found) else "RGB"


def told(folder: Path, paths: Sequence[Path], found: Sequence[Header]) -> dict[str, Note]:
    """Notes on what became of some of the files: in the words of `genbench.images`."""
    names = [shown(path.relative_to(folder).as_posix()) for path in paths]
    others = [shown(name) for name in images.find(folder).others]
    return {**images.notes_on(found), **images.warnings_on(names, found, others)}


def decode(kind: str, folder: Path, path: Path, mode: str) -> Image.Image:
    """A decoded image in a mode, turned as it is shown.

    Raises:
        ConfigError: For a file that cannot be read, and for transparent pixels.
    """

    def one(path: Path) -> Image.Image:
        return images.decode(images.read(path), way=_BEHIND).convert(mode)

    return _each(kind, folder, [path], one)[0]


def ids(kind: str, folder: Path, path: Path) -> NDArray[np.uint8]:
    """A map of ids, (H, W): the levels of a grey image, the indices of a palette.

    Raises:
        ConfigError: For a file that cannot be read.
    """

    def one(path: Path) -> NDArray[np.uint8]:
        return np.asarray(images.ids(images.read(path))).astype(np.uint8)

    return _each(kind, folder, [path], one)[0]


def pixels(
    kind: str, folder: Path, paths: Sequence[Path], mode: str, size: int | None
) -> NDArray[np.uint8]:
    """The pixels (N, H, W, C) of at least one file.

    Raises:
        ConfigError: For files that cannot be read or have transparent pixels, all in one message;
            for levels that are none.
    """
    levels = Levels()
    out: NDArray[np.uint8] | None = None
    places = iter(range(len(paths)))

    def one(path: Path) -> None:
        nonlocal out
        place = next(places)
        image = images.decode(images.read(path), way=_BEHIND).convert(mode)
        levels.see(np.asarray(image))
        array = scaled(image, size)
        if out is None:
            out = _room(len(paths), array, folder)
        out[place] = array

    _each(kind, folder, paths, one)
    assert out is not None
    levels.check(f"{kind}: {folder}")
    return out


def _each(
    kind: str, folder: Path, paths: Sequence[Path], work: Callable[[Path], Result]
) -> list[Result]:
    """`work` on every file; one error names all that cannot be read or used."""
    results: list[Result] = []
    problems: list[tuple[str, BrokenImage | UnfitImage]] = []
    for path in paths:
        try:
            results.append(work(path))
        except (BrokenImage, UnfitImage) as problem:
            problems.append((shown(path.relative_to(folder).as_posix()), problem))
    images.refuse(f"{kind}: {shown(str(folder))}", len(paths), problems, WAY)
    return results


def scaled(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    """(H, W, C) of an image, resized by the rule of all datasets where a size is given."""
    array: NDArray[np.uint8] = np.asarray(image if size is None else resize(image, size))
    return array[..., None] if array.ndim == 2 else array


def read_images(
    listed: Listing, split: str, size: int | None
) -> tuple[NDArray[np.uint8], dict[str, Note]]:
    """The images (N, H, W, C) of a split, and notes; grey only if those of both splits are.

    Raises:
        ConfigError: No images, an unreadable file, several sizes without a size to make of them.
    """
    used = [picture.path for picture in listed.used]
    found = headers(listed.kind, listed.folder, used)
    if size is None:
        check_one_size(listed.kind, listed.folder, (header.size for header in found))
    mine = [picture.path for picture in listed.of(split)]
    made = pixels(listed.kind, listed.folder, mine, mode_of(found), size)
    return made, told(listed.folder, used, found)


def _room(n: int, array: NDArray[np.uint8], folder: Path) -> NDArray[np.uint8]:
    """Memory for n arrays like this one.

    Raises:
        ConfigError: If the machine does not have as much.
    """
    needed, there = n * array.nbytes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        height, width = array.shape[:2]
        raise ConfigError(
            f"{shown(str(folder))}: {n:,} images of {width}x{height} pixels take "
            f"{needed / 2**30:.3g} GiB, and this machine has {there / 2**30:.3g}; add a smaller "
            "@SIZE to the dataset's name"
        )
    return np.empty((n, *array.shape), np.uint8)


def stack(n: int, arrays: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """`np.stack` of n >= 1 arrays of one shape that holds each of them only while it is copied."""
    out: NDArray[np.uint8] | None = None
    for i, array in enumerate(arrays):
        if out is None:
            out = np.empty((n, *array.shape), np.uint8)
        out[i] = array
    assert out is not None
    return out


def check_one_size(kind: str, folder: Path, found: Iterable[tuple[int, int]]) -> None:
    """Refuse images of several sizes (width, height), and those that are not square."""
    sizes = Counter(found)
    if len(sizes) > 1:
        seen = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(5))
        more = ", ..." if len(sizes) > 5 else ""
        raise ConfigError(
            f"{kind}: {folder} holds images of several sizes: {seen}{more}; "
            "add @SIZE to the dataset's name, e.g. @64"
        )
    ((width, height),) = sizes
    if width != height:
        raise ConfigError(
            f"{kind}: the images of {folder} are {width}x{height}, not square; "
            f"add @SIZE to the dataset's name, e.g. @{min(width, height)}"
        )
