"""The datasets that are read from a folder of the user's, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genbench.data import (
    captions,
    celeba,
    class_names,
    domains,
    folder,
    label_maps,
    layouts,
    listing,
    pairs,
)
from genbench.data.contents import Contents

__all__ = ["READERS", "Reader"]


@dataclass(frozen=True)
class Reader:
    """How a layout of files is read.

    Attributes:
        read: (folder, split, size or None) -> the split's contents.
        texts: Names of the text files that count besides all images.
        images: The folder of the images that count, below the dataset's.
    """

    read: Callable[[Path, str, int | None], Contents]
    texts: tuple[str, ...] = ()
    images: str = ""

    def fingerprint(self, path: Path) -> str:
        """sha256 over relative paths and bytes of all files that count; decodes nothing.

        Raises:
            ConfigError: For a folder that is missing.
        """
        if self.read is folder.read:
            return folder.fingerprint(path)
        there = listing.below(path, self.texts)
        inside = path / self.images
        return listing.fingerprint(
            path, (p for p in there if p.name in self.texts or p.is_relative_to(inside))
        )


READERS = {
    "captions": Reader(captions.read, captions.TEXTS),
    "celeba": Reader(celeba.read, (celeba.ATTRIBUTES, celeba.PARTITION), celeba.IMAGES),
    "domains": Reader(domains.read),
    "imagefolder": Reader(folder.read),
    "label_maps": Reader(label_maps.read, (class_names.FILE,)),
    "layouts": Reader(layouts.read, (*layouts.TEXTS, class_names.FILE)),
    "pairs": Reader(pairs.read),
    "pairs_reversed": Reader(pairs.read_reversed),
}
