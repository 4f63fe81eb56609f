"""Datasets that torchvision reads and, where their files are missing, downloads."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Note
from genbench.spec import ConfigError

__all__ = ["VISION", "at_hand", "read"]


@dataclass(frozen=True)
class VisionSource:
    """A dataset class of torchvision, and the files that it reads below the data root."""

    cls: str
    folder: str
    files: tuple[str, ...]


_IDX = tuple(
    f"{split}-{what}-ubyte"
    for split in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
)
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")

VISION = {
    "cifar10": VisionSource("CIFAR10", "cifar-10-batches-py", _BATCHES),
    "fashion_mnist": VisionSource("FashionMNIST", "FashionMNIST/raw", _IDX),
    "mnist": VisionSource("MNIST", "MNIST/raw", _IDX),
}

# what torchvision raises without a network, for a bad checksum, a file cut short, a folder that
# it cannot write to
_DOWNLOAD_ERRORS = (URLError, RuntimeError, OSError)
_READ_ERRORS = (AssertionError, EOFError, KeyError, OSError, RuntimeError, ValueError)


def at_hand(name: str, root: Path) -> bool:
    """Whether every file of the dataset lies below `root`."""
    source = VISION[name]
    return all((root / source.folder / file).is_file() for file in source.files)


def read(
    name: str, split: str, root: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...], dict[str, Note]]:
    """Images (N, H, W, C), labels (N,), class names and notes of a split.

    The network is asked only where files are missing.

    Raises:
        ConfigError: Missing files that cannot be downloaded, or files that cannot be read.
    """
    data = _open(name, split, root)
    images = np.asarray(data.data, dtype=np.uint8)
    if images.ndim == 3:
        images = images[..., None]
    labels = np.asarray(data.targets, dtype=np.int64)
    classes = tuple(str(c).partition(" - ")[0] for c in data.classes)  # "7 - seven" is "7"
    return images, labels, classes, {"source": f"torchvision {VISION[name].cls}"}


def _open(name: str, split: str, root: Path) -> Any:
    from torchvision import datasets  # 1 s to import, and it loads torch

    source = VISION[name]
    cls = getattr(datasets, source.cls)
    folder = root / source.folder
    if not at_hand(name, root):
        try:
            cls(root=str(root), train=True, download=True)
        except _DOWNLOAD_ERRORS as error:
            raise ConfigError(
                f"dataset {name!r} is not in {folder} and its download failed "
                f"({_first_line(error)}); name a folder that holds it with data.root=PATH"
            ) from error
    try:
        return cls(root=str(root), train=split == "train", download=False)
    except (*_READ_ERRORS, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"dataset {name!r} in {folder} cannot be read ({_first_line(error)}); delete that "
            "folder to download it again, or name another with data.root=PATH"
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(":") if text else type(error).__name__
