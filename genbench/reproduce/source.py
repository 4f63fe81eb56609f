"""What is to be reproduced: the records of a results folder, or one record. Only ever read."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from genbench.record import Record
from genbench.report.rows import Row, collect
from genbench.report.text import slug
from genbench.spec import Cell, ConfigError, nearest
from genbench.store import Store
from genbench.text import clean

__all__ = ["Entry", "Source", "read", "select"]

_COMMA = re.compile(r",(?![^()]*\))")  # not inside the brackets of "ddpm (ddim-50, eta=1)"
_DAMAGE = re.compile(r"is damaged \((.*)\)(?:;| and stays)")  # as `Store` warns


@dataclass(frozen=True)
class Entry:
    """One cell of then.

    Attributes:
        name: Its row's label, with the seeds where the row has several.
        row: The row's label.
        cell: As it was planned; None for a damaged record that no plan knows.
        record: What came of it; None where there is none that can be used.
        damage: Why its record cannot be used, else empty.
    """

    name: str
    row: str
    cell: Cell | None = None
    record: Record | None = None
    damage: str = ""


@dataclass(frozen=True)
class Source:
    """The entries of a results folder in the order of its table, and its name."""

    name: str
    folder: Path
    entries: tuple[Entry, ...]


def read(target: Path) -> Source:
    """Read a results folder (or its leaderboard.* or plan.json), or the file of one record.

    Nothing in the folder is changed: a damaged record stays where it is and becomes an entry.

    Raises:
        ConfigError: When the target is neither.
    """
    if not target.exists():
        beside = [path.name for path in target.parent.glob("*")] if target.parent.is_dir() else []
        raise ConfigError(f"there is no {target}; {nearest(target.name, beside)}")
    if target.is_dir() or target.name == "plan.json" or target.stem == "leaderboard":
        folder = target if target.is_dir() else target.parent
        files = sorted((folder / "records").glob("*.json"))
        if not files:
            raise ConfigError(
                f"{folder} holds no records; name a folder that `genbench run` wrote, or one "
                "record in its folder records/"
            )
        plan = _plan(folder / "plan.json")
        return Source(slug(folder.resolve().name), folder, _entries(files, plan))
    _check_record(target)
    return Source(slug(target.stem), target.parent.parent, _entries([target], None))


def select(source: Source, rows: str | None = None, seeds: str | None = None) -> tuple[Entry, ...]:
    """The entries of some rows (labels or baselines) and training seeds, as a user lists them.

    Raises:
        ConfigError: For a row or seed that the source does not have.
    """
    entries = source.entries
    if rows is not None:
        wanted = {part.strip() for part in _COMMA.split(rows)}
        known = {name for entry in entries for name in _names(entry)}
        for name in sorted(wanted - known):
            raise ConfigError(f"--rows: {source.name} has no row {name!r}; {nearest(name, known)}")
        entries = tuple(e for e in entries if wanted.intersection(_names(e)))
    if seeds is not None:
        there = {str(e.cell.sample.train.seed) for e in entries if e.cell is not None}
        asked = {part.strip() for part in seeds.split(",")}
        for seed in sorted(asked - there):
            raise ConfigError(f"--seeds: no such row has seed {seed!r}; {nearest(seed, there)}")
        entries = tuple(
            e for e in entries if e.cell is not None and str(e.cell.sample.train.seed) in asked
        )
    if not entries:
        raise ConfigError(f"{source.name} has no cell of these rows and seeds; choose others")
    return entries


def _names(entry: Entry) -> list[str]:
    return [entry.row] + ([] if entry.cell is None else [entry.cell.sample.train.baseline])


def _check_record(path: Path) -> None:
    """Refuse a file that never was a record; a damaged one passes."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        if path.suffix == ".json":
            return
        content = None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(content, dict) or "cell" not in content:
        raise ConfigError(
            f"{path} is no record; name a results folder, or a file FOLDER/records/KEY.json"
        )


def _plan(path: Path) -> list[Cell] | None:
    if not path.is_file():
        return None
    with TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / path.name)
        plan = Store(folder).plan()
    return None if plan is None else plan[1]


def _load(path: Path) -> tuple[Record | None, str]:
    """A record, or why it cannot be used; of a copy, for `Store` sets damaged files aside."""
    said: list[str] = []
    with TemporaryDirectory() as folder:
        copies = Path(folder) / "records"
        copies.mkdir()
        try:
            shutil.copyfile(path, copies / "record.json")
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        found = Store(folder, said.append).records()
    if found:
        return found[0], ""
    why = _DAMAGE.search(said[0])
    return None, clean(why.group(1) if why else said[0], 200)


def _entries(files: Sequence[Path], plan: list[Cell] | None) -> tuple[Entry, ...]:
    loaded = {path: _load(path) for path in files}
    records = {r.key: r for r, _ in loaded.values() if r is not None}
    damaged = {path.stem: why for path, (_, why) in loaded.items() if why}
    entries = []
    for row in collect(list(records.values()), plan, {}):
        for cell in row.cells:
            damage = "" if cell.key in records else damaged.pop(cell.key, "")
            entries.append(Entry(_name(row, cell), row.label, cell, records.get(cell.key), damage))
    for stem, why in damaged.items():
        entries.append(Entry(clean(f"{stem}.json", 60), clean(f"{stem}.json", 60), damage=why))
    return tuple(entries)


def _name(row: Row, cell: Cell) -> str:
    """The row's label, with the seeds where they tell its cells apart."""
    sample = cell.sample
    trainings = {c.sample.train.seed for c in row.cells}
    samplings = {c.sample.seed for c in row.cells}
    name = row.label + (f", seed={sample.train.seed}" if len(trainings) > 1 else "")
    return name + (f", sampling seed={sample.seed}" if len(samplings) > 1 else "")
