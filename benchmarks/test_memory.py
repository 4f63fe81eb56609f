"""Peak memory of scoring, in processes of their own; so that nothing else counts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def measure(benchmark, what: str, n: int) -> dict[str, float]:
    ran = []

    def process():
        command = [sys.executable, str(HERE / "memory.py"), what, str(n)]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        )
        ran.append(json.loads(done.stdout))

    benchmark.pedantic(process, rounds=1)
    benchmark.extra_info.update(ran[0])
    return ran[0]


def test_distance_and_inception_score_of_50000_streamed_samples(benchmark, sized):
    assert measure(benchmark, "sums", sized(50_000, 1_000))["above"] < 150


def test_300_planted_megabytes_are_seen(benchmark):
    assert measure(benchmark, "planted", 300)["above"] > 300


@pytest.mark.parametrize("n", [10_000, 50_000])
def test_everything_takes_the_features_and_a_constant(benchmark, sized, n):
    n = sized(n, 1_100)
    features = 2 * n * 2048 * 4 / 1e6
    assert measure(benchmark, "everything", n)["above"] < features + 600
