"""Score a set of images against another: each image decoded once, each network run once."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from genbench import features
from genbench.environment import environment
from genbench.evaluation import describe, guards
from genbench.evaluation.collect import Collector, Matcher
from genbench.evaluation.partial import Partial
from genbench.evaluation.reference import (
    Origin,
    Stats,
    cache,
    cached,
    check_origin,
    check_stats,
    keep,
    origin,
    read_stats,
    write_stats,
)
from genbench.evaluation.request import EvalSpec, Job
from genbench.evaluation.result import Evaluation
from genbench.features import Extractor, TextExtractor
from genbench.inputs import GREY, Batch, Source, captions, pairs
from genbench.metrics import FeatureSet, Metric, PairMetric
from genbench.metrics.pairs import pair_score
from genbench.metrics.shared import prepare
from genbench.runtime import Progress
from genbench.spec import ConfigError, MetricSpec
from genbench.stats import Score
from genbench.store import Store

__all__ = ["evaluate"]

_Name = Literal["made", "real"]


def _silent(progress: Progress) -> None:
    pass


def evaluate(
    made: Source | None,
    real: Source | None,
    wanted: Sequence[Job],
    spec: EvalSpec,
    *,
    device: str = "cpu",
    load_stats: Path | None = None,
    save_stats: Path | None = None,
    store: Store | None = None,
    progress: Callable[[Progress], None] = _silent,
) -> Evaluation | None:
    """Compute all metrics that are wanted in one pass over each side.

    Args:
        made: The generated images; None to save statistics of the reference only.
        real: The reference, or None for metrics of the samples alone, or with `load_stats`.
        wanted: The metrics; see `request.jobs`.
        spec: The options.
        device: Where networks run.
        load_stats: A statistics file to use for the reference.
        save_stats: Where to save the statistics of the reference.
        store: Where references are kept; by default the user's cache, of which a warning says
            that it cannot be written, while any other store raises StoreError.
        progress: Called after every batch.

    Returns:
        The scores, or None when there was nothing to score.

    Raises:
        ConfigError: Input that cannot be scored as asked; where that can be told at once, it is
            told before any network runs.
        WeightsError: Weights that are missing or wrong.
    """
    stats = None if load_stats is None else read_stats(load_stats)
    guards.check(made, real, None if stats is None else stats.of, wanted, spec)
    said: list[str] = []
    run = _Run(made, real, wanted, spec, device, store or cache(said.append), said)
    if load_stats is not None and stats is not None:
        run.use(load_stats, stats)
    run.look(progress)
    if save_stats is not None:
        run.save(save_stats)
    return None if made is None else run.result()


@dataclass
class _Network:
    """One extractor, what metrics need through it, and what came of it."""

    extractor: Extractor
    made_needs: set[Any] = field(default_factory=set)
    real_needs: set[Any] = field(default_factory=set)
    of: Origin | None = None
    made: FeatureSet | None = None
    real: FeatureSet | None = None


class _Run:
    """The steps of one evaluation."""

    def __init__(
        self,
        made: Source | None,
        real: Source | None,
        wanted: Sequence[Job],
        spec: EvalSpec,
        device: str,
        store: Store,
        said: list[str],
    ) -> None:
        self.sources: dict[_Name, Source | None] = {"made": made, "real": real}
        self.spec, self.device, self.store, self.said = spec, device, store, said
        self.set_jobs = [job for job in wanted if isinstance(job.metric, Metric)]
        self.pair_jobs = [job for job in wanted if isinstance(job.metric, PairMetric)]
        self.wanted, self.seconds = list(wanted), dict[str, float]()
        self.reference = "" if real is None else describe.reference_name(real)
        self.networks: dict[features.Request, _Network] = {}
        for job in self.set_jobs:
            network = self._network(job)
            guards.check_network(job, network.extractor)
            network.made_needs |= set(job.metric.needs)  # type: ignore[union-attr]
            network.real_needs |= set(job.metric.reference)  # type: ignore[union-attr]
        if real is not None:
            for network in self.networks.values():
                network.of = origin(real, self.reference, network.extractor)
        self.partial: dict[tuple[_Name, features.Request], Partial] = {}
        self.pair_values: list[np.ndarray[Any, np.dtype[np.float64]]] = []

    def _network(self, job: Job) -> _Network:
        request = job.extractor
        assert request is not None
        if request not in self.networks:
            self.networks[request] = _Network(features.load(request).to(self.device))
        return self.networks[request]

    # --- the reference, where it is known already ------------------------------------------------

    def use(self, path: Path, stats: Stats) -> None:
        """Take the reference from a file.

        Raises:
            ConfigError: A file of another network, protocol, number or set of images.
        """
        if len(self.networks) != 1:
            raise ConfigError(
                f"{path} holds statistics of one network, but these metrics look through "
                f"{len(self.networks)}; ask for the metrics of one extractor"
            )
        (network,) = self.networks.values()
        check_stats(path, stats, network.extractor, network.real_needs)
        if network.of is not None:  # the images are named too: they must be the same
            check_origin(path, stats.of, network.of.model_dump(exclude={"name"}))
        network.of, network.real, self.reference = stats.of, stats.known, stats.of.name

    def save(self, path: Path) -> None:
        """Save what is known of the reference.

        Raises:
            ConfigError: Where there is none, or several networks looked at it.
        """
        known = [n for n in self.networks.values() if n.real is not None]
        if len(known) != 1 or known[0].of is None or known[0].real is None:
            raise ConfigError(
                f"--save-stats {path} needs a reference, and metrics of one extractor that "
                "compare with it"
            )
        write_stats(path, known[0].of, known[0].real, known[0].real_needs)

    # --- one pass --------------------------------------------------------------------------------

    def look(self, progress: Callable[[Progress], None]) -> None:
        """Show every image that is still needed to the networks, and pairs to pair metrics.

        Raises:
            ConfigError: Captions or pairs that do not fit, before any image is looked at.
        """
        begin = time.perf_counter()
        texts = self._captions()
        collectors = self._collectors()
        sides: list[_Name] = ["real"] if collectors["real"] or self.pair_jobs else []
        sides += ["made"] if self.sources["made"] is not None else []
        total = sum(source.n for side in sides if (source := self.sources[side]) is not None)
        matcher = self._matcher()
        seen = {"made": 0, "real": 0}
        for side, batch in self._batches(sides):
            for request, collector in collectors[side].items():
                before = collector.done
                collector.add(batch, self.device)
                self.partial[side, request].mark(before)
            if matcher is not None:
                self._compare(matcher, side, batch)
            seen[side] += len(batch.index)
            if side == "real" and seen[side] == getattr(self.sources[side], "n", 0):
                self._keep_reference(collectors["real"])
            done, spent = sum(seen.values()), time.perf_counter() - begin
            rate = done / spent
            word = "generated" if side == "made" else "reference"
            progress(Progress("features", done / total, rate, (total - done) / rate, word))
        for request, collector in collectors["made"].items():
            self.partial["made", request].finish()
            self.networks[request].made = collector.known(self._text(request, texts))
        self.seconds["features"] = time.perf_counter() - begin

    def _collectors(self) -> dict[_Name, dict[features.Request, Collector]]:
        """One for each network and side that has to be looked at."""
        found: dict[_Name, dict[features.Request, Collector]] = {"made": {}, "real": {}}
        made, real = self.sources["made"], self.sources["real"]
        for request, network in self.networks.items():
            if made is not None:
                found["made"][request] = Collector(network.extractor, network.made_needs, made.n)
            if not network.real_needs or network.real is not None or network.of is None:
                continue
            network.real = cached(self.store, network.of, network.real_needs)
            if network.real is None and real is not None:
                found["real"][request] = Collector(network.extractor, network.real_needs, real.n)
        for side, collectors in found.items():
            source = self.sources[side]
            for request, collector in collectors.items():
                assert source is not None
                of = origin(source, side, collector.extractor)
                partial = Partial(self.store, of, collector, self.spec.batch)
                self.partial[side, request] = partial
        return found

    def _batches(self, sides: list[_Name]) -> Iterator[tuple[_Name, Batch]]:
        """The reference first, so that it is kept early; in turn where pairs are compared."""
        streams = {
            side: source.batches(self.spec.batch)
            for side in sides
            if (source := self.sources[side]) is not None
        }
        if not self.pair_jobs:
            for side, stream in streams.items():
                yield from ((side, batch) for batch in stream)
        while self.pair_jobs and streams:
            for side in list(streams):
                batch = next(streams[side], None)
                if batch is None:
                    del streams[side]
                else:
                    yield side, batch

    def _keep_reference(self, collectors: dict[features.Request, Collector]) -> None:
        for request, collector in collectors.items():
            network = self.networks[request]
            network.real = collector.known()
            assert network.of is not None
            keep(self.store, network.of, network.real, network.real_needs)
            self.partial["real", request].drop()

    def _captions(self) -> list[str]:
        """A caption for each generated image, where a metric reads them."""
        made, path = self.sources["made"], self.spec.captions
        wanted = any("text" in network.made_needs for network in self.networks.values())
        if not wanted or made is None or path is None:
            return []
        return captions.read(path, made.keys, made.n)

    def _text(self, request: features.Request, texts: list[str]) -> Any:
        """Features of the captions, where a metric reads them."""
        network = self.networks[request]
        if "text" not in network.made_needs:
            return None
        encoder = cast(TextExtractor, network.extractor)  # see `guards.check_network`
        cut = encoder.too_long(texts)
        if cut:
            self.said.append(
                f"{len(cut):,} captions are longer than {encoder.name} reads and were cut, the "
                f"first one: {texts[cut[0]][:60]!r}"
            )
        return encoder.text(texts)

    # --- pairs -----------------------------------------------------------------------------------

    def _matcher(self) -> Matcher | None:
        made, real = self.sources["made"], self.sources["real"]
        if not self.pair_jobs or made is None or real is None:
            return None
        self.pair_values = [np.full(made.n, np.nan) for _ in self.pair_jobs]
        return Matcher(pairs(made, real))

    def _compare(self, matcher: Matcher, side: _Name, batch: Batch) -> None:
        matcher.add_made(batch) if side == "made" else matcher.add_real(batch)
        index, made, real = matcher.ready()
        if len(index) == 0:
            return
        if made[0].shape != real[0].shape:
            raise ConfigError(
                f"pairs need images of one shape: generated {tuple(made[0].shape)}, reference "
                f"{tuple(real[0].shape)}; bring both to one size with resize=SIZE"
            )
        both = torch.stack(made), torch.stack(real)
        for values, job in zip(self.pair_values, self.pair_jobs, strict=True):
            assert isinstance(job.metric, PairMetric)
            values[index] = job.metric.values(*both, job.options)

    # --- scores ----------------------------------------------------------------------------------

    def result(self) -> Evaluation:
        """All scores, and what they depend on."""
        made, real = self.sources["made"], self.sources["real"]
        assert made is not None
        begin = time.perf_counter()
        specs = {job: self._spec(job, made.n) for job in self.wanted}
        self._share()
        scores = {specs[job].id: self._score(job) for job in self.wanted}
        self.seconds["score"] = time.perf_counter() - begin
        for partial in self.partial.values():
            partial.drop()
        extractors = [network.extractor for network in self.networks.values()]
        hashes = {e.name: e.sha256 for e in extractors} | {"generated": made.digest}
        kept = [n.of for n in self.networks.values() if n.of is not None]
        reference = describe.side_of(kept[0]) if kept else None
        if real is not None:
            reference = describe.side(real)
        return Evaluation(
            scores=scores,
            metrics={spec.id: spec for spec in specs.values()},
            labels={specs[job].id: describe.label(job) for job in self.wanted},
            generated=describe.side(made),
            reference=reference,
            extractors={describe.full_name(e): describe.network(e) for e in extractors},
            warnings=tuple(self._warnings()),
            seconds=self.seconds,
            environment=environment(self.device, self.spec.batch, hashes),
        )

    def _share(self) -> None:
        """Let metrics of one network that read the same products of features make them once."""
        for request, network in self.networks.items():
            mine = {j.metric.name: j.options for j in self.set_jobs if j.extractor == request}
            if network.made is not None and network.real is not None:
                prepare(network.made, network.real, mine)

    def _score(self, job: Job) -> Score:
        if isinstance(job.metric, PairMetric):
            values = self.pair_values[self.pair_jobs.index(job)]
            return pair_score(values, cap=getattr(job.options, "cap", None))
        network = self._network(job)
        assert network.made is not None
        return job.metric(network.made, network.real, job.options)

    def _spec(self, job: Job, n: int) -> MetricSpec:
        if isinstance(job.metric, PairMetric):
            weights = job.metric.weights(job.options) if job.metric.weights else ""
            return MetricSpec(
                name=job.name,
                extractor=weights or "pixels",
                reference=self.reference,
                n=n,
                options=job.metric.changed(job.options),
            )
        extractor = self._network(job).extractor
        notes = [] if extractor.official else [f"weights={extractor.sha256[:8]}"]
        notes += [v for k, v in extractor.settings.items() if k == "dtype"]
        return MetricSpec(
            name=job.name,
            extractor=extractor.name,
            protocol=extractor.protocol,
            reference=self.reference if job.metric.reference else "",
            n=n,
            weights=extractor.sha256,
            options=job.metric.changed(job.options),
            notes=tuple(notes),
        )

    def _grey_is_fine(self) -> bool:
        """Whether every network is made for grey images, as the shipped ones are."""
        shipped = [r.name for r in self.networks if r.name in features.names()]
        grey = [name for name in shipped if features.card(name)["module"].endswith(".convnet")]
        return len(grey) == len(self.networks)

    def _warnings(self) -> Iterator[str]:
        sources = [source for source in self.sources.values() if source is not None]
        for warning in chain.from_iterable(source.warnings for source in sources):
            if not (warning.startswith(GREY) and self._grey_is_fine()):
                yield warning
        yield from self.said
        yield from guards.warnings(self.sources["made"], self.sources["real"])
        for job in self.set_jobs:
            network = self._network(job)
            if network.made is not None and network.real is not None:
                yield from guards.few_images(job, network.made, network.real)
