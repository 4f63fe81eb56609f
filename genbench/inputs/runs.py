"""Samples of a finished run as a source: found by a folder, and a key or a baseline's name."""

from pathlib import Path

from genbench.inputs.arrays import Arrays, in_memory
from genbench.record import Record
from genbench.spec import ConfigError, nearest
from genbench.store import Store

__all__ = ["from_record", "from_run"]

_LISTED = 20


def from_run(folder: Path, name: str = "", size: int | None = None) -> Arrays:
    """Samples of one of the runs in a results folder.

    Args:
        folder: Holds `records/`.
        name: The start of a record's key, or a baseline's name that only one record has; "" for
            the only record.
        size: Crop and scale to this height and width; None to keep.

    Raises:
        ConfigError: When no record or several records fit, or the samples are gone.
    """
    said: list[str] = []
    store = Store(folder, said.append)
    records = store.records()
    if not records:
        why = f" ({'; '.join(said)})" if said else ""
        raise ConfigError(f"{folder} holds no record that can be read{why}; run its suite again")
    fitting = [r for r in records if r.key.startswith(name) or _baseline(r) == name]
    if not fitting:
        named = nearest(name, {_baseline(r) for r in records})
        raise ConfigError(
            f"no run of {folder} has the key or the baseline {name!r}; {named}; or write "
            f"{folder}#KEY: {_listed(records)}"
        )
    if len(fitting) > 1:
        raise ConfigError(
            f"{len(fitting)} runs of {folder} fit{f' {name!r}' if name else ''}; choose one by "
            f"the start of its key, {folder}#KEY: {_listed(fitting)}"
        )
    return _samples(store, fitting[0], said, size)


def from_record(path: Path, size: int | None = None) -> Arrays:
    """Samples of the run whose record this is, `.../records/KEY.json`.

    Raises:
        ConfigError: When it is no record, is damaged, or the samples are gone.
    """
    said: list[str] = []
    store = Store(path.parent.parent, said.append)
    if path != store.record_path(path.stem):
        raise ConfigError(f"{path} is no record of a run; those are FOLDER/records/KEY.json")
    record = store.record(path.stem)
    if record is None:
        raise ConfigError(f"{path} cannot be read: {'; '.join(said) or 'it is gone'}")
    return _samples(store, record, said, size)


def _samples(store: Store, record: Record, said: list[str], size: int | None) -> Arrays:
    artifact = store.get("sample", record.cell.sample.key)
    if artifact is None:
        raise ConfigError(_gone(store, record, said))
    images = artifact.tensors["images"]
    name = f"{_baseline(record)}#{record.key[:8]}"
    blocks = in_memory(images)
    source = Arrays(name, len(images), blocks, where=name, size=size, levels=False)
    source.notes |= {"run": record.key, "weights": record.cell.sample.weights}
    return source


def _gone(store: Store, record: Record, said: list[str]) -> str:
    what = f"the run {_described(record)} of {store.root}"
    if record.status != "ok" and record.error is not None:
        return (
            f"{what} has no samples, it failed in stage {record.error.stage!r}; mend that and "
            f"run it again: {record.error.rerun}"
        )
    why = f" ({'; '.join(said)})" if said else ""
    plan = store.plan()
    if plan is None or record.key not in {cell.key for cell in plan[1]}:
        way = (
            f"take {store.record_path(record.key)} away and run its suite again with "
            f"--out {store.root}"
        )
    else:
        way = f"`genbench run --out {store.root} --cell {record.key}` makes them again"
    return f"{what} has a record, but its samples are gone{why}; {way}"


def _baseline(record: Record) -> str:
    return record.cell.sample.train.baseline


def _described(record: Record) -> str:
    sample = record.cell.sample
    options = [f"{key}={value}" for key, value in sample.options.items()]
    weights = [f"weights={sample.weights}"] if sample.weights != "raw" else []
    seeds = [f"seed={sample.train.seed}"]
    return f"{' '.join([_baseline(record), *options, *weights, *seeds])} ({record.key})"


def _listed(records: list[Record]) -> str:
    shown = sorted(_described(record) for record in records)
    more = f", and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more
