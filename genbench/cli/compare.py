"""`genbench compare`: two results folders, metric by metric."""

import argparse
from typing import Any

from genbench.cli.common import INCOMPARABLE, OK, as_json, folder, kinds, result, say, to_path

__all__ = ["add_parser"]


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """The verb's arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "compare",
        help="what got better or worse between two results folders",
        description="Compares the rows that two results folders share, and marks each metric. "
        "It informs and never fails for a worse number: `genbench gate` decides.",
        epilog="exit codes: 0 compared, 2 usage, 5 nothing comparable",
    )
    parser.add_argument("old", type=to_path, help="the older folder that `genbench run` wrote")
    parser.add_argument("new", type=to_path, help="the newer one")
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument(
        "--factor", type=float, default=1.05, help="changes up to this are none (default: 1.05)"
    )
    parser.add_argument("--format", default="text", choices=("text", "markdown", "csv", "latex"))
    parser.set_defaults(command=_compare)
    return parser


def _compare(arguments: argparse.Namespace) -> int:
    from genbench import compare

    sides = []
    for path in (arguments.old, arguments.new):
        store = folder(path)
        plan = store.plan()
        sides.append((store.records(), plan[1] if plan else None))
    found = compare.compare(
        *sides, kinds=kinds(), factor=arguments.factor, metrics=arguments.metric
    )
    if arguments.json:
        result(as_json(compare.as_json(found)))
    else:
        result(compare.render(found, arguments.format))
    if found.comparable:
        return OK
    say("genbench: nothing in these folders can be compared; the reasons stand above")
    return INCOMPARABLE
