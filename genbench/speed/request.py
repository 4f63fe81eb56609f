"""What `genbench speed` is asked for: a target and changes become rows, cells and clock settings.

The target is a baseline's name, a run (a results folder, FOLDER#NAME, a record) or the weights of
one, `FOLDER/artifacts/train/KEY.DIGEST.safetensors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from genbench import metrics, registry, suite
from genbench.record import Record
from genbench.spec import (
    Cell,
    ConfigError,
    Spec,
    TrainSpec,
    nearest,
    parse,
    read_value,
)
from genbench.speed.grid import VARIED, Grid, rows
from genbench.store import Store

__all__ = ["Clock", "Plan", "Wanted", "plan"]


class Clock(Spec):
    """How latency is measured.

    Attributes:
        batch: Images in a batch; 0 takes the size of `batches` with the best throughput.
        batches: Sizes that are tried.
        rounds: Rounds of alternating visits, two for each row in each round.
        warmup: Calls of each row before the first one that counts.
        compile: Run the networks through `torch.compile`.
        graphs: Replay the networks as CUDA graphs.
    """

    batch: int = Field(0, ge=0)
    batches: tuple[PositiveInt, ...] = (1, 4, 16, 64, 256)
    rounds: int = Field(5, ge=2)
    warmup: int = Field(1, ge=1)
    compile: bool = False
    graphs: bool = False


@dataclass(frozen=True)
class Wanted:
    """One row: sampling options as the family reads them, and one cell for each seed."""

    options: dict[str, Any]
    cells: tuple[Cell, ...]
    reference: bool = False


@dataclass(frozen=True)
class Plan:
    """All that is to be done.

    Attributes:
        rows: What is compared.
        clock: How latency is measured.
        name: For the results folder, e.g. "ddpm-digits".
        stores: Folders that may hold the trained weights.
        quality: Whether samples are scored.
    """

    rows: tuple[Wanted, ...]
    clock: Clock
    name: str
    stores: tuple[Path, ...]
    quality: bool

    @property
    def cells(self) -> list[Cell]:
        """What has to run before the clock: all rows, or without quality what trains the model."""
        rows = self.rows
        if not self.quality:
            rows = (min(rows, key=lambda row: row.options.get("steps", 1)),)
        return [cell for row in rows for cell in row.cells]

    @property
    def trainings(self) -> list[TrainSpec]:
        """What has to be trained, or found."""
        return list({c.sample.train.key: c.sample.train for c in self.cells}.values())


def plan(target: str, changes: Sequence[str], data_root: Path | None = None) -> Plan:
    """The plan of a target and its `key=value` changes.

    Keys are fields of `Grid` and `Clock` and, as for `genbench run`, fields of a suite and
    FAMILY.FIELD.

    Raises:
        ConfigError: For anything that is not there or does not fit.
    """
    own, rest = _split(changes)
    clock = parse(Clock, {k: v for k, v in own.items() if k in Clock.model_fields}, "speed")
    asked = parse(Grid, {k: v for k, v in own.items() if k in Grid.model_fields}, "speed")
    if _is_run(target):
        stores, base = _of_run(target, asked, rest)
    else:
        stores, base = (), _of_baseline(target, asked, rest)
    chosen = rows(base, asked)
    if not asked.quality:
        base = base.model_copy(update={"metrics": ()})
    cells = _cells(base, chosen, data_root)
    dataset = base.dataset.partition("@")[0].partition(":")[0]
    return Plan(cells, clock, f"{base.rows[0].baseline}-{dataset}", stores, asked.quality)


def _split(changes: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Our own keys and their values; the other changes, which are a suite's."""
    many = {"steps", "samplers", "spacing", "eta", "variance", "batches"}
    names = {"sampler": "samplers", "spacings": "spacing", "etas": "eta", "variances": "variance"}
    own: dict[str, Any] = {}
    rest = []
    for change in changes:
        key, equals, text = change.partition("=")
        key = names.get(key, key)
        if key in many and equals:
            own[key] = [read_value(part) for part in text.strip("[]").split(",")]
        elif equals and key in {*Grid.model_fields, *Clock.model_fields}:
            own[key] = read_value(text)
        else:
            rest.append(_of_suite(change))
    return own, rest


def _of_suite(change: str) -> str:
    """The change, if a suite may know its key."""
    head = change.partition("=")[0].partition(".")[0]
    theirs = {*suite.Suite.model_fields, *registry.families(), *metrics.groups()} - {"rows"}
    if head not in theirs:
        valid = {*Grid.model_fields, *Clock.model_fields, *theirs}
        raise ConfigError(f"speed: unknown key {head!r}; {nearest(head, valid)}")
    return change


# --- targets -------------------------------------------------------------------------------------


def _is_run(target: str) -> bool:
    return "#" in target or "/" in target or target.endswith((".json", ".safetensors"))


def _of_baseline(name: str, asked: Grid, changes: list[str]) -> suite.Suite:
    """The suite that has this family on this dataset, with that row alone."""
    known = registry.families()
    if name not in known:
        raise ConfigError(
            f"{name!r} is no baseline, and no run: those are FOLDER, FOLDER#NAME, a record or a "
            f"file of weights; {nearest(name, known)}"
        )
    chosen = asked.suite or _suite_for(name, changes)
    loaded = suite.load(chosen, [*changes, f"baseline={name}"])
    if len({row.model_copy(update={"options": {}}).key for row in loaded.rows}) > 1:
        raise ConfigError(
            f"suite {loaded.name!r} has rows of {name} that are trained differently; name a run "
            "of it instead, FOLDER#KEY"
        )
    return loaded


