"""The image files of a dataset: which there are, in which split each is, which belong together."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from genbench import images
from genbench.data.dataset import SPLITS, Note
from genbench.files import is_folder, opened
from genbench.images import BrokenImage, shown
from genbench.spec import ConfigError

__all__ = [
    "HASH_RULE",
    "TEST_SHARE",
    "WAY",
    "Listing",
    "Picture",
    "below",
    "fingerprint",
    "hash_split",
    "no_image",
    "partners",
    "read",
]

TEST_SHARE = 0.2
HASH_RULE = (
    f"test if the first 8 bytes of sha256(relative path) are in the lowest {TEST_SHARE:.0%}"
)
_HELD = ("test", "val")  # folders of the test split, the first that is there
WAY = "replace them or take them out"
_BLOCK = 1 << 20  # bytes that are hashed at a time


@dataclass(frozen=True)
class Picture:
    """A file, its name below the folder it was found in, and its split, None for neither."""

    path: Path
    relative: str
    split: str | None


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Attributes:
        kind: The dataset's name, for messages.
        folder: Where they are.
        pictures: Sorted by path.
        rule: How they are split.
    """

    kind: str
    folder: Path
    pictures: tuple[Picture, ...]
    rule: str

    def of(self, split: str) -> list[Picture]:
        """The pictures of a split.

        Raises:
            ConfigError: If there is none.
        """
        found = [picture for picture in self.pictures if picture.split == split]
        if not found:
            raise ConfigError(
                f"split {split!r} of {self.folder} holds no image ({len(self.pictures)} in all); "
                f"add images, or make folders {self.folder / 'train'} and {self.folder / 'test'}"
            )
        return found

    @property
    def used(self) -> list[Picture]:
        """The pictures of both splits."""
        return [picture for picture in self.pictures if picture.split is not None]

    def notes(self) -> dict[str, Note]:
        """Source, split rule and counts."""
        counts = Counter(picture.split for picture in self.pictures)
        notes: dict[str, Note] = {"source": self.kind, "split_rule": self.rule}
        notes |= {f"{split}_count": counts[split] for split in SPLITS}
        return notes | ({"left_out": counts[None]} if counts[None] else {})


def below(folder: Path, texts: tuple[str, ...] = ()) -> list[Path]:
    """Every image file below a folder, and files of the names `texts`; hidden ones are left out.

    Links are followed.

    Returns:
        Paths in natural order, 2.png before 10.png.

    Raises:
        ConfigError: For a folder, a pipe or a link to nothing in place of an image, and for a
            folder that cannot be read.
    """
    found = images.find(folder, texts)
    problems = [(shown(name), BrokenImage(why)) for name, why in found.problems.items()]
    images.refuse(shown(str(folder)), len(found.names), problems, WAY)
    return [folder / name for name in sorted(found.names + found.texts, key=images.natural)]


def no_image(kind: str, folder: Path) -> ConfigError:
    """What is said of a folder without images."""
    known = ", ".join(sorted(images.SUFFIXES))
    return ConfigError(f"{kind}: {folder} holds no image file ({known})")


def fingerprint(folder: Path, paths: Iterable[Path]) -> str:
    """sha256 over the sorted relative paths and the bytes of files; decodes nothing.

    Raises:
        ConfigError: For a file that cannot be read.
    """
    digest = hashlib.sha256()
    for relative, path in sorted((p.relative_to(folder).as_posix(), p) for p in paths):
        try:
            with opened(path, images.MOST_BYTES) as file:
                content = _sha256(file)
        except OSError as error:
            raise ConfigError(
                f"{shown(str(path))} cannot be read ({error.strerror}); replace it or take it out"
            ) from error
        digest.update(os.fsencode(f"{relative}\0{content}\n"))
    return digest.hexdigest()


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


# --- splits --------------------------------------------------------------------------------------


def hash_split(relative: Path) -> str:
    """The split that a file's relative path puts it in, whatever other files there are."""
    digest = hashlib.sha256(os.fsencode(relative.as_posix())).digest()
    return "test" if int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64 else "train"


def read(kind: str, folder: Path) -> Listing:
    """The images of a folder by split.

    A folder `train` beside `test`, or else `val`, are the splits; where both of these are there
    `val` is in neither. Without `train` the hash of its relative path puts a file in one of them.

    Raises:
        ConfigError: No folder, no images, a folder `train` without a test split, a stray image.
    """
    if not is_folder(folder):
        raise ConfigError(f"{kind}: there is no folder {folder}; check the path")
    paths = below(folder)
    if not paths:
        raise no_image(kind, folder)
    if not is_folder(folder / "train"):
        places = [path.relative_to(folder) for path in paths]
        found = [
            Picture(p, r.as_posix(), hash_split(r)) for p, r in zip(paths, places, strict=True)
        ]
        return Listing(kind, folder, tuple(found), HASH_RULE)
    held = next((name for name in _HELD if is_folder(folder / name)), None)
    if held is None:
        raise ConfigError(
            f"{kind}: {folder} has a folder train, but neither test nor val; add one"
        )
    found = [_in_folder(kind, folder, path, held) for path in paths]
    rule = f"folders train and {held}"
    if any(picture.split is None for picture in found):
        rule += "; val is in neither"
    return Listing(kind, folder, tuple(found), rule)


def _in_folder(kind: str, folder: Path, path: Path, held: str) -> Picture:
    relative = path.relative_to(folder)
    splits = {"val": None, "train": "train", held: "test"}
    first = relative.parts[0]
    if first not in splits or len(relative.parts) == 1:
        raise ConfigError(
            f"{kind}: {folder} has folders train and {held}, but {relative} is in neither"
        )
    return Picture(path, relative.as_posix(), splits[first])


def partners(listed: Listing, folder: Path, what: str) -> dict[str, Path]:
    """The file in another folder that belongs to each picture: equal paths but for the suffix.

    Args:
        listed: The pictures.
        folder: Where their partners are.
        what: What a partner is called, for messages: "label map".

    Returns:
        Path of the partner by the relative path of the picture.

    Raises:
        ConfigError: A picture without a partner, a partner without a picture, two of one name.
    """
    kind = listed.kind
    mine = _by_stem(kind, listed.folder, [picture.path for picture in listed.pictures])
    theirs = _by_stem(kind, folder, below(folder) if is_folder(folder) else [])
    if lacking := sorted(set(mine) - set(theirs)):
        path = mine[lacking[0]]
        raise ConfigError(
            f"{kind}: {path} has no {what} {folder / lacking[0]}.png ({len(lacking)} in all); "
            "add it, or take the image out"
        )
    if lost := sorted(set(theirs) - set(mine)):
        path = theirs[lost[0]]
        raise ConfigError(
            f"{kind}: the {what} {path} belongs to no image in {listed.folder} "
            f"({len(lost)} in all); add the image, or take it out"
        )
    stems = {path: stem for stem, path in mine.items()}
    return {picture.relative: theirs[stems[picture.path]] for picture in listed.pictures}


def _by_stem(kind: str, folder: Path, paths: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise ConfigError(
                f"{kind}: {found[stem]} and {path} have one name; rename one of them"
            )
        found[stem] = path
    return found
