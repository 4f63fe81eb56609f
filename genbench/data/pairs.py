"""Pairs of images as pix2pix lays them out: side by side in one file, or in folders A and B."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genbench.data import files
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.data.files import Listing
from genbench.spec import ConfigError

__all__ = ["read", "read_reversed"]

Two = tuple[Image.Image, Image.Image]


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of pairs: the images are B, the annotation `source` is A.

    A is the left half of a file and B the right one; where there are folders `A` and `B`, files of
    equal paths are a pair. This is pix2pix's direction AtoB: for facades it makes drawings out of
    photographs. Splits are those of `files.listing`, in both folders alike.

    Source: https://github.com/phillipi/pix2pix, `scripts/combine_A_and_B.py`.

    Raises:
        ConfigError: A file that is not twice as wide as high, an A without B, halves of several
            sizes without a size to make of them, and all that `files.listing` refuses.
    """
    return _read("pairs", folder, split, size, reverse=False)


def read_reversed(folder: Path, split: str, size: int | None) -> Contents:
    """`read` in pix2pix's direction BtoA: the images are A, the annotation `source` is B."""
    return _read("pairs_reversed", folder, split, size, reverse=True)


def _read(kind: str, folder: Path, split: str, size: int | None, reverse: bool) -> Contents:
    apart = [(folder / name).is_dir() for name in "AB"]
    if any(apart) and not all(apart):
        raise ConfigError(f"{kind}: {folder} has one of the folders A and B; both are needed")
    if (folder / "trainA").is_dir():
        raise ConfigError(
            f"{kind}: {folder} has folders of domains, trainA and others, that hold no pairs; "
            f"write domains:{folder}"
        )
    listed = files.listing(kind, folder / "A" if all(apart) else folder)
    if all(apart):
        there = files.partners(listed, folder / "B", "partner")
        mine = [(picture.path, there[picture.relative]) for picture in listed.of(split)]
        used = [(picture.path, there[picture.relative]) for picture in listed.used]
        modes = _check_two(kind, folder, used, size)
        two = _from_two_files(mine, modes)
    else:
        mode = _check_halves(listed, size)
        two = _from_halves([picture.path for picture in listed.of(split)], mode)
    a, b = _stacked(len(listed.of(split)), two, size)
    images, source = (a, b) if reverse else (b, a)
    known = {"source": Annotation.of(source.transpose(0, 3, 1, 2).copy())}
    notes: dict[str, Note] = listed.notes() | {"direction": "BtoA" if reverse else "AtoB"}
    return Contents(images, None, (), notes, known)


def _check_halves(listed: Listing, size: int | None) -> str:
    """The mode of all images; refuses files that are no two squares side by side."""
    headers = [files.header(picture.path) for picture in listed.used]
    for picture, header in zip(listed.used, headers, strict=True):
        width, height = header.size
        if width != 2 * height:
            raise ConfigError(
                f"{listed.kind}: {picture.path} is {width}x{height} pixels, but a pair is two "
                "squares side by side, twice as wide as high; crop it, or take it out"
            )
    if size is None:
        halves = ((header.size[1], header.size[1]) for header in headers)
        files.check_one_size(listed.kind, listed.folder, halves)
    return files.mode_of(headers)


def _from_halves(paths: list[Path], mode: str) -> Iterator[Two]:
    for path in paths:
        image = files.opened(path, mode)
        side = image.height
        yield image.crop((0, 0, side, side)), image.crop((side, 0, 2 * side, side))


def _check_two(
    kind: str, folder: Path, pairs: list[tuple[Path, Path]], size: int | None
) -> tuple[str, str]:
    """The modes of A and of B; refuses partners of unlike sizes."""
    headers = [(files.header(a), files.header(b)) for a, b in pairs]
    for (a, b), (one, other) in zip(pairs, headers, strict=True):
        if one.size != other.size:
            sizes = " and ".join(f"{w}x{h}" for w, h in (one.size, other.size))
            raise ConfigError(f"{kind}: {a} and {b} are {sizes} pixels; give a pair one size")
    if size is None:
        files.check_one_size(kind, folder, (one.size for one, _ in headers))
    return files.mode_of(one for one, _ in headers), files.mode_of(b for _, b in headers)


def _from_two_files(pairs: list[tuple[Path, Path]], modes: tuple[str, str]) -> Iterator[Two]:
    for a, b in pairs:
        yield files.opened(a, modes[0]), files.opened(b, modes[1])


def _stacked(
    n: int, pairs: Iterator[Two], size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Arrays (N, H, W, C) of A and of B."""
    both = [(files.scaled(a, size), files.scaled(b, size)) for a, b in pairs]
    return files.stack(n, (a for a, _ in both)), files.stack(n, (b for _, b in both))
