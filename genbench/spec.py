"""What a run is: frozen, JSON-able specifications, each named by a hash of its content.

A run is its spec. `key` is the sha256 of the canonical JSON, so the plan, the stored artifacts and
the record of a run all find each other by the same name, and resuming means running again.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

__all__ = [
    "LIMITS",
    "MOST_IMAGES",
    "Budget",
    "Cell",
    "ConfigError",
    "MetricSpec",
    "SampleSpec",
    "Spec",
    "TrainSpec",
    "canonical_json",
    "nearest",
    "parse",
    "read_value",
]

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """The user's input is wrong; the message is one sentence: what, where, the way on."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: "did you mean 'X'? valid: A, B, C"."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names) if names else '(none)'}"


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text.

    Raises:
        ValueError: For NaN and infinities, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_key(value: object) -> str:
    """sha256 of the canonical JSON of `value`, its first 16 hex digits (64 bits)."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def read_value(text: str) -> Any:
    """TOML's reading of a value, or the text itself: `1e5`, `true`, `[1, 2]`, `ddim`."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse(model: type[Model], value: object, where: str) -> Model:
    """Validate `value` as `model`, with every mistake told in one sentence.

    Args:
        model: The pydantic model.
        value: Usually a dict from a TOML file or from `key=value` arguments.
        where: What the user knows this value as, for the message ("suite 'quick'").

    Raises:
        ConfigError: The place, what is wrong there and, for an unknown key, the nearest valid one.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = _one_a_field(model, error.errors())
        raise ConfigError("; ".join(_explain(model, e, where) for e in found)) from None


def _one_a_field(model: type[BaseModel], errors: Iterable[Any]) -> list[Any]:
    """One error for each field: of a field of several types, pydantic tells one for each type,
    with the type's inner name behind the field's."""
    merged: dict[tuple[Any, ...], Any] = {}
    for error in errors:
        loc = tuple(error["loc"])
        depth = next((i for i, part in enumerate(loc) if _is_type(model, loc[:i], part)), len(loc))
        key = (loc[:depth], error["type"] == "extra_forbidden")
        if key not in merged:
            merged[key] = {**error, "loc": loc[:depth]}
        elif depth < len(loc):
            more = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            merged[key]["msg"] += f", or {more}"
            merged[key]["input"] = merged[key]["input"] if len(loc) > depth + 1 else error["input"]
    return list(merged.values())


def _is_type(model: type[BaseModel], parents: tuple[Any, ...], part: Any) -> bool:
    """Whether a part of a place is the name of a type of a field, instead of a field or number."""
    if not isinstance(part, str) or not parents:
        return False
    owner = _model_at(model, list(parents[:-1]))
    field = owner.model_fields.get(parents[-1]) if isinstance(parents[-1], str) else None
    if field is None:
        return False
    kinds = list(_models_in(field.annotation))
    return not kinds and not _holds_names(field.annotation)


def _holds_names(annotation: Any) -> bool:
    """Whether a field holds values by name, whose names stand in the place of an error."""
    inner = getattr(annotation, "__args__", ())
    return getattr(annotation, "__origin__", None) is dict or any(map(_holds_names, inner))


def _explain(model: type[BaseModel], error: Any, where: str) -> str:
    *parents, last = error["loc"] or ("",)
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        owner = _model_at(model, parents)
        inside = ".".join(str(p) for p in parents)
        place = f"{where}, {inside}" if inside else where
        return f"{place}: unknown key {str(last)!r}; {nearest(str(last), owner.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] == "missing" else f" (given: {error['input']!r})"
    return f"{where}: {path + ': ' if path else ''}{message}{given if path else ''}"


def _model_at(model: type[BaseModel], path: list[Any]) -> type[BaseModel]:
    """The model that holds the field at `path`: walks through nested models and lists of them."""
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        if field is None:
            continue
        for candidate in _models_in(field.annotation):
            model = candidate
            break
    return model


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


# of a path in the dataset's name anything may be part, brackets and colons too
_REFERENCE = re.compile(r"(?P<dataset>.*):(?P<split>[^:\[\]]+)(?:\[(?P<task>.*)\])?", re.DOTALL)
_KEY = {"of": "key"}  # tells serializers that where a file lies does not matter


MOST_IMAGES = 10**8  # of a set of samples; the largest in the literature have 5 * 10**4


class Spec(BaseModel):
    """Base of every specification: frozen, unknown keys refused, named by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def key(self) -> str:
        """The name of this spec everywhere: `content_key` of its JSON form."""
        return content_key(self.model_dump(mode="json", context=_KEY))


def _unless_empty(content: dict[str, Any], *names: str) -> dict[str, Any]:
    """`content` without those of `names` that say nothing."""
    return {k: v for k, v in content.items() if v or k not in names}


LIMITS = {
    "images": "image updates",
    "updates": "updates of the sampled network",
    "steps": "training steps",
    "flops": "training FLOPs",
    "seconds": "seconds of training",
}  # what a budget's limits are of, for people


