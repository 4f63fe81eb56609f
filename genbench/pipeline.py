"""One cell through its four stages: train, sample, features, score. A failure becomes a record."""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import torch

from genbench import data, dist, features, metrics, registry
from genbench.environment import environment, peak_bytes, reset_peak
from genbench.features import Extractor
from genbench.metrics import FeatureSet
from genbench.metrics.shared import prepare
from genbench.record import Counters, Failure, Record, Timings
from genbench.runtime import CellTimeoutError, Progress, Runtime, time_limit
from genbench.sample import sample
from genbench.spec import Cell, MetricSpec, content_key
from genbench.stats import Score
from genbench.store import Artifact, Store, StoreError
from genbench.train import train

__all__ = ["run_cell"]

_PEER_SECONDS = 1.0  # for the rank that failed first to save its record

Stage = Literal["load", "train", "sample", "features", "score", "worker"]


def run_cell(cell: Cell, store: Store, runtime: Runtime) -> Record:
    """Run what is missing of a cell, save and return its record.

    Never raises for what the cell itself does wrong; KeyboardInterrupt and StoreError (a results
    folder that cannot be written) pass through.
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
    except (Exception, SystemExit) as error:
        if runtime.interrupts.requested:
            raise KeyboardInterrupt from error  # what breaks while ranks stop is no failure
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
    _sets: dict[str, FeatureSet] = field(default_factory=dict)
    _extractors: dict[str, Extractor] = field(default_factory=dict)

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
        planned = spec.train.data
        if planned and data.fingerprint(spec.train.dataset, self.runtime.data_root) != planned:
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
            "sample", spec.key, lambda: sample(cls, spec, trained, self.store, self.runtime)
        )
        with self._timed("features"):
            sets = {m: (self._made(m, made), self._real(m)) for m in self.cell.metrics}
        with self._timed("score"):
            scores = self._scores(sets)
        return self._collect(trained, made, scores, time.perf_counter() - begin)

    def _collect(
        self, trained: Artifact, made: Artifact, scores: dict[str, Score], total: float
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
            data=trained.info["notes"],
            losses=trained.info["losses"],
            finished=_now(),
        )

    def _stage(self, stage: Stage, key: str, make: Callable[[], Artifact]) -> Artifact:
        """The stage's artifact: found, or made by one process at a time."""
        self.stage = stage
        found = self.store.get(stage, key)
        if found is None and dist.world_size() == 1:
            with self.store.lock(stage, key):
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

    # --- features --------------------------------------------------------------------------------

    def _extractor(self, metric: MetricSpec) -> Extractor:
        name = "/".join(part for part in (metric.extractor, metric.protocol) if part)
        if name not in self._extractors:
            self._extractors[name] = features.load(name)
        extractor = self._extractors[name]
        self.hashes[metric.extractor] = extractor.sha256
        if metric.weights and extractor.sha256 != metric.weights:
            raise RuntimeError(f"the weights of {metric.extractor} changed since this was planned")
        return extractor

    def _made(self, metric: MetricSpec, made: Artifact) -> FeatureSet:
        images = made.tensors["images"]
        # by content: samples that were made again on another device have features of their own
        source = hashlib.sha256(images.tobytes()).hexdigest()
        return self._features(metric, source, lambda: images)

    def _real(self, metric: MetricSpec) -> FeatureSet | None:
        if not metric.reference:
            return None
        name, _, split = metric.reference.rpartition(":")
        loaded = self.dataset(split, name)
        return self._features(metric, loaded.hash, loaded.images.numpy)

    def _features(self, metric: MetricSpec, source: str, images: Callable[[], Any]) -> FeatureSet:
        """Features of a set of images, kept by what the images are and what looked at them."""
        extractor = self._extractor(metric)
        key = content_key([source, metric.extractor, metric.protocol, extractor.sha256])
        if key not in self._sets:  # one object for all metrics, which may share work on it
            self._sets[key] = self._feature_set(key, source, extractor, images)
        return self._sets[key]

    def _feature_set(
        self, key: str, source: str, extractor: Extractor, images: Callable[[], Any]
    ) -> FeatureSet:
        found = self.store.get("features", key)
        if found is None:
            tensors = self._extract(extractor, images())
            found = Artifact(tensors, {"source": source, "extractor": extractor.name})
            if dist.rank() == 0:
                self.store.put("features", key, found.tensors, found.info)
        return FeatureSet(len(found.tensors["features"]), found.tensors)

    def _extract(self, extractor: Extractor, images: Any) -> dict[str, Any]:
        batch, n = self.runtime.batch, len(images)
        parts: dict[str, list[Any]] = {}
        begin = time.perf_counter()
        for start in range(0, n, batch):
            out = extractor(torch.from_numpy(images[start : start + batch]))
            parts.setdefault("features", []).append(out.features.numpy())
            if out.probs is not None:
                parts.setdefault("probs", []).append(out.probs.numpy())
            spent, done = time.perf_counter() - begin, min(start + batch, n)
            rate = done / max(spent, 1e-9)
            self.runtime.progress(Progress("features", done / n, rate, (n - done) / rate))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _scores(
        self, sets: dict[MetricSpec, tuple[FeatureSet, FeatureSet | None]]
    ) -> dict[str, Score]:
        chosen = {spec: metrics.get(spec.name) for spec in sets}
        options = {s: m.options.model_validate(dict(s.options)) for s, m in chosen.items()}
        wanted = {chosen[spec].name: options[spec] for spec in sets}
        both = [(made, real) for made, real in sets.values() if real is not None]
        for made, real in both[:1]:  # a cell has one network and one reference
            prepare(made, real, wanted)
        return {s.id: chosen[s](made, real, options[s]) for s, (made, real) in sets.items()}
