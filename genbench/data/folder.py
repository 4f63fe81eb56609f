"""Any folder of images as a dataset."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genbench.data import files, labels, listing
from genbench.data.contents import Contents
from genbench.data.dataset import SPLITS, Note
from genbench.files import is_folder
from genbench.images import natural, shown
from genbench.spec import ConfigError

__all__ = ["fingerprint", "read"]


@dataclass(frozen=True)
class ImageFile:
    """A file, its name below the dataset's folder, the split and the class that it is in."""

    path: Path
    relative: str
    split: str
    label: str | None


def fingerprint(folder: Path) -> str:
    """sha256 over the sorted relative paths and the bytes of every image file, and of files that
    tell their labels; decodes nothing.

    Raises:
        ConfigError: For a folder that is missing or holds no image.
    """
    found, told = _files(folder)
    return listing.fingerprint(folder, (*(file.path for file in found), *told))


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder.

    Folders right below are the classes; images right below have no class. A file of labels comes
    before both, see `labels`. Where both `train` and
    `test` exist they are the splits, else the hash of its relative path puts a file in one of
    them, so that a file stays where it is when others come or go. Images are grey only if every
    file of both splits is, else RGB, and are turned as their EXIF asks.

    Raises:
        ConfigError: No images, files that cannot be read, transparent pixels, more than 8 bits
            for a channel, several sizes without a size to make of them.
    """
    found, told = _files(folder)
    mine = [file for file in found if file.split == split]
    if not mine:
        raise ConfigError(
            f"split {split!r} of {folder} holds no image ({len(found)} in all); add images, or "
            f"make folders {folder / 'train'} and {folder / 'test'}"
        )
    every = [file.path for file in found]
    headers = files.headers("imagefolder", folder, every)
    if size is None:
        files.check_one_size("imagefolder", folder, (header.size for header in headers))
    mode, paths = files.mode_of(headers), [file.path for file in mine]
    images = files.pixels("imagefolder", folder, paths, mode, size)
    order = natural if told else str
    classes = tuple(sorted({f.label for f in found if f.label is not None}, key=order))
    numbers = np.array([classes.index(f.label) for f in mine if f.label is not None], np.int64)
    notes: dict[str, Note] = {
        "source": "imagefolder",
        "split_rule": "folders train and test" if _has_splits(folder) else listing.HASH_RULE,
        "train_count": sum(file.split == "train" for file in found),
        "test_count": sum(file.split == "test" for file in found),
    }
    if told:
        notes["labels"] = ", ".join(dict.fromkeys(path.name for path in told))
    notes |= files.told(folder, every, headers)
    return Contents(images, numbers if classes else None, classes, notes)


def _files(folder: Path) -> tuple[list[ImageFile], tuple[Path, ...]]:
    """The images, and the files that tell their labels where it is not their folders."""
    if not is_folder(folder):
        raise ConfigError(f"imagefolder: there is no folder {folder}; check the path")
    found = [_place(folder, path) for path in listing.below(folder)]
    if not found:
        raise listing.no_image("imagefolder", folder)
    said = labels.read(folder, (file.relative for file in found))
    if said is not None:
        return [replace(f, label=said.of.get(f.relative)) for f in found], said.files
    classless = [file.relative for file in found if file.label is None]
    if classless and len(classless) < len(found):
        raise ConfigError(
            f"imagefolder: {folder} holds images in class folders and outside of them "
            f"({classless[0]}); put every image in a class folder, or none"
        )
    return found, ()


def _has_splits(folder: Path) -> bool:
    return all(is_folder(folder / split) for split in SPLITS)


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
        split, parents_left = listing.hash_split(relative), list(parents)
    label = parents_left[0] if parents_left else None
    return ImageFile(path, relative.as_posix(), split, None if label is None else shown(label))