def _suite_for(name: str, changes: list[str]) -> str:
    datasets = [c.partition("=")[2] for c in changes if c.startswith("dataset=")]
    wanted = datasets[-1] if datasets else None
    known = (part for name in ("quick", *suite.names()) for part in suite.parts(name))
    for loaded in known:
        fits = wanted in (None, loaded.dataset, loaded.dataset.partition("@")[0])
        if fits and any(row.baseline == name for row in loaded.rows):
            if wanted is not None:  # the suite knows the size
                changes[:] = [c for c in changes if not c.startswith("dataset=")]
            return loaded.name
    return "quick"


def _of_run(target: str, asked: Grid, changes: list[str]) -> tuple[tuple[Path, ...], suite.Suite]:
    """The store of a run, and a suite of that run's model alone."""
    if asked.suite is not None:
        raise ConfigError(f"{target} is a run, which has a suite already; leave suite= out")
    folder, records = _records(target)
    record = max(records, key=lambda r: r.cell.sample.n)  # one that was scored, if any was
    trains = {_unseeded(r.cell.sample.train): r.cell.sample.train for r in records}
    if len(trains) > 1:
        names = sorted({r.cell.sample.train.baseline for r in records})
        raise ConfigError(
            f"{target} holds {len(trains)} models ({', '.join(names)}); choose one: "
            f"{folder}#BASELINE or {folder}#KEY"
        )
    train, sample = record.cell.sample.train, record.cell.sample
    scored = record.cell.metrics
    splits = [m.compared[1] for m in scored if m.reference]
    if train.version != registry.version(train.baseline):
        raise ConfigError(
            f"the code of {train.baseline} changed since {target} was trained; run its suite "
            "again, then measure"
        )
    content = {
        "name": "speed",
        "dataset": train.dataset,
        "task": train.task,
        "n": sample.n,
        "seeds": sorted({r.cell.sample.train.seed for r in records}),
        "sample_seed": sample.seed,
        "metrics": [m.name for m in scored],
        "extractor": _extractor(record),
        "metric_options": {m.name: dict(m.options) for m in scored if m.options},
        "reference": splits[0] if splits else "train",
        "budget": train.budget.model_dump(),
        "rows": [
            {
                "baseline": train.baseline,
                "config": train.config,
                "weights": sample.weights,
                "options": _fixed(target, records, changes),
            }
        ],
    }
    return (folder,), suite.changed(content, changes)


def _fixed(target: str, records: Sequence[Record], changes: Sequence[str]) -> dict[str, Any]:
    """The sampling options that the runs have in common, without those that the grid varies.

    Raises:
        ConfigError: Where they differ in another option that no change settles.
    """
    given = {change.partition("=")[0].rpartition(".")[2] for change in changes}
    found = [{k: v for k, v in r.cell.sample.options.items() if k not in VARIED} for r in records]
    for name, value in found[0].items():
        if name in given or all(other.get(name) == value for other in found):
            continue
        values = ", ".join(dict.fromkeys(str(other.get(name)) for other in found))
        baseline = records[0].cell.sample.train.baseline
        raise ConfigError(
            f"the runs of {target} differ in the option {name} ({values}); name one of them, "
            f"FOLDER#KEY, or set {baseline}.{name}"
        )
    return found[0]


def _extractor(record: Record) -> str:
    first = next(iter(record.cell.metrics), None)
    return first.network if first else "digits-cnn"


def _unseeded(train: TrainSpec) -> str:
    return train.model_copy(update={"seed": 0}).key


def _records(target: str) -> tuple[Path, list[Record]]:
    """The results folder that `target` stands in, and the records that it means."""
    if target.endswith(".safetensors"):
        return _of_weights(Path(target))
    if target.endswith(".json"):
        path = Path(target)
        folder, name = path.parent.parent, path.stem
    else:
        place, _, name = target.partition("#")
        folder = Path(place)
    said: list[str] = []
    records = Store(folder, said.append).records()
    if not records:
        why = f" ({said[0]})" if said else ""
        raise ConfigError(
            f"{folder} holds no record of a run{why}; run a suite with --out {folder}"
        )
    fitting = [
        r for r in records if r.key.startswith(name) or r.cell.sample.train.baseline == name
    ]
    if not fitting:
        names = {r.cell.sample.train.baseline for r in records}
        raise ConfigError(f"no run of {folder} is called {name!r}; {nearest(name, names)}")
    return folder, [r for r in fitting if r.kind != "reference"] or fitting


def _of_weights(path: Path) -> tuple[Path, list[Record]]:
    """The records of the training whose weights a file holds."""
    if not path.is_file():
        raise ConfigError(f"{path} is not a file")
    key, folder = path.name.partition(".")[0], path.parent.parent.parent
    found = [r for r in Store(folder).records() if r.cell.sample.train.key == key]
    if not found:
        raise ConfigError(
            f"nothing says what {path} holds: weights are measured where `genbench run` left "
            "them, FOLDER/artifacts/train, beside FOLDER/records"
        )
    return folder, found


# --- rows ----------------------------------------------------------------------------------------


def _cells(
    base: suite.Suite, rows: list[tuple[dict[str, Any], bool]], data_root: Path | None
) -> tuple[Wanted, ...]:
    found = []
    for options, reference in rows:
        row = base.rows[0].model_copy(update={"options": options})
        cells = suite.plan(base.model_copy(update={"rows": (row,)}), data_root)
        if not base.metrics:  # nothing is scored, so few samples will do
            cells = [
                c.model_copy(update={"sample": c.sample.model_copy(update={"n": 1})})
                for c in cells
            ]
        found.append(Wanted(options, tuple(cells), reference))
    return tuple(found)
