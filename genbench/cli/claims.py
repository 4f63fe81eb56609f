"""`genbench claims`: statements from papers and notes, run and judged."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli import running
from genbench.cli.common import (
    CELLS_FAILED,
    INTERRUPTED,
    OK,
    as_json,
    data_root,
    folder,
    kinds,
    result,
    say,
    to_path,
    warn,
)
from genbench.spec import Cell
from genbench.store import Store

if TYPE_CHECKING:
    from genbench.claims import Judged
    from genbench.record import Record

__all__ = ["add_parser"]


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb's arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "claims",
        help="what papers and notes say of models, run and judged",
        description="Runs what is missing of the rows that claims compare, and says of each "
        "claim whether it is REPRODUCED, NOT REPRODUCED or INCONCLUSIVE at this scale, or NOT "
        "MEASURABLE, as a row does not beat the reference that it must. A run that was stopped "
        "goes on where it was; trainings are shared with suites in one folder.",
        epilog="changes: seeds=0,1,2,3,4  n=1000  budget.images=100000  ddpm.lr=1e-3  "
        "data.root=PATH.  Exit codes: 0 judged, whatever the verdicts; 2 usage; 3 some cells "
        "failed; 130 interrupted",
    )
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="NAME|key=value",
        help="claims of genbench (see genbench ls), one of them as FILE/CLAIM, a path ending in "
        ".toml, or a change; without a name all, with --no-run those of which every row has a run",
    )
    parser.add_argument("--out", type=to_path, help="results folder (default: runs/claims)")
    parser.add_argument(
        "--no-run",
        action="store_true",
        help="judge what is in the folder, also runs of suites and of older code; run nothing",
    )
    parser.add_argument("--format", default="text", choices=("text", "markdown", "csv", "latex"))
    running.add_options(parser)
    running.add_renew(parser)
    parser.set_defaults(command=_claims)
    return parser


def _claims(arguments: argparse.Namespace) -> int:
    from genbench import claims

    root, rest = data_root(arguments.changes)
    named = [text for text in rest if "=" not in text]
    chosen = claims.select(named, [text for text in rest if "=" in text])
    out = arguments.out or Path("runs") / "claims"
    store = folder(out) if arguments.no_run else Store(out, warn, mends=True)
    planned = [claims.plan(file, root) for file in chosen]
    cells = list({c.key: c for part in planned for c in part.all}.values())
    running.settle(arguments, [file.suite for file in chosen])
    if not arguments.no_run and not _run(arguments, store, cells, root):
        return INTERRUPTED
    records = store.records()
    exact = not arguments.no_run
    found = [one for part in planned for one in claims.judge(part, records, exact=exact)]
    lacking: set[str] = set()
    if arguments.no_run and not named:
        lacking = {one.name for one in found if not one.values.keys() >= one.rows.keys()}
        found = [one for one in found if one.name not in lacking]
    _show(arguments, store, found, lacking)
    if arguments.no_run:
        _tell_other_code(cells, records)
        return OK
    missing = cells_without(cells, store)
    if missing:
        say(f"genbench: {missing} of {len(cells)} cells have no result; the reasons stand above")
    return CELLS_FAILED if missing else OK


def _tell_other_code(cells: Sequence[Cell], records: Sequence["Record"]) -> None:
    """Say which of the runs that were judged are not of today's code."""
    from genbench.claims.runs import Runs

    runs = Runs(records, exact=False)
    judged = [r for cell in cells if (r := runs.find(cell, None)) is not None and r.status == "ok"]
    others, told = running.split_off_others(judged)
    if others:
        families = ", ".join(dict.fromkeys(r.cell.sample.train.baseline for r in others))
        say(
            f"{len(others)} of {len(judged)} runs are {told}: {families}; "
            "`genbench claims --renew` makes them again"
        )


def cells_without(cells: Sequence[Cell], store: Store) -> int:
    """How many cells have no result in the store."""
    from genbench import claims

    return len(cells) - len(claims.done(cells, store.records()))


def _run(
    arguments: argparse.Namespace, store: Store, cells: list[Cell], root: Path | None
) -> bool:
    """Run what is missing; False when the user stopped it."""
    from genbench import claims

    there = claims.done(cells, store.records())
    there -= running.of_other_code(cells, store, arguments.renew)
    todo = [cell for cell in cells if cell.key not in there]
    if there:
        say(f"{len(there)} of {len(cells)} cells are done already")
    if not todo:
        return True
    runtime = running.runtime(arguments, store, root)
    name, before = store.plan() or ("claims", [])
    # what a suite has planned there stays; a worker finds its cell by the plan
    table = list({cell.key: cell for cell in [*before, *todo]}.values())
    store.put_plan(name, table)
    return running.run(todo, table, store, runtime, arguments)


def _show(
    arguments: argparse.Namespace,
    store: Store,
    found: "Sequence[Judged]",
    lacking: Collection[str],
) -> None:
    """Keep the verdicts in the folder, and print those that were asked for.

    Those of claims that are `lacking` runs are dropped.
    """
    from genbench import claims
    from genbench.report import claims as table
    from genbench.report import write

    table.write(claims.write(found, store.root, lacking), store.root)
    if not arguments.no_run:
        write(store, store.root, kinds=kinds(), log=say)
    if arguments.json:
        body = {"claims": [one.model_dump(mode="json") for one in found]}
        result(as_json(body))
        return
    result(table.render(found, arguments.format))
    say(f"tables: {store.root / 'claims'}.{{txt,md,csv,tex}}; genbench report makes the page anew")
