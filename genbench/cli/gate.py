"""`genbench bank` and `genbench gate`: pin what a version reached, and fail when it gets worse."""

import argparse
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli import running
from genbench.cli.common import (
    CELLS_FAILED,
    INCOMPARABLE,
    INCONCLUSIVE,
    INTERRUPTED,
    OK,
    REGRESSED,
    as_json,
    data_root,
    folder,
    result,
    say,
    to_path,
    warn,
)
from genbench.spec import Cell, ConfigError
from genbench.store import Store, append, atomic_write, changing
from genbench.terminal import command

if TYPE_CHECKING:
    from genbench.gate.bank import Bank, BankRow
    from genbench.gate.judge import Outcome
    from genbench.gate.verdict import Finding
    from genbench.report.rows import Row

__all__ = ["CODES", "add_parsers"]

CODES = {
    "PASS": OK,
    "REGRESSED": REGRESSED,
    "MISSING": CELLS_FAILED,
    "INCONCLUSIVE": INCONCLUSIVE,
    "INCOMPARABLE": INCOMPARABLE,
}


def add_parsers(verbs: Any) -> None:
    """Declare both commands."""
    _add_bank(verbs)
    _add_gate(verbs)


def _add_bank(verbs: Any) -> None:
    parser = verbs.add_parser("bank", help="keep what a version reached, for `gate`")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    add = actions.add_parser(
        "add",
        help="make or extend a bank from a results folder",
        description="Every row needs 8 training seeds or more: the spread between them is what "
        "later values are judged by.",
    )
    add.add_argument("results", type=to_path, help="folder that `genbench run` wrote")
    add.add_argument("--bank", type=to_path, required=True, metavar="FILE", help="the bank, JSON")
    _add_margin(add)
    add.set_defaults(command=_bank_add)
    show = actions.add_parser("show", help="print a bank")
    show.add_argument("bank", type=to_path, metavar="FILE")
    show.set_defaults(command=_bank_show)
    for action in (add, show):
        action.add_argument("--json", action="store_true", help="JSON on stdout")


def _add_gate(verbs: Any) -> None:
    parser = verbs.add_parser(
        "gate",
        help="fail when quality or cost got worse than a bank's",
        description="Compares a results folder with a bank, row by row: one metric by its values "
        "over training seeds, and exact counters. Where the seeds decide nothing, it runs two "
        "more, at most twice.",
        epilog="exit codes: 0 pass, 1 regressed, 2 usage or configuration, 3 missing or failed "
        "cells, 4 inconclusive, 5 nothing comparable, 130 interrupted",
    )
    parser.add_argument(
        "new", type=to_path, metavar="NEW", help="folder that `genbench run` wrote"
    )
    parser.add_argument("changes", nargs="*", metavar="data.root=PATH")
    parser.add_argument("--bank", type=to_path, required=True, metavar="FILE", help="the bank")
    parser.add_argument("--metric", help="gate this metric (default: the first of each row)")
    _add_margin(parser)
    parser.add_argument("--alpha", type=_alpha, default=0.05, help="false alarms (default: 0.05)")
    parser.add_argument("--counters-only", action="store_true", help="gate exact counters alone")
    parser.add_argument("--no-more-seeds", action="store_true", help="one look, no new trainings")
    parser.add_argument(
        "--clock",
        type=to_path,
        metavar="BASE",
        help="time sampling beside a checkout of the bank's version, in pairs of processes",
    )
    parser.add_argument(
        "--clock-cells",
        action="append",
        default=[],
        metavar="CELL,...",
        help="rows to time (default: the bank's first that trains)",
    )
    parser.add_argument("--junit", type=to_path, metavar="FILE", help="write JUnit's XML")
    parser.add_argument(
        "--summary",
        type=to_path,
        metavar="FILE",
        help="append Markdown (default: the file that GITHUB_STEP_SUMMARY names)",
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout")
    running.add_options(parser)
    parser.set_defaults(command=_gate)


def _add_margin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--margin",
        action="append",
        type=_margin,
        default=[],
        metavar="[CELL=]10%",
        help="relative loss that is accepted, for all rows or one (default: the larger of 5 %% "
        "and 3 times the spread between the bank's seeds)",
    )


