"""Image files: which there are, in which split each is, what is in them."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from genbench.data.dataset import SPLITS, Note
from genbench.data.resize import resize
from genbench.spec import ConfigError

__all__ = [
    "HASH_RULE",
    "SUFFIXES",
    "TEST_SHARE",
    "Header",
    "Listing",
    "Picture",
    "below",
    "check_one_size",
    "decode",
    "fingerprint",
    "hash_split",
    "header",
    "listing",
    "mode_of",
    "opened",
    "partners",
    "read_images",
    "scaled",
    "stack",
]

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TEST_SHARE = 0.2
HASH_RULE = (
    f"test if the first 8 bytes of sha256(relative path) are in the lowest {TEST_SHARE:.0%}"
)
_HELD = ("test", "val")  # folders of the test split, the first that is there
# what Pillow raises for a file that is cut short, no image at all, broken or too large
_READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Header:
    """What an image file says of itself before it is decoded."""

    size: tuple[int, int]
    mode: str


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

    Returns:
        Sorted paths.
    """
    return [path for path in sorted(folder.rglob("*")) if _counts(folder, path, texts)]


def _counts(folder: Path, path: Path, texts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    known = path.suffix.lower() in SUFFIXES or path.name in texts
    return known and not hidden and path.is_file()


def fingerprint(folder: Path, paths: Iterable[Path]) -> str:
    """sha256 over the sorted relative paths and the bytes of files; decodes nothing."""
    digest = hashlib.sha256()
    for relative, path in sorted((p.relative_to(folder).as_posix(), p) for p in paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{relative}\0{content}\n".encode())
    return digest.hexdigest()


# --- splits --------------------------------------------------------------------------------------


def hash_split(relative: Path) -> str:
    """The split that a file's relative path puts it in, whatever other files there are."""
    digest = hashlib.sha256(relative.as_posix().encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") < TEST_SHARE * 2**64 else "train"


def listing(kind: str, folder: Path) -> Listing:
    """The images of a folder by split.

    A folder `train` beside `test`, or else `val`, are the splits; where both of these are there
    `val` is in neither. Without `train` the hash of its relative path puts a file in one of them.

    Raises:
        ConfigError: No folder, no images, a folder `train` without a test split, a stray image.
    """
    if not folder.is_dir():
        raise ConfigError(f"{kind}: there is no folder {folder}; check the path")
    paths = below(folder)
    if not paths:
        raise ConfigError(f"{kind}: {folder} holds no image file ({', '.join(sorted(SUFFIXES))})")
    if not (folder / "train").is_dir():
        places = [path.relative_to(folder) for path in paths]
        found = [
            Picture(p, r.as_posix(), hash_split(r)) for p, r in zip(paths, places, strict=True)
        ]
        return Listing(kind, folder, tuple(found), HASH_RULE)
    held = next((name for name in _HELD if (folder / name).is_dir()), None)
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
    theirs = _by_stem(kind, folder, below(folder) if folder.is_dir() else [])
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


# --- what is in a file ---------------------------------------------------------------------------


def header(path: Path) -> Header:
    """Size and mode of an image file.

    Raises:
        ConfigError: For a file that cannot be read, and for more than 8 bits.
    """
    try:
        with Image.open(path) as image:
            found = Header(image.size, image.mode)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if found.mode.startswith(("I", "F")):
        raise ConfigError(f"image {path} has mode {found.mode}, not 8 bits; convert it to 8 bits")
    return found


def mode_of(headers: Iterable[Header]) -> str:
    """Pillow's mode for images that share a tensor: grey only if all of them are."""
    return "L" if all(header.mode == "L" for header in headers) else "RGB"


def opened(path: Path, mode: str | None) -> Image.Image:
    """A decoded image in a mode, None to keep the file's; alpha is dropped, no EXIF rotation.

    Raises:
        ConfigError: For a file that cannot be read.
    """
    try:
        with Image.open(path) as image:
            if mode is None:
                return image.copy()
            # a palette with transparency goes by way of RGBA, which Pillow asks for with a warning
            plain = image.convert("RGBA") if "transparency" in image.info else image
            return plain.convert(mode)
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error


def scaled(image: Image.Image, size: int | None) -> NDArray[np.uint8]:
    """(H, W, C) of an image, resized by the rule of all datasets where a size is given."""
    array: NDArray[np.uint8] = np.asarray(image if size is None else resize(image, size))
    return array[..., None] if array.ndim == 2 else array


def decode(path: Path, mode: str, size: int | None) -> NDArray[np.uint8]:
    """`opened`, then `scaled`."""
    return scaled(opened(path, mode), size)


def read_images(listed: Listing, split: str, size: int | None) -> NDArray[np.uint8]:
    """The images (N, H, W, C) of a split; grey only if those of both splits are.

    Raises:
        ConfigError: No images, an unreadable file, several sizes without a size to make of them.
    """
    headers = [header(picture.path) for picture in listed.used]
    if size is None:
        check_one_size(listed.kind, listed.folder, (header.size for header in headers))
    mode, mine = mode_of(headers), listed.of(split)
    return stack(len(mine), (decode(picture.path, mode, size) for picture in mine))


def stack(n: int, arrays: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """`np.stack` of n >= 1 arrays of one shape that holds each of them only while it is copied."""
    out: NDArray[np.uint8] | None = None
    for i, array in enumerate(arrays):
        if out is None:
            out = np.empty((n, *array.shape), np.uint8)
        out[i] = array
    assert out is not None
    return out


def _unreadable(path: Path, error: Exception) -> ConfigError:
    reason = "no known image format" if isinstance(error, UnidentifiedImageError) else error
    return ConfigError(f"image {path} cannot be read ({reason}); replace it or take it out")


def check_one_size(kind: str, folder: Path, found: Iterable[tuple[int, int]]) -> None:
    """Refuse images of several sizes (width, height), and those that are not square."""
    sizes = Counter(found)
    if len(sizes) > 1:
        seen = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(5))
        more = ", ..." if len(sizes) > 5 else ""
        raise ConfigError(
            f"{kind}: {folder} holds images of several sizes: {seen}{more}; "
            "add @SIZE to the dataset's name, e.g. @64"
        )
    ((width, height),) = sizes
    if width != height:
        raise ConfigError(
            f"{kind}: the images of {folder} are {width}x{height}, not square; "
            f"add @SIZE to the dataset's name, e.g. @{min(width, height)}"
        )
