"""The grammar of dataset ids: `NAME`, `NAME@SIZE`, `NAME:PATH`, `NAME:PATH@SIZE`."""

from dataclasses import dataclass
from pathlib import Path

from genbench.files import expanded
from genbench.spec import ConfigError, nearest

__all__ = ["FOLDERS", "MAX_SIZE", "NAMES", "SCENE_SIZES", "DatasetId", "parse_id"]

# read from a folder that the id names
FOLDERS = (
    "captions",
    "celeba",
    "domains",
    "imagefolder",
    "label_maps",
    "layouts",
    "pairs",
    "pairs_reversed",
)
NAMES = tuple(sorted((*FOLDERS, "cifar10", "digits", "fashion_mnist", "mnist", "scenes")))
MAX_SIZE = 4096
SCENE_SIZES = (16, 128)  # scenes are drawn at their size, not resized


@dataclass(frozen=True)
class DatasetId:
    """A dataset id in its parts.

    Attributes:
        name: One of `NAMES`.
        path: The folder as it is written, of the names in `FOLDERS`, else None.
        size: Height and width to resize to, None to keep the images as they are.
    """

    name: str
    path: Path | None = None
    size: int | None = None


def parse_id(text: str) -> DatasetId:
    """Read a dataset id, without a look at the disk.

    What follows the last `@` is the size, so a folder with an `@` in its name needs a size.

    Raises:
        ConfigError: An unknown name (with the nearest), a bad size, a missing or needless path.
    """
    head, at, tail = text.rpartition("@")
    base, size = (head, _size(text, tail)) if at else (text, None)
    name, colon, path = base.partition(":")
    if name not in NAMES:
        raise ConfigError(f"unknown dataset {name!r} in {text!r}; {nearest(name, NAMES)}")
    if name in FOLDERS:
        if not path:
            raise ConfigError(f"dataset {text!r} names no folder; write {name}:PATH@SIZE")
        return DatasetId(name, expanded(path), size)
    if colon:
        raise ConfigError(
            f"dataset {text!r}: {name} takes no path, its place is set by data.root; "
            f"these take one: {', '.join(FOLDERS)}"
        )
    low, high = SCENE_SIZES
    if name == "scenes" and size is not None and not low <= size <= high:
        raise ConfigError(
            f"dataset {text!r}: scenes come in {low} to {high} pixels, not {size}, e.g. scenes@32"
        )
    return DatasetId(name, None, size)


def _size(text: str, size: str) -> int:
    if size.isascii() and size.isdigit() and 1 <= int(size) <= MAX_SIZE:
        return int(size)
    raise ConfigError(
        f"dataset {text!r}: {size!r} is not a size; after the @ write pixels, "
        f"1 to {MAX_SIZE}, e.g. @32"
    )
