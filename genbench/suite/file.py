"""Suite files and the `key=value` changes to them.

A file may have parts, `[[parts]]`, each a suite of its own with a `name`: what stands above them
holds for all.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field
from pydantic.fields import FieldInfo

from genbench import metrics, registry
from genbench.files import read_text, toml_of
from genbench.spec import (
    MOST_IMAGES,
    Budget,
    ConfigError,
    Spec,
    nearest,
    parse,
    read_value,
)

__all__ = ["Row", "Suite", "changed", "load", "names", "parts"]


class Row(Spec):
    """One line of the table, before seeds.

    Attributes:
        baseline: The family's name.
        options: Sampling options of the family, e.g. `{sampler = "ddim", steps = 50}`.
        preset: Named settings and sampling options of the family, such as "paper", that stand for
            its defaults.
        config: Settings that differ from the preset, or from the defaults.
        budget: Instead of the suite's.
        weights: "ema" or "raw"; by default the average where the family keeps one.
    """

    baseline: str
    options: dict[str, Any] = Field(default_factory=dict)
    preset: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    budget: Budget | None = None
    weights: Literal["ema", "raw"] | None = None


class Suite(Spec):
    """A table to be made: one budget, one dataset, one set of metrics, many rows.

    Attributes:
        name: The file's stem.
        description: One line for `genbench ls`.
        dataset: `NAME` or `NAME@SIZE`.
        task: What is asked for: "unconditional", "class_label", "paired:outline"; see `tasks`.
        questions: Of `class_label`: "shares" asks for classes as often as the reference has them,
            which is what distances compare with; "balanced" for each equally often.
        n: Samples for each row.
        seeds: Training seeds; each makes a cell of every row.
        sample_seed: Of the sampling noise.
        metrics: Short names, e.g. `["fd", "is"]`, or NAME@EXTRACTOR for another network.
        extractor: The network that the metrics look through, e.g. "digits-cnn", "inception/clean".
        metric_options: Settings of metrics by metric or group: `{kid = {subset_size = 100}}`;
            on the command line `kid.subset_size=100`.
        reference: The split that distances are measured to.
        budget: When training ends, for every row.
        batch: "family" takes each family's own batch; "budget" one that the budget gives enough
            updates with, by one rule for all, see `suite.batch`.
        rows: What is compared.
        limit: At most so many of the rows, the first ones; their numbers stay what they are.
        optional: Whether it is left out where its dataset is not at hand.
        threads: CPU threads of a cell where the command does not say: sums are rounded by how
            threads share them, so that the same bits need the same number.
    """

    name: str
    description: str = ""
    dataset: str
    task: str = "unconditional"
    questions: Literal["shares", "balanced"] = "shares"
    n: int = Field(ge=2, le=MOST_IMAGES)
    seeds: tuple[int, ...] = (0,)
    sample_seed: int = 0
    metrics: tuple[str, ...]
    extractor: str
    metric_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    reference: str = "train"
    budget: Budget
    batch: Literal["family", "budget"] = "family"
    rows: tuple[Row, ...]
    limit: int | None = Field(None, ge=1)
    optional: bool = False
    threads: int | None = Field(None, ge=1, le=1024)


def names() -> list[str]:
    """The suites in the package."""
    folder = files("genbench") / "suites"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def load(name: str, changes: list[str] | None = None) -> Suite:
    """A suite by name or path, or one part as SUITE/PART, with `key=value` changes.

    A key is a field of the suite (`n=64`, `budget.images=1000`, `seeds=0,1`, `limit=3` for the
    first three rows), `baseline=a,b` for the rows of these families alone, or `FAMILY.FIELD=value`
    for a setting or sampling option of a family (`ddpm.ema=none` switches one off),
    `FAMILY.preset=paper` for many at once, or `weights=raw` and `FAMILY.weights=raw` for the
    weights of the last step instead of their average.

    Raises:
        ConfigError: For unknown suites and keys, with the nearest valid ones.
    """
    of, slash, part = name.partition("/")
    if slash and of in names() and (chosen := parts(of, [f"parts={part}", *(changes or ())])):
        return chosen[0]
    content = _content(name)
    if "parts" in content:
        listed = ", ".join(f"{name}/{part['name']}" for part in content["parts"])
        raise ConfigError(f"suite {name!r} has parts; name one of them: {listed}")
    return changed(content, changes or ())


def _content(name: str) -> dict[str, Any]:
    text = _read(name)
    try:
        content = toml_of(text)
    except ValueError as error:
        raise ConfigError(f"suite {name!r} is not valid TOML: {error}") from None
    content.setdefault("name", Path(name).stem)
    return content


def parts(name: str, changes: Sequence[str] = ()) -> list[Suite]:
    """The parts of a suite, each named SUITE/PART; a suite without parts is its only one.

    Changes are those of `load`, and hold for every part that they fit; `PART.KEY=value` is for one
    part, `parts=a,b` keeps some.

    Raises:
        ConfigError: As `load`, and for changes that fit no part.
    """
    content = _content(name)
    listed = content.pop("parts", None)
    if listed is None:
        return [changed(content, changes)]
    suite = content.pop("name")
    for part in listed:
        if "name" not in part:
            raise ConfigError(f"suite {suite!r}: every part needs a name")
    found = {part["name"]: content | part | {"name": f"{suite}/{part['name']}"} for part in listed}
    mine: dict[str, list[str]] = {part: [] for part in found}
    for change in changes:
        key, _, text = change.partition("=")
        head, _, rest = key.partition(".")
        if key == "parts":
            wanted = text.strip("[]").split(",")
            if unknown := [part for part in wanted if part not in found]:
                raise ConfigError(
                    f"suite {suite!r} has no part {unknown[0]!r}; {nearest(unknown[0], found)}"
                )
            mine = {part: own for part, own in mine.items() if part in wanted}
        elif head in found and rest:
            for part in mine.keys() & {head}:
                mine[part].append(f"{rest}={text}")
        else:
            for part in _fitting(change, {p: found[p] for p in mine}, suite):
                mine[part].append(change)
    loaded = [changed(found[part], own) for part, own in mine.items()]
    return [part for part in loaded if part.rows]


def _fitting(change: str, parts: Mapping[str, dict[str, Any]], suite: str) -> list[str]:
    """The parts that a change is for: of a family's setting those that have a row of it.

    Raises:
        ConfigError: Where there are none.
    """
    key, _, text = change.partition("=")
    head, _, rest = key.partition(".")
    if key == "baseline":
        there = {row["baseline"] for part in parts.values() for row in part["rows"]}
        if absent := [name for name in text.split(",") if name not in there]:
            raise ConfigError(
                f"no part of suite {suite!r} has a row {absent[0]!r}; {nearest(absent[0], there)}"
            )
        wanted = set(text.split(","))
        for part in parts.values():
            part["rows"] = [row for row in part["rows"] if row["baseline"] in wanted]
        return []
    if key == "questions":
        asking = [p for p, part in parts.items() if "class_label" in part.get("task", "")]
        if not asking:
            raise ConfigError(f"{change!r} is of class_label, and no part of {suite!r} has it")
        return asking
    if not (head in registry.families() and rest):
        return list(parts)
    rows = {p: [row["baseline"] for row in part["rows"]] for p, part in parts.items()}
    fitting = [part for part, families in rows.items() if head in families]
    if not fitting:
        raise ConfigError(f"no part of suite {suite!r} has a row {head!r} to change {rest} of")
    return fitting


def changed(content: dict[str, Any], changes: Sequence[str], where: str = "") -> Suite:
    """A suite from what its file would hold, with `key=value` changes.

    Args:
        content: What the file would hold.
        changes: See `load`.
        where: What messages call it; by default "suite NAME".

    Raises:
        ConfigError: As `load`.
    """
    where = where or f"suite {content['name']!r}"
    parse(Suite, content, where)  # so that a mistake in the file is not blamed on a change
    for change in changes:
        _apply(content, change, where)
    return parse(Suite, content, where)


def _read(name: str) -> str:
    if name.endswith(".toml") or "/" in name:
        try:
            return read_text(Path(name), encoding="utf-8-sig")  # editors may add a BOM
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"cannot read suite file {name}: {why}") from None
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
    elif key == "weights":
        content["rows"] = [row | {"weights": read_value(text)} for row in content["rows"]]
    elif head not in Suite.model_fields:
        valid = [*Suite.model_fields, "baseline", "weights", "data.root", *registry.families()]
        raise ConfigError(f"{where}: unknown key {key!r}; {nearest(head, valid)}")
    elif rest:
        if not isinstance(content.get(head), dict):
            raise ConfigError(f"{where}: {head} has no parts, set it as {head}=value")
        content[head][rest] = read_value(text)
    elif head in ("seeds", "metrics"):
        content[head] = [read_value(part) for part in text.strip("[]").split(",")]
    else:
        content[head] = read_value(text)


def _none(value: Any, field: FieldInfo | None) -> Any:
    """`value`, or None for the word "none" where a setting may be off, as `ema=none`."""
    off = field is not None and type(None) in get_args(field.annotation)
    return None if off and value == "none" else value


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
    of_row = ("preset", "weights")
    if field not in (*of_row, *fields):
        raise ConfigError(f"{name} has no setting {field!r}; {nearest(field, [*of_row, *fields])}")
    value = _none(value, {**cls.Config.model_fields, **cls.Options.model_fields}.get(field))
    rows = [row for row in content["rows"] if row["baseline"] == name]
    if not rows:
        raise ConfigError(f"suite {content['name']!r} has no row {name!r} to change {field} of")
    for row in rows:
        if field in of_row:
            row[field] = value
        else:
            row[fields[field]] = {**row.get(fields[field], {}), field: value}
