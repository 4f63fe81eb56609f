"""Files of claims: a suite whose rows have names, and statements that compare them.

dataset = "digits"                  # and n, extractor, budget, ...: as in a suite
[rows]
gaussian = { baseline = "gaussian" }
eta0 = { baseline = "ddpm", options = { sampler = "ddim", steps = 10 } }
eta1 = { baseline = "ddpm", options = { sampler = "ddim", steps = 10, eta = 1.0 } }
[claims.eta]
statement = "With few steps DDIM without noise is better"
source = "arXiv:2010.02502 table 1"
measure = "fd"
expect = "eta0 < eta1"
must_beat = { row = "gaussian", measure = "fd" }    # here, or once for the file above [rows]
published = "FID 13.36 and 41.07 (CIFAR-10)"
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, model_validator

from genbench import metrics, registry, suite
from genbench.claims import expectation
from genbench.files import read_text, toml_of
from genbench.spec import ConfigError, Spec, nearest, parse
from genbench.suite import Row, Suite

__all__ = [
    "COUNTS",
    "LOSS",
    "Claim",
    "ClaimFile",
    "Count",
    "MustBeat",
    "count",
    "describe",
    "load",
    "names",
    "select",
]

SEEDS = [0, 1, 2]  # training seeds, unless a file says otherwise
_OF_TABLES = {"optional", "limit"}  # what only suites have: claims need every row


class Count(NamedTuple):
    """A measure that is no metric.

    Attributes:
        label: For people.
        exact: Whether it has no uncertainty, so that one training is enough.
        timed: Whether it is of a clock: then all rows must be timed under one circumstance.
    """

    label: str
    exact: bool = False
    timed: bool = False


COUNTS = {
    "nfe": Count("NFE", exact=True),
    "params": Count("params", exact=True),
    "train_flops": Count("train FLOPs"),
    "ms_per_image": Count("ms/image", timed=True),
    "train_seconds": Count("train s", timed=True),
}
LOSS = "loss."  # before the name of what a family logs in training, e.g. loss.perplexity


def count(measure: str) -> Count | None:
    """What `measure` is if it is no metric, else None."""
    if measure.startswith(LOSS):
        return Count(measure.removeprefix(LOSS))
    return COUNTS.get(measure)


class MustBeat(Spec):
    """What rows must be better than before a comparison of them says anything.

    Attributes:
        row: A row of the file, usually one that does not train.
        value: In its place a number, such as chance.
        none: In the place of both: why the claim needs no such reference, in words.
        measure: The metric in which they must be better, as a suite names it.
        rows: Which of the claim's rows must be; () for all. Those that are claimed to be bad need
            not be good.
    """

    row: str = ""
    value: float | None = None
    none: str = ""
    measure: str = ""
    rows: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (bool(self.row), self.value is not None, bool(self.none)).count(True) != 1:
            raise ValueError("names one of row, value and none")
        if self.none and (self.measure or self.rows):
            raise ValueError("none stands alone")
        if not self.none and not self.measure:
            raise ValueError("needs measure, the metric in which the reference must be beaten")
        return self

    def __str__(self) -> str:
        if self.none:
            return f"nothing: {self.none}"
        rows = f"{', '.join(self.rows)}: " if self.rows else ""
        return f"{rows}{self.row or f'{self.value:g}'} in {self.measure}"


class Claim(Spec):
    """A statement, and what would bear it out.

    Attributes:
        statement: One sentence.
        source: Who says so: a paper with its arXiv number, or the lecture notes.
        measure: A metric, as a suite names it; one of `COUNTS`; or `loss.NAME`, the last value of
            what the family logs as NAME in training.
        expect: What the rows should do by that measure; see `expectation`.
        must_beat: What the rows must beat for a verdict; that of the file where it says nothing.
        published: Figures of the source, with their data, where they were read there.
    """

    statement: str = Field(min_length=1)
    source: str = Field(min_length=1)
    measure: str
    expect: str
    must_beat: MustBeat | None = None
    published: str = ""


class _Named(Spec):
    """The part of a file that a suite does not have."""

    must_beat: MustBeat | None = None
    rows: dict[str, Row] = Field(min_length=1)
    claims: dict[str, Claim] = Field(min_length=1)


@dataclass(frozen=True)
class ClaimFile:
    """What a file holds.

    Attributes:
        name: Its stem.
        suite: Its rows as a suite, with every metric that a claim needs.
        rows: The names of the suite's rows, in order.
        claims: By name.
    """

    name: str
    suite: Suite
    rows: tuple[str, ...]
    claims: Mapping[str, Claim]

    def expected(self, claim: str) -> tuple[expectation.Comparison, ...]:
        """What a claim expects."""
        return expectation.parse(self.claims[claim].expect, self.rows)

    def compared(self, claim: str) -> list[str]:
        """The rows that a claim compares, each once."""
        return list(dict.fromkeys(row for one in self.expected(claim) for row in one.rows))

    def used(self, claim: str) -> set[str]:
        """The rows that a claim needs: those that it compares, and what they must beat."""
        must = self.claims[claim].must_beat
        return {*self.compared(claim), *([must.row] if must and must.row else [])}

    def only(self, claim: str) -> "ClaimFile":
        """The file with one claim and the rows that it needs.

        Raises:
            ConfigError: For an unknown claim, with the nearest one.
        """
        if claim not in self.claims:
            raise ConfigError(
                f"claims {self.name!r}: no claim {claim!r}; {nearest(claim, self.claims)}"
            )
        used = self.used(claim)
        kept = [(n, r) for n, r in zip(self.rows, self.suite.rows, strict=True) if n in used]
        return replace(
            self,
            suite=self.suite.model_copy(update={"rows": tuple(row for _, row in kept)}),
            rows=tuple(name for name, _ in kept),
            claims={claim: self.claims[claim]},
        )


def names() -> list[str]:
    """The files in the package."""
    folder = files("genbench") / "claims"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def describe() -> dict[str, str]:
    """One line about each file of the package."""
    return {name: load(name).suite.description for name in names()}


def select(wanted: Sequence[str], changes: Sequence[str] = ()) -> list[ClaimFile]:
    """Files by name or path, or one claim as FILE/CLAIM; all of the package where none is named.

    Changes are those of a suite; a family's settings change in the files that have a row of it.

    Raises:
        ConfigError: For unknown files, claims and keys, with the nearest ones.
    """
    of = dict.fromkeys(_split(name)[0] for name in (wanted or names()))
    found = {name: _changed(name, changes) for name in of}
    for change in changes:
        if not any(change in fitting for _, fitting in found.values()):
            raise ConfigError(f"no row of {', '.join(of)} has what {change!r} changes")
    chosen = []
    for name, (file, _) in found.items():
        parts = [part for n in wanted for head, part in [_split(n)] if head == name]
        chosen += [file] if "" in parts or not parts else [file.only(part) for part in parts]
    return chosen


def _split(name: str) -> tuple[str, str]:
    """The file and the claim of FILE/CLAIM."""
    if name.endswith(".toml"):
        return name, ""
    head, _, part = name.rpartition("/")
    return (head, part) if head else (part, "")


def _changed(name: str, changes: Sequence[str]) -> tuple[ClaimFile, list[str]]:
    """A file with the changes that fit it, and those."""
    plain = load(name)
    there = {row.baseline for row in plain.suite.rows}
    families = registry.families()
    fitting = []
    for change in changes:
        head, dot, _ = change.partition("=")[0].partition(".")
        if not (dot and head in families) or head in there:
            fitting.append(change)
    return load(name, fitting) if fitting else plain, fitting


def load(name: str, changes: Sequence[str] = ()) -> ClaimFile:
    """A file by name or path, with `key=value` changes as of a suite.

    Raises:
        ConfigError: For unknown files, keys, families, measures and rows, with the nearest ones.
    """
    content = _content(name)
    where = f"claims {content['name']!r}"
    valid = {*Suite.model_fields, *_Named.model_fields} - _OF_TABLES
    for key in content:
        if key not in valid:
            raise ConfigError(f"{where}: unknown key {key!r}; {nearest(key, valid)}")
    given = {key: content[key] for key in _Named.model_fields if key in content}
    named = _told(parse(_Named, given, where))
    _check_names(named, where)
    made = ClaimFile(
        name=content["name"],
        suite=_suite(content, named, changes, where),
        rows=tuple(named.rows),
        claims=named.claims,
    )
    _check_claims(made, where)
    return made


def _told(named: _Named) -> _Named:
    """The same, with the file's `must_beat` in every claim that has none of its own."""
    claims = {
        name: claim.model_copy(update={"must_beat": claim.must_beat or named.must_beat})
        for name, claim in named.claims.items()
    }
    return named.model_copy(update={"claims": claims})


