"""Families that misbehave, each in its own way: their rows say so, no other row notices."""

import math
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from toys import cells, content, environment, package, suite_file, toy

from genbench import registry
from genbench.executors import make
from genbench.executors.local import Local
from genbench.executors.supervisor import Limits
from genbench.runtime import Runtime
from genbench.store import Store


class Case(NamedTuple):
    """Code of `step`, status of the record, part of its message, what is said of leavings."""

    step: str
    status: str = "ok"
    message: str = ""
    left: str = ""


STUCK = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]); time.sleep(600)"
FORK = "os.fork() or time.sleep(600)"
DOUBLE = "os.fork() or (os.fork() or time.sleep(600), os._exit(0))"
SESSIONS = "os.fork() or (os.setsid(), os.fork() or time.sleep(600), time.sleep(600))"
THREAD = "threading.Thread(target={}, args=({},), daemon={}).start()"
KILLED = "and was killed"

MISBEHAVIOURS = {
    "forks_and_dies": Case(
        f"{FORK}; os.kill(os.getpid(), signal.SIGKILL)", "failed", "signal SIGKILL", "a fork"
    ),
    "forks_twice": Case(f"once or {DOUBLE}", left="a fork"),
    "leaves_sessions": Case(f"once or {SESSIONS}", left="a fork"),
    "leaves_sessions_and_hangs": Case(f"{SESSIONS}; {STUCK}", "timeout", KILLED, "a fork"),
    "goes_on_twice": Case("once or os.fork()"),
    "reads_input": Case("once or subprocess.Popen(['cat']).wait()"),
    "leaves_a_command": Case(
        "once or subprocess.Popen(['sleep', '600'], start_new_session=True)", left="sleep 600"
    ),
    "closes_input": Case("once or os.close(0)"),
    "closes_output": Case("once or (os.close(1), os.close(2))"),
    "closes_everything": Case("once or os.closerange(0, 1000)", "failed", "Bad file"),
    "floods": Case(
        "[os.open('/dev/null', os.O_RDONLY) for _ in range(10**8)]", "failed", "Too many open"
    ),
    "swallows_sigterm": Case(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {STUCK}", "timeout", KILLED
    ),
    "stops_itself": Case(
        "os.kill(os.getpid(), signal.SIGSTOP)", "failed", "was stopped by a signal for longer"
    ),
    "says_too_much": Case("raise ValueError('x' * 5_000_000)", "failed", "characters ...] xxx"),
    "exits_in_a_thread": Case("once or " + THREAD.format("sys.exit", 1, False)),
    "ends_in_a_thread": Case(
        THREAD.format("os._exit", 7, False) + "; time.sleep(600)", "failed", "exit code 7"
    ),
    "ends": Case("os._exit(0)", "failed", "exit code 0 before the cell was done"),
    "exits": Case("sys.exit('enough')", "failed", "enough"),
    "crashes": Case("ctypes.string_at(0)", "failed", "signal SIGSEGV"),
    "loops": Case(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n        while True: pass",
        "timeout",
        KILLED,
    ),
    "talks": Case("once or " + THREAD.format("talk", 1, True)),
    "hangs_at_exit": Case("once or atexit.register(time.sleep, 600)"),
    "leaves_a_thread": Case("once or " + THREAD.format("time.sleep", 600, False)),
    "interrupts": Case("raise KeyboardInterrupt('no')", "failed", "no"),
    "breaks_out": Case("raise GeneratorExit('out')", "failed", "out"),
    "kills_its_server": Case(
        f"{SESSIONS}; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)",
        "failed",
        "signal SIGKILL",
    ),
    "stops_its_server": Case("once or os.kill(os.getppid(), signal.SIGSTOP)"),
    "garbles": Case("once or garble()"),
}
DEAF = "x = [hold() for _ in iter(int, 1)]"
LEAKS = {
    "dtype": "torch.set_default_dtype(torch.float64)",
    "grad_mode": "torch.set_grad_enabled(False)",
    "matmul": "torch.set_float32_matmul_precision('medium')",
    "mkldnn": "torch.backends.mkldnn.enabled = False",
    "threads": "torch.set_num_threads(2)",
    "mode": "Flip().__enter__()",
    "generator": "torch.manual_seed(1)",
    "numpy": "import numpy; numpy.random.seed(1)",
    "python": "import random; random.seed(1)",
    "relu": "torch.nn.functional.relu = torch.nn.functional.elu",
    "function": "torch.relu = torch.sigmoid",
    "method": "torch.Tensor.clamp = lambda x, *_: x",
    "device": "torch.set_default_device('meta')",
    "hook": "nn.modules.module.register_module_forward_hook(lambda m, a, out: out * 2)",
    "variable": "os.environ['OMP_NUM_THREADS'] = '7'",
    "folder": "os.chdir('/')",
}
GOOD = [f'baseline = "{name}"' for name in ("gaussian", "memoriser", "vae", "well_behaved")]
PRELUDE = """
import atexit, ctypes, os, signal, socket, subprocess, sys, threading, time
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

done = []

def talk(_):
    while True:
        print("and another thing")
        time.sleep(0.01)

def garble():
    for name in os.listdir("/proc/self/fd"):
        try:
            socket.socket(fileno=os.dup(int(name))).send(b"[{")
        except OSError:
            pass

def hold():
    try:
        time.sleep(600)
    except BaseException:
        pass

class Flip(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return -out if func is torch.Tensor.mean else out
"""


