"""The cells that claims need: those of a suite, by the names of its rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from genbench import registry, suite
from genbench.claims.file import ClaimFile, count
from genbench.record import Record
from genbench.spec import Cell, ConfigError, MetricSpec

__all__ = ["Planned", "done", "plan"]


@dataclass(frozen=True)
class Planned:
    """A file and its cells.

    Attributes:
        file: The claims.
        cells: Those of each row, one for each training seed; of a reference one alone.
        references: Rows that do not train: their one value stands beside every seed.
        metrics: What the measures are that are metrics.
    """

    file: ClaimFile
    cells: Mapping[str, tuple[Cell, ...]]
    references: frozenset[str]
    metrics: Mapping[str, MetricSpec]

    @property
    def all(self) -> list[Cell]:
        """All cells, each once."""
        return list({c.key: c for cells in self.cells.values() for c in cells}.values())


def plan(file: ClaimFile, data_root: Path | None = None) -> Planned:
    """The cells of a file, names checked and defaults filled in.

    Raises:
        ConfigError: For an unknown dataset, metric, extractor, setting or option, with its row.
    """
    cells: dict[str, tuple[Cell, ...]] = {}
    for name, row in zip(file.rows, file.suite.rows, strict=True):
        try:
            alone = file.suite.model_copy(update={"rows": (row,)})
            cells[name] = tuple(suite.plan(alone, data_root))
        except ConfigError as error:
            raise ConfigError(f"claims {file.name!r}, row {name!r}: {error}") from None
    kinds = {name: registry.load(c[0].sample.train.baseline).kind for name, c in cells.items()}
    references = frozenset(name for name, kind in kinds.items() if kind == "reference")
    return Planned(file, cells, references, _metrics(file, data_root))


def _metrics(file: ClaimFile, data_root: Path | None) -> dict[str, MetricSpec]:
    """The spec of every measure that is a metric."""
    found = {}
    claimed = {c.measure for c in file.claims.values() if count(c.measure) is None}
    beaten = {m.measure for c in file.claims.values() if (m := c.must_beat) and m.measure}
    for measure in sorted(claimed | beaten):
        update = {"metrics": (measure,), "rows": file.suite.rows[:1]}
        specs = suite.plan(file.suite.model_copy(update=update), data_root)[0].metrics
        # a group may have the name of one of its members
        name = measure.partition("@")[0]
        found[measure] = next((spec for spec in specs if spec.name == name), specs[0])
    return found


def done(cells: Iterable[Cell], records: Iterable[Record]) -> set[str]:
    """Keys of the cells that need no run: the same samples are there, with every score."""
    scored: dict[str, set[MetricSpec]] = {}
    for record in records:
        if record.status == "ok":
            mine = {m for m in record.cell.metrics if m.id in record.scores}
            scored.setdefault(record.cell.sample.key, set()).update(mine)
    found = ((cell, scored.get(cell.sample.key)) for cell in cells)
    return {cell.key for cell, mine in found if mine is not None and mine >= {*cell.metrics}}
