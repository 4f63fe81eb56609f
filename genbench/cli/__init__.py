"""The command line: results on stdout, progress on stderr; only `run`, `claims`, `eval`, `speed`
and `data` load torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from genbench import __version__, registry
from genbench.cli import (
    claims,
    compare,
    data,
    evaluate,
    gate,
    report,
    reproduce,
    running,
    speed,
)
from genbench.cli.common import (
    CELLS_FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    as_json,
    count,
    data_root,
    kinds,
    refuse_empty,
    result,
    say,
    to_path,
    warn,
)
from genbench.features import WeightsError
from genbench.spec import Cell, ConfigError
from genbench.store import Store, StoreError, changing
from genbench.terminal import unexpected
from genbench.text import clean

if TYPE_CHECKING:
    from genbench.suite import Suite

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0 ok, 1 regressed or different, 2 wrong usage or configuration, 3 some cells failed, 4
    inconclusive, 5 nothing comparable, 70 a fault of genbench, 130 interrupted.
    """
    parser = _parser()
    given = sys.argv[1:] if argv is None else list(argv)
    arguments, rest = parser.parse_known_args(given)
    # argparse takes positionals in one piece; changes may also stand behind an option
    if rest and ("changes" not in arguments or any(r.startswith("-") for r in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.changes += rest
    try:
        refuse_empty(given)
        for reason in registry.broken().values():
            warn(f"{reason}; the rest works")
        code: int = arguments.command(arguments)
    except (ConfigError, StoreError, WeightsError) as error:
        warn(str(error))
        return USAGE
    except KeyboardInterrupt:
        say("genbench: interrupted")
        return INTERRUPTED
    except OSError as error:
        if error.filename is None:
            return unexpected(error)
        warn(f"cannot use {error.filename}: {error.strerror}; mend that and run the command again")
        return USAGE
    except (Exception, SystemExit) as error:  # noqa: BLE001 - 1 is said by a verdict alone
        return unexpected(error)
    return code


class _Parser(argparse.ArgumentParser):
    """A parser whose messages quote arguments, and are cleaned as all others are."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave."""
        super().error(clean(message, 2000))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="genbench",
        description="Train, sample and score image generative models under one budget.",
        epilog="exit codes: 0 ok, 1 regressed or different, 2 usage or configuration, 3 some "
        "cells failed, 4 inconclusive, 5 nothing comparable, 70 a fault of genbench, 130 "
        "interrupted",
    )
    parser.add_argument("--version", action="version", version=f"genbench {__version__}")
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    ls = verbs.add_parser("ls", help="suites, baselines, tasks, datasets, extractors and metrics")
    ls.set_defaults(command=_ls)

    run = verbs.add_parser(
        "run",
        help="run a suite: train, sample, score, print the table",
        description="Runs what is missing of a suite and prints its table. A run that was stopped "
        "goes on where it was; what is done is skipped.",
        epilog="changes: n=64  limit=3  budget.images=100000  seeds=0,1  baseline=vae,ddpm  "
        "ddpm.lr=1e-3  data.root=PATH",
    )
    run.add_argument("suite", nargs="?", help="a suite's name, or a path ending in .toml")
    run.add_argument("changes", nargs="*", metavar="key=value", help="changes to the suite")
    run.add_argument("--out", type=to_path, help="results folder (default: runs/SUITE)")
    run.add_argument("--cell", metavar="KEY", help="run one cell of the folder's last plan again")
    running.add_options(run)
    running.add_renew(run)
    run.add_argument(
        "--limit", type=count, metavar="N", help="the first N rows of every part; as limit=N"
    )
    run.set_defaults(command=_run)

    scoring, timing = evaluate.add_parser(verbs), speed.add_parser(verbs)
    tables = report.add_parser(verbs)
    again = reproduce.add_parser(verbs)
    beside = compare.add_parser(verbs)
    said = claims.add_parser(verbs)
    gate.add_parsers(verbs)
    images = data.add_parser(verbs)
    doctor = verbs.add_parser("doctor", help="what is installed and at hand, and what that allows")
    doctor.add_argument("changes", nargs="*", metavar="data.root=PATH")
    doctor.set_defaults(command=_doctor)
    for verb in (ls, run, said, scoring, timing, tables, again, beside, images, doctor):
        verb.add_argument("--json", action="store_true", help="JSON on stdout")
    return parser


# --- ls and doctor -------------------------------------------------------------------------------


def _ls(arguments: argparse.Namespace) -> int:
    from genbench import claims, data, features, metrics, suite, task_names

    sections = {
        "suites": {name: suite.parts(name)[0].description for name in suite.names()},
        "claims": claims.describe(),
        "baselines": {f.name: f"{f.folder}: {f.summary}" for f in registry.families().values()},
        "tasks": task_names.describe(),
        "datasets": data.describe(),
        "extractors": features.describe(),
        "metrics": metrics.describe(),
    }
    if arguments.json:
        result(as_json(sections))
    else:
        result("\n\n".join(_section(title, rows) for title, rows in sections.items()))
    return OK


def _section(title: str, rows: dict[str, str]) -> str:
    width = max((len(name) for name in rows), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in rows.items())])


