"""Load a dataset by its id. Importing this module loads no torch."""

import os
from functools import lru_cache
from pathlib import Path

from genbench.data.dataset import SPLITS, Dataset, content_hash
from genbench.data.ids import NAMES, parse_id
from genbench.spec import ConfigError, nearest

__all__ = ["available", "check", "describe", "fingerprint", "load", "names"]

_ABOUT = {
    "cifar10": "60,000 colour photographs in 10 classes, 32x32 (torchvision)",
    "digits": "1,797 grey handwritten digits, 8x8, inside scikit-learn: needs no files",
    "fashion_mnist": "70,000 grey pictures of clothes in 10 classes, 28x28 (torchvision)",
    "imagefolder": "imagefolder:PATH@SIZE: your images, with class folders or without",
    "mnist": "70,000 grey handwritten digits, 28x28 (torchvision)",
    "scenes": "12,000 drawn scenes of coloured shapes, 16x16 to 128x128: needs no files",
}


def names() -> list[str]:
    """Names of the datasets; each takes an `@SIZE`."""
    return list(NAMES)


def describe() -> dict[str, str]:
    """One line on each dataset, by name."""
    return {name: _ABOUT[name] for name in NAMES}


def check(name: str) -> None:
    """Check a dataset id as far as that goes without loading it.

    Raises:
        ConfigError: An unknown name (with the nearest), a bad `@SIZE`, a missing folder.
    """
    path = parse_id(name).path
    if path is not None and not path.is_dir():
        raise ConfigError(f"dataset {name!r}: there is no folder {path}; check the path")


def available(name: str, root: Path | None = None) -> bool:
    """Whether the dataset's files are at hand, so that `load` needs no network."""
    parsed = parse_id(name)
    if parsed.path is not None:
        return parsed.path.is_dir()
    if parsed.name in ("digits", "scenes"):
        return True
    from genbench.data.vision import at_hand  # imports NumPy, which listing names does without

    return at_hand(parsed.name, _root(root))


def fingerprint(name: str, root: Path | None = None) -> str:
    """What fixes the data where the name does not: sha256 of a folder's files, else "".

    Args:
        name: Dataset id.
        root: Of no effect; the same signature as `load`'s.
    """
    path = parse_id(name).path
    if path is None:
        return ""
    from genbench.data import folder

    return folder.fingerprint(path)


def load(name: str, split: str, *, root: Path | None = None) -> Dataset:
    """A split of a dataset, whole in memory as uint8 whatever the size of its images.

    With `@SIZE` every dataset follows one rule: centre crop to a square, then Pillow's antialiased
    bicubic filter; only scenes are drawn at that size. A second call in the same process returns
    the same object while it is among the last few that were loaded.

    Args:
        name: Dataset id, e.g. "mnist@32".
        split: "train" or "test".
        root: Where files are or are downloaded to; by default the environment's GENBENCH_DATA,
            else `~/.cache/genbench`.

    Raises:
        ConfigError: A bad id or split, or data that is missing or broken; says how to go on.
    """
    if split not in SPLITS:
        raise ConfigError(f"dataset {name!r} has no split {split!r}; {nearest(split, SPLITS)}")
    check(name)
    return _load(name, split, _root(root), fingerprint(name))


@lru_cache(maxsize=4)
def _load(name: str, split: str, root: Path, fingerprint: str) -> Dataset:
    # `fingerprint` only tells the cache when a folder's files have changed
    import torch

    from genbench.data import digits, folder, scenes, vision
    from genbench.data.resize import RULE, resize_all

    parsed = parse_id(name)
    if parsed.path is not None:
        pixels, targets, classes, notes = folder.read(parsed.path, split, parsed.size)
    elif parsed.name == "digits":
        pixels, targets, notes = digits.read(split)
        classes = digits.CLASSES
    elif parsed.name == "scenes":
        pixels, targets, classes, notes = scenes.read(split, parsed.size)
    else:
        pixels, targets, classes, notes = vision.read(parsed.name, split, root)
    if parsed.size is not None and parsed.name != "scenes":
        pixels = resize_all(pixels, parsed.size)
        notes["resize"] = f"{RULE} to {parsed.size}"
    # a copy, since NumPy may hold memory that must not be written to
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    labels = None if targets is None else torch.from_numpy(targets.copy())
    return Dataset(name, split, images, labels, classes, content_hash(images, labels), notes)


def _root(root: Path | None) -> Path:
    if root is not None:
        return root.expanduser()
    return Path(os.environ.get("GENBENCH_DATA") or "~/.cache/genbench").expanduser()
