"""What commands that run cells share: their options, the circumstances, the loop over records."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.cli.common import count, say, thread_count
from genbench.own_code import code_of, digest
from genbench.runtime import Runtime
from genbench.spec import Cell, ConfigError, nearest
from genbench.store import Store

if TYPE_CHECKING:
    from genbench.suite import Suite

__all__ = ["add_options", "add_renew", "of_other_code", "run", "runtime", "seconds", "settle"]


def seconds(text: str) -> float:
    """A number of seconds above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare how cells are run."""
    parser.add_argument("--executor", default="local", metavar="inline|local")
    parser.add_argument(
        "--slots",
        type=thread_count,
        help="cells at the same time (local; default: 1, or all cores where a suite sets threads)",
    )
    parser.add_argument(
        "--threads", type=thread_count, help="CPU threads of a cell (default: the suite's, or all)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: auto)")
    parser.add_argument(
        "--batch", type=count, default=256, help="images sampled or scored at once"
    )
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="limit for one cell")
    parser.add_argument(
        "--checkpoint-seconds",
        type=seconds,
        default=15.0,
        metavar="SECONDS",
        help="least time between two checkpoints of a training",
    )


def add_renew(parser: argparse.ArgumentParser) -> None:
    """Declare that results of another code are made again."""
    parser.add_argument(
        "--renew",
        action="store_true",
        help="make again what another version of genbench's training and sampling code made",
    )


def of_other_code(cells: Sequence[Cell], store: Store, renew: bool) -> set[str]:
    """The keys of finished cells that another version of genbench's own code made.

    Says how many there are and how to make them again; with `renew` their weights and samples
    are dropped, so that running them makes them anew.
    """
    records = [r for c in cells if (r := store.record(c.key)) is not None and r.status == "ok"]
    others = [r for r in records if code_of(r.code) != digest()]
    if not others:
        return set()
    unknown = sum(not code_of(r.code) for r in others)
    told = f" ({unknown} of unknown code)" if unknown else ""
    about = f"{len(others)} of {len(cells)} cells are of another code of genbench{told}"
    if not renew:
        say(f"{about}: tables keep them in rows of their own; --renew makes them again")
        return set()
    say(f"{about} and are made again")
    for record in others:
        sample = record.cell.sample
        for stage, key in (("train", sample.train.key), ("sample", sample.key)):
            made = store.get(stage, key)
            if made is not None and made.info.get("code") != digest():
                store.drop(stage, key)
    return {record.key for record in others}


def settle(arguments: argparse.Namespace, suites: "Sequence[Suite]") -> None:
    """Fill in the threads and slots that were not given, where a suite sets threads."""
    threads = min((suite.threads for suite in suites if suite.threads), default=None)
    if arguments.threads is not None or threads is None:
        return
    import torch  # takes a second, and most suites set no threads

    arguments.threads = threads
    gpu = arguments.device != "cpu" and torch.cuda.is_available()
    if arguments.slots is None and not gpu:
        arguments.slots = max(1, (os.cpu_count() or 1) // threads)


def runtime(arguments: argparse.Namespace, store: Store, data_root: Path | None) -> Runtime:
    """The circumstances that the options ask for.

    Raises:
        ConfigError: For an executor or device that is not there.
    """
    from genbench.executors import names
    from genbench.worker import check_device

    if arguments.executor not in names():
        raise ConfigError(
            f"unknown executor {arguments.executor!r}; {nearest(arguments.executor, names())}"
        )
    check_device(arguments.device)
    return Runtime(
        out=store.root,
        device=arguments.device,
        threads=arguments.threads or 0,
        data_root=data_root,
        batch=arguments.batch,
        timeout=arguments.timeout,
        checkpoint_seconds=arguments.checkpoint_seconds,
    )


def run(
    todo: Sequence[Cell],
    cells: Sequence[Cell],
    store: Store,
    runtime: Runtime,
    arguments: argparse.Namespace,
) -> bool:
    """Run cells and show their progress.

    Args:
        todo: What to run.
        cells: All cells of the table, whose labels tell them apart.
        store: Where results go.
        runtime: The circumstances.
        arguments: With `executor` and `slots`.

    Returns:
        False when the user stopped it.
    """
    from genbench.console import Console
    from genbench.executors import make

    with Console(list(cells), len(todo)) as console:
        executor = make(arguments.executor, store, runtime, console.watch, arguments.slots or 1)
        try:
            for record in executor.run(todo):
                console.finished(record)
        except KeyboardInterrupt:
            console.close()
            say("genbench: interrupted; what is done is kept, run the same command again to go on")
            return False
    return True
