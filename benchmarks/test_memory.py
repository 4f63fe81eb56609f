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


def test_distance_and_inception_score_of_50000_streamed_samples(benchmark):
    assert measure(benchmark, "sums", 50_000)["above"] < 150


@pytest.mark.parametrize("n", [10_000, 50_000])
def test_everything_takes_the_features_and_a_constant(benchmark, n):
    features = 2 * n * 2048 * 4 / 1e6
    assert measure(benchmark, "everything", n)["above"] < features + 600
