"""Results folders made by hand for the gate: rows, seeds and values, no training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench.cli import main
from genbench.record import Counters, Environment, Failure, Record
from genbench.spec import Budget, Cell, MetricSpec, SampleSpec, TrainSpec
from genbench.stats import Score
from genbench.store import Store

FD = MetricSpec(
    name="fd", extractor="digits-cnn", reference="digits:train", n=100, weights="ab12" * 16
)
IS = MetricSpec(name="is", extractor="digits-cnn", n=100, weights="ab12" * 16)
KID = MetricSpec(
    name="kid", extractor="digits-cnn", reference="digits:train", n=100, weights="ab12" * 16
)
KINDS = {"vae": "autoencoder", "ddpm": "diffusion", "real": "reference"}

BANKED = (4.00, 4.12, 3.95, 4.05, 4.10, 3.90, 4.02, 4.07)  # a spread of 1.8 %
SAME = (4.03, 3.99, 4.08)
WORSE = (4.90, 5.05, 4.95)
UNCLEAR = (4.10, 4.55, 4.25)


def cell(
    baseline: str = "vae",
    seed: int = 0,
    *,
    metrics: Sequence[MetricSpec] = (FD,),
    version: str = "0123456789abcdef",
    config: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    dataset: str = "digits",
    budget: Budget | None = None,
    sample_seed: int = 0,
    weights: Any = "raw",
    data: str = "",
    task: str = "unconditional",
) -> Cell:
    trains = KINDS.get(baseline) != "reference"
    train = TrainSpec(
        baseline=baseline,
        config=dict(config or {}),
        dataset=dataset,
        data=data,
        task=task,
        budget=(budget or Budget(images=20_000)) if trains else Budget(),
        seed=seed,
        version=version,
    )
    n = metrics[0].n if metrics else 100
    sample = SampleSpec(
        train=train, options=dict(options or {}), weights=weights, n=n, seed=sample_seed
    )
    return Cell(sample=sample, metrics=tuple(metrics))


def record(of: Cell, *values: float, **fields: Any) -> Record:
    """A record with a value for each metric; `counters` and `hashes` replace parts of it."""
    scores = {m.id: Score(value=v, n=m.n) for m, v in zip(of.metrics, values, strict=True)}
    counters = {
        "nfe": 1.0,
        "params": 1000,
        "params_trained": 2000,
        "train_images": 20_000,
        "train_steps": 160,
        "train_flops": 1.5e9,
        "peak_bytes": 1 << 20,
    } | fields.pop("counters", {})
    environment = Environment(
        commit="c0ffee" * 6,
        packages={"torch": "2.15.0"},
        machine=fields.pop("machine", {"processor": "Test CPU", "cores": 2}),
        device="cpu",
        threads=1,
        hashes={"digits:train": "aa" * 32, "digits-cnn": "ab12" * 16} | fields.pop("hashes", {}),
    )
    fields = {"kind": KINDS.get(of.sample.train.baseline, "toy"), "status": "ok"} | fields
    return Record(
        key=of.key,
        cell=of,
        scores=scores,
        counters=Counters(**counters),
        environment=environment,
        **fields,
    )


def failed(of: Cell, message: str = "loss is nan") -> Record:
    error = Failure(
        stage="train", type="NonFiniteError", message=message, traceback="...", rerun="genbench"
    )
    return Record(key=of.key, cell=of, kind="toy", status="failed", error=error)


def folder(path: Path, records: Sequence[Record], more: Sequence[Cell] = ()) -> Path:
    """A results folder of these records; `more` cells are planned and did not run."""
    store = Store(path)
    (path / "records").mkdir(parents=True, exist_ok=True)
    for each in records:
        store.put_record(each)
    store.put_plan("smoke", [*(r.cell for r in records), *more])
    return path


def seeds(values: Sequence[float], baseline: str = "vae", **fields: Any) -> list[Record]:
    """A record for each value, seed 0 on; what `cell` takes goes there, the rest to `record`."""
    own = {k: fields.pop(k) for k in list(fields) if k in cell.__kwdefaults__}
    return [record(cell(baseline, i, **own), v, **fields) for i, v in enumerate(values)]


def real(value: float = 0.35, **fields: Any) -> list[Record]:
    return seeds([value], "real", **fields)


def bank(path: Path, records: Sequence[Record], *arguments: str) -> Path:
    """A bank by the command line."""
    results = folder(path / "banked", records)
    code = main(["bank", "add", str(results), "--bank", str(path / "bank.json"), *arguments])
    assert code == 0
    return path / "bank.json"
