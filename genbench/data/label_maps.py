"""Images with a label map each: folders `images` and `labels`, files of equal names."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genbench.data import class_names, files, listing
from genbench.data.contents import Contents
from genbench.data.dataset import Annotation, Note
from genbench.data.resize import resize
from genbench.spec import ConfigError

__all__ = ["read"]

_IGNORE = 255


def read(folder: Path, split: str, size: int | None) -> Contents:
    """A split of a folder of images with label maps, the annotation `label_map`.

    `labels/X.png` holds the class id of every pixel of `images/X.jpg`; splits are those of
    `listing.read`, in both folders alike. `classes.txt` names the classes, one in a line; without
    it they are numbers up to the largest id. With a size, a map is cropped as its image is, and
    scaled to the nearest neighbour.

    Raises:
        ConfigError: An image without a map or the other way round, a map of another size or that
            is no map of ids, an id without a class, and all that `listing.read` refuses.
    """
    listed = listing.read("label_maps", folder / "images")
    maps = listing.partners(listed, folder / "labels", "label map")
    for picture in listed.used:
        _check(folder, picture.path, maps[picture.relative])
    names = class_names.read("label_maps", folder)
    if names is None:
        names = _numbers(folder, [maps[picture.relative] for picture in listed.used])
    mine = [maps[picture.relative] for picture in listed.of(split)]
    images, told = files.read_images(listed, split, size)
    labels = files.stack(len(mine), (_scaled(_ids(folder, p, len(names)), size) for p in mine))
    notes: dict[str, Note] = listed.notes() | told
    if size is not None:
        notes["label_rule"] = "nearest neighbour, the same crop as the image's"
    return Contents(images, None, (), notes, {"label_map": Annotation.of(labels, names)})


def _check(folder: Path, image: Path, labels: Path) -> None:
    of_image, of_labels = files.headers("label_maps", folder, [image, labels])
    if of_image.size != of_labels.size:
        sizes = " and ".join(f"{w}x{h}" for w, h in (of_labels.size, of_image.size))
        raise ConfigError(
            f"label_maps: {labels} and its image are {sizes} pixels; give them one size"
        )
    if of_labels.mode not in ("1", "L", "P"):
        raise ConfigError(
            f"label_maps: {labels} has mode {of_labels.mode}; a label map holds one class id per "
            "pixel, so save it as a grey or palette PNG"
        )


def _ids(folder: Path, path: Path, count: int) -> NDArray[np.uint8]:
    """The ids (H, W) of a map, all below `count`."""
    ids = files.ids("label_maps", folder, path)
    if (largest := int(ids.max())) >= count:
        raise ConfigError(
            f"label_maps: {path} holds the id {largest}, but {class_names.FILE} names {count} "
            f"classes, so {count - 1} is the largest; {_way_on(largest, count)}"
        )
    return ids


def _way_on(largest: int, count: int) -> str:
    if largest != _IGNORE:
        return f"correct the map, or name the class in line {largest + 1} of the file"
    return (
        f"{_IGNORE} often marks pixels to ignore: give these the id {count} and add the line "
        f"'unlabelled' to {class_names.FILE}"
    )


def _numbers(folder: Path, paths: list[Path]) -> tuple[str, ...]:
    """Names of classes where no file names them: numbers up to the largest id."""
    holder, largest, below = paths[0], -1, -1
    for path in paths:
        ids = np.unique(files.ids("label_maps", folder, path))
        below = max([below, *ids[ids < _IGNORE].tolist()])
        if int(ids.max()) > largest:
            holder, largest = path, int(ids.max())
    if largest == _IGNORE and below < _IGNORE - 1:
        raise ConfigError(
            f"label_maps: {holder} holds the id {_IGNORE}, where {below + 1} classes would do; "
            f"{_IGNORE} often marks pixels to ignore: give these the id {below + 1}, or "
            f"name {_IGNORE + 1} classes in {class_names.FILE}"
        )
    return tuple(str(number) for number in range(largest + 1))


def _scaled(ids: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None:
        return ids
    return np.asarray(resize(Image.fromarray(ids), size, Image.Resampling.NEAREST))