class Budget(Spec):
    """When training ends: the first limit that is reached. At least one for a family that trains.

    Attributes:
        images: Image updates: every optimizer update counts its batch, so a GAN's discriminator
            and generator updates both count, and it sees half as many images of data.
        updates: Optimizer updates of the networks that are sampled: a GAN's generator, whatever
            its discriminator does beside it.
        steps: Calls of the family's `step`.
        flops: Floating-point operations of forward and backward passes (two for a multiply-add),
            as `torch.utils.flop_counter` counts them; ends within one step of the limit.
        seconds: Time spent training on this machine. The only kind that is not reproducible.
    """

    images: int | None = Field(None, ge=1)
    updates: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    flops: float | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)

    @model_serializer(mode="wrap")
    def _without_later_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A field that came later is left out where it says nothing: older keys stay valid."""
        return _unless_empty(dump(self), "updates")

    def check_step(self, family: str, updates: int) -> None:
        """Refuse a budget that is below one step of so many updates.

        Raises:
            ConfigError: The least that would do.
        """
        if self.images is not None and self.images < updates:
            raise ConfigError(
                f"{family} makes {updates} updates in a step, and budget.images={self.images} "
                f"does not pay for one image in each; set budget.images={updates} or more"
            )

    @property
    def words(self) -> str:
        """For people: "600,000 image updates or 2e+12 training FLOPs"."""
        return " or ".join(
            f"{value:{',' if isinstance(value, int) else ',.4g'}} {LIMITS[name]}"
            for name, value in self.limits.items()
        )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {k: v for k, v in self.model_dump().items() if v is not None}


class TrainSpec(Spec):
    """What is trained: equal specs give equal weights on one machine.

    Attributes:
        baseline: The family's name: the stem of its file.
        config: The family's whole configuration, defaults included.
        dataset: `NAME` or `NAME@SIZE`, e.g. `digits`, `mnist@32`, `imagefolder:/photos@64`.
        data: Fingerprint of the data where its name does not fix it (folders), else empty.
        task: What is asked for: "unconditional", "class_label", "paired:outline".
        budget: When training ends.
        seed: Of the weights, the order of the data and the training noise.
        version: Hash of the family's code and of the shared blocks that it imports.
        shares: Of the questions, for reference rows, which look at them; see `SampleSpec`.
    """

    baseline: str
    config: dict[str, Any] = {}
    dataset: str
    data: str = ""
    task: str = "unconditional"
    budget: Budget = Budget()
    seed: int = 0
    version: str
    shares: str = ""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As of `Budget`."""
        return _unless_empty(dump(self), "shares")


class SampleSpec(Spec):
    """What is sampled: sample i depends on (train, options, weights, seed, i) alone.

    Attributes:
        train: What made the weights.
        options: The family's sampling options, defaults included, e.g. `{"sampler": "ddim", ...}`.
        weights: "raw", or "ema" for the average, where the family keeps one.
        n: Number of samples.
        seed: Of the sampling noise.
        shares: The split whose shares of classes the questions have; empty where each class is
            asked for equally often, or there are no classes to ask for.
    """

    train: TrainSpec
    options: dict[str, Any] = {}
    weights: Literal["raw", "ema"] = "raw"
    n: int = Field(ge=1, le=MOST_IMAGES)
    seed: int = 0
    shares: str = ""

    @model_serializer(mode="wrap")
    def _without_later_fields(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As of `Budget`."""
        return _unless_empty(dump(self), "shares")


class MetricSpec(Spec):
    """Everything that changes a metric's value, besides the samples.

    Attributes:
        name: The metric's short name: "fd", "is".
        extractor: The network, e.g. "digits-cnn".
        protocol: Named preprocessing, where an extractor has several, e.g. "tf1".
        reference: What is compared with: `DATASET:SPLIT`, followed by the task in brackets where
            it changes the images; empty for a metric of the samples alone.
        n: Number of samples that are scored.
        weights: sha256 of the extractor's weights; of a user's own network, of its code as well.
        file: Where a user's own network lies, e.g. "nets/mine.py"; neither in the key nor in the
            id, as it says nothing of what the network is.
        options: The metric's settings that differ from its defaults, e.g. `(("k", 5),)`.
        notes: What else is part of the id: weights that are not the ones the extractor's name
            stands for, another type of numbers.
    """

    name: str
    extractor: str
    protocol: str = ""
    reference: str = ""
    n: int = Field(ge=1, le=MOST_IMAGES)
    weights: str = ""
    file: str = ""
    options: tuple[tuple[str, bool | int | float | str], ...] = ()
    notes: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_later_fields(
        self, dump: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """As of `Budget`; where a file lies is no part of a key."""
        content = _unless_empty(dump(self), "file", "options", "notes")
        if info.context == _KEY:
            content.pop("file", None)
        return content

    @property
    def network(self) -> str:
        """What `features.load` takes: the network's name and protocol, or its file and name."""
        if self.file:
            return f"{self.file}:{self.extractor.rpartition(':')[2]}"
        return "/".join(part for part in (self.extractor, self.protocol) if part)

    @property
    def compared(self) -> tuple[str, str]:
        """Dataset and split of the reference, without the task; two empty strings for none."""
        found = _REFERENCE.fullmatch(self.reference)
        return (found["dataset"], found["split"]) if found else ("", "")

    @property
    def answered(self) -> str:
        """The task whose right answers the reference is, "" for the dataset's own images."""
        found = _REFERENCE.fullmatch(self.reference)
        return (found["task"] or "") if found else ""

    @property
    def id(self) -> str:
        """For people and columns, e.g. `fd@digits-cnn/digits:train/n360`."""
        options = [f"{name}={value}" for name, value in self.options]
        parts = [self.extractor, self.protocol, self.reference, f"n{self.n}"]
        parts += [*options, *self.notes]
        return f"{self.name}@" + "/".join(part for part in parts if part)


class Cell(Spec):
    """One row's worth of work, and the resources that it wants from an executor."""

    sample: SampleSpec
    metrics: tuple[MetricSpec, ...] = ()
    gpus: int = Field(0, ge=0)
    cpus: int = Field(1, ge=1)
    exclusive: bool = False

    @model_validator(mode="after")
    def _same_n(self) -> Self:
        for metric in self.metrics:
            if metric.n != self.sample.n:
                raise ValueError(
                    f"metric {metric.id} scores {metric.n} of {self.sample.n} samples"
                )
        return self
