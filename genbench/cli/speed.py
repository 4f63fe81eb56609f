"""`genbench speed`: what every way to sample a model costs, and what it is worth."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.cli import running
from genbench.cli.common import (
    CELLS_FAILED,
    INTERRUPTED,
    OK,
    as_json,
    data_root,
    result,
    say,
    to_path,
    warn,
)
from genbench.spec import ConfigError
from genbench.store import Store, atomic_write

if TYPE_CHECKING:
    from genbench.runtime import Runtime
    from genbench.speed.measure import Measured
    from genbench.speed.request import Plan
    from genbench.speed.result import SpeedResult

__all__ = ["add_parser"]


def add_parser(verbs: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "speed",
        help="latency, NFE and quality for every sampler and step count",
        description="Times every way to sample one trained model, in turn and alone on this "
        "machine, and scores its samples. Trains the model first where no run has it. What is "
        "done is kept: the same command goes on where it was stopped.",
        epilog="changes: steps=1000,50  samplers=ddpm,ddim,dpmpp_2m,heun  spacing=trailing,"
        "leading,quadratic,uniform,karras  eta=0,0.5,1  variance=posterior,large  "
        "against=ddim:100  dataset=mnist  seeds=0,1,2  n=1000  metrics=fd,is  quality=false  "
        "batch=64  batches=1,16,64  rounds=10  compile=true  graphs=true  ddpm.clip_x0=false  "
        "data.root=PATH",
    )
    parser.add_argument(
        "target",
        metavar="BASELINE|RUN|WEIGHTS",
        help="a baseline's name; a results folder, FOLDER#NAME or a record; or a file of "
        "FOLDER/artifacts/train",
    )
    parser.add_argument("changes", nargs="*", metavar="key=value", help="see below")
    parser.add_argument("--out", type=to_path, help="results folder (default: runs/speed-NAME)")
    parser.add_argument("--again", action="store_true", help="time anew what was timed before")
    parser.add_argument("--format", default="text", choices=("text", "markdown", "csv", "latex"))
    running.add_options(parser)
    parser.set_defaults(command=_speed)
    return parser


def _speed(arguments: argparse.Namespace) -> int:
    from genbench.speed.request import plan

    root, changes = data_root(arguments.changes)
    asked = plan(arguments.target, changes, root)
    store = Store(arguments.out or Path("runs") / f"speed-{asked.name}", warn, mends=True)
    runtime = running.runtime(arguments, store, root)
    _bring_weights(asked, store)
    done = {c.key for c in asked.cells if (r := store.record(c.key)) and r.status == "ok"}
    todo = [cell for cell in asked.cells if cell.key not in done]
    if not running.run(todo, asked.cells, store, runtime, arguments):
        return INTERRUPTED
    records = {c.key: r for c in asked.cells if (r := store.record(c.key)) is not None}
    failed = [r for r in records.values() if r.status != "ok"]
    if not store.has("train", asked.trainings[0].key):  # its record says why, and was printed
        warn(
            "nothing to time: the first training failed; mend that and run the same command again"
        )
        return CELLS_FAILED
    asked, measured = _measured(asked, store, runtime, arguments.again)
    _show(asked, measured, records, store, runtime, arguments)
    if failed:
        warn(f"{len(failed)} of {len(records)} cells have no result; see the lines above")
    return CELLS_FAILED if failed else OK


def _bring_weights(plan: "Plan", store: Store) -> None:
    """Copy trained weights that the target's folder, or a results folder beside ours, has."""
    beside = sorted(p.parent for p in store.root.parent.glob("*/artifacts"))
    for train in plan.trainings:
        if store.has("train", train.key):
            continue
        for folder in dict.fromkeys([*plan.stores, *beside]):
            found = Store(folder).get("train", train.key)
            if found is not None:
                store.put("train", train.key, found.tensors, found.info)
                say(f"{train.baseline} seed={train.seed}: trained weights found in {folder}")
                break
        else:
            if plan.stores:
                raise ConfigError(
                    f"{plan.stores[0]} has records of {train.baseline}, but its weights are gone; "
                    f"run its suite again with --out {plan.stores[0]}"
                )


def _measured(
    plan: "Plan", store: Store, runtime: "Runtime", again: bool
) -> "tuple[Plan, Measured]":
    """Time the rows that differ, alone on this machine."""
    from genbench.console import Bar
    from genbench.latency import machine_lock
    from genbench.speed.measure import distinct, measure
    from genbench.worker import configure

    configure(runtime)
    with Bar() as bar, runtime.interrupts.installed(), machine_lock(warn):
        runtime.progress = bar.watch
        plan, left = distinct(plan, store, runtime)
        if left:
            counts = ", ".join(map(str, left))
            say(f"left out: steps={counts}, which take no more evaluations than fewer steps do")
        return plan, measure(plan, store, runtime, again=again)


def _show(
    plan: "Plan",
    measured: "Measured",
    records: dict[str, Any],
    store: Store,
    runtime: "Runtime",
    arguments: argparse.Namespace,
) -> None:
    """Write tables and pictures beside the records, and print what was asked for."""
    from genbench.report import curves, speed_rows
    from genbench.report import speed as report
    from genbench.speed.assemble import assemble
    from genbench.speed.measure import row_key

    scored = {k: r for k, r in records.items() if r.status == "ok"} if plan.quality else {}
    found: SpeedResult = assemble(plan, measured, scored, runtime.device)
    atomic_write(store.root / "speed.json", (found.model_dump_json(indent=1) + "\n").encode())
    labels = speed_rows.labels(found)
    images = [measured.images[row_key(row.options)] for row in found.rows]
    nfe = {label: row.nfe for label, row in zip(labels, found.rows, strict=True)}
    strip = curves.strip(dict(zip(labels, images, strict=True)), nfe)
    paths = report.write(found, store.root, strip)
    if arguments.json:
        result(as_json(report.as_json(found)))
        return
    result(report.render(found, arguments.format))
    pictures = ", ".join(str(path) for path in paths if path.suffix == ".png")
    result(f"\ntables: {store.root / 'speed'}.{{txt,md,csv,tex}}\npictures: {pictures}")