def _margin(text: str) -> tuple[str, float]:
    """`10%`, `0.1` or `CELL=10%`, for argparse; names of rows may hold a "=" themselves."""
    name, _, number = text.rpartition("=")
    percent = number.strip().endswith("%")
    try:
        value = float(number.strip().removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value <= (10 if percent else 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a margin: write 10%, 0.1 or CELL=10%")
    return name.strip(), value


def _alpha(text: str) -> float:
    """A probability below one half, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability between 0 and 0.5")
    return value


# --- bank ----------------------------------------------------------------------------------------


def _bank_add(arguments: argparse.Namespace) -> int:
    from genbench.gate.bank import Bank
    from genbench.gate.match import harvest, rows_of

    store = folder(arguments.results)
    rows = rows_of(store)
    if not rows:
        raise ConfigError(f"{arguments.results} holds no usable record; run a suite into it first")
    margins = _known_margins(arguments.margin, [row.label for row in rows])
    made = [harvest(row, margins.get(row.label, margins.get(""))) for row in rows]
    with changing(arguments.bank, "name another file with --bank"):
        old = Bank.read(arguments.bank) if os.path.lexists(arguments.bank) else Bank()
        bank = old.extended(made)
        _refuse_few_seeds(bank, rows, store, arguments.results)
        _say_kept(old, made)
        bank.save(arguments.bank)
    _print_bank(bank, arguments.json)
    return OK


def _known_margins(given: Sequence[tuple[str, float]], names: Sequence[str]) -> dict[str, float]:
    from genbench.spec import nearest

    for name, _ in given:
        if name and name not in names:
            raise ConfigError(f"--margin: no row is called {name!r}; {nearest(name, names)}")
    return dict(given)


def _refuse_few_seeds(bank: "Bank", rows: Sequence["Row"], store: Store, results: Path) -> None:
    from genbench.gate.bank import FEWEST
    from genbench.text import clean

    few = {
        row.name: fewest
        for row in bank.rows
        if row.trains and (fewest := min(len(m.values) for m in row.metrics.values())) < FEWEST
    }
    if not few:
        return
    plan = store.plan()
    name, there = next(iter(few.items()))
    seeds = ",".join(map(str, range(FEWEST)))
    suite = shlex.quote(clean(plan[0]) if plan else "SUITE")
    others = f" and {len(few) - 1} more rows" if len(few) > 1 else ""
    raise ConfigError(
        f"{name!r} has {there} training seeds{others}, and a bank needs {FEWEST}; make them with: "
        f"genbench run {suite} seeds={seeds} --out {shlex.quote(str(results))}"
    )


def _say_kept(old: "Bank", made: Sequence["BankRow"]) -> None:
    """A pinned value is not replaced, and the user is told."""
    from genbench.text import clean

    for row in made:
        if row.name in old.names:
            known, first = old.row(row.name), next(iter(row.metrics))
            there = set(known.metrics[first].values) & set(row.metrics[first].values)
            if there and row.trains:
                say(f"{clean(row.name)}: {len(there)} seeds are in the bank already and stay")


def _bank_show(arguments: argparse.Namespace) -> int:
    from genbench.gate.bank import Bank

    _print_bank(Bank.read(arguments.bank), arguments.json)
    return OK


def _print_bank(bank: "Bank", json: bool) -> None:
    from genbench.gate import output

    result(as_json(output.bank_json(bank)) if json else output.bank_table(bank))


# --- gate ----------------------------------------------------------------------------------------


def _gate(arguments: argparse.Namespace) -> int:
    from genbench.gate.bank import Bank
    from genbench.gate.judge import settings
    from genbench.gate.looks import gate
    from genbench.gate.verdict import overall

    root, rest = data_root(arguments.changes)
    if rest:
        raise ConfigError(f"gate takes data.root=PATH only, not {rest[0]!r}")
    bank = Bank.read(arguments.bank)
    margins = dict(arguments.margin)
    wanted = settings(bank, arguments.metric, margins, arguments.alpha, arguments.counters_only)
    store = folder(arguments.new)

    def run(todo: list[Cell], cells: list[Cell]) -> bool:
        say(f"inconclusive so far: {len(todo)} more cells are run")
        mine = Store(store.root, warn, mends=True)
        running.as_recorded(arguments, (record.environment for record in mine.records()))
        runtime = running.runtime(arguments, mine, root)
        return running.run(todo, cells, mine, runtime, arguments)

    outcome = gate(store, bank, wanted, None if arguments.no_more_seeds else run)
    if outcome is None:
        return INTERRUPTED
    if arguments.clock is not None:
        outcome.findings += _clock(bank, store, arguments, root)
    _tell(outcome, arguments, os.environ)
    return CODES[overall(outcome.findings)]


def _clock(
    bank: "Bank", store: Store, arguments: argparse.Namespace, root: Path | None
) -> list["Finding"]:
    """Time rows alone on this machine."""
    from genbench import data
    from genbench.api import DataSpec
    from genbench.gate.clock import METRIC, clock, visits
    from genbench.gate.match import rows_of
    from genbench.gate.verdict import Finding
    from genbench.latency import machine_lock
    from genbench.tasks import task

    rows = {row.label: row for row in rows_of(store, bank)}
    usual = {f.name: f.default for f in fields(DataSpec)}
    findings = []
    with machine_lock(warn):
        for old in _clocked(bank, arguments.clock_cells):
            if old.name not in rows:
                findings.append(Finding(old.name, METRIC, "MISSING", reason="no row of this name"))
                continue
            row = rows[old.name]
            spec = row.cells[0].sample.train
            train = data.load(spec.dataset, "train", root=root)
            facts = asdict(task(spec.task).data_spec(train))
            # without those that say nothing: the other side's version may know fewer
            described = {k: v for k, v in facts.items() if v != usual.get(k)}
            pair = visits(arguments.clock, old, row, described)
            findings.append(clock(old.name, *pair, say))
    return findings


def _clocked(bank: "Bank", names: Sequence[str]) -> list["BankRow"]:
    """The rows to time; a name may hold commas itself."""
    if not names:
        return [row for row in bank.rows if row.trains][:1]
    found = []
    for given in names:
        parts = [given] if given in bank.names else [part.strip() for part in given.split(",")]
        found += [bank.row(part) for part in parts]
    return found


def _tell(
    outcome: "Outcome", arguments: argparse.Namespace, environment: Mapping[str, str]
) -> None:
    from genbench.gate import output

    if arguments.junit is not None:
        way_on = "name another file with --junit"
        atomic_write(arguments.junit, output.junit(outcome), way_on)
    path = output.summary_path(arguments.summary, environment)
    if path is not None:
        append(path, output.summary(outcome), "name another file with --summary")
    if environment.get("GITHUB_ACTIONS") == "true":
        for line in output.annotations(outcome):
            command(line)
    if arguments.json:
        result(as_json(output.as_json(outcome)))
    else:
        result(output.table(outcome))
