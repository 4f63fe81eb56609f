"""Datasets that torchvision reads and, where their files are missing, downloads."""

import hashlib
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import NOT_PUBLISHED, Note
from genbench.files import homeless
from genbench.spec import ConfigError

__all__ = ["VISION", "at_hand", "fingerprint", "read"]


@dataclass(frozen=True)
class VisionSource:
    """A dataset class of torchvision, and the files that it reads below the data root.

    Attributes:
        cls: The class.
        folder: Where the files are.
        files: The MD5 of each as it was published, by name.
    """

    cls: str
    folder: str
    files: dict[str, str]


_IDX = tuple(
    f"{split}-{what}-ubyte"
    for split in ("train", "t10k")
    for what in ("images-idx3", "labels-idx1")
)
_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
_CIFAR10 = (
    "c99cafc152244af753f735de768cd75f",
    "d4bba439e000b95fd0a9bffe97cbabec",
    "54ebc095f3ab1f0389bbae665268c751",
    "634d18415352ddfa80567beed471001a",
    "482c414d41f54cd18b22e5b47cb7c3cb",
    "40351d587109b95175f43aff81a1287e",
    "5ff9c542aee3614f3951f8cda6e48888",
)
_FASHION = (
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a",
    "15d484375f8d13e6eb1aabb0c3f46965",
)
_MNIST = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)

VISION = {
    "cifar10": VisionSource(
        "CIFAR10", "cifar-10-batches-py", dict(zip(_BATCHES, _CIFAR10, strict=True))
    ),
    "fashion_mnist": VisionSource(
        "FashionMNIST", "FashionMNIST/raw", dict(zip(_IDX, _FASHION, strict=True))
    ),
    "mnist": VisionSource("MNIST", "MNIST/raw", dict(zip(_IDX, _MNIST, strict=True))),
}

# what torchvision raises without a network, for a bad checksum, a file cut short, a folder that
# it cannot write to
_DOWNLOAD_ERRORS = (URLError, RuntimeError, OSError)
_READ_ERRORS = (AssertionError, EOFError, KeyError, OSError, RuntimeError, ValueError)


def at_hand(name: str, root: Path) -> bool:
    """Whether every file of the dataset lies below `root`."""
    source = VISION[name]
    return all((root / source.folder / file).is_file() for file in source.files)


def fingerprint(name: str, root: Path) -> str:
    """sha256 of what the files of a dataset hold; "" for the set that was published, whose name
    says enough, and where the files are still to be downloaded.

    Raises:
        ConfigError: For files that cannot be read.
    """
    source = VISION[name]
    if not at_hand(name, root):
        return ""
    found = {file: _md5(root / source.folder / file) for file in source.files}
    if found == source.files:
        return ""
    return hashlib.sha256("\n".join(f"{k}\0{v}" for k, v in found.items()).encode()).hexdigest()


def _md5(path: Path) -> str:
    """The MD5 of a file; that of a file that has not changed is computed once."""
    try:
        status = path.stat()
        return _md5_of(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); mend that, or name another folder with "
            "data.root=PATH"
        ) from None


@lru_cache
def _md5_of(path: Path, size: int, changed: int, inode: int) -> str:
    with path.open("rb") as file:
        # as torchvision and the authors state it; nothing secret hangs on it
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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
    notes: dict[str, Note] = {"source": f"torchvision {VISION[name].cls}"}
    if other := fingerprint(name, root):
        notes[NOT_PUBLISHED] = f"not those that were published, fingerprint {other[:8]}"
    return images, labels, classes, notes


def _open(name: str, split: str, root: Path) -> Any:
    from torchvision import datasets  # 1 s to import, and it loads torch

    source = VISION[name]
    cls = getattr(datasets, source.cls)
    folder = root / source.folder
    if not at_hand(name, root):
        if homeless(root):
            raise ConfigError(
                f"dataset {name!r} is not here, and there is no home folder to download it to; "
                "name a folder with data.root=PATH, or set GENBENCH_DATA"
            )
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
