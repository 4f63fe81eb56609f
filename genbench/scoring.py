"""From samples to scores: networks look at images once, metrics at what the networks say.

Three kinds of metrics: of sets (`Metric`), of samples beside the right answers (`PairMetric`), and
of what samples were asked for (`TaskMetric`).
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from genbench import dist, features, metrics
from genbench.api import Caption, Layout
from genbench.data import Dataset, words
from genbench.evaluation import guards
from genbench.features import Extractor, TextExtractor
from genbench.metrics import Answers, FeatureSet, Metric, PairMetric, TaskMetric
from genbench.metrics.pairs import pair_score
from genbench.metrics.shared import prepare
from genbench.runtime import Progress, Runtime
from genbench.spec import Cell, ConfigError, MetricSpec, content_key
from genbench.stats import Score
from genbench.store import Artifact, Store
from genbench.tasks import Examples, domains, showing, task
from genbench.tasks.wanted import Wanted, class_names

__all__ = ["SHOWN", "Scoring"]

SHOWN = 64  # samples whose questions are kept for pictures

Pixels = NDArray[np.uint8]


@dataclass
class Scoring:
    """The metrics of one cell.

    Attributes:
        cell: What is scored, and by what.
        made: The samples, uint8 (n, C, H, W).
        more: More samples by name, drawn when a metric asks; see `sample.more`.
        dataset: Loads a split, of the cell's dataset or of another one by name.
        store: Keeps features.
        runtime: Batch size and progress.
        hashes: sha256 of every network's weights that was used.
        reasons: What metrics say of samples that failed, by metric id: a line for each sample.
    """

    cell: Cell
    made: Pixels
    more: Callable[[str], Pixels]
    dataset: Callable[..., Dataset]
    store: Store
    runtime: Runtime
    hashes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    _sets: dict[str, FeatureSet] = field(default_factory=dict)
    _extractors: dict[str, Extractor] = field(default_factory=dict)
    _answers: dict[str, Answers] = field(default_factory=dict)
    _texts: dict[str, FeatureSet] = field(default_factory=dict)

    def look(self) -> None:
        """Show every image that a metric of sets needs to its network."""
        for spec in self.cell.metrics:
            if isinstance(metrics.find(spec.name), Metric):
                self._sides(spec)

    def scores(self) -> dict[str, Score]:
        """All scores by metric id."""
        self._share()
        found = {}
        for spec in self.cell.metrics:
            metric = metrics.find(spec.name)
            options = metric.options.model_validate(dict(spec.options))
            if isinstance(metric, Metric):
                made, real = self._sides(spec)
                found[spec.id] = metric(made, real, options)
            elif isinstance(metric, PairMetric):
                found[spec.id] = self._pairs(metric, options)
            else:
                found[spec.id] = self._answer(metric, spec, options)
        return found

    def shown(self) -> tuple[dict[str, Pixels], dict[str, Any]]:
        """Of the first samples what they were asked, for pictures: tensors and texts.

        `asked`, what a question shows; `truth`, its right answer, where there is one; `texts`,
        what it says; `reasons`, why a metric says that a sample fails.
        """
        index = self._index[:SHOWN]
        cond, truth = self._questions.condition(index), self._truth[:SHOWN]
        pictures = showing.pictures(cond)
        tensors = {} if pictures is None else {"asked": pictures.numpy()}
        if self._questions.aligned or isinstance(cond, Caption | Layout):
            tensors["truth"] = truth.numpy()
        name = self.cell.sample.train.task
        info = {
            "texts": showing.texts(task(name), cond, self._questioned),
            "reasons": {id: lines[:SHOWN] for id, lines in self.reasons.items()},
            "aligned": self._questions.aligned,
        }
        return tensors, info

    def notes(self) -> dict[str, str]:
        """What a reader of the scores must know of the questions and numbers; see `Dataset`."""
        notes = {}
        name = self.cell.sample.train.task
        if name != "unconditional" and (text := task(name).about(self._questioned, self._like)):
            notes["questions"] = text
        if short := list(dict.fromkeys(self._short())):
            notes["few images"] = f"{', '.join(short)}: too high, and comparable at equal n only"
        return notes

    def _short(self) -> Iterator[str]:
        """The Frechet distances that are clearly too high for want of images."""
        for spec in self.cell.metrics:
            if spec.name in ("fd", "fid"):
                made, _ = self._sides(spec)
                dim = made.features.shape[1]
                if guards.few(made.n, dim):
                    yield f"{spec.name.upper()} of {made.n:,} images in {dim:,} features"

    # --- sets ------------------------------------------------------------------------------------

    def _sides(self, spec: MetricSpec) -> tuple[FeatureSet, FeatureSet | None]:
        """The samples and the reference, through the metric's network."""
        extractor = self._extractor(spec)
        made = self._features(extractor, self._made_hash, lambda: self.made)
        if "text" in metrics.get(spec.name).reads:
            if extractor.name not in self._texts:
                self._texts[extractor.name] = self._with_text(made, extractor)
            made = self._texts[extractor.name]
        return made, self._real(spec, extractor)

    @cached_property
    def _made_hash(self) -> str:
        """By content: samples made again on another device have features of their own."""
        return hashlib.sha256(self.made.tobytes()).hexdigest()

    def _share(self) -> None:
        """Let metrics of one network that read the same products of features make them once."""
        found = [(spec, metrics.find(spec.name)) for spec in self.cell.metrics]
        chosen = [(spec, metric) for spec, metric in found if isinstance(metric, Metric)]
        for extractor in dict.fromkeys(spec.extractor for spec, _ in chosen):
            mine = [(s, m) for s, m in chosen if s.extractor == extractor]
            wanted = {m.name: m.options.model_validate(dict(s.options)) for s, m in mine}
            sides = (self._sides(spec) for spec, _ in mine)
            both = next(((made, real) for made, real in sides if real is not None), None)
            if both is not None:
                prepare(*both, wanted)

    def _extractor(self, spec: MetricSpec) -> Extractor:
        name = spec.network
        if name not in self._extractors:
            self._extractors[name] = features.load(name).to(self.runtime.device)
        extractor = self._extractors[name]
        self.hashes[spec.extractor] = extractor.sha256
        if spec.weights and extractor.sha256 != spec.weights:
            raise RuntimeError(f"the weights of {spec.extractor} changed since this was planned")
        return extractor

    def _real(self, spec: MetricSpec, extractor: Extractor) -> FeatureSet | None:
        if not spec.reference:
            return None
        name, split = spec.compared
        loaded = self.dataset(split, name)
        if not spec.answered:
            return self._features(extractor, loaded.hash, loaded.images.numpy)
        images = task(self.cell.sample.train.task).questions(loaded).images
        return self._features(extractor, content_key([loaded.hash, spec.reference]), images.numpy)

    def _features(
        self, extractor: Extractor, source: str, images: Callable[[], Any]
    ) -> FeatureSet:
        """Features of a set of images, kept by what the images are and what looked at them."""
        key = content_key([source, extractor.name, extractor.protocol, extractor.sha256])
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
            shown = torch.from_numpy(images[start : start + batch]).to(self.runtime.device)
            out = extractor(shown).cpu()
            parts.setdefault("features", []).append(out.features.numpy())
            if out.probs is not None:
                parts.setdefault("probs", []).append(out.probs.numpy())
            spent, done = time.perf_counter() - begin, min(start + batch, n)
            rate = done / max(spent, 1e-9)
            self.runtime.progress(Progress("features", done / n, rate, (n - done) / rate))
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _with_text(self, made: FeatureSet, extractor: Extractor) -> FeatureSet:
        """The same features, with those of the captions that the samples were asked for."""
        if not hasattr(extractor, "text"):
            raise ConfigError(
                f"extractor {extractor.name!r} reads no captions; choose scenes-clip or open_clip"
            )
        encoder = cast(TextExtractor, extractor)
        text = encoder.text(self._captions).cpu().numpy()
        return FeatureSet(made.n, {"features": made.features, "text": text})

    # --- questions -------------------------------------------------------------------------------

    @cached_property
    def _questioned(self) -> Dataset:
        return self.dataset("test")

    @cached_property
    def _like(self) -> Dataset | None:
        shares = self.cell.sample.shares
        return self.dataset(shares) if shares else None

    @cached_property
    def _questions(self) -> Examples:
        return task(self.cell.sample.train.task).questions(self._questioned, self._like)

    @cached_property
    def _index(self) -> torch.Tensor:
        return torch.arange(len(self.made)) % len(self._questions)

    @cached_property
    def _captions(self) -> list[str]:
        tokens = self._questioned.annotation("tokens")[self._questions.rows[self._index]]
        return words.decode(tokens, self._questioned.words("tokens"))

    @cached_property
    def _truth(self) -> torch.Tensor:
        return self._questions.images[self._index]

    def _words(self, name: str) -> tuple[str, ...]:
        """Names of the dataset's; classes and domains are those of the task, in its order."""
        if name in ("class", "domain"):
            wanted = task(self.cell.sample.train.task)
            of = class_names if name == "class" else domains.names
            return of(Wanted(wanted.name, wanted.argument, self._questioned))
        return self._questioned.words(name)

    def _pairs(self, metric: PairMetric, options: Any) -> Score:
        if not self._questions.aligned:
            raise ConfigError(
                f"metric {metric.name!r} needs the one right answer of every question, which task "
                f"{self.cell.sample.train.task!r} on {self._questioned.name!r} does not know"
            )
        values, truth = [], self._truth
        for start in range(0, len(self.made), self.runtime.batch):
            rows = slice(start, start + self.runtime.batch)
            values.append(metric.values(torch.from_numpy(self.made[rows]), truth[rows], options))
        return pair_score(np.concatenate(values), cap=getattr(options, "cap", None))

    def _answer(self, metric: TaskMetric, spec: MetricSpec, options: Any) -> Score:
        answers = self._answers_to(spec)
        if metric.explain is not None:
            self.reasons[spec.id] = metric.explain(answers, options)
        return metric(answers, options)

    def _answers_to(self, spec: MetricSpec) -> Answers:
        """What a metric looks at; those of one network share what it sees."""
        if spec.extractor in self._answers:
            return self._answers[spec.extractor]
        rows = self._questions.rows[self._index]
        same = [metrics.find(s.name) for s in self.cell.metrics if s.extractor == spec.extractor]
        needs = {need for m in same if isinstance(m, TaskMetric) for need in m.needs}
        more = {need: torch.from_numpy(self.more(need)) for need in needs}

        def looked(side: str) -> FeatureSet:
            extractor = self._extractor(spec)
            if side == "made":
                return self._features(extractor, self._made_hash, lambda: self.made)
            truth = self._truth.numpy()
            source = hashlib.sha256(truth.tobytes()).hexdigest()
            return self._features(extractor, source, lambda: truth)

        self._answers[spec.extractor] = Answers(
            made=torch.from_numpy(self.made),
            truth=self._truth,
            cond=self._questions.condition(self._index),
            annotation=lambda name: self._questioned.annotation(name)[rows],
            words=self._words,
            network=lambda: self._extractor(spec),
            features=looked,
            again=more.get("again"),
            back=more.get("back"),
        )
        return self._answers[spec.extractor]
