"""One visit of the wall-clock gate: a fresh process that times the sampling of one model.

    python -P genbench/worker_clock.py < REQUEST.json

PYTHONPATH says which checkout is timed. The same file times both, and uses little of genbench, so
that it works with older versions. The model is not trained: weights do not change what sampling
costs. Answers on stdout with JSON: seconds of the best call, number of calls, the family's version
and the folder that genbench was imported from.
"""

import gc
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["WARMUPS", "main", "visit"]

WARMUPS = 3
_CALLS, _SECONDS, _LEAST = 30, 2.0, 3  # so many calls, or so many seconds and calls


def visit(request: dict[str, Any]) -> dict[str, Any]:
    """Time the sampling that a request names.

    Args:
        request: `sample`, a SampleSpec as JSON; `data`, the fields of a DataSpec; `batch`.
    """
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # as in a run
    import torch

    import genbench
    from genbench import registry
    from genbench.api import DataSpec, Noise
    from genbench.data import load
    from genbench.spec import SampleSpec
    from genbench.tasks import asked
    from genbench.train import build

    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("warn")
    spec = SampleSpec.model_validate(request["sample"])
    train = spec.train
    cls = registry.load(train.baseline)
    data = DataSpec(**request["data"])
    model = build(cls, cls.Config.model_validate(train.config), data, train.seed).eval()
    index = torch.arange(request["batch"])
    cond = asked(train.task, partial(load, train.dataset), shares=spec.shares)(index)

    def call() -> None:
        with torch.inference_mode():
            model.sample(cond, Noise(spec.seed, index, stream="sample"), **spec.options)

    best, calls = _best(call)
    return {
        "seconds": best,
        "calls": calls,
        "version": registry.version(train.baseline),
        "folder": str(Path(genbench.__file__).resolve().parent.parent),
    }


def _best(call: Any) -> tuple[float, int]:
    """Seconds of the best call, and how many there were."""
    for _ in range(WARMUPS):
        call()
    gc.disable()
    times: list[float] = []
    while len(times) < _CALLS and (sum(times) < _SECONDS or len(times) < _LEAST):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times), len(times)


def main() -> int:
    """Read the request, answer it."""
    sys.stdout.write(json.dumps(visit(json.load(sys.stdin))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
