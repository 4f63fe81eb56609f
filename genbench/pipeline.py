"""One cell through its four stages: train, sample, features, score. A failure becomes a record."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genbench import data, dist, registry
from genbench.api import Baseline, Condition
from genbench.environment import environment, peak_bytes, reset_peak
from genbench.record import Counters, Failure, Record, Timings
from genbench.runtime import CellTimeoutError, Runtime, time_limit
from genbench.sample import more, sample
from genbench.scoring import Scoring
from genbench.spec import Cell, content_key
from genbench.stats import Score
from genbench.store import Artifact, Store, StoreError
from genbench.tasks import asked
from genbench.train import train

__all__ = ["run_cell"]

_PEER_SECONDS = 1.0  # for the rank that failed first to save its record

Stage = Literal["load", "train", "sample", "features", "score", "worker"]


def run_cell(cell: Cell, store: Store, runtime: Runtime) -> Record:
    """Run what is missing of a cell, save and return its record.

    Never raises for what the cell itself does wrong; the user's KeyboardInterrupt and StoreError
    (a results folder that cannot be written) pass through.
    """
    run = _Run(cell, store, runtime)
    before = store.record(cell.key)
    try:
        with time_limit(runtime.timeout):
            record = run.record()
        if dist.rank() == 0:
            store.put_record(record)
    except StoreError:
        raise  # no record could be written either
    except BaseException as error:
        # what breaks while ranks stop is no failure; a family may raise anything by itself
        if runtime.interrupts.requested:
            raise KeyboardInterrupt from error
        if isinstance(error, KeyboardInterrupt) and not runtime.interrupts.watching:
            raise
        record = _failure(cell, run.stage, error, runtime, run.kind)
        if dist.lost_peer(error):
            time.sleep(_PEER_SECONDS)  # the rank that failed first says why
            found = store.record(cell.key)
            record = record if found is None or found == before else found
        store.put_record(record)
    return record


def _failure(
    cell: Cell, stage: Stage, error: BaseException, runtime: Runtime, kind: str = ""
) -> Record:
    """The record of a cell that raised `error` in `stage`."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    failure = Failure(
        stage=stage,
        type=type(error).__name__,
        message=str(error) or type(error).__name__,
        traceback="".join(lines),
        rerun=runtime.rerun(cell.key),
    )
    status: Literal["timeout", "failed"] = (
        "timeout" if isinstance(error, CellTimeoutError) else "failed"
    )
    return Record(
        key=cell.key, cell=cell, kind=kind, status=status, error=failure, finished=_now()
    )


