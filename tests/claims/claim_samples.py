"""Files of claims and records for tests, made by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genbench import claims
from genbench.record import Counters, Environment, Failure, Record, Timings
from genbench.spec import Cell
from genbench.stats import Score
from genbench.store import Store

BODY = """
description = "for tests"
dataset = "digits"
n = 32
extractor = "digits-cnn"
budget = { images = 640 }
must_beat = { none = "for tests" }

[rows]
vae = { baseline = "vae" }
wide = { baseline = "vae", config = { hidden = 64 } }
gaussian = { baseline = "gaussian" }

[claims.wider]
statement = "A wider VAE is better"
source = "made up"
measure = "fd"
expect = "wide < vae"
published = "FID 3 and 4"

[claims.ratio]
statement = "A wider VAE is no more than half as good"
source = "made up"
measure = "fd"
expect = "wide < 2 * vae"

[claims.beats]
statement = "A VAE beats a Gaussian"
source = "made up"
measure = "fd"
expect = "vae < gaussian"
"""


def write_file(folder: Path, text: str = BODY, name: str = "mine") -> str:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def ok(cell: Cell, value: float, **fields: Any) -> Record:
    scores = {m.id: Score(value=value, n=m.n) for m in cell.metrics}
    usual: dict[str, Any] = {
        "counters": Counters(nfe=1, params=100),
        "timings": Timings(ms_per_image=value, train=2 * value),
        "environment": Environment(machine={"processor": "X"}, device="cpu", threads=1, batch=256),
    }
    return Record(key=cell.key, cell=cell, status="ok", scores=scores, **(usual | fields))


def failed(cell: Cell, message: str = "loss is nan") -> Record:
    error = Failure(stage="train", type="E", message=message, traceback="", rerun="")
    return Record(key=cell.key, cell=cell, status="failed", error=error)


def filled(
    root: Path, planned: "claims.Planned", values: Mapping[str, Sequence[float | None]]
) -> Store:
    """A folder with a run for each value; None is a run that failed."""
    store = Store(root)
    for row, mine in values.items():
        for cell, value in zip(planned.cells[row], mine, strict=False):
            store.put_record(failed(cell) if value is None else ok(cell, value))
    return store
