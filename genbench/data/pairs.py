"""Pairs of images as pix2pix lays them out: side by side in one file, or in folders A and B."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genbench.data import files, listing
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.data.listing import Listing
from genbench.files import is_folder
from genbench.spec import ConfigError

__all__ = ["read", "read_reversed"]

Two = tuple[Image.Image, Image.Image]


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of pairs: the images are B, the annotation `source` is A.

    A is the left half of a file and B the right one; where there are folders `A` and `B`, files of
    equal paths are a pair. This is pix2pix's direction AtoB: for facades it makes drawings out of
    photographs. Splits are those of `listing.read`, in both folders alike.

    Source: https://github.com/phillipi/pix2pix, `scripts/combine_A_and_B.py`.

    Raises:
        ConfigError: A file that is not twice as wide as high, an A without B, halves of several
            sizes without a size to make of them, and all that `listing.read` refuses.
    """
    return _read("pairs", folder, split, size, reverse=False)


def read_reversed(folder: Path, split: str, size: int | None) -> Contents:
    """`read` in pix2pix's direction BtoA: the images are A, the annotation `source` is B."""
    return _read("pairs_reversed", folder, split, size, reverse=True)


def _read(kind: str, folder: Path, split: str, size: int | None, reverse: bool) -> Contents:
    apart = [is_folder(folder / name) for name in "AB"]
    if any(apart) and not all(apart):
        raise ConfigError(f"{kind}: {folder} has one of the folders A and B; both are needed")
    if is_folder(folder / "trainA"):
        raise ConfigError(
            f"{kind}: {folder} has folders of domains, trainA and others, that hold no pairs; "
            f"write domains:{folder}"
        )
    listed = listing.read(kind, folder / "A" if all(apart) else folder)
    if all(apart):
        there = listing.partners(listed, folder / "B", "partner")
        mine = [(picture.path, there[picture.relative]) for picture in listed.of(split)]
        used = [(picture.path, there[picture.relative]) for picture in listed.used]
        modes, told = _check_two(kind, folder, used, size)
        two = _from_two_files(kind, folder, mine, modes)
    else:
        mode, told = _check_halves(listed, size)
        two = _from_halves(listed, split, mode)
    a, b = _stacked(len(listed.of(split)), two, size)
    images, source = (a, b) if reverse else (b, a)
    known = {"source": Annotation.of(source.transpose(0, 3, 1, 2).copy())}
    notes: dict[str, Note] = listed.notes() | told | {"direction": "BtoA" if reverse else "AtoB"}
    return Contents(images, None, (), notes, known)


def _check_halves(listed: Listing, size: int | None) -> tuple[str, dict[str, Note]]:
    """The mode of all images, and notes; refuses files that are no two squares side by side."""
    every = [picture.path for picture in listed.used]
    headers = files.headers(listed.kind, listed.folder, every)
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
    return files.mode_of(headers), files.told(listed.folder, every, headers)


def _from_halves(listed: Listing, split: str, mode: str) -> Iterator[Two]:
    for picture in listed.of(split):
        image = files.decode(listed.kind, listed.folder, picture.path, mode)
        side = image.height
        yield image.crop((0, 0, side, side)), image.crop((side, 0, 2 * side, side))


def _check_two(
    kind: str, folder: Path, pairs: list[tuple[Path, Path]], size: int | None
) -> tuple[tuple[str, str], dict[str, Note]]:
    """The modes of A and of B, and notes; refuses partners of unlike sizes."""
    every = [path for pair in pairs for path in pair]
    headers = files.headers(kind, folder, every)
    of_a, of_b = headers[::2], headers[1::2]
    for (a, b), one, other in zip(pairs, of_a, of_b, strict=True):
        if one.size != other.size:
            sizes = " and ".join(f"{w}x{h}" for w, h in (one.size, other.size))
            raise ConfigError(f"{kind}: {a} and {b} are {sizes} pixels; give a pair one size")
    if size is None:
        files.check_one_size(kind, folder, (one.size for one in of_a))
    modes = files.mode_of(of_a), files.mode_of(of_b)
    return modes, files.told(folder, every, headers)


def _from_two_files(
    kind: str, folder: Path, pairs: list[tuple[Path, Path]], modes: tuple[str, str]
) -> Iterator[Two]:
    for pair in pairs:
        a, b = (files.decode(kind, folder, p, mode) for p, mode in zip(pair, modes, strict=True))
        yield a, b


def _stacked(
    n: int, pairs: Iterator[Two], size: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Arrays (N, H, W, C) of A and of B."""
    both = [(files.scaled(a, size), files.scaled(b, size)) for a, b in pairs]
    return files.stack(n, (a for a, _ in both)), files.stack(n, (b for _, b in both))
