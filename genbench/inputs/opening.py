"""From one line of text to a source: what it names decides how it is read."""

import difflib
import errno
from pathlib import Path
from typing import Literal

from genbench import data
from genbench.data.ids import MAX_SIZE
from genbench.files import expanded, is_folder, opened
from genbench.images import ALPHAS, SUFFIXES, Alpha, shown
from genbench.inputs.arrays import Arrays, in_memory, npy, npz
from genbench.inputs.containers import Folder, Zip
from genbench.inputs.files import Files
from genbench.inputs.runs import from_record, from_run
from genbench.inputs.source import Source
from genbench.spec import ConfigError, nearest
from genbench.stored import holds_results
from genbench.text import shortened

__all__ = ["open_source"]

_KNOWN = "a folder of images, a .zip, .npz or .npy file, DATASET:SPLIT, or a results folder#RUN"
_LONGEST = 200  # characters of a name that messages have
_WARNINGS = ("animated", "turned", "left_out_files")  # notes of a dataset that are warned of


def open_source(
    text: str | Path,
    *,
    resize: int | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    alpha: Alpha = "refuse",
    data_root: Path | None = None,
) -> Source:
    """The images that `text` names.

    - A folder of images (png, jpg, webp, bmp, tif, gif, ppm and others) and of folders of them,
      links too, in natural order: 2.png before 10.png; hidden files are left out. Or a `.zip` of
      the same, which is not unpacked.
    - A `.npz` file with `arr_0`, uint8 (N, H, W, C), or a `.npy` file of that or of (N, H, W).
    - `DATASET:SPLIT`: `digits:test`, `mnist@32:train`, `imagefolder:PATH@64:test`.
    - A finished run: `RESULTS#NAME`, where NAME is the start of a record's key or a baseline's
      name that only one record has; `RESULTS` with one record; or `RESULTS/records/KEY.json`.

    Args:
        text: See above.
        resize: Crop and scale every image to this height and width, by `genbench.data.resize`.
        on_error: "skip" leaves out files that cannot be read, which notes and warnings tell.
        alpha: What becomes of transparent pixels of files: "refuse", "white" or "black" behind
            them, or "drop" for the colours that are stored.
        data_root: Where datasets are, see `data.load`.

    Raises:
        ConfigError: Nothing of that name (with the nearest there is), or images that cannot be
            used; says how to go on.
    """
    _check(resize, on_error, alpha)
    text = str(text)
    dataset, colon, split = text.rpartition(":")
    if colon and text.partition(":")[0].partition("@")[0] in data.names():
        return _dataset(dataset, split, resize, data_root)
    path = expanded(text)
    if is_folder(path):
        if holds_results(path):
            return from_run(path, "", resize)
        return Files(Folder(path), resize, on_error == "skip", alpha)
    if _is_there(path):
        return _file(path, resize, on_error == "skip", alpha)
    folder, hash_, name = text.rpartition("#")
    if hash_ and is_folder(results := expanded(folder)):
        if not holds_results(results):
            raise ConfigError(f"{results} holds no records of runs, so {name!r} names none there")
        return from_run(results, name, resize)
    raise ConfigError(_missing(text, path))


def _is_there(path: Path) -> bool:
    """Whether a path that is no folder leads to a file.

    Raises:
        ConfigError: For a link to nothing, and for what is there but is no file.
    """
    try:
        opened(path).close()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ConfigError(f"{path} is a link to nothing; name {_KNOWN}") from error
        return False
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR) or "\0" in str(path):
            return False
        raise ConfigError(
            f"{shown(str(path))} cannot be read ({error.strerror}); name {_KNOWN}"
        ) from error
    return True


def _check(resize: int | None, on_error: str, alpha: str) -> None:
    if resize is not None and not 1 <= resize <= MAX_SIZE:
        raise ConfigError(f"resize={resize} is no size; give pixels, 1 to {MAX_SIZE}")
    for name, value, valid in (
        ("on_error", on_error, ("raise", "skip")),
        ("alpha", alpha, ALPHAS),
    ):
        if value not in valid:
            raise ConfigError(f"{name}={value} is not known; {nearest(value, valid)}")


def _file(path: Path, resize: int | None, skip: bool, alpha: Alpha) -> Source:
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return Files(Zip(path), resize, skip, alpha)
    if suffix == ".npz":
        return npz(path, resize)
    if suffix == ".npy":
        return npy(path, resize)
    if suffix == ".json":
        return from_record(path, resize)
    if suffix in SUFFIXES:
        raise ConfigError(f"{path} is a single image; name the folder that holds the set")
    raise ConfigError(f"{path} is no source of images; name {_KNOWN}")


def _dataset(name: str, split: str, resize: int | None, root: Path | None) -> Source:
    if name in data.FOLDERS:
        raise ConfigError(
            f"'{name}:{split}' names no split; write {name}:{split}:train or :test, or "
            f"only {split} for all its images"
        )
    dataset = data.load(name, split, root=root)
    images = dataset.images.numpy()
    text = f"{name}:{split}"
    parsed = data.parse_id(name)
    path = data.folder_of(name, root)
    source = Arrays(text, len(images), in_memory(images), where=text, size=resize, levels=False)
    source.warnings += [str(dataset.notes[key]) for key in _WARNINGS if key in dataset.notes]
    source.notes = {**dataset.notes, **source.notes}
    source.lossy = "lossy" in dataset.notes
    if path is None:
        source.dataset = "" if data.NOT_PUBLISHED in dataset.notes else text
    else:
        size = f"@{parsed.size}" if parsed.size else ""
        source.name = f"{shown(path.resolve().name)}{size}:{split}"
    return source


def _missing(text: str, path: Path) -> str:
    """One sentence on a name that names nothing, with the nearest thing that is there."""
    if text.partition("@")[0] in data.names():
        return f"{text!r} names no split; write {text}:train or {text}:test"
    base, colon, split = text.partition(":")
    if colon and (like := difflib.get_close_matches(base, data.names(), n=1, cutoff=0.5)):
        return f"there is no {text!r}; did you mean '{like[0]}:{split}'? name {_KNOWN}"
    said = repr(shortened(text, _LONGEST))
    try:
        there = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except (OSError, ValueError):
        parent = shortened(str(path.parent), _LONGEST)
        return f"there is no {said} and no folder {parent}; name {_KNOWN}"
    close = difflib.get_close_matches(path.name, there, n=1, cutoff=0.5)
    hint = f"did you mean {str(path.parent / close[0])!r}? " if close else ""
    return f"there is no {said}; {hint}name {_KNOWN}"
