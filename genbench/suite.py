"""Suites: which rows a table has. A TOML file and `key=value` changes become a list of cells."""

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from genbench import data, features, metrics, registry
from genbench.spec import (
    Budget,
    Cell,
    ConfigError,
    MetricSpec,
    SampleSpec,
    Spec,
    TrainSpec,
    nearest,
    parse,
    read_value,
)

if TYPE_CHECKING:
    from genbench.api import Config, Options

__all__ = ["Row", "Suite", "changed", "load", "names", "plan", "settings"]


class Row(Spec):
    """One line of the table, before seeds.

    Attributes:
        baseline: The family's name.
        options: Sampling options of the family, e.g. `{sampler = "ddim", steps = 50}`.
        config: Settings of the family that differ from its defaults.
        budget: Instead of the suite's.
        weights: "ema" or "raw"; by default the average where the family keeps one.
    """

    baseline: str
    options: dict[str, Any] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    budget: Budget | None = None
    weights: Literal["ema", "raw"] | None = None


class Suite(Spec):
    """A table to be made: one budget, one dataset, one set of metrics, many rows.

    Attributes:
        name: The file's stem.
        description: One line for `genbench ls`.
        dataset: `NAME` or `NAME@SIZE`.
        task: "unconditional" or "class_label".
        n: Samples for each row.
        seeds: Training seeds; each makes a cell of every row.
        sample_seed: Of the sampling noise.
        metrics: Short names, e.g. `["fd", "is"]`.
        extractor: The network that the metrics look through, e.g. "digits-cnn", "inception/clean".
        metric_options: Settings of metrics by metric or group: `{kid = {subset_size = 100}}`;
            on the command line `kid.subset_size=100`.
        reference: The split that distances are measured to.
        budget: When training ends, for every row.
        rows: What is compared.
    """

    name: str
    description: str = ""
    dataset: str
    task: str = "unconditional"
    n: int = Field(ge=2)
    seeds: tuple[int, ...] = (0,)
    sample_seed: int = 0
    metrics: tuple[str, ...]
    extractor: str
    metric_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    reference: str = "train"
    budget: Budget
    rows: tuple[Row, ...]


def names() -> list[str]:
    """The suites in the package."""
    folder = files("genbench") / "suites"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load(name: str, changes: list[str] | None = None) -> Suite:
    """A suite by name or path, with `key=value` changes.

    A key is a field of the suite (`n=64`, `budget.images=1000`, `seeds=0,1`), `baseline=a,b`
    for the rows of these families alone, or `FAMILY.FIELD=value` for a setting or sampling option
    of a family.

    Raises:
        ConfigError: For unknown suites and keys, with the nearest valid ones.
    """
    text = _read(name)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"suite {name!r} is not valid TOML: {error}") from None
    content.setdefault("name", Path(name).stem)
    return changed(content, changes or ())


def changed(content: dict[str, Any], changes: Sequence[str]) -> Suite:
    """A suite from what its file would hold, with `key=value` changes.

    Raises:
        ConfigError: As `load`.
    """
    where = f"suite {content['name']!r}"
    parse(Suite, content, where)  # so that a mistake in the file is not blamed on a change
    for change in changes:
        _apply(content, change, where)
    return parse(Suite, content, where)


def _read(name: str) -> str:
    if name.endswith(".toml") or "/" in name:
        try:
            return Path(name).read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"cannot read suite file {name}: {error.strerror}") from None
    if name not in names():
        raise ConfigError(
            f"unknown suite {name!r}; {nearest(name, names())}, or a path ending in .toml"
        )
    return (files("genbench") / "suites" / f"{name}.toml").read_text("utf-8")


def _apply(content: dict[str, Any], change: str, where: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"{change!r} is not of the form key=value")
    head, _, rest = key.partition(".")
    if key == "baseline":
        _keep_rows(content, text.split(","))
    elif head in registry.families() and rest:
        _change_family(content, head, rest, read_value(text))
    elif head in metrics.groups() and rest:
        content.setdefault("metric_options", {}).setdefault(head, {})[rest] = read_value(text)
    elif head not in Suite.model_fields:
        valid = [*Suite.model_fields, "baseline", "data.root", *registry.families()]
        raise ConfigError(f"{where}: unknown key {key!r}; {nearest(head, valid)}")
    elif rest:
        if not isinstance(content.get(head), dict):
            raise ConfigError(f"{where}: {head} has no parts, set it as {head}=value")
        content[head][rest] = read_value(text)
    elif head in ("seeds", "metrics"):
        content[head] = [read_value(part) for part in text.strip("[]").split(",")]
    else:
        content[head] = read_value(text)


