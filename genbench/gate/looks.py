"""Several looks: where the first decides nothing, more seeds are run and it is looked again.

Up to three looks share alpha in equal parts (Bonferroni), so that looking again does not raise the
share of false alarms. Which seeds were added is kept in the results folder: the same command on
the same folder takes the same looks and gives the same answer.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from genbench import files, registry
from genbench.gate.bank import Bank
from genbench.gate.judge import Outcome, Settings, judge
from genbench.gate.match import rows_of
from genbench.gate.verdict import Finding
from genbench.report.rows import Row
from genbench.spec import Cell, ConfigError
from genbench.store import Store, atomic_write

__all__ = ["LOOKS", "MORE", "Added", "gate"]

LOOKS = 3
MORE = 2  # seeds that a look adds to a row that is still open

Run = Callable[[list[Cell], list[Cell]], bool]


class Added:
    """Which training seeds the gate added to a results folder, by row; kept in gate.json."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / "gate.json"
        self._seeds: dict[str, list[int]] = {}
        if os.path.lexists(self._path):
            try:
                body = files.json_of(files.read(self._path))
                self._seeds = {str(k): [int(s) for s in v] for k, v in body["added"].items()}
            except files.MALFORMED:
                raise ConfigError(
                    f"{self._path} is damaged; it says which seeds the gate added: remove it to "
                    "count all seeds as planned"
                ) from None

    def of(self, row: str) -> list[int]:
        """The seeds that were added to a row, in order."""
        return self._seeds.get(row, [])

    def note(self, row: str, seeds: Sequence[int]) -> None:
        """Remember seeds that are being added."""
        self._seeds.setdefault(row, []).extend(seeds)
        text = json.dumps({"added": self._seeds}, indent=1) + "\n"
        atomic_write(self._path, text.encode())

    def seen(self, row: Row, look: int) -> Row:
        """The row as look 0, 1 or 2 sees it: what was planned, and the seeds added before it."""
        hidden = set(self.of(row.label)[MORE * look :])
        cells = tuple(c for c in row.cells if c.sample.train.seed not in hidden)
        return replace(row, cells=cells or row.cells)


def gate(store: Store, bank: Bank, wanted: Settings, run: Run | None) -> Outcome | None:
    """Judge a results folder, with more seeds for rows that stay open.

    Args:
        store: The results folder.
        bank: What it is compared with.
        wanted: What is asked.
        run: Runs cells (those to do, and all of the plan); False when the user stopped it. None
            where no seeds may be added.

    Returns:
        The outcome, or None when the user stopped it.
    """
    added = Added(store)
    rows = rows_of(store, bank)
    stuck = {row.label: _stuck(row, bank, added, run is not None) for row in rows}

    def looks(name: str) -> int:
        return 1 if stuck[name] and not added.of(name) else LOOKS

    for look in range(LOOKS):
        outcome = judge(bank, [added.seen(row, look) for row in rows], wanted, looks)
        open_ = _open(outcome, bank)
        more = [r for r in rows if r.label in open_ and _can_go_on(r, look, added, stuck)]
        if not more or look == LOOKS - 1:
            break
        todo = _planned(store, more, added, look + 1)
        if todo and (run is None or not run(*todo)):
            return None
        rows = rows_of(store, bank)
    return _explained(outcome, open_, stuck, added)


def _open(outcome: Outcome, bank: Bank) -> set[str]:
    """Rows whose quality is undecided; one that is decided gets no seeds and so stays decided."""
    counters = {row.name: row.counters for row in bank.rows}
    undecided = (f for f in outcome.findings if f.verdict == "INCONCLUSIVE")
    return {f.cell for f in undecided if f.metric not in counters[f.cell]}


def _stuck(row: Row, bank: Bank, added: Added, may_run: bool) -> str:
    """Why no seeds can be added to a row; empty where they can."""
    train = row.cells[0].sample.train
    if row.label not in bank.names:
        return "it is not in the bank"
    if not may_run:
        return "no more seeds were allowed"
    if train.baseline not in registry.families():
        return f"its family {train.baseline!r} is not at hand to run more seeds"
    try:
        version = registry.version(train.baseline)
    except (OSError, SyntaxError):
        return f"the code of {train.baseline} at hand cannot be read"
    if version != train.version:
        return f"the code of {train.baseline} at hand is another version, which cannot run more"
    return ""


def _can_go_on(row: Row, look: int, added: Added, stuck: Mapping[str, str]) -> bool:
    return len(added.of(row.label)) >= MORE * (look + 1) or not stuck[row.label]


def _planned(
    store: Store, rows: Sequence[Row], added: Added, look: int
) -> tuple[list[Cell], list[Cell]] | None:
    """Put the seeds of a look into the plan: the cells that must run, and all of the plan."""
    wanted: list[Cell] = []
    for row in rows:
        used = {cell.sample.train.seed for cell in row.cells}
        lacking = MORE * look - len(added.of(row.label))
        if lacking > 0:
            first = max(used, default=-1) + 1
            added.note(row.label, range(first, first + lacking))
        for seed in added.of(row.label)[: MORE * look]:
            wanted += _with_seed(row.cells, seed)
    plan = store.plan()
    suite = plan[0] if plan else "gate"
    cells = list(plan[1]) if plan else [record.cell for record in store.records()]
    known = {cell.key for cell in cells}
    new = [cell for cell in wanted if cell.key not in known]
    if new:
        cells += new
        store.put_plan(suite, cells)
    todo = [c for c in wanted if (r := store.record(c.key)) is None or r.status != "ok"]
    return (todo, cells) if todo else None


def _with_seed(cells: Sequence[Cell], seed: int) -> list[Cell]:
    """The cells of one training with another training seed: all sampling seeds that it has."""
    first = cells[0].sample.train.seed
    found = []
    for cell in cells:
        if cell.sample.train.seed == first:
            train = cell.sample.train.model_copy(update={"seed": seed})
            sample = cell.sample.model_copy(update={"train": train})
            found.append(cell.model_copy(update={"sample": sample}))
    return found


def _explained(
    outcome: Outcome, still: set[str], stuck: Mapping[str, str], added: Added
) -> Outcome:
    """Findings that stay open say why there was no further look."""

    def explain(finding: Finding) -> Finding:
        if finding.cell not in still or finding.verdict != "INCONCLUSIVE":
            return finding
        all_taken = len(added.of(finding.cell)) >= MORE * (LOOKS - 1)
        why = f"{LOOKS} looks" if all_taken else stuck[finding.cell]
        return replace(finding, reason=f"{finding.reason}; {why}")

    outcome.findings = [explain(f) for f in outcome.findings]
    return outcome
