"""`genbench report`: tables, pictures and a page of results; published figures beside them."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli.common import OK, as_json, folder, kinds, result, say, to_path
from genbench.spec import ConfigError
from genbench.store import Store, atomic_write

if TYPE_CHECKING:
    from genbench.record import Record
    from genbench.spec import Cell

__all__ = ["add_parser"]


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb's arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "report",
        help="tables, plots and a page of results folders; published figures",
        description="Writes tables, plots and one page. Several folders, or one with several "
        "datasets, get a second table over all datasets.",
    )
    parser.add_argument(
        "results", type=to_path, nargs="*", help="folders that `genbench run` wrote"
    )
    parser.add_argument("--out", type=to_path, help="where to write (default: the same folder)")
    parser.add_argument("--format", default="text", choices=("text", "markdown", "csv", "latex"))
    parser.add_argument(
        "--baseline-row",
        metavar="LABEL",
        help="the row that is 0 in the table over datasets (default: gaussian)",
    )
    parser.add_argument(
        "--published",
        metavar="DATASET",
        help="published figures of a dataset, beside the measured rows if folders are named",
    )
    parser.set_defaults(command=_report)
    return parser


def _report(arguments: argparse.Namespace) -> int:
    store = _store(arguments.results, arguments.out)
    if arguments.published is not None:
        return _published(arguments, store)
    if store is None:
        raise ConfigError(
            "name a results folder that `genbench run` wrote, or --published DATASET"
        )
    from genbench import report
    from genbench.report import aggregate_table
    from genbench.report.aggregate import aggregates

    groups, label = kinds(), arguments.baseline_row
    out = arguments.out or store.root
    paths = report.write(store, out, kinds=groups, baseline=label, log=say)
    say(f"page: {paths[-1]}")
    records, order = _content(store)
    found = aggregates(records, order, kinds=groups, baseline=label)
    if arguments.json:
        content: dict[str, Any] = {"records": [r.model_dump(mode="json") for r in records]}
        if found:
            rows = json.loads(aggregate_table.frame(found).to_json(orient="records"))
            content["aggregate"] = rows
        result(as_json(content))
        return OK
    result(report.leaderboard(records, order, arguments.format, kinds=groups))
    if found and arguments.format != "csv":  # two tables are no CSV
        result("\n" + aggregate_table.render(found, arguments.format))
    return OK


def _store(results: list[Path], out: Path | None) -> Store | None:
    """The folders as one that is read."""
    from genbench.report.several import Several

    if not results:
        return None
    parts = [folder(path) for path in results]
    if len(parts) > 1 and out is None:
        raise ConfigError("several results folders need --out, the folder to write to")
    return parts[0] if len(parts) == 1 else Several(parts)


def _content(store: Store) -> "tuple[list[Record], list[Cell] | None]":
    plan = store.plan()
    return store.records(), plan[1] if plan else None


def _published(arguments: argparse.Namespace, store: Store | None) -> int:
    """The literature's table; with results their rows too, and then it is written."""
    from genbench.report import literature_table as table
    from genbench.report.forms import ENDINGS

    records, order = ([], None) if store is None else _content(store)
    found = table.beside(arguments.published, records, order, kinds=kinds())
    if store is not None:
        if not found.compared:
            say(f"genbench: these folders have no results of {arguments.published}")
        for fmt, ending in ENDINGS.items():
            path = (arguments.out or store.root) / f"published.{ending}"
            atomic_write(path, table.render(found, fmt).encode())
            say(f"wrote {path}")
    if arguments.json:
        result(as_json({"published": table.as_json(found)}))
    else:
        result(table.render(found, arguments.format))
    return OK
