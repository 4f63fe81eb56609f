"""Peak memory of scoring N synthetic 2048-d features; a process of its own, run by test_memory.py.

python memory.py sums|everything|planted N    ->  JSON: megabytes above what imports take, seconds

"planted" scores as "sums" does and holds N MB beside it: what would hide them, measures nothing.
"""

import json
import sys
import time

import numpy as np
import scipy.linalg  # noqa: F401  what scoring imports once it begins

from genbench import metrics
from genbench.environment import resident_peak
from genbench.metrics import FeatureSet
from genbench.metrics.frechet import FrechetSums, Moments
from genbench.metrics.inception_score import SplitSums
from genbench.metrics.shared import prepare

DIM, CLASSES, BATCH = 2048, 1008, 128
PLANTED_ROWS = 256
SHARED = ("kid", "precision", "recall", "density", "coverage", "auth_pct")


def batches(n, seed):
    """Rows like Inception's: not negative, with a mean and a spectrum that falls."""
    spread = np.arange(1, DIM + 1, dtype=np.float32) ** -0.4
    for start in range(0, n, BATCH):
        rows = min(BATCH, n - start)
        rng = np.random.default_rng([seed, start])
        x = rng.standard_normal((rows, DIM), dtype=np.float32) * spread
        yield np.arange(start, start + rows), np.abs(x + 0.4)


def probs(rows):
    """Class probabilities that follow the features."""
    e = np.exp(3 * rows[:, :CLASSES])
    return e / e.sum(1, keepdims=True)


def sets(n, keep):
    """Both sides, streamed; with their features where they are kept."""
    sums = {FrechetSums: FrechetSums.start(n, DIM), SplitSums: SplitSums.start(n, CLASSES)}
    real, arrays = Moments.start(n, DIM), [{}, {}]
    if keep:
        arrays = [{"features": np.empty((n, DIM), np.float32)} for _ in range(2)]
    for index, rows in batches(n, 0):
        sums[FrechetSums].update(rows * 1.02, index)
        sums[SplitSums].update(probs(rows), index)
        if keep:
            arrays[0]["features"][index] = rows * 1.02
    for index, rows in batches(n, 1):
        real.update(rows, index)
        if keep:
            arrays[1]["features"][index] = rows
    return FeatureSet(n, arrays[0], sums), FeatureSet(n, arrays[1], {Moments: real})


def main(what, n):
    """Score, and say what it took."""
    baseline = resident_peak()
    begin = time.perf_counter()
    planted = np.ones(n * 10**6, np.uint8) if what == "planted" else np.empty(0)
    n = min(n, PLANTED_ROWS) if len(planted) else n
    made, real = sets(n, keep=what == "everything")
    names = ("fd", "is")
    if what == "everything":
        names += ("fd_infinity", *SHARED)
        prepare(made, real, {name: metrics.get(name).options() for name in names})
    scores = {name: metrics.get(name)(made, real).value for name in names}
    peak = resident_peak()
    megabytes = {"imports": baseline / 1e6, "above": (peak - baseline) / 1e6}
    seconds = time.perf_counter() - begin
    sys.stdout.write(json.dumps({**megabytes, "seconds": seconds, "scores": scores}))


main(sys.argv[1], int(sys.argv[2]))
