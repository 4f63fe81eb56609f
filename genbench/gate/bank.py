"""The bank: a JSON file of what a pinned version reached, value by value, and how it was measured.

A row of the bank is a row of the table: cells that differ in their seeds alone. It keeps one value
for each training seed, because the spread between trainings is what a later value is judged by.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    computed_field,
)

from genbench import differences, files
from genbench.gate.rule import Direction, cov, default_margin
from genbench.record import Count, Record
from genbench.spec import ConfigError, MetricSpec, canonical_json, nearest
from genbench.stats import Measured
from genbench.store import atomic_write
from genbench.text import clean

__all__ = ["COUNTERS", "FEWEST", "SCHEMA", "Bank", "BankRow", "Known", "mixed"]

SCHEMA = 1
FEWEST = 8  # training seeds: fewer leave the spread too uncertain for a decision with 3 new ones
COUNTERS = ("nfe", "params", "params_trained", "train_images", "train_steps", "train_flops")


def _counter(name: str) -> str:
    if name not in COUNTERS:
        raise ValueError(f"there is no counter {name!r}; {nearest(name, COUNTERS)}")
    return name


Finite = Annotated[Measured, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # computed fields are read past


class Known(_Model):
    """A metric's values in the bank.

    Attributes:
        spec: The metric's protocol; None for a bank of plain numbers.
        direction: Which values are better.
        values: By training seed; several sampling seeds of one training are averaged.
        weights: sha256 of the extractor's weights.
    """

    spec: MetricSpec | None = None
    direction: Direction
    values: dict[int, Finite] = Field(min_length=1)
    weights: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def spread(self) -> float | None:
        """Standard deviation of the logarithms of the values; None where it does not exist."""
        return cov(list(self.values.values()))

    @property
    def mean(self) -> float:
        """Arithmetic mean, as in a table."""
        return sum(self.values.values()) / len(self.values)


class BankRow(_Model):
    """A row of the table, pinned.

    Attributes:
        name: Its label in the table, by which it is found again.
        kind: The family's kind; rows of the kind "reference" do not train.
        record: How it was measured: the record of its first seed, without scores. None for plain
            numbers.
        sample_seeds: Of the sampling noise, for each training.
        metrics: By metric id.
        counters: Exact numbers that all seeds share.
        peak_bytes: Most memory that a seed took; information only.
        margin: Relative loss that this row accepts, where it has one of its own.
    """

    name: str
    kind: str = ""
    record: Record | None = None
    sample_seeds: tuple[int, ...] = (0,)
    metrics: dict[str, Known] = Field(min_length=1)
    counters: dict[Annotated[str, AfterValidator(_counter)], Finite] = {}
    peak_bytes: Count | None = None
    margin: Finite | None = Field(None, gt=0)

    @property
    def trains(self) -> bool:
        """Whether training seeds make a difference."""
        return self.kind != "reference"

    def metric(self, wanted: str | None) -> tuple[str, Known] | None:
        """A metric by its id or short name, or the first one; None if the row has no such."""
        for name, known in self.metrics.items():
            if wanted in (None, name, name.partition("@")[0]):
                return name, known
        return None

    def accepted(self, known: Known) -> float:
        """The margin where the command line names none."""
        return self.margin if self.margin is not None else default_margin(known.spread)


class Bank(_Model):
    """All rows of a bank, in table order."""

    schema_version: int = SCHEMA
    rows: tuple[BankRow, ...] = ()

    @classmethod
    def of(
        cls,
        values: Mapping[int, float] | Sequence[float],
        *,
        metric: str = "fd",
        direction: Direction = "lower",
        cell: str = "model",
        margin: float | None = None,
    ) -> Self:
        """A bank of plain numbers, one for each training seed, for projects that measure alone.

        Raises:
            ConfigError: For fewer than 8 seeds, and for values that are not finite.
        """
        seeds = dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
        if len(seeds) < FEWEST:
            raise ConfigError(
                f"a bank needs {FEWEST} training seeds or more, {cell!r} has {len(seeds)}"
            )
        try:
            known = Known(direction=direction, values=seeds)
        except ValidationError as error:
            raise ConfigError(
                f"a bank for {cell!r} needs finite numbers by seed and the direction 'lower' or "
                f"'higher' ({error.errors()[0]['msg']})"
            ) from None
        return cls(rows=(BankRow(name=cell, metrics={metric: known}, margin=margin),))

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """A bank from its file.

        Raises:
            ConfigError: When it is not there, damaged, or of another schema.
        """
        path = Path(path)
        try:
            body = files.json_of(files.read(path, files.TABLE))
            sha256 = body.pop("sha256")
            version = body["schema_version"]
            sound = sha256 == _digest(body)
            bank = cls.model_validate(body) if sound and version == SCHEMA else None
        except FileNotFoundError:
            raise ConfigError(
                f"there is no bank {path}; make one: genbench bank add RESULTS --bank {path}"
            ) from None
        except OSError as error:
            raise ConfigError(f"cannot read the bank {path}: {error.strerror}") from None
        except files.MALFORMED:
            raise ConfigError(f"{path} is not a bank; {_WAY_ON}") from None
        if not sound:
            raise ConfigError(
                f"the bank {path} was changed: its checksum does not match its content; {_WAY_ON}"
            )
        if bank is None:
            raise ConfigError(f"the bank {path} has schema {version}, this is {SCHEMA}; {_WAY_ON}")
        return bank

    def save(self, path: Path | str) -> None:
        """Write the file, with the checksum of its content."""
        body = self.model_dump(mode="json")
        text = json.dumps({"sha256": _digest(body), **body}, indent=1) + "\n"
        atomic_write(Path(path), text.encode(), "name another file with --bank")

    def row(self, name: str) -> BankRow:
        """A row by its name.

        Raises:
            ConfigError: With the nearest name.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ConfigError(f"the bank has no cell {name!r}; {clean(nearest(name, self.names))}")

    @property
    def names(self) -> list[str]:
        """The names of the rows."""
        return [row.name for row in self.rows]

    def extended(self, rows: Iterable[BankRow]) -> Self:
        """This bank with more rows, and with more seeds for the rows that it has.

        A seed that is there already keeps its value: a bank is pinned.

        Raises:
            ConfigError: Where a row was measured in another way, or gave other counters.
        """
        found = {row.name: row for row in self.rows}
        for row in rows:
            found[row.name] = _merged(found[row.name], row) if row.name in found else row
        return self.model_copy(update={"rows": tuple(found.values())})


