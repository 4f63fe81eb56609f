"""Scoring images that are there already: `genbench eval`, and `evaluate` for Python.

request.py    what is asked: metrics, networks, options
guards.py     what is refused or warned of
engine.py     one pass over each side, then the scores
collect.py    what is kept of a pass
partial.py    what is kept of a pass that was stopped
reference.py  what is known of a reference, cached and in files
describe.py   what a result says of what went into it
result.py     the scores and all that they depend on
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genbench.evaluation.request import EvalSpec, Job, jobs, read_changes
from genbench.evaluation.result import Evaluation, Network, Side

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
        n: How many images a callable is asked for.
        value_range: Of float images; they become uint8 by rounding half up.
        device: Where networks run.
        changes: More options, as `genbench eval` takes them: `["resize=64", "kid.subsets=50"]`.

    Raises:
        ConfigError: Input that cannot be scored as asked.
        WeightsError: Weights that are missing or wrong.
    """
    from pathlib import Path

    from genbench.evaluation.engine import evaluate
    from genbench.inputs import open_source

    spec = read_changes(changes, {"metrics": metrics, "extractor": extractor})
    wanted = jobs(spec, {"": Path(weights)} if weights is not None else {})

    def source(images: Any, name: str) -> Any:
        from genbench.inputs import from_tensors

        if images is None:
            return None
        if isinstance(images, str | Path):
            return open_source(
                str(images), resize=spec.resize, on_error=spec.on_error, alpha=spec.alpha
            )
        return from_tensors(images, name=name, n=n, value_range=value_range)

    found = evaluate(
        source(generated, "generated"), source(reference, "reference"), wanted, spec, device=device
    )
    assert found is not None
    return found
