"""The latency engine: what is called, when, and what the clock is made to see."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from genbench import api, latency
from genbench.latency import inside, machine, visits
from genbench.timing import Timing

CPU = torch.device("cpu")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still, in now[0], but for what a call adds."""
    time = [0.0]
    monkeypatch.setattr(visits, "clock", lambda device: time[0])
    monkeypatch.setattr(inside, "clock", lambda device: time[0])
    return time


class Work:
    """Calls that take so many seconds of the clock, and tell a log that they were made."""

    def __init__(self, now: list[float], log: list[str]) -> None:
        self.now, self.log = now, log

    def __call__(self, name: str, seconds: float) -> latency.Call:
        def call() -> None:
            self.log.append(name)
            self.now[0] += seconds

        return call


# --- one visit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "calls"), [(0.5, 1), (0.1, 1), (0.0625, 2), (0.03125, 4), (2**-12, 200)]
)
def test_a_visit_calls_until_enough_time_or_calls_are_spent(now, seconds, calls) -> None:
    assert latency.visit(Work(now, [])("a", seconds), CPU) == (seconds,) * calls


def test_the_collector_rests_during_a_visit_and_is_as_before_afterwards() -> None:
    seen: list[bool] = []
    assert gc.isenabled()
    latency.visit(lambda: seen.append(gc.isenabled()), CPU, most_calls=2)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        latency.visit(lambda: 1 / 0, CPU)
    assert gc.isenabled()
    gc.disable()
    try:
        latency.visit(lambda: None, CPU, most_calls=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_cuda_is_synchronised_before_and_after_every_call(monkeypatch) -> None:
    log: list[str] = []
    device = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda d: log.append(f"sync {d}"))
    monkeypatch.setattr(visits.time, "perf_counter", lambda: float(len(log)))
    seconds = latency.visit(lambda: log.append("call"), device, least_seconds=3)
    around = ["sync cuda:1", "call", "sync cuda:1"]
    assert log == around * 2
    assert seconds == (2, 2)  # the clock is read after the first of them, and after the last


def test_a_real_clock_is_read() -> None:
    total = sum(latency.visit(lambda: sum(range(1000)), CPU, 0.01, 10**6))
    assert 0.01 <= total < 60


# --- alternation ---------------------------------------------------------------------------------


def test_rounds_go_forth_and_back_and_start_one_later_each_time(now) -> None:
    log: list[str] = []
    work = Work(now, log)
    made = latency.alternate({n: work(n, 1.0) for n in "ABC"}, CPU, rounds=4, warmup=2, batch=8)
    assert "".join(log) == "AABBCC" + "ABCCBA" + "BCAACB" + "CABBAC" + "ABCCBA"
    assert made == {n: Timing(visits=((1.0,),) * 8, batch=8) for n in "ABC"}
    assert list(made) == ["A", "B", "C"]


def test_visits_are_in_the_order_of_time(now) -> None:
    def call() -> None:
        now[0] += 1 + now[0]  # 1, 2, 4, ...

    made = latency.alternate({"A": call, "B": call}, CPU, rounds=2, warmup=0)
    assert made["A"].samples == [1, 8, 32, 64]  # A B B A, B A A B
    assert made["B"].samples == [2, 4, 16, 128]


def test_visits_to_short_calls_last_as_long_as_the_longest_call(now) -> None:
    work = Work(now, [])
    for longest, calls in ((0.0625, 7), (0.25, 16), (8.0, 32)):  # 0.1 at least, 0.5 at most
        made = latency.alternate(
            {"long": work("long", longest), "short": work("short", 2**-6)}, CPU, rounds=1
        )
        assert {len(visit) for visit in made["short"].visits} == {calls}
    made = latency.alternate({"a": work("a", 2**-6)}, CPU, rounds=1, least_seconds=2**-4)
    assert made["a"].visits == ((2**-6,) * 4,) * 2


def test_progress_is_told_after_each_visit_and_timings_after_each_round(now) -> None:
    told: list[tuple[int, int]] = []
    kept: list[dict[str, Timing]] = []
    work = Work(now, [])
    made = latency.alternate(
        {n: work(n, 1.0) for n in "AB"},
        CPU,
        rounds=2,
        progress=lambda done, total: told.append((done, total)),
        keep=kept.append,
    )
    assert told == [(i, 8) for i in range(1, 9)]
    assert [len(k["B"].visits) for k in kept] == [2, 4]
    assert kept[-1] == made