def _doctor(arguments: argparse.Namespace) -> int:
    from genbench.doctor import examine

    root, rest = data_root(arguments.changes)
    if rest:
        raise ConfigError(f"doctor takes data.root=PATH only, not {rest[0]!r}")
    findings = examine(root)
    if arguments.json:
        result(as_json(findings))
    else:
        result("\n\n".join(_section(title, rows) for title, rows in findings.items()))
    return OK


# --- run -----------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    if arguments.suite is not None and "=" in arguments.suite:  # a change, and no suite is named
        arguments.changes.insert(0, arguments.suite)
        arguments.suite = None
    root, changes = data_root(arguments.changes)
    store, cells = _planned(arguments, changes, root)
    runtime = running.runtime(arguments, store, root)
    done = {c.key for c in cells if (r := store.record(c.key)) is not None and r.status == "ok"}
    chosen = [c for c in cells if arguments.cell in (None, c.key)]
    done -= running.of_other_code(chosen, store, arguments.renew)
    todo = [c for c in chosen if c.key not in done or c.key == arguments.cell]
    if len(chosen) > len(todo):
        say(f"{len(chosen) - len(todo)} of {len(chosen)} cells are done already")
    if not running.run(todo, cells, store, runtime, arguments):
        return INTERRUPTED
    _show(store, cells, arguments.json)
    failed = [c for c in chosen if (r := store.record(c.key)) is None or r.status != "ok"]
    if failed:
        say(f"genbench: {len(failed)} of {len(chosen)} cells have no result; see the notes above")
    return CELLS_FAILED if failed else OK


def _planned(
    arguments: argparse.Namespace, changes: list[str], root: Path | None
) -> tuple[Store, list[Cell]]:
    if arguments.cell is not None:
        if arguments.out is None:
            raise ConfigError("--cell needs --out, the results folder that holds the plan")
        if arguments.suite is not None or changes:
            raise ConfigError(
                "--cell runs a cell as it was planned: no suite, no change but data.root"
            )
        store = Store(arguments.out, warn, mends=True)
        plan = store.plan()
        if plan is None:
            raise ConfigError(f"{arguments.out} holds no plan; run a suite into it first")
        if arguments.cell not in {cell.key for cell in plan[1]}:
            raise ConfigError(f"the plan of {arguments.out} has no cell {arguments.cell}")
        return store, plan[1]
    from genbench import suite

    if arguments.suite is None:
        raise ConfigError(f"name a suite: {', '.join(suite.names())}, or a path ending in .toml")
    name = Path(arguments.suite).stem
    if arguments.limit is not None:
        changes = [*changes, f"limit={arguments.limit}"]
    changes, told = suite.settled(arguments.suite, changes, root)
    for line in told:
        warn(line)
    loaded = suite.parts(arguments.suite, changes)
    running.settle(arguments, loaded)
    store = Store(arguments.out or Path("runs") / name, warn, mends=True)
    cells = [cell for part in loaded if _at_hand(part, root) for cell in suite.plan(part, root)]
    with changing(store.root / "plan.json"):
        store.put_plan(*suite.beside(store.plan(), name, cells))
    return store, cells


def _at_hand(part: "Suite", root: Path | None) -> bool:
    """Whether a part can run; one that may be left out is, with a line that says so."""
    from genbench import data

    if not part.optional or data.available(part.dataset, root):
        return True
    say(f"{part.name} is left out: dataset {part.dataset!r} is not at hand; see data.root=PATH")
    return False


def _show(store: Store, cells: list[Cell], json: bool) -> None:
    """Write the tables and pictures of the folder, and print what was asked for."""
    from genbench.report import leaderboard, write

    groups = kinds()
    paths = write(store, store.root, kinds=groups, log=say)
    if not json:  # what other suites planned here stands in the same tables
        cells = (store.plan() or ("", cells))[1]
    records = [record for cell in cells if (record := store.record(cell.key)) is not None]
    if json:
        result(as_json({"records": [r.model_dump(mode="json") for r in records]}))
        return
    result(leaderboard(records, cells, "text", kinds=groups))
    result(f"\npage: {paths[-1]}")
    result(f"tables: {store.root / 'leaderboard'}.{{txt,md,csv,tex}}")
    pictures = [path for path in paths if path.suffix == ".png"]
    if pictures:
        result(
            f"samples: {store.root / 'grids' / 'overview.png'} and one grid for each row beside it"
        )