def _content(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        try:
            text = read_text(Path(name), encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"cannot read claims file {name}: {why}") from None
    elif name in names():
        text = (files("genbench") / "claims" / f"{name}.toml").read_text("utf-8")
    else:
        raise ConfigError(
            f"unknown claims {name!r}; {nearest(name, names())}, or a path ending in .toml"
        )
    try:
        content = toml_of(text)
    except ValueError as error:
        raise ConfigError(f"claims {name!r} are not valid TOML: {error}") from None
    return {"name": Path(name).stem, "seeds": SEEDS, **content}


def _suite(content: dict[str, Any], named: _Named, changes: Sequence[str], where: str) -> Suite:
    """The rows as a suite with every metric that a claim needs."""
    for change in changes:
        if change.partition("=")[0] in {"baseline", "rows", "metrics", *_OF_TABLES}:
            raise ConfigError(
                f"{where}: {change!r} would take rows or measures away from claims; name the "
                "claims that you want, as FILE/CLAIM"
            )
    needed = [c.measure for c in named.claims.values() if count(c.measure) is None]
    needed += [m.measure for c in named.claims.values() if (m := c.must_beat) and m.measure]
    rest = {key: value for key, value in content.items() if key not in _Named.model_fields}
    rest["rows"] = [row.model_dump(exclude_unset=True) for row in named.rows.values()]
    rest["metrics"] = list(dict.fromkeys([*content.get("metrics", ()), *needed]))
    return suite.changed(rest, changes, where)


def _check_names(named: _Named, where: str) -> None:
    for kind, found in (("row", named.rows), ("claim", named.claims)):
        for name in found:
            if not expectation.ROW.fullmatch(name):
                raise ConfigError(
                    f"{where}: {kind} {name!r} must start with a letter and be made of a-z, 0-9, "
                    "dot, dash and underscore"
                )
    known = registry.families()
    for name, row in named.rows.items():
        if row.baseline not in known:
            raise ConfigError(
                f"{where}, row {name!r}: unknown baseline {row.baseline!r}; "
                f"{nearest(row.baseline, known)}"
            )


def _check_claims(file: ClaimFile, where: str) -> None:
    used: set[str] = set()
    for name, claim in file.claims.items():
        inside = f"{where}, claim {name!r}"
        try:
            compared = file.compared(name)
        except ConfigError as error:
            raise ConfigError(f"{inside}: {error}") from None
        if count(claim.measure) is None:
            _check_measure(claim.measure, inside, COUNTS)
        _check_must_beat(file, claim, compared, inside)
        used |= file.used(name)
    if idle := [row for row in file.rows if row not in used]:
        raise ConfigError(f"{where}: no claim compares row {idle[0]!r}; remove it")


def _check_measure(measure: str, inside: str, counts: Iterable[str] = ()) -> None:
    head = measure.partition("@")[0]
    valid = {*metrics.groups(), *counts}
    if head not in valid:
        raise ConfigError(f"{inside}: unknown measure {head!r}; {nearest(head, valid)}")
    members = metrics.expand(head)
    if len(members) > 1 and head not in members:
        raise ConfigError(
            f"{inside}: {head!r} are {len(members)} metrics; name one: {', '.join(members)}"
        )


def _check_must_beat(file: ClaimFile, claim: Claim, compared: list[str], inside: str) -> None:
    must = claim.must_beat
    if must is None:
        raise ConfigError(
            f"{inside} does not say what its rows must beat: write must_beat = {{ row = "
            '"gaussian", measure = "fd" }, here or once for the file, or { none = "WHY" }'
        )
    if must.none:
        return
    inside += ", must_beat"
    _check_measure(must.measure, inside)
    if metrics.find(must.measure.partition("@")[0]).direction == "none":
        raise ConfigError(f"{inside}: neither low nor high {must.measure!r} is better; name fd")
    if must.row and must.row not in file.rows:
        raise ConfigError(f"{inside}: unknown row {must.row!r}; {nearest(must.row, file.rows)}")
    for row in must.rows:
        if row not in compared:
            raise ConfigError(f"{inside}: {row!r} is not compared; {nearest(row, compared)}")
