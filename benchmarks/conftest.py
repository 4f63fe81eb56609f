"""Ratios that a busy machine does not spoil, and files without names of hosts, users or folders.

Variants that compete alternate in one process. What came out is printed after the run as a table
in Markdown and stored with each benchmark.

Without the clock (`--benchmark-disable`) every benchmark runs once, at a small size that it takes
from `sized`: so it is known to work, and nothing is measured.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping

import pytest
import torch
from pytest_benchmark.logger import PytestBenchmarkWarning

from genbench.environment import checkout, machine, packages
from genbench.latency import alternate
from genbench.stats import mean_interval
from genbench.timing import paired_ratio

Call = Callable[[], object]
Ratio = Callable[..., tuple[float, tuple[float, float]]]
Rivals = Callable[..., None]

TABLE = pytest.StashKey[list[str]]()
HEADER = (
    "| benchmark | ours, ms | peer | ours / peer | 95 % interval | ratio of the best times |",
    "|---|---|---|---|---|---|",
)


@pytest.fixture
def sized(benchmark) -> Callable[[int, int], int]:
    """The first of two sizes where the clock runs, the second, a small one, where it does not."""
    return lambda full, small: small if benchmark.disabled else full


@pytest.fixture
def ratio(benchmark) -> Ratio:
    """Time of `ours` over time of `peer`, with a 95 % interval, stored with the benchmark.

    Pairs run in the order ABBA; the interval is Student's, over the logarithms of the ratios.
    """

    def measure(ours, peer, pairs: int = 12, warm_up: int = 2):
        if benchmark.disabled:
            peer()
            benchmark.pedantic(ours)
            return math.nan, (math.nan, math.nan)
        for _ in range(warm_up):
            ours()
            peer()
        logs, best = [], [math.inf, math.inf]
        for i in range(pairs):
            seconds = [0.0, 0.0]
            for which in (0, 1) if i % 2 == 0 else (1, 0):
                begin = time.perf_counter()
                (ours, peer)[which]()
                seconds[which] = time.perf_counter() - begin
                best[which] = min(best[which], seconds[which])
            logs.append(math.log(seconds[0] / seconds[1]))
        mean, _, (low, high) = mean_interval(logs)
        interval = (math.exp(low), math.exp(high))
        benchmark.extra_info["ratio to peer"] = round(math.exp(mean), 4)
        benchmark.extra_info["95 % interval"] = [round(v, 4) for v in interval]
        benchmark.extra_info["ratio of the best times"] = round(best[0] / best[1], 4)
        benchmark.pedantic(ours, rounds=3)
        return math.exp(mean), interval

    return measure


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> str:
    """Every device that there is."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture
def rivals(benchmark, request) -> Rivals:
    """Time `ours` beside peers in visits that alternate, and store the ratios to each peer.

    Visits are those of `genbench.latency.alternate`, in turn and in every order; the ratio and its
    interval are those of `genbench.timing.paired_ratio`. The number of rounds is that of
    pytest-benchmark's `--benchmark-min-rounds`.

    The benchmark's own row times `ours` once more, alone.
    """
    rounds = max(2, int(request.config.getoption("benchmark_min_rounds")))

    def measure(
        ours: Call, peers: Mapping[str, Call], *, images: int, steps: int = 0, device: str = "cpu"
    ) -> None:
        calls = {"ours": finished(ours, device)}
        calls |= {name: finished(call, device) for name, call in peers.items()}
        if benchmark.disabled:
            for call in list(calls.values())[1:]:
                call()
            benchmark.pedantic(calls["ours"])
            return
        found = alternate(calls, torch.device(device), rounds=rounds, batch=images)
        best = found["ours"].minimum
        info = benchmark.extra_info
        info["images per second"] = shortened(images / best)
        if steps:
            info["microseconds per step"] = shortened(best / steps * 1e6)
        rows = request.config.stash[TABLE]
        for name in peers:
            result, least = paired_ratio(found["ours"], found[name]), found[name].minimum
            info[name] = {
                "seconds": shortened(least),
                "ratio": shortened(result.value),
                "95 % interval": [shortened(v) for v in result.ci95],
                "ratio of the best times": shortened(best / least),
            }
            low, high = result.ci95
            rows.append(
                f"| {label(request.node)} | {milliseconds(best)} | {name} | {result.value:.3f} "
                f"| {low:.3f} to {high:.3f} | {best / least:.3f} |"
            )
        if not peers:
            rows.append(f"| {label(request.node)} | {milliseconds(best)} | none | | | |")
        # about 2 seconds, and never fewer than 3 calls: what is compared is the least of them
        benchmark.pedantic(calls["ours"], rounds=max(3, min(100, int(2 / best))))

    return measure


def finished(call: Call, device: str) -> Call:
    """The call, with its work on the device done when it returns, and without gradients."""

    def whole() -> None:
        with torch.inference_mode():
            call()
        if device == "cuda":
            torch.cuda.synchronize()

    return whole


def shortened(value: float) -> float:
    """Five digits: more would only make the file longer."""
    return float(f"{value:.5g}")


def milliseconds(seconds: float) -> str:
    """Three digits or more, never as a power of ten."""
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}"


def label(node: pytest.Item) -> str:
    """The name of a benchmark as it stands in a table."""
    return node.name.removeprefix("test_").replace("|", "\\|")


# --- what stands in files, and after the run -----------------------------------------------------


def pytest_configure(config) -> None:
    config.stash[TABLE] = []
    # to compare with another machine's file is worth a warning, and no error: pytest-benchmark
    # reads that file right after this, with warnings as errors
    warnings.filterwarnings("default", category=PytestBenchmarkWarning)


def pytest_terminal_summary(terminalreporter, config) -> None:
    rows = config.stash[TABLE]
    if rows:
        terminalreporter.section("against peers in the same run")
        for line in (*HEADER, *rows):
            terminalreporter.write_line(line)


def pytest_benchmark_generate_machine_info() -> dict[str, object]:
    """In place of pytest-benchmark's own, which has the name of the host."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {**machine(), "device": device, "threads": torch.get_num_threads(), **packages()}


def pytest_benchmark_generate_commit_info() -> dict[str, object]:
    """In place of pytest-benchmark's own, which has the names of the folder and the branch."""
    commit, dirty = checkout()
    return {"id": commit, "dirty": dirty}
