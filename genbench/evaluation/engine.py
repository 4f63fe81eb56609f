"""Score a set of images against another: each image decoded once, each network run once."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast

from genbench import features
from genbench.environment import environment
from genbench.evaluation import describe, guards
from genbench.evaluation.collect import FAILURES, Collector, reason
from genbench.evaluation.kept import Known, Told
from genbench.evaluation.looking import Looking
from genbench.evaluation.pairwise import Comparing
from genbench.evaluation.partial import Partial
from genbench.evaluation.reference import cache, cached, keep, origin
from genbench.evaluation.request import EvalSpec, Job
from genbench.evaluation.result import Evaluation
from genbench.evaluation.stats_file import (
    Stats,
    check_origin,
    check_stats,
    declared,
    read_stats,
    write_stats,
)
from genbench.inputs import GREY, Batch, Source, captions
from genbench.metrics import Metric, PairMetric
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
            told before any network runs. Where other metrics can be computed, one that cannot is
            told in the result.
        WeightsError: Weights that are missing or wrong.
    """
    stats = None if load_stats is None else read_stats(load_stats, declared(wanted, spec))
    guards.check(made, real, None if stats is None else stats.of, wanted, spec)
    said: list[str] = []
    run = _Run(made, real, wanted, spec, device, store or cache(said.append), said)
    run.progress = progress
    if load_stats is not None and stats is not None:
        run.use(load_stats, stats)
    run.look()
    if save_stats is not None:
        run.save(save_stats)
    return None if made is None else run.result()


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
        self.networks: dict[features.Request, Looking] = {}
        for job in self.set_jobs:
            network = self._network(job)
            guards.check_network(job, network.extractor, (made, real))
            network.made_needs |= set(job.metric.needs)  # type: ignore[union-attr]
            network.real_needs |= set(job.metric.reference)  # type: ignore[union-attr]
        if real is not None:
            for network in self.networks.values():
                network.of = origin(real, self.reference, network.extractor)
        self.partial: dict[tuple[_Name, features.Request], Partial] = {}
        self.comparing: Comparing | None = None
        self.shapes: dict[_Name, tuple[int, int, int]] = {}
        self.progress: Callable[[Progress], None] = _silent
        self.colour: bool | None = None  # of the generated images
        self.texts: list[str] = []

    def _network(self, job: Job) -> Looking:
        request = job.extractor
        assert request is not None
        if request not in self.networks:
            self.networks[request] = Looking(features.load(request).to(self.device))
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
        network.expect(stats.known.told)

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
        for why in known[0].failed.values():
            raise ConfigError(f"statistics for {path} cannot be computed: {why}")
        write_stats(path, known[0].of, known[0].real, known[0].real_needs)

    # --- one pass --------------------------------------------------------------------------------

    def look(self) -> None:
        """Show every image that is still needed to the networks, and pairs to pair metrics.

        Raises:
            ConfigError: Captions or pairs that do not fit, before any image is looked at.
        """
        begin = time.perf_counter()
        self.texts = self._captions()
        collectors = self._collectors()
        sides: list[_Name] = ["real"] if collectors["real"] or self.pair_jobs else []
        sides += ["made"] if self.sources["made"] is not None else []
        total = sum(source.n for side in sides if (source := self.sources[side]) is not None)
        made, real = self.sources["made"], self.sources["real"]
        if self.pair_jobs and made is not None and real is not None:
            self.comparing = Comparing(self.pair_jobs, made, real)
        seen = 0
        for side, batch in self._batches(sides):
            if batch is None:
                if side == "real":
                    self._keep_reference(collectors["real"])
                continue
            self._show(side, batch, collectors[side])
            seen += len(batch.index)
            spent = time.perf_counter() - begin
            rate = seen / spent
            word = "generated" if side == "made" else "reference"
            left = (total - seen) / rate
            self.progress(Progress("features", seen / total, rate, left, word))
        for request, collector in collectors["made"].items():
            self.partial["made", request].finish()
            self.networks[request].made = collector.known(
                self.networks[request].text(self.texts, self.said)
            )
        self.seconds["features"] = time.perf_counter() - begin

    def _show(
        self, side: _Name, batch: Batch, collectors: dict[features.Request, Collector]
    ) -> None:
        """One batch, to all that look at its side."""
        self.shapes.setdefault(side, cast(tuple[int, int, int], tuple(batch.images.shape[1:])))
        if side == "made" and self.colour is not True:
            self.colour = guards.has_colour(batch)
        for request, collector in collectors.items():
            before = collector.done
            collector.add(batch, self.device)
            self.networks[request].failed |= collector.failed
            self.partial[side, request].mark(before)
        if self.comparing is not None:
            self.comparing.add(side, batch)
        if all(self._failed(job) for job in self.wanted):
            raise ConfigError(self._failed(self.wanted[0]))

    def _failed(self, job: Job) -> str:
        """Why a metric cannot be computed, "" where it still can."""
        if isinstance(job.metric, PairMetric):
            return "" if self.comparing is None else self.comparing.failed.get(job, "")
        return self._network(job).failed_for(job.metric)

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
            if network.real is not None:
                network.expect(network.real.told)
            elif real is not None:
                found["real"][request] = Collector(network.extractor, network.real_needs, real.n)
        for side, collectors in found.items():
            source = self.sources[side]
            for request, collector in collectors.items():
                assert source is not None
                of = origin(source, side, collector.extractor)
                partial = Partial(self.store, of, collector, self.spec.batch)
                self.partial[side, request] = partial
        return found

    def _batches(self, sides: list[_Name]) -> Iterator[tuple[_Name, Batch | None]]:
        """The reference first, so that it is kept early; in turn where pairs are compared.

        None ends a side.
        """
        streams = {
            side: source.batches(self.spec.batch)
            for side in sides
            if (source := self.sources[side]) is not None
        }
        if not self.pair_jobs:
            for side, stream in streams.items():
                yield from ((side, batch) for batch in stream)
                yield side, None
        while self.pair_jobs and streams:
            for side in list(streams):
                batch = next(streams[side], None)
                if batch is None:
                    del streams[side]
                yield side, batch

    def _keep_reference(self, collectors: dict[features.Request, Collector]) -> None:
        real = self.sources["real"]
        assert real is not None
        told = Told(shape=self.shapes["real"], warnings=tuple(real.warnings))
        for request, collector in collectors.items():
            network = self.networks[request]
            network.real = Known(collector.known(), told)
            assert network.of is not None
            keep(self.store, network.of, network.real, network.real_needs & collector.gathered)
            self.partial["real", request].drop()

    def _captions(self) -> list[str]:
        """A caption for each generated image, where a metric reads them."""
        made, path = self.sources["made"], self.spec.captions
        wanted = any("text" in network.made_needs for network in self.networks.values())
        if not wanted or made is None or path is None:
            return []
        return captions.read(path, made.keys, made.n)

    # --- scores ----------------------------------------------------------------------------------

    def result(self) -> Evaluation:
        """All scores, and what they depend on."""
        made, real = self.sources["made"], self.sources["real"]
        assert made is not None
        begin = time.perf_counter()
        specs = {job: self._spec(job, made.n) for job in self.wanted}
        scores, failed = self._scores()
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
            scores={specs[job].id: score for job, score in scores.items()},
            failed={specs[job].id: why for job, why in failed.items()},
            metrics={spec.id: spec for spec in specs.values()},
            labels={specs[job].id: describe.label(job) for job in self.wanted},
            generated=describe.side(made),
            reference=reference,
            extractors={describe.full_name(e): describe.network(e) for e in extractors},
            warnings=tuple(self._warnings()),
            seconds=self.seconds,
            environment=environment(self.device, self.spec.batch, hashes),
        )

    def _scores(self) -> tuple[dict[Job, Score], dict[Job, str]]:
        """What can be computed, and why the rest cannot.

        Raises:
            ConfigError: Where nothing can.
        """
        scores: dict[Job, Score] = {}
        failed = {job: why for job in self.wanted if (why := self._failed(job))}
        self.progress(Progress("score", 0.0, 0.0))
        with suppress(*FAILURES):  # each metric then makes its own products, and says why
            self._share()
        for done, job in enumerate(self.wanted):
            if job in failed:
                continue
            self.progress(
                Progress("score", done / len(self.wanted), 0.0, detail=f"score {job.name}")
            )
            try:
                scores[job] = self._score(job)
            except FAILURES as error:
                failed[job] = reason(error)
        if not scores:
            raise ConfigError(next(iter(failed.values())))
        return scores, failed

    def _share(self) -> None:
        """Let metrics of one network that read the same products of features make them once."""
        for request, network in self.networks.items():
            mine = {j.metric.name: j.options for j in self.set_jobs if j.extractor == request}
            if network.made is not None and network.real is not None:
                prepare(network.made, network.real.features, mine)

    def _score(self, job: Job) -> Score:
        if isinstance(job.metric, PairMetric):
            assert self.comparing is not None
            return self.comparing.score(job)
        network = self._network(job)
        assert network.made is not None
        real = None if network.real is None else network.real.features
        return job.metric(network.made, real, job.options)

    def _spec(self, job: Job, n: int) -> MetricSpec:
        extractor = None if job.extractor is None else self._network(job).extractor
        return describe.metric_spec(job, extractor, self.reference, n, self.texts)

    def _warnings(self) -> Iterator[str]:
        """Each once, with the side that it is of."""
        said: dict[str, None] = {}
        for side, word in _WORDS.items():
            source = self.sources[side]
            mine = [] if source is None else list(source.warnings)
            name = self.reference if source is None else source.name
            if side == "real":
                known = [n.real.told.warnings for n in self.networks.values() if n.real]
                mine += [warning for warnings in known for warning in warnings]
            for warning in mine:
                if not (warning.startswith(GREY) and guards.grey_is_fine(self.networks)):
                    said[f"{word} {name}: {warning.removeprefix(f'{name}: ')}"] = None
        yield from said
        yield from dict.fromkeys(self.said)
        yield from guards.warnings(self.sources["made"], self.sources["real"])
        yield from guards.other_purpose(self.networks, self.colour)
        for job in self.set_jobs:
            network = self._network(job)
            if network.made is not None and network.real is not None and not self._failed(job):
                yield from guards.few_images(job, network.made, network.real.features)


_WORDS: dict[_Name, str] = {"made": "generated images", "real": "reference"}
