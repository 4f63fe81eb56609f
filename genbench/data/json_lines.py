"""Files of one JSON object per line about images, as Hugging Face's imagefolder reads them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short  # what a file says may be of any length
from typing import Any

from genbench.data.listing import Listing, Picture
from genbench.files import TABLE, is_folder, json_of, read_text
from genbench.spec import ConfigError, nearest

__all__ = ["Line", "read"]

_COMPARED = 5000  # names that are compared with a wrong one; more would take seconds


@dataclass(frozen=True)
class Line:
    """What a file says of an image.

    Attributes:
        where: File and number of the line, for messages.
        picture: The image that it is about.
        entry: The JSON object.
    """

    where: str
    picture: Picture
    entry: dict[str, Any]

    def refuse(self, reason: str) -> ConfigError:
        """An error that names the line."""
        return ConfigError(f"{self.where}: {reason}")

    def get(self, key: str) -> Any:
        """The value of a key.

        Raises:
            ConfigError: If there is none, with the nearest key.
        """
        return _value(self.entry, key, self.where)


def read(listed: Listing, names: tuple[str, ...], example: str) -> Iterator[Line]:
    """The lines about images of both splits; those about images in neither are left out.

    A file stands in the dataset's folder or in one right below, and `file_name` is relative to it.

    Args:
        listed: The images.
        names: What the files may be called; a folder holds one of them at most.
        example: A line, for the message where there is no file.

    Raises:
        ConfigError: No file, two in one folder, a line that is no JSON object, one without
            `file_name`, and one about an image that is not there.
    """
    kind, folder = listed.kind, listed.folder
    places = [folder, *sorted(path for path in folder.iterdir() if is_folder(path))]
    found = {place: [place / n for n in names if os.path.lexists(place / n)] for place in places}
    if twice := [paths for paths in found.values() if len(paths) > 1]:
        raise ConfigError(f"{kind}: {twice[0][0]} and {twice[0][1]} are both there; keep one")
    if not any(found.values()):
        raise ConfigError(
            f"{kind}: {folder} holds no {' or '.join(names)}; write one with a line for each "
            f"image, e.g. {example}"
        )
    pictures = {picture.relative: picture for picture in listed.pictures}
    for place, paths in found.items():
        for path in paths:
            yield from _lines(kind, path, pictures, place.relative_to(folder))


def _lines(kind: str, path: Path, pictures: dict[str, Picture], inside: Path) -> Iterator[Line]:
    try:
        text = read_text(path, TABLE, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{kind}: {path} cannot be read ({error}); replace it") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{kind}: {path}, line {number}"
        entry = _object(line, where)
        name = _value(entry, "file_name", where)
        if not isinstance(name, str):
            raise ConfigError(f"{where}: file_name is {short(name)}, not a text; name the image")
        picture = pictures.get((inside / name).as_posix())
        if picture is None:
            like = [_inside(r, inside) for r in pictures][:_COMPARED]
            hint = nearest(name, like).partition("valid: ")[0]
            raise ConfigError(
                f"{where}: there is no image {path.parent / name}; {hint}add it, or take the line "
                "out"
            )
        if picture.split is not None:
            yield Line(where, picture, entry)


def _inside(relative: str, folder: Path) -> str:
    return relative.removeprefix(f"{folder.as_posix()}/")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json_of(line)
    except ValueError as error:
        raise ConfigError(f"{where}: this is no JSON ({error}); write one object") from error
    if not isinstance(entry, dict):
        kind = type(entry).__name__
        raise ConfigError(f"{where}: a {kind}, not a JSON object with the key 'file_name'")
    return entry


def _value(entry: dict[str, Any], key: str, where: str) -> Any:
    if key not in entry:
        hint = nearest(key, entry).replace("valid: ", "it has ")
        raise ConfigError(f"{where}: there is no key {key!r}; {hint}")
    return entry[key]
