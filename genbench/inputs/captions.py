"""One caption for every image, from a text file, JSON lines or a table."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from genbench.files import TABLE, json_of, read_text
from genbench.images import few
from genbench.inputs.containers import key_of
from genbench.spec import ConfigError
from genbench.text import clean

__all__ = ["read"]

_SHOWN = 200  # characters of what a file holds that messages have
_FILE = ("file", "file_name", "image")
_TEXT = ("caption", "text")
_FORMATS = ".txt (one caption a line), .jsonl or .csv (file, caption)"

# where it stands, the file that it names or None, the caption
Row = tuple[str, str | None, str]


def read(path: Path, keys: Sequence[str] | None, n: int | None = None) -> list[str]:
    """Captions in the order of the images.

    - `.txt`: one a line, in the order of the images.
    - `.jsonl`: objects with "caption" or "text" and, where images are named, "file", "file_name"
      or "image".
    - `.csv`: a table with such columns.

    Files are matched with or without their suffix; captions that name none go by position.

    Args:
        path: The file, UTF-8.
        keys: Names of the images, as `Source.keys`; None for images without names.
        n: Number of images, for images without names.

    Raises:
        ConfigError: Captions that are missing, too many, empty or given twice, with the first
            ones and the counts; a file of another form.
    """
    rows = list(_rows(path))
    empty = [where for where, _, caption in rows if not caption.strip()]
    if empty:
        raise ConfigError(f"{path}: {_count(len(empty), 'empty caption')}: {few(empty)}; fill in")
    files = [file for _, file, _ in rows if file is not None]
    if files and len(files) < len(rows):
        bare = next(where for where, file, _ in rows if file is None)
        raise ConfigError(f"{path}: {bare} names no file while others do; name all files or none")
    captions = [caption for _, _, caption in rows]
    total = len(keys) if keys is not None else n
    if files and keys is not None:
        return _by_key(path, dict(_matched(path, rows, set(keys))), keys)
    if files:
        raise ConfigError(
            f"{path} names files, but these images have no names; give captions in their order"
        )
    if total is not None and len(captions) != total:
        raise ConfigError(
            f"{path} holds {_count(len(captions), 'caption')} for {_count(total, 'image')}; "
            "give one for each, in order, or name the files in a .jsonl"
        )
    return captions


def _rows(path: Path) -> Iterator[Row]:
    try:
        text = read_text(path, TABLE, "utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"captions {path} cannot be read: {error.strerror}; name a text file of captions"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"captions {path} are not UTF-8 ({error}); save them as UTF-8") from None
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return ((f"line {i}", None, line) for i, line in enumerate(_lines(text), 1))
    if suffix == ".jsonl":
        return _json_rows(path, _lines(text))
    if suffix == ".csv":
        return _table_rows(path, text)
    raise ConfigError(f"captions {path}: {suffix or 'no suffix'} is not known; use {_FORMATS}")


def _lines(text: str) -> list[str]:
    # not splitlines, which also splits at characters that may stand in a caption
    return text.removesuffix("\n").split("\n") if text else []


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        where = f"line {number}"
        try:
            row = json_of(line)
        except ValueError as error:
            raise ConfigError(f"{path}, {where} is no JSON ({error}); mend the line") from None
        if not isinstance(row, dict):
            raise ConfigError(f'{path}, {where} is no object; write {{"file": .., "caption": ..}}')
        yield _row(path, where, row)


def _table_rows(path: Path, text: str) -> Iterator[Row]:
    table = csv.reader(io.StringIO(text), strict=True)
    names: list[str] = []
    begin = 0
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            raise ConfigError(
                f"{path}: what begins in line {begin + 1} is no row of a table ({error}); close "
                'every quote, and write " inside of quotes as ""'
            ) from None
        if cells is None:
            return
        if cells and not names:
            names = _header(path, cells)
        elif cells:
            yield _row(path, f"line {begin + 1}", _named(path, begin + 1, names, cells))
        begin = table.line_num


def _header(path: Path, names: list[str]) -> list[str]:
    _check_names(path, "line 1", names)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"{path} has {few(twice)} more than once in line 1; keep one")
    return names


def _check_names(path: Path, where: str, names: Iterable[str]) -> None:
    if not any(name in _TEXT for name in names):
        has = clean(", ".join(names), _SHOWN) or "nothing"
        raise ConfigError(f"{path}, {where} holds {has}; it needs {' or '.join(_TEXT)}")


def _named(path: Path, line: int, names: list[str], cells: list[str]) -> dict[str, Any]:
    """A row by column; a caption with a comma and without quotes is told, not cut."""
    if len(cells) != len(names):
        raise ConfigError(
            f"{path}, line {line} has {len(cells)} columns and the first line {len(names)}; put "
            'captions that hold a comma in quotes, "like, this"'
        )
    return dict(zip(names, cells, strict=True))


def _row(path: Path, where: str, row: dict[str, Any]) -> Row:
    caption = next((row[name] for name in _TEXT if name in row), None)
    file = next((row[name] for name in _FILE if name in row), None)
    _check_names(path, where, row)
    if not isinstance(caption, str | None) or not isinstance(file, str | None):
        raise ConfigError(f"{path}, {where}: file and caption must be text")
    return where, file, caption or ""


def _matched(path: Path, rows: list[Row], keys: set[str]) -> Iterator[tuple[str, str]]:
    """Key and caption of every row, each key once and each known."""
    found: dict[str, str] = {}
    twice: list[str] = []
    extra: list[str] = []
    for _, file, caption in rows:
        name = (file or "").removeprefix("./")
        key = name if name in keys else key_of(name)
        if key not in keys:
            extra.append(name)
        elif key in found:
            twice.append(name)
        found[key] = caption
    if twice:
        raise ConfigError(
            f"{path} has {_count(len(twice), 'image')} with a second caption: {few(twice)}; "
            "keep one for each"
        )
    if extra:
        raise ConfigError(
            f"{path} has {_count(len(extra), 'caption')} for images that are not there: "
            f"{few(extra)}; names are paths below the images' folder, e.g. {min(keys)!r}"
        )
    yield from found.items()


def _by_key(path: Path, found: dict[str, str], keys: Sequence[str]) -> list[str]:
    missing = [key for key in keys if key not in found]
    if missing:
        raise ConfigError(
            f"{path} has no caption for {len(missing)} of {_count(len(keys), 'image')}: "
            f"{few(missing)}; add them or take the images out"
        )
    return [found[key] for key in keys]


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
