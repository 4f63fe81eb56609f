"""What is to be reproduced: the records of a results folder, or one record. Only ever read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genbench import files
from genbench.record import Record
from genbench.report.rows import Row, collect
from genbench.report.text import slug
from genbench.spec import Cell, ConfigError, nearest
from genbench.stored import DamagedError, read_plan, read_record, record_paths
from genbench.text import clean

__all__ = ["Entry", "Source", "read", "select"]

_COMMA = re.compile(r",(?![^()]*\))")  # not inside the brackets of "ddpm (ddim-50, eta=1)"


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
        paths = record_paths(folder)
        if not paths:
            raise ConfigError(
                f"{folder} holds no records; name a folder that `genbench run` wrote, or one "
                "record in its folder records/"
            )
        plan = _plan(folder / "plan.json")
        return Source(slug(folder.resolve().name), folder, _entries(paths, plan))
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
        content = files.json_of(files.read(path))
    except files.UnfitFile as error:
        raise ConfigError(f"{path} is no record: {error}") from None
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
    try:
        return read_plan(path)[1]
    except (DamagedError, OSError):  # the records alone tell what ran
        return None


def _load(path: Path) -> tuple[Record | None, str]:
    """A record, or why it cannot be used."""
    try:
        return read_record(path), ""
    except DamagedError as error:
        return None, error.reason
    except OSError as error:
        return None, f"it cannot be read: {error.strerror}"


def _entries(paths: Sequence[Path], plan: list[Cell] | None) -> tuple[Entry, ...]:
    loaded = {path: _load(path) for path in paths}
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
