"""What is asked of `genbench eval`: which metrics, through which networks, with which options."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genbench import features, metrics
from genbench.metrics import Metric, PairMetric, TaskMetric
from genbench.spec import ConfigError, Spec, nearest, parse, read_value

__all__ = ["EvalSpec", "Job", "jobs", "read_changes"]

_FID = "fid"  # the name that the Frechet distance has in Inception's features, and only there


class EvalSpec(Spec):
    """Every option of `genbench eval` that can change a number, set as `key=value`.

    Attributes:
        metrics: Short names, or groups such as "prdc"; `NAME@EXTRACTOR` for another network than
            the rest.
        extractor: The network that metrics look through, with its protocol: "inception/clean".
        protocol: The protocol of `extractor`, where its name does not say.
        dtype: Numbers of the network: "float32" or "bfloat16".
        compile: Compile the network first; pays from a few hundred images on.
        resize: Height and width to bring all images to, by the rule of `genbench.data.resize`.
        alpha: What transparency becomes: "refuse", "white", "black" or "drop".
        on_error: What a file that cannot be read does: "raise" or "skip".
        captions: A file with a caption for each generated image.
        n: The number of generated images that the caller relies on; another number is refused.
        reference_n: The same of the reference.
        batch: Images decoded and looked at together; changes no number but the last digits.
        options: Settings of metrics, by metric or group: `{"kid": {"subset_size": 50}}`.
    """

    metrics: tuple[str, ...] = (_FID, "is")
    extractor: str = "inception"
    protocol: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    resize: int | None = Field(None, ge=1, le=4096)
    alpha: Literal["refuse", "white", "black", "drop"] = "refuse"
    on_error: Literal["raise", "skip"] = "raise"
    captions: Path | None = None
    n: int | None = Field(None, ge=1)
    reference_n: int | None = Field(None, ge=1)
    batch: int = Field(64, ge=1)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One number that is wanted.

    Attributes:
        metric: What is computed.
        extractor: Through which network; None for metrics of pixels.
        options: Of the metric.
    """

    metric: Metric | PairMetric
    extractor: features.Request | None
    options: Spec

    @property
    def name(self) -> str:
        """The metric's name in its id: a Frechet distance is FID in Inception's features only."""
        return metrics.called(self.metric, self.extractor.name if self.extractor else "")


def read_changes(changes: Sequence[str], spec: Mapping[str, Any]) -> EvalSpec:
    """The options of the command line: flags first, then `key=value` over them.

    `resize=64` sets a field of `EvalSpec`, `kid.subset_size=50` an option of a metric or group.

    Raises:
        ConfigError: For an unknown key, with the nearest one.
    """
    content: dict[str, Any] = {"options": {}, **spec}
    known = metrics.groups()
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise ConfigError(f"{change!r} is not of the form key=value")
        head, dot, rest = key.partition(".")
        if dot and (head in known):
            content["options"].setdefault(head, {})[rest] = read_value(text)
        elif key == "metrics":
            content["metrics"] = tuple(text.split(","))
        elif key in EvalSpec.model_fields and key != "options":
            content[key] = read_value(text)
        else:
            valid = {*EvalSpec.model_fields, *known, "data.root"} - {"options"}
            raise ConfigError(f"eval: unknown key {key!r}; {nearest(head, valid)}")
    return parse(EvalSpec, content, "eval")


def jobs(spec: EvalSpec, weights: Mapping[str, Path] | None = None) -> list[Job]:
    """The numbers that are wanted, each once, in the order in which they were named.

    Args:
        spec: The options.
        weights: Weights files by name of the extractor, or of a metric with a network of its own
            ("lpips"); "" for the extractor of the spec.

    Raises:
        ConfigError: For unknown metrics, extractors and options, with the nearest ones.
    """
    given = _Given(dict(weights or {}))
    default = spec.extractor if not spec.protocol else f"{spec.extractor}/{spec.protocol}"
    found: dict[tuple[str, features.Request | None], Job] = {}
    for text in spec.metrics:
        name, _, other = text.partition("@")
        for member in metrics.expand(name):
            metric = metrics.find(member)
            if isinstance(metric, TaskMetric):
                raise ConfigError(
                    f"metric {member!r} is of answers to the questions of a task, of which a set "
                    "of images has none; leave it out, or run a suite that asks them"
                )
            request = None
            if isinstance(metric, Metric):
                request = _network(metric, other, default, given, spec)
            own = given.file(member) if hasattr(metric.options(), "weights") else None
            job = Job(metric, request, _options(metric, spec.options, own))
            found[member, request] = job
    _check_options(spec.options, [job.metric for job in found.values()])
    given.check()
    return list(found.values())


@dataclass
class _Given:
    """Weights files that the user names, and which networks could have had one.

    Attributes:
        files: By name of the network; "" for the one that most metrics look through.
        asked: The names that a file was looked for under.
    """

    files: dict[str, Path]
    asked: dict[str, None] = field(default_factory=dict)

    def file(self, name: str, default: bool = False) -> Path | None:
        """The file of a network, or where it is the default the one without a name."""
        self.asked |= dict.fromkeys([name, ""] if default else [name])
        return self.files.get(name, self.files.get("") if default else None)

    def check(self) -> None:
        """Refuse files that no network reads.

        Raises:
            ConfigError: With the networks that could.
        """
        names = sorted(self.asked.keys() - {""})
        for name in self.files.keys() - self.asked.keys():
            file = self.files[name]
            if not names:
                way = "no metric that is asked for has a network with weights: leave it out"
            elif name:
                way = f"no metric looks through {name!r}; {nearest(name, names)}"
            else:
                way = f"say which network it is of, --weights {names[0]}={file}"
            named = f"{name}={file}" if name else f"{file}"
            raise ConfigError(f"--weights {named} would not be read: {way}")


def _network(
    metric: Metric, named: str, default: str, given: _Given, spec: EvalSpec
) -> features.Request:
    """The network that a metric looks through, of NAME@EXTRACTOR and the default."""
    network = metric.through(named, default)
    if metric.extractor:  # it has no weights, and runs as it is
        return features.parse(network)
    name = network if network.rpartition(":")[0].endswith(".py") else network.split("/")[0]
    if "text" in metric.reads and not features.reads_text(name.partition(":")[0]):
        raise ConfigError(
            f"metric {metric.name!r} compares images with captions, which {name} does not read; "
            f"name a network that does, e.g. {metric.name}@open_clip:MODEL:PRETRAINED"
        )
    file = given.file(name, default=not named)
    return features.parse(network, file, spec.dtype, spec.compile)


def _names(metric: Metric | PairMetric) -> list[str]:
    """The names that a metric's options may stand under, the most general first."""
    names = [metric.group] if isinstance(metric, Metric) and metric.group else []
    return [*names, metric.name, *([_FID] if metric.name == "fd" else [])]


def _options(
    metric: Metric | PairMetric, options: Mapping[str, Mapping[str, Any]], weights: Path | None
) -> Spec:
    """The settings of a metric; `weights` is the file of one with a network of its own."""
    chosen: dict[str, Any] = {} if weights is None else {"weights": weights}
    for name in _names(metric):
        chosen |= options.get(name, {})
    return parse(metric.options, chosen, f"options of {metric.name}")


def _check_options(options: Mapping[str, Any], wanted: Sequence[Metric | PairMetric]) -> None:
    used = {name for metric in wanted for name in _names(metric)}
    for name in options:
        if name not in used:
            raise ConfigError(f"options of {name!r} are set, but that metric is not asked for")