def _last_losses(info: Mapping[str, Any]) -> dict[str, float]:
    """The last value of everything that was logged in a training, in whichever phase of it."""
    found: dict[str, float] = {}
    for point in (*info["history"], info["losses"]):
        found |= {name: loss for name, loss in point.items() if name not in ("point", "images")}
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class _Run:
    """The stages of one cell, and what the record will say of them."""

    cell: Cell
    store: Store
    runtime: Runtime
    stage: Stage = "load"
    kind: str = ""
    skipped: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def record(self) -> Record:
        """Run every stage that is not done and collect what came of it."""
        begin = time.perf_counter()
        spec = self.cell.sample
        reset_peak(self.runtime.device)
        cls = registry.load(spec.train.baseline)
        self.kind = cls.kind
        if registry.version(spec.train.baseline) != spec.train.version:
            raise RuntimeError(
                f"the code of {spec.train.baseline} changed since this cell was planned; "
                "run the suite again"
            )
        there = data.fingerprint(spec.train.dataset, self.runtime.data_root)
        if there != spec.train.data:
            raise RuntimeError(
                f"the files of {spec.train.dataset} changed since this cell was planned; run the "
                "suite again"
            )
        trained = self._stage(
            "train",
            spec.train.key,
            lambda: train(cls, spec.train, self.dataset, self.store, self.runtime),
        )
        made = self._stage(
            "sample",
            spec.key,
            lambda: sample(cls, spec, trained, self._asked(), self.store, self.runtime),
        )
        drawing = partial(self._more, cls, trained, made)
        scoring = Scoring(
            self.cell, made.tensors["images"], drawing, self.dataset, self.store, self.runtime
        )
        with self._timed("features"):
            scoring.look()
        with self._timed("score"):
            scores = scoring.scores()
            if spec.train.task != "unconditional" and dist.rank() == 0:
                self.store.put("shown", self.cell.key, *scoring.shown())
        self.hashes |= scoring.hashes
        return self._collect(trained, made, scores, scoring, time.perf_counter() - begin)

    def _collect(
        self,
        trained: Artifact,
        made: Artifact,
        scores: dict[str, Score],
        scoring: Scoring,
        total: float,
    ) -> Record:
        return Record(
            key=self.cell.key,
            cell=self.cell,
            kind=self.kind,
            status="ok",
            skipped=tuple(self.skipped),
            scores=scores,
            counters=Counters(
                nfe=made.info["nfe"],
                params=made.info["params"],
                params_trained=trained.info["params"],
                train_images=trained.info["images"],
                train_updates=trained.info.get("updates"),
                train_data=trained.info.get("data_images"),
                train_steps=trained.info["steps"],
                train_flops=trained.info["flops"],
                ended_by=trained.info["ended_by"],
                peak_bytes=peak_bytes(self.runtime.device),
            ),
            timings=Timings(
                train=trained.info["seconds"],
                sample=made.info["seconds"],
                features=self.seconds["features"],
                score=self.seconds["score"],
                ms_per_image=made.info["ms_per_image"],
                total=total,
            ),
            environment=environment(self.runtime.device, made.info["batch"], self.hashes),
            data=trained.info["notes"] | scoring.notes(),
            losses=_last_losses(trained.info),
            warnings=(*trained.info.get("warnings", ()), *made.info.get("warnings", ())),
            code={"train": trained.info.get("code", ""), "sample": made.info.get("code", "")},
            finished=_now(),
        )

    def _stage(self, stage: Stage, key: str, make: Callable[[], Artifact]) -> Artifact:
        """The stage's artifact: found, or made by one process at a time."""
        self.stage = stage
        found = self.store.get(stage, key)
        if found is None and dist.world_size() == 1:
            with self.store.lock(stage, key, partial(self.runtime.waiting, stage)):
                found = self.store.get(stage, key)  # another process may have made it meanwhile
                return make() if found is None else self._found(stage, found)
        return make() if found is None else self._found(stage, found)

    def _found(self, stage: Stage, artifact: Artifact) -> Artifact:
        self.skipped.append(stage)
        return artifact

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        self.stage = stage
        begin = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - begin

    def dataset(self, split: str, name: str = "") -> data.Dataset:
        """A split of the cell's dataset or of another one, its hash noted for the record."""
        name = name or self.cell.sample.train.dataset
        loaded = data.load(name, split, root=self.runtime.data_root)
        self.hashes[f"{name}:{split}"] = loaded.hash
        return loaded

    def _asked(self) -> Callable[[Tensor], Condition]:
        spec = self.cell.sample
        return asked(spec.train.task, self.dataset, self.runtime.device, spec.shares)

    def _more(
        self, cls: type[Baseline[Any]], trained: Artifact, made: Artifact, which: str
    ) -> NDArray[np.uint8]:
        """More samples that a metric asks for; see `sample.more`."""
        spec = self.cell.sample
        code = made.info.get("code")  # samples made anew by another code have others
        key = content_key([spec.key, which, *([code] if code else [])])
        found = self.store.get("sample", key)
        if found is None:
            made_of = (cls, spec, trained, self._asked(), made.tensors["images"])
            images = more(*made_of, which, self.runtime)
            found = Artifact({"images": images}, {"of": spec.key, "which": which})
            if dist.rank() == 0:
                self.store.put("sample", key, found.tensors, found.info)
        return found.tensors["images"]