def test_an_interrupted_measurement_loses_its_round_and_goes_on(now) -> None:
    log: list[str] = []
    kept: list[dict[str, Timing]] = []
    work = Work(now, log)
    calls = {n: work(n, 1.0) for n in "AB"}

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latency.alternate(calls, CPU, rounds=3, warmup=0, progress=stop, keep=kept.append)
    assert "".join(log) == "ABBA" + "BA"
    assert [len(t.visits) for t in kept[-1].values()] == [2, 2]

    log.clear()
    told: list[tuple[int, int]] = []
    made = latency.alternate(
        calls,
        CPU,
        rounds=3,
        done=kept[-1],
        progress=lambda done, total: told.append((done, total)),
        keep=kept.append,
    )
    assert "".join(log) == "AB" + "BAAB" + "ABBA"  # warm again, then as if nothing had happened
    assert (told[0], told[-1]) == ((5, 12), (12, 12))
    assert {len(t.visits) for t in made.values()} == {6}
    assert kept[-1] == made


def test_nothing_is_called_when_all_rounds_are_there(now) -> None:
    log: list[str] = []
    calls = {n: Work(now, log)(n, 1.0) for n in "AB"}
    done = latency.alternate(calls, CPU, rounds=2)
    log.clear()
    assert latency.alternate(calls, CPU, rounds=2, done=done) == done
    assert not log


@pytest.mark.parametrize(
    ("done", "message"),
    [
        ({"A": ((1.0,),) * 2}, r"timings of \['A'\] cannot go on as timings of \['A', 'B'\]"),
        ({"A": ((1.0,),) * 2, "B": ((1.0,),) * 4}, "a round has two visits of every variant"),
        ({"A": ((1.0,),), "B": ((1.0,),)}, "a round has two visits of every variant"),
    ],
)
def test_timings_of_something_else_do_not_count(done, message) -> None:
    calls = dict.fromkeys("AB", lambda: None)
    timings = {name: Timing(visits=visits) for name, visits in done.items()}
    with pytest.raises(ValueError, match=message):
        latency.alternate(calls, CPU, rounds=3, done=timings)


def test_timings_of_another_batch_do_not_count() -> None:
    done = {"A": Timing(visits=((1.0,),) * 2, batch=4)}
    with pytest.raises(ValueError, match="batches of 4 cannot go on as timings of batches of 8"):
        latency.alternate({"A": lambda: None}, CPU, rounds=3, batch=8, done=done)


@pytest.mark.parametrize(("names", "rounds"), [("", 3), ("A", 0)])
def test_nothing_to_time_is_refused(names, rounds) -> None:
    with pytest.raises(ValueError, match=f"{len(names)} calls to time in {rounds} rounds"):
        latency.alternate(dict.fromkeys(names, lambda: None), CPU, rounds=rounds)


# --- batch sizes ---------------------------------------------------------------------------------


def test_a_sweep_times_every_size_once_each_way(now) -> None:
    log: list[str] = []
    work = Work(now, log)
    made = latency.sweep(lambda n: work(f"{n} ", 1 + n / 8), [16, 1, 4, 4], CPU, rounds=1)
    assert "".join(log) == "1 4 16 " + "1 4 16 16 4 1 "
    assert list(made) == [1, 4, 16]
    assert made[4] == Timing(visits=((1.5,), (1.5,)), batch=4)


def allocate(size: int) -> latency.Call:
    return lambda: torch.empty(size, 10**6, dtype=torch.uint8)


def no_memory(size: int) -> latency.Call:
    if size >= 4:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return lambda: None


@pytest.mark.parametrize(
    ("make", "sizes"), [(allocate, [1, 2, 10**12, 10**13]), (no_memory, [1, 2, 4, 8])]
)
def test_memory_that_runs_out_ends_a_sweep(make, sizes) -> None:
    """The first of them by really asking for an exabyte."""
    assert list(latency.sweep(make, sizes, CPU, rounds=1)) == [1, 2]
    with pytest.raises(RuntimeError, match="memory"):
        latency.sweep(make, sizes[2:], CPU)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def make(size: int) -> latency.Call:
        return (lambda: torch.ones(2) + torch.ones(3)) if size > 1 else (lambda: None)

    with pytest.raises(RuntimeError, match="size of tensor"):
        latency.sweep(make, [1, 2], CPU)


@gpu
def test_gpu_memory_that_runs_out_ends_a_sweep() -> None:
    device = torch.device("cuda")

    def make(size: int) -> latency.Call:
        return lambda: torch.zeros(size, 2**20, dtype=torch.uint8, device=device)

    assert list(latency.sweep(make, [1, 8, 2**22], device, rounds=1)) == [1, 8]


