"""The clock's part of `genbench speed`: one trained model, sampled in every way, timed in turn."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genbench import data, environment, latency, registry, tasks
from genbench.api import Baseline, Condition, count_nfe
from genbench.runtime import Progress, Runtime
from genbench.sample import draw, restore, to_uint8
from genbench.spec import ConfigError, SampleSpec, content_key
from genbench.speed.request import Clock, Plan, Wanted
from genbench.speed.result import Settings
from genbench.store import Store
from genbench.timing import Timing

__all__ = ["CONTROL", "Measured", "distinct", "measure", "row_key"]

CONTROL = "control"
_STRIP = 8  # images of each row in the strip


@dataclass(frozen=True)
class Measured:
    """What was measured, by the row's key and, below it, the batch size.

    Attributes:
        key: Hash of what was measured, and how.
        timings: Of every row; of the cheapest a second time, as CONTROL.
        sweep: Of that row, by batch size.
        nfe: Evaluations per image of each row.
        cheapest: The row with the fewest evaluations.
        stages: Seconds inside each network, and the rest, of one batch.
        peaks: Most bytes in use during a batch.
        images: uint8 (k, C, H, W) of each row, made from the same noise.
    """

    key: str
    settings: Settings
    timings: dict[str, dict[int, Timing]]
    sweep: dict[int, Timing]
    nfe: dict[str, float]
    cheapest: str
    stages: dict[str, dict[str, float]]
    peaks: dict[str, int | None]
    images: dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class _Bench:
    """One restored model and the ways to sample it."""

    baseline: Baseline[Any]
    specs: Mapping[str, SampleSpec]
    device: torch.device
    asked: Callable[[Tensor], Condition]

    def images(self, row: str, count: int) -> Tensor:
        return draw(self.baseline, self.specs[row], self.device, self.asked, range(count))

    def call(self, row: str, count: int) -> Callable[[], object]:
        return lambda: self.images(row, count)


def row_key(options: Mapping[str, Any]) -> str:
    """The name of a row in `Measured`."""
    return content_key(dict(options))


def measure(plan: Plan, store: Store, runtime: Runtime, *, again: bool = False) -> Measured:
    """Time every row of a plan whose training is in the store.

    All rows are timed in turn in this process, at one image and at the batch size of the best
    throughput. What was timed before, with the same settings on the same machine, is not timed
    again unless `again`; a stopped measurement goes on after its last complete round.

    Raises:
        ConfigError: When the networks cannot be compiled or captured as asked.
    """
    bench = _bench(plan, store, runtime)
    with _dressed(bench, plan.clock):
        return _Session(bench, plan.clock, store, runtime, again).run()


def distinct(plan: Plan, store: Store, runtime: Runtime) -> tuple[Plan, list[int]]:
    """The plan without step counts that come to no more evaluations than a smaller one does.

    A model of 100 steps that is asked for 1000 takes 100: one row, not two of one cost.

    Returns:
        The plan, and the step counts that were left out.
    """
    if len(plan.rows) == 1:
        return plan, []
    nfe = _Session(_bench(plan, store, runtime), plan.clock, store, runtime, False).count()
    kept: dict[str, Wanted] = {}
    for row in sorted(plan.rows, key=lambda row: (not row.reference, row.options.get("steps", 1))):
        others = {k: v for k, v in row.options.items() if k != "steps"}
        kept.setdefault(content_key([others, nfe[row_key(row.options)]]), row)
    rows = tuple(row for row in plan.rows if any(row is one for one in kept.values()))
    left = {row.options["steps"] for row in plan.rows if row not in rows}
    return replace(plan, rows=rows), sorted(left)


def _bench(plan: Plan, store: Store, runtime: Runtime) -> _Bench:
    first = plan.rows[0].cells[0].sample
    trained = store.get("train", first.train.key)
    if trained is None:
        raise ConfigError(f"the weights of {first.train.baseline} are gone; run it again")
    cls = registry.load(first.train.baseline)
    baseline = restore(cls, first, trained, runtime.device)
    specs = {row_key(row.options): row.cells[0].sample for row in plan.rows}
    device = torch.device(runtime.device)
    loading = partial(data.load, first.train.dataset, root=runtime.data_root)
    asked = tasks.asked(first.train.task, loading, device, first.shares)
    return _Bench(baseline, specs, device, asked)


@contextmanager
def _dressed(bench: _Bench, clock: Clock) -> Iterator[None]:
    """The networks compiled or captured, as the clock settings ask."""
    with ExitStack() as stack:
        if clock.compile:
            stack.enter_context(latency.compiled(bench.baseline))
        if clock.graphs:
            try:
                stack.enter_context(latency.graphed(bench.baseline))
            except ValueError as error:
                raise ConfigError(f"graphs=true: {error}") from None
        yield


@dataclass
class _Session:
    """One measurement; its parts are kept in the store as they finish."""

    bench: _Bench
    clock: Clock
    store: Store
    runtime: Runtime
    again: bool

    def run(self) -> Measured:
        clock, load = self.clock, latency.load()  # before this process makes one itself
        nfe = self.count()
        cheapest = min(nfe, key=lambda row: (nfe[row], row))
        sweep = self._sweep(cheapest)
        batch = clock.batch or latency.best_batch(sweep)
        timings: dict[str, dict[int, Timing]] = {row: {} for row in [*nfe, CONTROL]}
        for size in dict.fromkeys((1, batch)):
            for row, timing in self._alternate(cheapest, size).items():
                timings[row][size] = timing
        stages, peaks, load = self._inside(batch, load)
        half = next(iter(self.bench.specs.values())).train.config.get("precision") == "bfloat16"
        settings = Settings(
            batch=batch,
            batches=tuple(sorted(sweep)),
            rounds=clock.rounds,
            warmup=clock.warmup,
            dtype="bfloat16" if half else "float32",
            compile=clock.compile,
            graphs=clock.graphs,
            load=load,
        )
        key = self._key("rows", batch)
        return Measured(key, settings, timings, sweep, nfe, cheapest, stages, peaks, self._strip())

    def count(self) -> dict[str, float]:
        """Evaluations per image of every row, counted at the network."""
        key = self._key("evaluations", 1)
        found = self.store.get("latency", key)
        if found is not None:
            nfe: dict[str, float] = found.info["nfe"]
            return nfe
        counts = {}
        for done, row in enumerate(self.bench.specs):
            with count_nfe(self.bench.baseline) as counted:
                self.bench.images(row, 1)
            counts[row] = counted.per_sample(1)
            self._tell("evaluations", done + 1, len(self.bench.specs))
        self.store.put("latency", key, {}, {"nfe": counts})
        return counts

    def _sweep(self, row: str) -> dict[int, Timing]:
        if self.clock.batch:
            return {}
        key = self._key("sweep", 0)
        found = self._found(key)
        if not found:
            made = latency.sweep(
                lambda size: self.bench.call(row, size),
                self.clock.batches,
                self.bench.device,
                progress=lambda done, total: self._tell("batch sizes", done, total),
            )
            found = {str(size): timing for size, timing in made.items()}
            self._keep(key, found)
        return {int(size): timing for size, timing in found.items()}

    def _alternate(self, cheapest: str, size: int) -> dict[str, Timing]:
        """All rows in turn, and the one with the fewest evaluations a second time."""
        calls = {row: self.bench.call(row, size) for row in self.bench.specs}
        calls[CONTROL] = self.bench.call(cheapest, size)
        key = self._key("rows", size)
        what = "single images" if size == 1 else f"batches of {size}"
        return latency.alternate(
            calls,
            self.bench.device,
            rounds=self.clock.rounds,
            warmup=self.clock.warmup,
            batch=size,
            done=self._found(key),
            progress=lambda done, total: self._tell(what, done, total),
            keep=lambda timings: self._keep(key, timings),
        )

    def _inside(
        self, batch: int, load: float | None
    ) -> tuple[dict[str, dict[str, float]], dict[str, int | None], float | None]:
        """Seconds inside the networks, most memory, of one batch of every row; and the load."""
        key = self._key("inside", batch)
        found = None if self.again else self.store.get("latency", key)
        if found is not None:
            return found.info["stages"], found.info["peaks"], found.info["load"]
        stages: dict[str, dict[str, float]] = {}
        peaks: dict[str, int | None] = {}
        device, baseline = self.bench.device, self.bench.baseline
        for done, row in enumerate(self.bench.specs):
            call = self.bench.call(row, batch)

            def both(row: str = row, call: latency.Call = call) -> None:
                stages[row] = latency.stages(baseline, call, device)

            peaks[row] = latency.peak(both, device)
            self._tell("stages and memory", done + 1, len(self.bench.specs))
        info = {"stages": stages, "peaks": peaks, "load": load}
        self.store.put("latency", key, {}, info)
        return stages, peaks, load

    def _strip(self) -> dict[str, NDArray[np.uint8]]:
        """A few images of each row, made from the same noise."""
        key = self._key("strip", _STRIP)
        found = self.store.get("latency", key)
        if found is not None:
            return found.tensors
        made = {}
        for done, row in enumerate(self.bench.specs):
            made[row] = to_uint8(self.bench.images(row, _STRIP)).cpu().numpy()
            self._tell("pictures", done + 1, len(self.bench.specs))
        self.store.put("latency", key, made, {})
        return made

    # --- what is kept ----------------------------------------------------------------------------

    def _key(self, what: str, size: int) -> str:
        """Times belong to the weights, the ways to sample, the clock and the machine, not to n."""
        clock = self.clock.model_dump(exclude={"batch", "rounds"})
        facts = [environment.machine(), environment.packages(), self.runtime.device]
        threads = torch.get_num_threads()
        specs = [s.model_copy(update={"n": 1}).key for s in self.bench.specs.values()]
        return content_key([what, size, specs, clock, facts, threads])

    def _found(self, key: str) -> dict[str, Timing] | None:
        """What was kept, of no more rounds than are asked for now."""
        found = None if self.again else self.store.get("latency", key)
        if found is None:
            return None
        kept = {name: Timing.model_validate(t) for name, t in found.info["timings"].items()}
        most = 2 * self.clock.rounds
        return {n: Timing(visits=t.visits[:most], batch=t.batch) for n, t in kept.items()}

    def _keep(self, key: str, timings: Mapping[str, Timing]) -> None:
        info = {name: t.model_dump(mode="json") for name, t in timings.items()}
        self.store.put("latency", key, {}, {"timings": info})

    def _tell(self, what: str, done: int, total: int) -> None:
        self.runtime.progress(Progress("latency", done / total, 0.0, None, what))