_WAY_ON = "take it from version control again, or make it anew with: genbench bank add"


def _digest(body: object) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _merged(old: BankRow, new: BankRow) -> BankRow:
    differ = _mixed(old, new)
    if differ:
        raise ConfigError(
            f"{old.name!r} in the bank was made in another way ({clean(', '.join(differ))}): a "
            "row of a bank has one protocol and one version; make a new bank"
        )
    metrics = {
        name: known.model_copy(update={"values": {**new.metrics[name].values, **known.values}})
        for name, known in old.metrics.items()
    }
    margin = old.margin if new.margin is None else new.margin
    return old.model_copy(update={"metrics": metrics, "margin": margin})


def mixed(old: Record, new: Record) -> list[str]:
    """What keeps two records from being two seeds of one pinned row.

    The commit is none of it: it changes with every word of the documentation.
    """
    then, now = (
        r.model_copy(
            update={"environment": r.environment.model_copy(update={"commit": "", "dirty": None})}
        )
        for r in (old, new)
    )
    return differences.protocol(then, now) + differences.changes(then, now)


def _mixed(old: BankRow, new: BankRow) -> list[str]:
    """What keeps two rows of one name from being one row."""
    if old.record is None or new.record is None:
        return ["one of them is plain numbers"]
    found = mixed(old.record, new.record)
    if old.sample_seeds != new.sample_seeds:
        found.append(f"sampling seeds {old.sample_seeds} -> {new.sample_seeds}")
    for name, known in old.metrics.items():
        if name not in new.metrics:
            found.append(f"no {name}")
        elif known.weights != new.metrics[name].weights:
            was, now = known.weights[:12], new.metrics[name].weights[:12]
            found.append(f"weights behind {name} {was} -> {now}")
    if old.counters != new.counters:
        found.append("other counters")
    return found
