"""Unpaired domains as CycleGAN lays them out: folders trainA, trainB, testA and testB."""

from pathlib import Path

import numpy as np

from genbench.data import files, listing
from genbench.data.contents import Contents
from genbench.data.dataset import SPLITS, Annotation, Note
from genbench.files import is_folder
from genbench.spec import ConfigError

__all__ = ["read"]

_WANTED = "make folders trainA, trainB, testA and testB; other names and more of them are fine"


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of domains: the images of all of them, in the order of their names.

    Folders `trainNAME` and `testNAME` make a domain NAME; the annotation `domain` says which one
    an image is from. Images are grey only if those of all domains and of both splits are.

    Source: https://github.com/junyanz/CycleGAN, `datasets`.

    Raises:
        ConfigError: Fewer than two domains, one without a split or without images, several sizes
            without a size to make of them.
    """
    names = _names(folder)
    paths = {name: {s: _images(folder / f"{s}{name}") for s in SPLITS} for name in names}
    every = [path for name in names for s in SPLITS for path in paths[name][s]]
    headers = files.headers("domains", folder, every)
    if size is None:
        files.check_one_size("domains", folder, (header.size for header in headers))
    mine = [(path, k) for k, name in enumerate(names) for path in paths[name][split]]
    images = files.pixels("domains", folder, [p for p, _ in mine], files.mode_of(headers), size)
    domain = np.array([k for _, k in mine], np.int64)
    notes: dict[str, Note] = {"source": "domains", "split_rule": "folders trainNAME and testNAME"}
    notes |= {f"{s}_count": sum(len(paths[name][s]) for name in names) for s in SPLITS}
    notes |= files.told(folder, every, headers)
    return Contents(images, None, (), notes, {"domain": Annotation.of(domain, names)})


def _names(folder: Path) -> tuple[str, ...]:
    found = {
        split: {
            path.name.removeprefix(split)
            for path in folder.iterdir()
            if is_folder(path) and path.name.startswith(split) and path.name != split
        }
        for split in SPLITS
    }
    names = sorted(found["train"] | found["test"])
    if len(names) < 2:
        listed = ", ".join(names) or "none"
        raise ConfigError(f"domains: {folder} holds fewer than two domains ({listed}); {_WANTED}")
    for split in SPLITS:
        if lacking := [name for name in names if name not in found[split]]:
            raise ConfigError(
                f"domains: {folder} has no folder {split}{lacking[0]}; every domain needs a "
                "folder train... and a folder test..."
            )
    return tuple(names)


def _images(folder: Path) -> list[Path]:
    paths = listing.below(folder)
    if not paths:
        raise ConfigError(f"domains: {folder} holds no image; add some, or take the domain out")
    return paths
