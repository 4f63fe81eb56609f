"""From a suite to its cells: names checked, defaults filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench import data, features, metrics, registry, task_names
from genbench.metrics import Metric, PairMetric, TaskMetric
from genbench.spec import (
    Budget,
    Cell,
    ConfigError,
    MetricSpec,
    SampleSpec,
    TrainSpec,
    nearest,
    parse,
)
from genbench.suite import batch
from genbench.suite.file import Row, Suite
from genbench.suite.own_images import misfit

if TYPE_CHECKING:
    from genbench.api import Config, Options

__all__ = ["beside", "chosen", "plan", "settings"]

_AND = " + "  # between the names of suites that share a folder
_ALIGNED = ("paired", "low_res", "to_domain", "edit")  # tasks that may know the one right answer


def plan(suite: Suite, data_root: Path | None = None) -> list[Cell]:
    """The cells of a suite, row by row, seed by seed, with names checked and defaults filled in.

    Raises:
        ConfigError: For an unknown dataset, metric, extractor, baseline, setting or option.
    """
    data.check(suite.dataset, data_root)
    if suite.reference not in data.SPLITS:
        where = f"suite {suite.name!r}: reference {suite.reference!r}"
        raise ConfigError(f"{where} is no split; {nearest(suite.reference, data.SPLITS)}")
    if suite.questions == "balanced" and not _asks_classes(suite):
        raise ConfigError(
            f"suite {suite.name!r}: questions=balanced is of task class_label, and this is "
            f"{suite.task!r}; leave it out"
        )
    fingerprint = data.fingerprint(suite.dataset, data_root)
    wanted = [member for name in suite.metrics for member in _expand(name)]
    scored = tuple(
        _of_files(_metric(suite, name), suite.dataset, fingerprint)
        for name in dict.fromkeys(wanted)
    )
    for metric in scored:
        if why := misfit(metric.extractor, suite.dataset, data_root):
            raise ConfigError(
                f"suite {suite.name!r}: {why}; choose another network for metric "
                f"{metric.name!r}, e.g. extractor=inception or extractor=pixels"
            )
    _check_numbers(suite, data_root)
    if suite.task != "unconditional" and data.parse_id(suite.dataset).path is not None:
        from genbench.tasks import task

        task(suite.task).data_spec(data.load(suite.dataset, "train", root=data_root))
    cells = [
        Cell(sample=_sample(suite, row, seed, fingerprint), metrics=scored)
        for row in suite.rows[: suite.limit]
        for seed in suite.seeds
    ]
    return list({cell.key: cell for cell in cells}.values())  # a reference has no training seed


def _check_numbers(suite: Suite, data_root: Path | None) -> None:
    """Refuse more samples than a row has images to give, before anything runs."""
    for name in dict.fromkeys(row.baseline for row in suite.rows[: suite.limit]):
        cls = registry.load(name)
        if not cls.each_once:
            continue
        there = data.count(suite.dataset, cls.fit_split, data_root)
        if suite.n > there:
            raise ConfigError(
                f"suite {suite.name!r}: {name} gives every image of {suite.dataset}:"
                f"{cls.fit_split} once, which are {there:,}, and n={suite.n:,}; set n={there} or "
                f"less, or leave {name} out with baseline=NAMES"
            )


def _of_files(metric: MetricSpec, dataset: str, fingerprint: str) -> MetricSpec:
    """The metric, its id telling other files from those that were published under that name."""
    if not (fingerprint and metric.reference) or data.parse_id(dataset).path is not None:
        return metric
    return metric.model_copy(update={"notes": (*metric.notes, f"files={fingerprint[:8]}")})


def beside(
    before: tuple[str, list[Cell]] | None, name: str, cells: list[Cell]
) -> tuple[str, list[Cell]]:
    """A suite's plan in a folder that may have one: plans of other suites and datasets add up.

    What the same suite planned for the same dataset is replaced.

    Returns:
        The names of all suites in the folder, and their cells.
    """
    if before is None:
        return name, cells
    names = before[0].split(_AND)
    again = {cell.sample.train.dataset for cell in cells} if names == [name] else set()
    kept = [cell for cell in before[1] if cell.sample.train.dataset not in again]
    if not kept:
        return name, cells
    together = {cell.key: cell for cell in (*kept, *cells)}
    return _AND.join(dict.fromkeys((*names, name))), list(together.values())


def _asks_classes(suite: Suite) -> bool:
    return task_names.parse(suite.task)[0] == "class_label"


def _expand(name: str) -> list[str]:
    """The metrics of a group; those of NAME@EXTRACTOR keep their extractor."""
    name, at, extractor = name.partition("@")
    return [f"{member}{at}{extractor}" for member in metrics.expand(name)]


def _metric(suite: Suite, wanted: str) -> MetricSpec:
    name, _, extractor = wanted.partition("@")
    metric = metrics.find(name)
    given: dict[str, Any] = {}
    for place in (getattr(metric, "group", ""), metric.name):
        given |= suite.metric_options.get(place, {})
    if getattr(metric, "group", "") == "prdc":
        given.setdefault("subsample", suite.n)  # more real images than samples tell little
    options = parse(metric.options, given, f"options of {name}")
    notes = ("questions=balanced",) if suite.questions == "balanced" else ()
    common: dict[str, Any] = {
        "n": suite.n,
        "options": metric.changed(options),
        "notes": notes,
    }
    if isinstance(metric, PairMetric):
        if task_names.parse(suite.task)[0] not in _ALIGNED:
            raise ConfigError(
                f"metric {name!r} needs the one right answer of every question, which task "
                f"{suite.task!r} does not have; leave it out of metrics="
            )
        weights = metric.weights(options) if metric.weights else "pixels"
        reference = f"{suite.dataset}:test"
        return MetricSpec(name=metric.name, extractor=weights, reference=reference, **common)
    if isinstance(metric, TaskMetric):
        from genbench.tasks import task

        metric.check_task(task(suite.task).cond.__name__)
        fixed = metric.extractor if metric.extractor is not None else extractor or suite.extractor
        facts = _network(name, fixed) if fixed else {"extractor": "pixels"}
        return MetricSpec(name=metric.name, reference=f"{suite.dataset}:test", **facts, **common)
    if "text" in metric.reads and suite.task != "caption":
        raise ConfigError(f"metric {name!r} is of captions; leave it out, or take task 'caption'")
    facts = _network(name, metric.through(extractor, suite.extractor), metric)
    if suite.n < metric.fewest(options):
        raise ConfigError(
            f"metric {name!r} needs n={metric.fewest(options)} or more, not n={suite.n}"
        )
    return MetricSpec(
        name=metrics.called(metric, facts["extractor"].partition(":")[0]),
        reference=_reference(suite) if metric.reference else "",
        **facts,
        **common,
    )


def _network(name: str, extractor: str, metric: Metric | None = None) -> dict[str, str]:
    """The fields of a metric's spec that name its network.

    Raises:
        ConfigError: For a network that does not give what the metric reads.
    """
    request = features.parse(extractor)
    if metric and "probs" in metric.reads and not features.classifies(request.name):
        raise ConfigError(
            f"metric {name!r} needs class probabilities, which {request.name!r} does not "
            "give; leave it out of metrics=, or choose another extractor"
        )
    if request.name.endswith(".py"):
        found = features.load(request)  # loads torch: what it is, only its code can tell
        return {"extractor": found.name, "weights": found.sha256, "file": request.name}
    return {
        "extractor": ":".join((request.name, *request.arguments)),
        "protocol": request.protocol,
        "weights": features.card(request.name)["sha256"]
        if request.name in features.names()
        else "",
    }


def _reference(suite: Suite) -> str:
    """The real images of a distance; see `Task.reference`."""
    if suite.task == "unconditional":  # told without torch
        return f"{suite.dataset}:{suite.reference}"
    from genbench.tasks import task

    return task(suite.task).reference(suite.dataset, suite.reference)


def settings(
    baseline: str, config: Mapping[str, Any], options: Mapping[str, Any]
) -> "tuple[Config, Options]":
    """A family's configuration and sampling options, checked, with defaults filled in.

    Raises:
        ConfigError: For an unknown or invalid one, or options that do not fit the configuration.
    """
    cls = registry.load(baseline)
    checked = parse(cls.Config, config, baseline)
    chosen = parse(cls.Options, options, f"{baseline} options")
    try:
        cls.check(checked, chosen)
    except ValueError as error:
        raise ConfigError(f"{baseline} options: {error}") from None
    return checked, chosen


def chosen(row: Row) -> "tuple[Config, Options]":
    """A row's settings and sampling options: its own, then its preset's, then the defaults.

    Raises:
        ConfigError: For a preset that the family does not have, and as `settings`.
    """
    cls, config, options = registry.load(row.baseline), dict(row.config), dict(row.options)
    if row.preset is not None:
        if row.preset not in cls.presets:
            raise ConfigError(
                f"{row.baseline} has no preset {row.preset!r}; {nearest(row.preset, cls.presets)}"
            )
        preset = dict(cls.presets[row.preset])
        options = {**preset.pop("options", {}), **options}
        config = preset | config
    return settings(row.baseline, config, options)


def _sample(suite: Suite, row: Row, seed: int, fingerprint: str) -> SampleSpec:
    from genbench.tasks import task

    cls = registry.load(row.baseline)
    trains = cls.kind != "reference"
    if trains and cls.cond is not task(suite.task).cond:
        raise ConfigError(
            f"{row.baseline} takes {cls.cond.__name__}, which is not task {suite.task!r}"
        )
    config, options = chosen(row)
    budget = (row.budget or suite.budget) if trains else Budget()
    if suite.batch == "budget" and row.preset is None:
        changes = batch.for_budget(config, budget, 1 + bool(cls.sampled), row.config)
        config, options = settings(row.baseline, {**row.config, **changes}, row.options)
    shares = suite.reference if _asks_classes(suite) and suite.questions == "shares" else ""
    if row.weights == "ema" and config.ema is None:
        raise ConfigError(
            f"{row.baseline} keeps no average: set {row.baseline}.ema=IMAGES or "
            f"{row.baseline}.weights=raw"
        )
    train = TrainSpec(
        baseline=row.baseline,
        config=config.model_dump(mode="json"),
        dataset=suite.dataset,
        data=fingerprint,
        task=suite.task,
        budget=budget,
        seed=seed if trains else 0,
        version=registry.version(row.baseline),
        shares="" if trains else shares,
    )
    return SampleSpec(
        train=train,
        options=options.model_dump(mode="json"),
        weights=row.weights or ("raw" if config.ema is None else "ema"),
        n=suite.n,
        seed=suite.sample_seed,
        shares=shares,
    )
