"""Scoring images that are there already: `genbench eval`, and `evaluate` for Python.

request.py    what is asked: metrics, networks, options
guards.py     what is refused or warned of
engine.py     one pass over each side, then the scores
looking.py    one network in the pass
collect.py    what is kept of a pass
pairwise.py   pairs of images, compared in the pass
partial.py    what is kept of a pass that was stopped
kept.py       what is known of images, as arrays and back
reference.py  what is known of a reference, cached
stats_file.py what is known of a reference, in files
describe.py   what a result says of what went into it
result.py     the scores and all that they depend on
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genbench.evaluation.request import EvalSpec, Job, jobs, read_changes
from genbench.evaluation.result import Evaluation, Network, Side
from genbench.spec import ConfigError

__all__ = [
    "EvalSpec",
    "Evaluation",
    "Job",
    "Network",
    "Side",
    "evaluate",
    "jobs",
    "read_changes",
    "score",
]

if TYPE_CHECKING:
    from genbench.evaluation.engine import evaluate


def __getattr__(name: str) -> Any:
    if name == "evaluate":  # loads torch
        from genbench.evaluation.engine import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def score(
    generated: Any,
    reference: Any = None,
    metrics: Sequence[str] = ("fid", "is"),
    extractor: str = "inception",
    *,
    weights: Any = None,
    n: int | None = None,
    value_range: tuple[float, float] = (-1.0, 1.0),
    device: str = "cpu",
    changes: Sequence[str] = (),
) -> Evaluation:
    """Score images from Python.

        score(model_sample, "cifar10:test", metrics=("fid", "kid"), n=10_000)

    Args:
        generated: What `genbench eval` takes, as text; or a tensor, an iterable of tensors, a
            callable from a number to that many images (needs `n`), of shape (B, C, H, W).
        reference: The same, or None for metrics of the samples alone.
        metrics: Names or groups.
        extractor: The network, with its protocol.
        weights: Its weights file.
        n: How many images a callable is asked for; without one, how many generated images there
            must be.
        value_range: Of float images; they become uint8 by rounding half up.
        device: Where networks run.
        changes: More options, as `genbench eval` takes them: `["resize=64", "kid.subsets=50"]`.

    Raises:
        ConfigError: Input that cannot be scored as asked.
        WeightsError: Weights that are missing or wrong.
    """
    from pathlib import Path

    if generated is None:
        raise ConfigError("there are no images to score: pass them as the first argument")
    from genbench.evaluation.engine import evaluate

    promised = None if callable(generated) or callable(reference) else n
    flags = {"metrics": metrics, "extractor": extractor, "n": promised}
    spec = read_changes(changes, flags)
    wanted = jobs(spec, {"": Path(weights)} if weights is not None else {})
    made, real = (
        _source(images, name, spec, n, value_range)
        for images, name in ((generated, "generated"), (reference, "reference"))
    )
    found = evaluate(made, real, wanted, spec, device=device)
    assert found is not None
    return found


def _source(
    images: Any, name: str, spec: EvalSpec, n: int | None, value_range: tuple[float, float]
) -> Any:
    from genbench.inputs import from_tensors, open_source

    if images is None:
        return None
    if isinstance(images, str | os.PathLike):
        return open_source(
            os.fspath(images), resize=spec.resize, on_error=spec.on_error, alpha=spec.alpha
        )
    asked = n if callable(images) else None
    return from_tensors(images, name=name, n=asked, value_range=value_range)
