"""Files of claims: a suite whose rows have names, and statements that compare them.

dataset = "digits"                  # and n, extractor, budget, ...: as in a suite
[rows]
eta0 = { baseline = "ddpm", options = { sampler = "ddim", steps = 10 } }
eta1 = { baseline = "ddpm", options = { sampler = "ddim", steps = 10, eta = 1.0 } }
[claims.eta]
statement = "With few steps DDIM without noise is better"
source = "arXiv:2010.02502 table 1"
measure = "fd"
expect = "eta0 < eta1"
published = "FID 13.36 and 41.07 (CIFAR-10)"
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from genbench import metrics, registry, suite
from genbench.claims import expectation
from genbench.spec import ConfigError, Spec, nearest, parse
from genbench.suite import Row, Suite

__all__ = [
    "COUNTS",
    "LOSS",
    "Claim",
    "ClaimFile",
    "Count",
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


class Claim(Spec):
    """A statement, and what would bear it out.

    Attributes:
        statement: One sentence.
        source: Who says so: a paper with its arXiv number, or the lecture notes.
        measure: A metric, as a suite names it; one of `COUNTS`; or `loss.NAME`, the last value of
            what the family logs as NAME in training.
        expect: What the rows should do by that measure; see `expectation`.
        published: Figures of the source, with their data, where they were read there.
    """

    statement: str = Field(min_length=1)
    source: str = Field(min_length=1)
    measure: str
    expect: str
    published: str = ""


class _Named(Spec):
    """The part of a file that a suite does not have."""

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

    def only(self, claim: str) -> "ClaimFile":
        """The file with one claim and the rows that it compares.

        Raises:
            ConfigError: For an unknown claim, with the nearest one.
        """
        if claim not in self.claims:
            raise ConfigError(
                f"claims {self.name!r}: no claim {claim!r}; {nearest(claim, self.claims)}"
            )
        used = {row for one in self.expected(claim) for row in one.rows}
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
    valid = {*Suite.model_fields, "claims"} - _OF_TABLES
    for key in content:
        if key not in valid:
            raise ConfigError(f"{where}: unknown key {key!r}; {nearest(key, valid)}")
    given = {key: content[key] for key in _Named.model_fields if key in content}
    named = parse(_Named, given, where)
    _check_names(named, where)
    made = ClaimFile(
        name=content["name"],
        suite=_suite(content, named, changes, where),
        rows=tuple(named.rows),
        claims=named.claims,
    )
    _check_claims(made, where)
    return made


def _content(name: str) -> dict[str, Any]:
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text("utf-8")
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
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
            used |= {row for one in file.expected(name) for row in one.rows}
        except ConfigError as error:
            raise ConfigError(f"{inside}: {error}") from None
        if count(claim.measure) is not None:
            continue
        head = claim.measure.partition("@")[0]
        valid = {*metrics.groups(), *COUNTS}
        if head not in valid:
            raise ConfigError(f"{inside}: unknown measure {head!r}; {nearest(head, valid)}")
        members = metrics.expand(head)
        if len(members) > 1 and head not in members:
            raise ConfigError(
                f"{inside}: {head!r} are {len(members)} metrics; name one: {', '.join(members)}"
            )
    if idle := [row for row in file.rows if row not in used]:
        raise ConfigError(f"{where}: no claim compares row {idle[0]!r}; remove it")
