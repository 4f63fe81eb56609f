"""`genbench reproduce`: run again what records describe, and say whether the numbers come out."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
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
    result,
    say,
    to_path,
    warn,
)
from genbench.spec import Cell, ConfigError
from genbench.store import Store, atomic_write

if TYPE_CHECKING:
    from genbench.reproduce import Entry, Outcome, Source

__all__ = ["add_parser"]

_BATCH = 256  # where the records do not say


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "reproduce",
        help="run recorded results again in a clean folder and compare the numbers",
        description="Runs again what records describe, in a folder of its own, and says of every "
        "number whether it is identical, equal within a tolerance, different, or not comparable "
        "and why. Threads and batch are those of the records unless they are given.",
        epilog="changes: data.root=PATH.  exit codes: 0 identical or equal, 1 different or failed "
        "now, 2 usage, 3 all failed, 4 some could not be compared, 5 none could, 130 interrupted",
    )
    parser.add_argument(
        "target",
        type=to_path,
        metavar="RECORD|LEADERBOARD",
        help="FOLDER/records/KEY.json; or a results folder, its leaderboard.csv or its plan.json",
    )
    parser.add_argument("changes", nargs="*", metavar="data.root=PATH")
    parser.add_argument("--rows", metavar="LABEL,...", help="rows by label or by baseline")
    parser.add_argument("--seeds", metavar="SEED,...", help="these training seeds only")
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.02,
        metavar="SHARE",
        help="largest relative difference of a score that is called equal (default: 0.02)",
    )
    parser.add_argument("--out", type=to_path, help="new folder (default: runs/reproduce-NAME)")
    running.add_options(parser)
    parser.set_defaults(command=_reproduce, batch=None)
    return parser


def _share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1, such as 0.02")
    return value


def _reproduce(arguments: argparse.Namespace) -> int:
    from genbench import reproduce

    root, rest = data_root(arguments.changes)
    if rest:
        raise ConfigError(f"reproduce takes data.root=PATH only, not {rest[0]!r}")
    source = reproduce.read(arguments.target)
    entries = reproduce.select(source, arguments.rows, arguments.seeds)
    _as_then(entries, arguments)
    attempts = [None if e.record is None else reproduce.attempt(e.record, root) for e in entries]
    cells = list({a.cell.key: a.cell for a in attempts if a is not None and a.cell}.values())
    store = _clean_store(source, cells, arguments)
    if not _run(cells, store, root, arguments):
        return INTERRUPTED
    outcomes = [
        reproduce.outcome(e, a, _record(store, a.cell if a else None), arguments.tolerance)
        for e, a in zip(entries, attempts, strict=True)
    ]
    found = reproduce.Reproduction.of(source.name, arguments.tolerance, outcomes)
    written = found.model_dump_json(indent=1) + "\n"
    atomic_write(store.root / "reproduction.json", written.encode())
    atomic_write(store.root / "reproduction.md", reproduce.markdown(found).encode())
    result(as_json(json.loads(written)) if arguments.json else reproduce.text(found))
    say(f"details: {store.root / 'reproduction'}.{{json,md}}")
    return _exit_code(outcomes)


def _record(store: Store, cell: Cell | None) -> Any:
    return None if cell is None else store.record(cell.key)


def _as_then(entries: Sequence["Entry"], arguments: argparse.Namespace) -> None:
    """Threads and batch as most records have them: both can change the last digits."""
    environments = [e.record.environment for e in entries if e.record is not None]
    running.as_recorded(arguments, environments)
    if arguments.batch is None:  # a record has less where fewer images were left to sample
        arguments.batch = max((e.batch for e in environments if e.batch), default=_BATCH)


def _clean_store(source: "Source", cells: list[Cell], arguments: argparse.Namespace) -> Store:
    """The folder of this reproduction: a new one, or its own of before.

    Raises:
        ConfigError: For a folder that holds other results.
    """
    folder = arguments.out or Path("runs") / f"reproduce-{source.name}"
    name = f"reproduction of {source.name}"
    store = Store(folder, warn, mends=True)
    used = [p for p in ("plan.json", "records", "artifacts") if (folder / p).exists()]
    plan = store.plan() if used else None
    if folder.resolve() == source.folder.resolve() or (used and (plan is None or plan[0] != name)):
        raise ConfigError(
            f"{folder} holds other results, and these must come from nothing; name a new folder "
            "with --out"
        )
    store.put_plan(name, cells)
    return store


def _run(
    cells: list[Cell], store: Store, root: Path | None, arguments: argparse.Namespace
) -> bool:
    runtime = running.runtime(arguments, store, root)
    todo = [c for c in cells if (r := store.record(c.key)) is None or r.status != "ok"]
    if len(todo) < len(cells):
        say(
            f"{len(cells) - len(todo)} of {len(cells)} cells are done already in {store.root}; "
            "name another folder with --out to run them once more"
        )
    if not todo:
        return True
    threads = f"{runtime.threads} thread(s)"
    say(f"{len(todo)} cells in {store.root}: {threads}, {runtime.batch} images at a time")
    # what failed then may fail again, and is a row of its own
    return running.run(todo, cells, store, runtime, arguments, checked=False)


def _exit_code(outcomes: Sequence["Outcome"]) -> int:
    """What the verdicts come to; cells that had no result then decide nothing."""
    count = Counter(outcome.verdict for outcome in outcomes)
    same = count["identical"] + count["equal"]
    failed = count["failed"]
    if count["different"] or (failed and same):
        return REGRESSED
    if failed or (count["failed then and now"] and count.total() == count["failed then and now"]):
        return CELLS_FAILED
    if not same:
        return INCOMPARABLE
    return INCONCLUSIVE if count["not comparable"] or count["damaged"] else OK