def code(step: str) -> str:
    """A family with this in its step."""
    return PRELUDE + toy("Bad", step=f"once = bool(done); done.append(1); {step}")


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    """A package of all of them."""
    made = {name: code(case.step) for name, case in MISBEHAVIOURS.items()}
    made |= {f"leaves_{name}": code(step) for name, step in LEAKS.items()}
    made["deaf"] = code(DEAF)
    folder = tmp_path_factory.mktemp("families")
    package(folder, {"well_behaved": toy("Good"), **made}, name="bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", environment(folder)["PYTHONPATH"])
        registry.forget()
        yield folder
    registry.forget()
    for name in [n for n in sys.modules if n == "bad" or n.startswith("bad.")]:
        del sys.modules[name]


def processes(token: str) -> list[int]:
    """All processes that were started with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return [pid for pid in found if pid != os.getpid()]


def run(folder: Path, rows: list[str], **options) -> tuple[Store, dict, list, float]:
    """Run rows: the store, records and what was told by family, seconds of the longest wait."""
    store, told, records = Store(folder / "out"), [], {}
    timeout = options.pop("timeout", None)
    executor = Local(
        store,
        Runtime(out=store.root, device="cpu", threads=1, timeout=timeout),
        lambda cell, progress: None,
        lambda cell, text: told.append((cell.sample.train.baseline, text)),
        **options,
    )
    begin, longest = math.inf, 0.0  # the first wait is for torch to be imported
    for record in executor.run(cells(suite_file(folder, rows, 64))):
        records[record.cell.sample.train.baseline] = record
        now = time.monotonic()
        begin, longest = now, max(longest, now - begin)
    return store, records, told, longest


@pytest.fixture(scope="module")
def quiet(tmp_path_factory, families):
    """The good rows alone: what they make, and how long one takes on this machine now."""
    store, _, told, longest = run(tmp_path_factory.mktemp("quiet"), GOOD)
    assert told == []
    return content(store.root), longest


@pytest.fixture(scope="module")
def ran(tmp_path_factory, families, quiet):
    """One run of all of them beside good rows: the store, records, what was told, a token."""
    token = uuid.uuid4().hex
    rows = [f'baseline = "{name}"' for name in MISBEHAVIOURS]
    rows += [f'baseline = "leaves_{name}"' for name in LEAKS]
    half = len(rows) // 2
    rows = [*rows[:half], *GOOD[:2], *rows[half:], *GOOD[2:]]
    limit = max(10.0, 10 * quiet[1])  # on a busy machine, good rows must not run into it
    limits = Limits(working=limit + 0.5, stopped=1, ending=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENBENCH_TEST_TOKEN", token)
        folder = tmp_path_factory.mktemp("ran")
        found = run(folder, rows, slots=2, timeout=limit, limits=limits)
    return *found[:3], token


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_family_that_misbehaves_gets_a_record_that_says_so(ran, name):
    store, records, told, _ = ran
    case, record = MISBEHAVIOURS[name], records[name]
    said = record.error.message if record.error else ""
    assert (record.status, case.message in said) == (case.status, True), said
    assert store.record(record.key) == record and len(record.model_dump_json()) < 100_000
    left = " ".join(text for of, text in told if of == name and "left processes behind" in text)
    assert case.left in left


def test_a_worker_that_dies_or_hangs_costs_one_cell(ran, quiet):
    store, records, _, _ = ran
    assert len(records) == len(MISBEHAVIOURS) + len(LEAKS) + len(GOOD)
    beside = content(store.root)
    assert len(quiet[0]) > 8 and quiet[0] == {key: beside[key] for key in quiet[0]}


def test_a_new_interpreter_for_each_cell_gives_the_same_bits(tmp_path, families, quiet):
    store, told, records = Store(tmp_path / "out"), [], {}
    runtime = Runtime(out=store.root, device="cpu", threads=1, fresh=True)
    executor = Local(
        store, runtime, lambda cell, progress: None, lambda cell, text: told.append(text)
    )
    rows = ['baseline = "forks_and_dies"', 'baseline = "vae"']
    todo = cells(suite_file(tmp_path, rows, 64))
    for record in executor.run(todo):
        records[record.cell.sample.train.baseline] = record
    assert "signal SIGKILL" in records["forks_and_dies"].error.message
    assert len(told) == 1 and "a fork" in told[0]
    beside = content(store.root)
    key = records["vae"].key
    assert records["vae"].status == "ok" and beside[key] == quiet[0][key]


def test_nothing_stays_behind(ran):
    end = time.monotonic() + 5
    while processes(ran[3]) and time.monotonic() < end:
        time.sleep(0.1)
    assert processes(ran[3]) == []


SHARED = {
    "dtype": "the default dtype",
    "grad_mode": "grad mode",
    "matmul": "the precision of matrix products",
    "mkldnn": "mkldnn's flags",
    "threads": "the number of threads",
    "mode": "torch's function modes",
    "relu": "torch.nn.functional.relu",
    "function": "torch.relu",
    "method": "torch.Tensor.clamp",
    "device": "the default device",
    "hook": "hooks of all modules",
    "variable": "environment variables",
    "folder": "the working folder",
}


def test_in_one_process_what_a_family_leaves_is_restored_and_told(quiet, tmp_path, families):
    assert SHARED.keys() | {"generator", "numpy", "python"} == LEAKS.keys()
    rows = [f'baseline = "leaves_{name}"' for name in LEAKS]
    todo = cells(suite_file(tmp_path, [*rows, *GOOD], 64))
    store, told = Store(tmp_path / "out"), []
    runtime = Runtime(out=store.root, device="cpu", threads=1)

    def tell(cell, text):
        told.append((cell.sample.train.baseline, text.partition("(")[2].partition(")")[0]))

    before = torch.get_num_threads()
    list(make("inline", store, runtime, lambda cell, progress: None, tell=tell).run(todo))
    assert torch.get_num_threads() == before
    expected = quiet[0]
    good = {c.key for c in todo if f'baseline = "{c.sample.train.baseline}"' in GOOD}
    found = content(store.root)
    assert {key: found[key] for key in good} == {key: expected[key] for key in good}
    for name, what in SHARED.items():
        assert [what in text for of, text in told if of == f"leaves_{name}"] == [True], told
    assert {of for of, _ in told} == {f"leaves_{name}" for name in SHARED}


START = "import sys; from genbench.__main__ import entry; print(flush=True); entry()"


def started(folder: Path, *arguments: object, token: str) -> subprocess.Popen:
    """The command line in a process of its own, about to load what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, "run", *map(str, arguments)],
        env={**environment(folder), "GENBENCH_TEST_TOKEN": token}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    process.stdout.readline()
    return process


@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0])
def test_ctrl_c_while_it_starts_is_one_sentence(tmp_path, seconds):
    process = started(tmp_path, "smoke", "--out", tmp_path / "out", token="")
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert errors.splitlines()[-1].startswith("genbench: interrupted"), errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("executor", ["local", "inline"])
def test_ctrl_c_twice_ends_a_deaf_run_at_once_and_nothing_stays(tmp_path, families, executor):
    token = uuid.uuid4().hex
    path = suite_file(tmp_path, ['baseline = "deaf"'], 64)
    process = started(
        families, path, "--out", tmp_path / "out", "--executor", executor, token=token
    )
    lock = "out/artifacts/train/*.lock"
    end = time.monotonic() + 120
    while not list(tmp_path.glob(lock)) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)
    before = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - before < 5
    while processes(token) and time.monotonic() < before + 20:
        time.sleep(0.1)
    assert processes(token) == []
