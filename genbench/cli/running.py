"""What commands that run cells share: their options, the circumstances, the loop over records."""

import argparse
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.cli.common import count, say, thread_count
from genbench.own_code import code_of, digest
from genbench.runtime import MOST_THREADS, Runtime
from genbench.spec import Cell, ConfigError, nearest
from genbench.store import Store

if TYPE_CHECKING:
    from genbench.record import Environment, Record
    from genbench.suite import Suite

__all__ = [
    "add_options",
    "add_renew",
    "as_recorded",
    "of_other_code",
    "run",
    "runtime",
    "seconds",
    "settle",
    "split_off_others",
]


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
        "--threads",
        type=thread_count,
        help="CPU threads of a cell (default: the suite's, or OMP_NUM_THREADS, or all cores, "
        "shared by the slots)",
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


def split_off_others(records: "Sequence[Record]") -> "tuple[list[Record], str]":
    """The records that another version of genbench's own code made, and these in words."""
    others = [r for r in records if code_of(r.code) != digest()]
    unknown = sum(not code_of(r.code) for r in others)
    told = f" ({unknown} of unknown code)" if unknown else ""
    return others, f"of another code of genbench{told}"


def of_other_code(cells: Sequence[Cell], store: Store, renew: bool) -> set[str]:
    """The keys of finished cells that another version of genbench's own code made.

    Says how many there are and how to make them again; with `renew` their weights and samples
    are dropped, so that running them makes them anew.
    """
    records = [r for c in cells if (r := store.record(c.key)) is not None and r.status == "ok"]
    others, told = split_off_others(records)
    if not others:
        return set()
    about = f"{len(others)} of {len(cells)} cells are {told}"
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


def as_recorded(arguments: argparse.Namespace, environments: "Iterable[Environment]") -> None:
    """Where no threads were given, take as many as most of the records had.

    Sums are rounded by how threads share them, so that other threads give other last digits.
    """
    common = Counter(e.threads for e in environments if e.threads).most_common(1)
    if arguments.threads is None and common:
        arguments.threads = common[0][0]


def _fill_threads(arguments: argparse.Namespace) -> None:
    """Where neither the command nor a suite says: the environment, else a share of the cores."""
    if arguments.threads is not None:
        return
    arguments.threads = _threads_of_environment()
    if arguments.threads is None:
        slots = 1 if arguments.executor == "inline" else arguments.slots or 1
        cores = os.cpu_count() or 1
        arguments.threads = max(1, cores // slots)
        if arguments.threads < cores:
            say(
                f"genbench: {slots} slots share {cores} cores: a cell gets {arguments.threads} "
                f"CPU thread(s) instead of {cores}, which can change last digits; --threads N "
                "fixes the number"
            )


def _threads_of_environment() -> int | None:
    """The number in OMP_NUM_THREADS, of which libraries read the first; None for anything else."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    number = int(first) if first.isascii() and first.isdigit() and len(first) < 9 else 0
    return number if 0 < number <= MOST_THREADS else None


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
    _fill_threads(arguments)
    return Runtime(
        out=store.root,
        device=arguments.device,
        threads=arguments.threads,
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
    checked: bool = True,
) -> bool:
    """Run cells and show their progress.

    Args:
        todo: What to run.
        cells: All cells of the table, whose labels tell them apart.
        store: Where results go.
        runtime: The circumstances.
        arguments: With `executor` and `slots`.
        checked: Whether cells that cannot come to an end are refused before any runs; else each
            fails by itself.

    Returns:
        False when the user stopped it.

    Raises:
        ConfigError: For a cell that data or specifications rule out, before any runs.
    """
    from genbench import ahead
    from genbench.console import Console
    from genbench.executors import make

    for told in ahead.check(todo if checked else (), runtime.data_root):
        say(told)
    with Console(list(cells), len(todo)) as console:
        slots = arguments.slots or 1
        executor = make(
            arguments.executor, store, runtime, console.watch, slots, tell=console.tell
        )
        try:
            for record in executor.run(todo):
                console.finished(record)
        except KeyboardInterrupt:
            console.close()
            say("genbench: interrupted; what is done is kept, run the same command again to go on")
            return False
    return True
