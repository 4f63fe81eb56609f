"""What differs between two records, in words: what forbids to compare them, and what is compared.

Two questions that must not be mixed up. *Are these two numbers of one kind?* They are only where
the data, the task, the budget, the sampling options and the metric's protocol are equal. *What
may have moved the number?* The configuration, the code, the packages, the machine.

Every answer is a phrase "what old -> new". The texts come from records: whoever prints them cleans
them first.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from genbench.own_code import code_of
from genbench.record import Record
from genbench.spec import MetricSpec, canonical_json

__all__ = ["changes", "flat", "metric", "protocol"]

_MISSING = object()
_SHORT = 12  # hex digits of a hash


def protocol(old: Record, new: Record) -> list[str]:
    """What makes two records incomparable; empty where they are comparable.

    Dataset and its fingerprint, hashes of the splits that both used, task and shares of classes
    that were asked for, budget, number of samples, sampling seed and options; with a budget in
    seconds the machine and the number of threads too. Training seeds may differ: they are
    repetitions. Metrics are asked one by one.
    """
    was, now = old.cell.sample, new.cell.sample
    found = [
        *_differ({"dataset": was.train.dataset}, {"dataset": now.train.dataset}),
        *_differ({"data": was.train.data}, {"data": now.train.data}),
        *_hashes(old, new, f"{was.train.dataset}:", "data "),
        *_differ({"task": was.train.task}, {"task": now.train.task}),
        *_differ({"shares of classes asked": was.shares}, {"shares of classes asked": now.shares}),
        *_differ(was.train.budget.limits, now.train.budget.limits, "budget "),
        *_differ({"n": was.n}, {"n": now.n}),
        *_differ({"sampling seed": was.seed}, {"sampling seed": now.seed}),
        *_differ(was.options, now.options, "option "),
    ]
    if "seconds" in was.train.budget.limits and "seconds" in now.train.budget.limits:
        found += [f"{text} (the budget is in seconds)" for text in _machine(old, new)]
    return found


def metric(old: Record, new: Record, was: MetricSpec, now: MetricSpec | None = None) -> list[str]:
    """What makes two values of a metric incomparable: its id, and the extractor's weights.

    Args:
        old: The record that has the older value.
        new: The one that has the newer value.
        was: The older value's metric.
        now: The newer value's; None for the same.
    """
    now = was if now is None else now
    left, right = was.model_dump(mode="json"), now.model_dump(mode="json")
    weights = [_weights(old, was), _weights(new, now)]
    for spec in (left, right):
        spec.pop("weights", None)
        spec["options"] = dict(spec.get("options", ()))
        spec.setdefault("notes", [])
    found = [f"metric's {text}" for text in _differ(left, right)]
    if left["extractor"] == right["extractor"] and all(weights) and weights[0] != weights[1]:
        found.append(f"weights of {was.extractor} {_step(*(w[:_SHORT] for w in weights))}")
    return found


def changes(old: Record, new: Record) -> list[str]:
    """What a comparison may be about: things that differ and leave two records comparable.

    Configuration, code version and weights (raw or ema) of the family, then the versions of
    packages, the commit, device, threads and machine.
    """
    was, now = old.cell.sample, new.cell.sample
    before, after = old.environment, new.environment
    return [
        *_differ({"baseline": was.train.baseline}, {"baseline": now.train.baseline}),
        *_differ({"version": was.train.version}, {"version": now.train.version}),
        *_differ({"genbench's code": code_of(old.code)}, {"genbench's code": code_of(new.code)}),
        *_differ({"weights": was.weights}, {"weights": now.weights}),
        *_differ(was.train.config, now.train.config),
        *_differ(before.packages, after.packages, "", common=True),
        *_differ({"commit": _commit(old)}, {"commit": _commit(new)}),
        *_machine(old, new),
        *(_differ({"batch": before.batch}, {"batch": after.batch}, "sampling ")),
        *(_differ({"processes": before.world_size}, {"processes": after.world_size})),
        *_differ({"deterministic": before.deterministic}, {"deterministic": after.deterministic}),
    ]


def flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping as one level: `{"a": {"b": 1}}` is `{"a.b": 1}`; empty ones stay."""
    found: dict[str, Any] = {}

    def walk(path: str, inner: Any) -> None:
        if isinstance(inner, Mapping) and (inner or not path):
            for name, part in inner.items():
                walk(f"{path}.{name}" if path else str(name), part)
        else:
            found[path] = inner

    walk("", value)
    return found


def _differ(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "", *, common: bool = False
) -> Iterator[str]:
    """A phrase for every entry that differs, by name; of all names, or of common ones."""
    was, now = flat(old), flat(new)
    names = was.keys() & now.keys() if common else was.keys() | now.keys()
    for name in sorted(names):
        pair = was.get(name, _MISSING), now.get(name, _MISSING)
        if _json(pair[0]) != _json(pair[1]):
            yield f"{prefix}{name} {_step(*map(_show, pair))}"


def _json(value: Any) -> str:
    return "" if value is _MISSING else canonical_json(value)


def _show(value: Any) -> str:
    if value is _MISSING or value is None or value == "":
        return "none"
    return value if isinstance(value, str) else canonical_json(value)


def _step(old: str, new: str) -> str:
    return f"{old} -> {new}"


def _hashes(old: Record, new: Record, start: str, prefix: str) -> Iterator[str]:
    """Splits of the data that both records used and whose content differs."""
    pair = [
        {name.removeprefix(start): value[:_SHORT] for name, value in r.environment.hashes.items()
         if name.startswith(start)}
        for r in (old, new)
    ]  # fmt: skip
    return _differ(pair[0], pair[1], prefix, common=True)


def _weights(record: Record, spec: MetricSpec) -> str:
    """sha256 of the extractor's weights: of the spec, else as the record met them, else empty."""
    return spec.weights or record.environment.hashes.get(spec.extractor, "")


def _machine(old: Record, new: Record) -> list[str]:
    before, after = old.environment, new.environment
    return [
        *_differ({"device": before.device}, {"device": after.device}),
        *_differ({"threads": before.threads}, {"threads": after.threads}),
        *_differ(before.machine, after.machine, "machine's ", common=True),
    ]


def _commit(record: Record) -> str:
    environment = record.environment
    return (environment.commit or "")[:_SHORT] + (" with changes" if environment.dirty else "")
