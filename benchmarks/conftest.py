"""Ratios that a busy machine does not spoil: both variants alternate in one process."""

import math
import time
from collections.abc import Callable

import pytest

from genbench.stats import mean_interval

Ratio = Callable[..., tuple[float, tuple[float, float]]]


@pytest.fixture
def ratio(benchmark) -> Ratio:
    """Time of `ours` over time of `peer`, with a 95 % interval, stored with the benchmark.

    Pairs run in the order ABBA; the interval is Student's, over the logarithms of the ratios.
    """

    def measure(ours, peer, pairs: int = 12, warm_up: int = 2):
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