def test_the_best_batch_is_the_smallest_that_is_nearly_the_best() -> None:
    def timings(**rates: float) -> dict[int, Timing]:
        return {
            int(n[1:]): Timing(visits=((int(n[1:]) / rate, 9.0),), batch=int(n[1:]))
            for n, rate in rates.items()
        }

    assert latency.best_batch(timings(_1=10, _4=50, _16=97.1, _64=100)) == 16
    assert latency.best_batch(timings(_64=100, _16=96.9, _1=10)) == 64
    assert latency.best_batch(timings(_1=100, _4=50)) == 1
    with pytest.raises(ValueError, match="no batch size"):
        latency.best_batch({})


# --- networks ------------------------------------------------------------------------------------


class Part(nn.Module):
    """A network that takes so many seconds, and calls another one on the way."""

    def __init__(self, now: list[float], seconds: float, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.now, self.seconds, self.inner = now, seconds, inner

    def forward(self, x: Tensor) -> Tensor:
        self.now[0] += self.seconds
        return self.weight * (x if self.inner is None else self.inner(x))


class Toy(api.Baseline[api.Unconditional]):
    """A denoiser that is called three times and holds a network, and a decoder."""

    kind = "toy"
    counted = ("net", "net.inner", "decoder", "schedule")

    def __init__(self, now: list[float] | None = None) -> None:
        super().__init__(None, None)
        self.now = [0.0] if now is None else now
        self.net = Part(self.now, 2.0, Part(self.now, 0.5))
        self.decoder = Part(self.now, 4.0)
        self.schedule = nn.Identity()  # no parameters: not a network
        self.unused = Part(self.now, 1.0)

    def optimizers(self):
        return {}

    def step(self, x, cond, noise, update):
        return {}

    def sample(self, cond, noise, **options):
        x = torch.ones(2, 1, 1, 1)
        for _ in range(3):
            x = self.net(x)
            self.now[0] += 0.25
        return self.decoder(self.schedule(x))


def test_stages_tell_the_outermost_networks_and_the_rest(now) -> None:
    toy = Toy(now)
    found = latency.stages(toy, lambda: toy.sample(None, None), CPU)
    assert found == {"net": 7.5, "decoder": 4.0, "rest": 0.75}
    assert list(found)[-1] == "rest"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in toy.modules())


def test_stages_count_what_nfe_counts_and_the_inner_network_alone_too(now) -> None:
    toy = Toy(now)
    assert list(api.networks(toy)) == ["net", "net.inner", "decoder"]
    found = latency.stages(toy, lambda: toy.net.inner(torch.ones(1)), CPU)
    assert found == {"net.inner": 0.5, "rest": 0.0}


def test_children_are_the_networks_where_none_are_named(now) -> None:
    class Plain(Toy):
        counted = ()

    assert list(api.networks(Plain(now))) == ["net", "decoder", "unused"]


def test_a_network_under_two_names_is_one(now) -> None:
    class Twice(Toy):
        counted = ("net", "again")

    toy = Twice(now)
    toy.again = toy.net
    assert api.networks(toy) == {"net": toy.net}
    assert latency.stages(toy, lambda: toy.net(torch.ones(1)), CPU) == {"net": 2.5, "rest": 0.0}


def test_a_call_that_fails_leaves_no_hooks(now) -> None:
    toy = Toy(now)
    with pytest.raises(TypeError):
        latency.stages(toy, lambda: toy.net("text"), CPU)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in toy.modules())


