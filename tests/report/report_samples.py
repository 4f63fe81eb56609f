"""Cells and records made by hand: the reports' tests need no training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.record import Counters, Environment, Failure, Record, Timings
from genbench.spec import Budget, Cell, MetricSpec, SampleSpec, TrainSpec
from genbench.stats import Score

FD = MetricSpec(
    name="fd", extractor="digits-cnn", reference="digits:train", n=360, weights="ab12" * 16
)
IS = MetricSpec(name="is", extractor="digits-cnn", n=360, weights="ab12" * 16)
KINDS = {
    "dcgan": "gan",
    "cgan": "gan",
    "vae": "autoencoder",
    "ddpm": "diffusion",
    "pix2pix": "translation",
    "real": "reference",
}


def cell(
    baseline: str,
    *,
    seed: int = 0,
    sample_seed: int = 0,
    metrics: tuple[MetricSpec, ...] = (FD,),
    dataset: str = "digits",
    config: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    weights: Any = "raw",
    images: int | None = 60_000,
    flops: float | None = None,
) -> Cell:
    train = TrainSpec(
        baseline=baseline,
        config=config or {},
        dataset=dataset,
        budget=Budget(images=images, flops=flops),
        seed=seed,
        version="0123456789abcdef",
    )
    n = metrics[0].n if metrics else 360
    sample = SampleSpec(train=train, options=options or {}, weights=weights, n=n, seed=sample_seed)
    return Cell(sample=sample, metrics=metrics)


def record(
    of: Cell,
    *values: float,
    half: float = 1.0,
    status: Any = "ok",
    error: Failure | None = None,
    kind: str | None = None,
    **fields: Any,
) -> Record:
    """A record with one value for each metric of the cell, each with an interval of ± `half`."""
    method = "jackknife, 20 groups of samples"
    scores = {
        m.id: Score(value=v, stderr=half / 2, ci95=(v - half, v + half), n=m.n, method=method)
        for m, v in zip(of.metrics, values, strict=False)
    }
    defaults: dict[str, Any] = {
        "counters": Counters(
            nfe=1,
            params=123_456,
            train_images=60_000,
            train_steps=469,
            train_flops=1.2e12,
            ended_by="images",
        ),
        "timings": Timings(train=12.25, ms_per_image=0.5),
        "environment": Environment(
            packages={"torch": "2.15.0"}, machine={"processor": "Test CPU", "cores": 2}, threads=1
        ),
        "data": {"train": 1437, "test": 360, "split_seed": 0},
    }
    return Record(
        key=of.key,
        cell=of,
        kind=KINDS.get(of.sample.train.baseline, "") if kind is None else kind,
        status=status,
        error=error,
        scores=scores,
        **(defaults | fields),
    )


def failure(message: str = "loss is nan", rerun: str = "genbench run quick --cell x") -> Failure:
    return Failure(
        stage="train", type="RuntimeError", message=message, traceback="...", rerun=rerun
    )


def pictures(n: int, channels: int = 1, size: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, channels, size, size), dtype=np.uint8)