def _keep_rows(content: dict[str, Any], wanted: list[str]) -> None:
    """The rows of these families; a family that the suite does not have gets a row of its own."""
    known = registry.families()
    for name in wanted:
        if name not in known:
            raise ConfigError(f"unknown baseline {name!r}; {nearest(name, known)}")
    rows = [row for row in content["rows"] if row["baseline"] in wanted]
    there = {row["baseline"] for row in rows}
    content["rows"] = rows + [{"baseline": name} for name in wanted if name not in there]


def _change_family(content: dict[str, Any], name: str, field: str, value: Any) -> None:
    cls = registry.load(name)
    fields = {**dict.fromkeys(cls.Config.model_fields, "config")}
    fields |= dict.fromkeys(cls.Options.model_fields, "options")
    if field not in fields:
        raise ConfigError(f"{name} has no setting {field!r}; {nearest(field, fields)}")
    rows = [row for row in content["rows"] if row["baseline"] == name]
    if not rows:
        raise ConfigError(f"suite {content['name']!r} has no row {name!r} to change {field} of")
    for row in rows:
        row[fields[field]] = {**row.get(fields[field], {}), field: value}


def plan(suite: Suite, data_root: Path | None = None) -> list[Cell]:
    """The cells of a suite, row by row, seed by seed, with names checked and defaults filled in.

    Raises:
        ConfigError: For an unknown dataset, metric, extractor, baseline, setting or option.
    """
    data.check(suite.dataset)
    if suite.reference not in data.SPLITS:
        where = f"suite {suite.name!r}: reference {suite.reference!r}"
        raise ConfigError(f"{where} is no split; {nearest(suite.reference, data.SPLITS)}")
    fingerprint = data.fingerprint(suite.dataset, data_root)
    wanted = [member for name in suite.metrics for member in metrics.expand(name)]
    scored = tuple(_metric(suite, name) for name in dict.fromkeys(wanted))
    cells = [
        Cell(sample=_sample(suite, row, seed, fingerprint), metrics=scored)
        for row in suite.rows
        for seed in suite.seeds
    ]
    return list({cell.key: cell for cell in cells}.values())  # a reference has no training seed


def _metric(suite: Suite, name: str) -> MetricSpec:
    metric, request = metrics.get(name), features.parse(suite.extractor)
    network = features.NETWORKS.get(request.name)  # None: shipped, or the user's own
    if network and not network.classes and "probs" in metric.reads:
        raise ConfigError(
            f"metric {name!r} needs class probabilities, which {request.name!r} does not "
            "give; leave it out of metrics=, or choose another extractor"
        )
    given: dict[str, Any] = {}
    for place in (metric.group, metric.name):
        given |= suite.metric_options.get(place, {})
    options = parse(metric.options, given, f"options of {name}")
    if suite.n < metric.fewest(options):
        raise ConfigError(
            f"metric {name!r} needs n={metric.fewest(options)} or more, not n={suite.n}"
        )
    return MetricSpec(
        name=metrics.called(metric, request.name),
        extractor=":".join((request.name, *request.arguments)),
        protocol=request.protocol,
        reference=f"{suite.dataset}:{suite.reference}" if metric.reference else "",
        n=suite.n,
        weights=features.card(request.name)["sha256"] if request.name in features.names() else "",
        options=metric.changed(options),
    )


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


def _sample(suite: Suite, row: Row, seed: int, fingerprint: str) -> SampleSpec:
    from genbench.tasks import task

    cls = registry.load(row.baseline)
    trains = cls.kind != "reference"
    if trains and cls.cond is not task(suite.task).cond:
        raise ConfigError(
            f"{row.baseline} takes {cls.cond.__name__}, which is not task {suite.task!r}"
        )
    config, options = settings(row.baseline, row.config, row.options)
    if row.weights == "ema" and config.ema is None:
        raise ConfigError(
            f"{row.baseline} keeps no average: set {row.baseline}.ema=IMAGES or weights=raw"
        )
    train = TrainSpec(
        baseline=row.baseline,
        config=config.model_dump(mode="json"),
        dataset=suite.dataset,
        data=fingerprint,
        task=suite.task,
        budget=(row.budget or suite.budget) if trains else Budget(),
        seed=seed if trains else 0,
        version=registry.version(row.baseline),
    )
    return SampleSpec(
        train=train,
        options=options.model_dump(mode="json"),
        weights=row.weights or ("raw" if config.ema is None else "ema"),
        n=suite.n,
        seed=suite.sample_seed,
    )