def test_the_peak_is_of_the_call_alone(monkeypatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(visits, "reset_peak", lambda d: log.append(f"reset {d}"))
    monkeypatch.setattr(visits, "peak_bytes", lambda d: log.append(f"read {d}") or 7)
    assert latency.peak(lambda: log.append("call"), torch.device("cuda:1")) == 7
    assert log == ["reset cuda:1", "call", "read cuda:1"]


class Net(Toy):
    """One linear network."""

    counted = ()

    def __init__(self) -> None:
        super().__init__()
        del self.net, self.decoder, self.schedule, self.unused
        self.net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        with torch.no_grad():
            for i, p in enumerate(self.parameters(), 1):
                p.copy_(torch.linspace(-1, 1, p.numel()).view_as(p) / i)


def test_networks_run_compiled_inside_the_block_only() -> None:
    """With a compiler that counts what it is given and runs it as it is."""
    given: list[tuple[int, ...]] = []

    def backend(graph, inputs):
        given.extend(tuple(i.shape) for i in inputs if i.shape[-1:] == (3,) and i.ndim == 2)
        return graph.forward

    net = Net().eval()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.inference_mode():
        expected = net.net(torch.ones(5, 3))
        with latency.compiled(net, backend), api.count_nfe(net) as nfe:
            for n in (5, 2, 5, 2, 5):
                y = net.net(torch.ones(n, 3))
            assert net.state_dict().keys() == state.keys()
        assert torch.equal(y, expected)
        assert nfe.rows == 19
        assert {shape for shape in given if shape != (3, 3)} == {(5, 3), (2, 3)}
        seen = len(given)
        net.net(torch.ones(7, 3))
    assert len(given) == seen
    assert "forward" not in vars(net.net)


def test_forwards_are_put_back_in_the_order_of_nesting() -> None:
    net = Net()
    mine = net.net.forward
    net.net.forward = mine
    with latency.compiled(net, "eager"):
        assert net.net.forward is not mine
    assert net.net.forward is mine
    with pytest.raises(ZeroDivisionError), latency.compiled(net, "eager"):
        raise ZeroDivisionError
    assert net.net.forward is mine


def test_graphs_need_a_gpu() -> None:
    net = Net()
    with (
        pytest.raises(ValueError, match="need a CUDA device, but net is on cpu"),
        latency.graphed(net),
    ):
        pass
    assert "forward" not in vars(net.net)


@gpu
@pytest.mark.parametrize("cast", [False, True])
def test_graphs_compute_what_the_network_does(cast) -> None:
    net = Net().eval().cuda()
    x = {n: torch.linspace(-1, 1, 3 * n, device="cuda").view(n, 3) for n in (5, 2)}
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=cast):
        expected = {n: net.net(v) for n, v in x.items()}
        minus = net.net(-x[5])
        with latency.graphed(net), api.count_nfe(net) as nfe:
            first = net.net(x[5])
            for n in (5, 2, 5, 2):
                assert torch.equal(net.net(x[n]), expected[n])
            assert torch.equal(net.net(-x[5]), minus)
            assert torch.equal(first, expected[5])  # not overwritten by what came later
            assert len(net.net.forward.graphs) == 2
        assert nfe.rows == 24
        assert "forward" not in vars(net.net)


@gpu
def test_what_cannot_be_captured_is_refused_in_words() -> None:
    class Reads(Part):
        def forward(self, x: Tensor) -> Tensor:
            return self.weight * x.sum().item()

    net = Net()
    net.net = Reads([0.0], 0.0)
    net.cuda()
    with latency.graphed(net), pytest.raises(ValueError, match="net cannot be captured"):
        net.net(torch.ones(2, device="cuda"))


@gpu
def test_a_gpu_is_waited_for() -> None:
    device = torch.device("cuda")
    a = torch.ones(8192, 8192, device=device)
    waited = latency.visit(lambda: [a @ a for _ in range(8)], device, most_calls=3)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(8):
        a @ a
    end.record()
    torch.cuda.synchronize()
    assert min(waited) > 0.5 * start.elapsed_time(end) / 1000


# --- the machine ---------------------------------------------------------------------------------

HOLDER = """
import pathlib
import runpy
import sys
import time
with runpy.run_path(sys.argv[1])["machine_lock"]():  # without torch: it is quicker
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    sys.stdin.read()
    time.sleep(0.3)  # whoever does not wait would find no mark
    pathlib.Path(sys.argv[2]).touch()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_one_measurement_waits_for_another(temporary) -> None:
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, machine.__file__, str(temporary / "left")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def warn(text: str) -> None:
            told.append(text)
            assert other.stdin is not None
            other.stdin.close()  # only now may the other one end

        with latency.machine_lock(warn) as waited:
            assert waited
            assert (temporary / "left").exists()
    assert told == ["waiting for another measurement on this machine to end"]
    assert other.returncode == 0


def test_a_lock_that_is_free_is_taken_and_given_back(temporary) -> None:
    told: list[str] = []
    for _ in range(2):
        with latency.machine_lock(told.append) as waited:
            assert not waited
    assert not told
    assert [path.name for path in temporary.iterdir()] == [f"genbench-speed-{os.getuid()}.lock"]


@pytest.mark.parametrize("problem", ["no folder", "a link"])
def test_without_a_lock_a_measurement_says_so_and_goes_on(temporary, monkeypatch, problem) -> None:
    told: list[str] = []
    if problem == "no folder":
        monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    else:  # planted by someone else in a folder that all may write
        (temporary / f"genbench-speed-{os.getuid()}.lock").symlink_to(temporary / "target")
    with latency.machine_lock(told.append) as waited:
        assert not waited
    assert len(told) == 1
    assert "two measurements at a time would disturb each other" in told[0]
    assert not (temporary / "target").exists()


def test_the_load_is_that_of_the_last_minute(monkeypatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 2.5, 3.5))
    assert latency.load() == 1.5

    def unknown() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert latency.load() is None
    monkeypatch.delattr(os, "getloadavg")
    assert latency.load() is None
