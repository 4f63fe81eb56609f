"""Load a dataset by its id. Importing this module loads no torch."""

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.data.dataset import SPLITS, Annotation, Dataset, content_hash
from genbench.data.ids import NAMES, DatasetId, parse_id
from genbench.files import expanded, is_folder
from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from genbench.data.contents import Contents

__all__ = ["available", "check", "describe", "fingerprint", "folder_of", "load", "names"]

_ABOUT = {
    "captions": "captions:PATH@SIZE: images with texts, in lines of metadata.jsonl",
    "celeba": "celeba:PATH@SIZE: faces with 40 attributes, CelebA's own files",
    "cifar10": "60,000 colour photographs in 10 classes, 32x32 (torchvision)",
    "digits": "1,797 grey handwritten digits, 8x8, inside scikit-learn: needs no files",
    "domains": "domains:PATH@SIZE: unpaired domains, folders trainA, trainB, testA, testB",
    "fashion_mnist": "70,000 grey pictures of clothes in 10 classes, 28x28 (torchvision)",
    "imagefolder": "imagefolder:PATH@SIZE: your images, with class folders or without",
    "label_maps": "label_maps:PATH@SIZE: images/ and their maps of class ids in labels/",
    "layouts": "layouts:PATH@SIZE: images with boxes, in lines of metadata.jsonl",
    "mnist": "70,000 grey handwritten digits, 28x28 (torchvision)",
    "pairs": "pairs:PATH@SIZE: pairs side by side as of pix2pix; the right half from the left",
    "pairs_reversed": "pairs_reversed:PATH@SIZE: the same pairs; the left half from the right",
    "scenes": "12,000 drawn scenes of coloured shapes, 16x16 to 128x128: needs no files",
}


def names() -> list[str]:
    """Names of the datasets; each takes an `@SIZE`."""
    return list(NAMES)


def describe() -> dict[str, str]:
    """One line on each dataset, by name."""
    return {name: _ABOUT[name] for name in NAMES}


def check(name: str, root: Path | None = None) -> None:
    """Check a dataset id as far as that goes without loading it.

    Args:
        name: Dataset id.
        root: See `load`.

    Raises:
        ConfigError: An unknown name (with the nearest), a bad `@SIZE`, a missing folder.
    """
    path = folder_of(name, root)
    if path is None or is_folder(path):
        return
    also = "" if path.is_absolute() else f", nor below {_root(root)} (set by data.root=PATH)"
    raise ConfigError(f"dataset {name!r}: there is no folder {path}{also}; check the path")


def folder_of(name: str, root: Path | None = None) -> Path | None:
    """The folder that a dataset id names, None for names without a path.

    A relative path that the working directory does not hold is looked up below the data root, so
    that a suite can name data wherever they are.

    Args:
        name: Dataset id.
        root: See `load`.
    """
    path = parse_id(name).path
    if path is None or path.is_absolute() or os.path.lexists(path):
        return path
    below = _root(root) / path
    return below if os.path.lexists(below) else path


def available(name: str, root: Path | None = None) -> bool:
    """Whether the dataset's files are at hand, so that `load` needs no network."""
    path = folder_of(name, root)
    if path is not None:
        return is_folder(path)
    parsed = parse_id(name)
    if parsed.name in ("digits", "scenes"):
        return True
    from genbench.data.vision import at_hand  # imports NumPy, which listing names does without

    return at_hand(parsed.name, _root(root))


def fingerprint(name: str, root: Path | None = None) -> str:
    """What fixes the data where the name does not: sha256 of the files that are read.

    Empty where the name says it all: data that need no files, and those that were published.

    Args:
        name: Dataset id.
        root: See `load`.

    Raises:
        ConfigError: As `check`.
    """
    path, parsed = folder_of(name, root), parse_id(name)
    if path is not None:
        check(name, root)
        from genbench.data.readers import READERS

        return READERS[parsed.name].fingerprint(path)
    if parsed.name in ("digits", "scenes"):
        return ""
    from genbench.data import vision

    return vision.fingerprint(parsed.name, _root(root))


def load(name: str, split: str, *, root: Path | None = None) -> Dataset:
    """A split of a dataset, whole in memory as uint8 whatever the size of its images.

    With `@SIZE` every dataset follows one rule: centre crop to a square, then Pillow's antialiased
    bicubic filter; only scenes are drawn at that size. A second call in the same process returns
    the same object while it is among the last few that were loaded.

    Args:
        name: Dataset id, e.g. "mnist@32".
        split: "train" or "test".
        root: Where files are or are downloaded to, and where a relative path is looked up that
            the working directory does not hold; by default the environment's GENBENCH_DATA, else
            `~/.cache/genbench`.

    Raises:
        ConfigError: A bad id or split, or data that is missing or broken; says how to go on.
    """
    if split not in SPLITS:
        raise ConfigError(f"dataset {name!r} has no split {split!r}; {nearest(split, SPLITS)}")
    return _load(name, split, _root(root), folder_of(name, root), fingerprint(name, root))


@lru_cache(maxsize=4)
def _load(name: str, split: str, root: Path, path: Path | None, fingerprint: str) -> Dataset:
    # `fingerprint` only tells the cache when a folder's files have changed
    import torch

    from genbench.data.resize import RULE, resize_all

    parsed = parse_id(name)
    contents = _contents(parsed, split, root, path)
    pixels, targets, known = contents.images, contents.labels, dict(contents.known)
    if parsed.size is not None and parsed.name != "scenes":
        pixels = resize_all(pixels, parsed.size)
        contents.notes["resize"] = f"{RULE} to {parsed.size}"
    # a copy, since NumPy may hold memory that must not be written to
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    labels = None if targets is None else torch.from_numpy(targets.copy())
    if parsed.name == "scenes":
        known["style/day"] = Annotation(lambda: images)
    digest = content_hash(images, labels)
    return Dataset(name, split, images, labels, contents.classes, digest, contents.notes, known)


def _contents(parsed: DatasetId, split: str, root: Path, path: Path | None) -> "Contents":
    from genbench.data import digits, scenes, vision
    from genbench.data.contents import Contents
    from genbench.data.readers import READERS

    if path is not None:
        return READERS[parsed.name].read(path, split, parsed.size)
    if parsed.name == "digits":
        pixels, targets, notes = digits.read(split)
        return Contents(pixels, targets, digits.CLASSES, notes)
    if parsed.name == "scenes":
        known = scenes.known(split, parsed.size)
        return Contents(*scenes.read(split, parsed.size), known)
    return Contents(*vision.read(parsed.name, split, root))


def _root(root: Path | None) -> Path:
    if root is not None:
        return expanded(root)
    return expanded(os.environ.get("GENBENCH_DATA") or "~/.cache/genbench")
