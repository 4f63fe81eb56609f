"""From a bank and rows to findings: one look at everything that the bank has."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from genbench.gate import match
from genbench.gate.bank import Bank, BankRow, Known
from genbench.gate.rule import Decision, decide, holm
from genbench.gate.verdict import Finding
from genbench.report.rows import Row
from genbench.spec import ConfigError, nearest
from genbench.text import clean

__all__ = ["Information", "Outcome", "Settings", "judge", "numbers", "settings"]

_CLOSE = 1e-3  # relative: what another machine's arithmetic may move a row that does not train


@dataclass(frozen=True)
class Settings:
    """What is asked.

    Attributes:
        metric: Short name or id of the gated metric; None for the first of each row.
        margins: Accepted relative losses by row; under "" the one for all rows.
        alpha: Family-wise error of the quality gate.
        counters_only: Gate exact counters and nothing else.
    """

    metric: str | None = None
    margins: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05
    counters_only: bool = False

    def margin(self, row: BankRow, known: Known) -> float:
        """The margin of a row: the command's, else the bank's, else max(5 %, 3 spreads)."""
        given = self.margins.get(row.name, self.margins.get(""))
        return row.accepted(known) if given is None else given


@dataclass(frozen=True)
class Information:
    """A metric that is shown and not gated."""

    cell: str
    metric: str
    old: float
    new: float


@dataclass
class Outcome:
    """Everything that one look found.

    Attributes:
        findings: In the bank's order; of each row first its quality, then its counters.
        information: Metrics that are not gated.
        extra: Labels of rows that the bank does not have.
    """

    findings: list[Finding] = field(default_factory=list)
    information: list[Information] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Test:
    """A row whose values can be decided upon."""

    row: BankRow
    pair: match.Pair
    margin: float
    decision: Decision
    looks: int
    changed: tuple[str, ...]


def settings(
    bank: Bank,
    metric: str | None,
    margins: Mapping[str, float],
    alpha: float = 0.05,
    counters_only: bool = False,
) -> Settings:
    """Settings whose names the bank has.

    Raises:
        ConfigError: For a metric or a row that the bank does not have.
    """
    if metric is not None and not any(row.metric(metric) for row in bank.rows):
        valid = {n for row in bank.rows for i in row.metrics for n in (i, i.partition("@")[0])}
        raise ConfigError(f"the bank has no metric {metric!r}; {clean(nearest(metric, valid))}")
    for name in margins:
        if name and name not in bank.names:
            raise ConfigError(
                f"--margin: the bank has no cell {name!r}; {clean(nearest(name, bank.names))}"
            )
    return Settings(metric, margins, alpha, counters_only)


def judge(
    bank: Bank, rows: Sequence[Row], wanted: Settings, looks: Callable[[str], int]
) -> Outcome:
    """Compare all rows of the bank with the new ones.

    Args:
        bank: What was.
        rows: What is.
        wanted: What is asked.
        looks: How often a row will be looked at, at most: each look gets so many parts of alpha.
    """
    there, extra = match.by_label(rows, bank)
    outcome = Outcome(extra=extra)
    tests: dict[str, Callable[[int], _Test]] = {}
    for old in bank.rows:
        if (absent := _absent(old, there)) is not None:
            outcome.findings.append(absent)
            continue
        row = there[old.name]
        if not wanted.counters_only:
            found = _quality(old, row, wanted, looks(old.name))
            if isinstance(found, Finding):
                outcome.findings.append(found)
            else:
                tests[old.name] = found
                outcome.findings.append(Finding(old.name, "", "INCONCLUSIVE"))  # its place
            outcome.information += _information(old, row, wanted)
        outcome.findings += _counters(old, row)
    decided = _decided({name: test(len(tests)) for name, test in tests.items()}, wanted.alpha)
    outcome.findings = [f if f.metric else decided[f.cell] for f in outcome.findings]
    return outcome


def _absent(old: BankRow, there: Mapping[str, Row]) -> Finding | None:
    """MISSING or INCOMPARABLE as a whole."""
    if old.name not in there:
        near = nearest(old.name, there) if there else "there is none that the bank has"
        return Finding(old.name, "row", "MISSING", reason=f"no row of this name; {near}")
    row = there[old.name]
    why = match.incomplete(row)
    if why is not None:
        return Finding(old.name, "row", "MISSING", reason=why)
    differ = match.protocol(old, row)
    if differ:
        return Finding(old.name, "row", "INCOMPARABLE", reason=", ".join(differ))
    return None


# --- quality -------------------------------------------------------------------------------------


def _quality(
    old: BankRow, row: Row, wanted: Settings, looks: int
) -> "Finding | Callable[[int], _Test]":
    """The answer, or a test that needs to know how many tests there are."""
    chosen = old.metric(wanted.metric)
    if chosen is None:
        reason = f"the bank has no {wanted.metric} of it, only: {', '.join(old.metrics)}"
        return Finding(old.name, wanted.metric or "", "INCOMPARABLE", reason=reason)
    pair = match.pair(old, chosen[0], row)
    if pair.differ:
        return Finding(old.name, pair.id, "INCOMPARABLE", reason=", ".join(pair.differ))
    changed = tuple(match.changed(old, row))
    if not old.trains:
        return _exact(old, pair, changed)
    margin = wanted.margin(old, pair.known)
    unfit = _unfit(old, pair, margin)
    if unfit is not None:
        return unfit

    def test(tests: int) -> _Test:
        decision = decide(
            list(pair.known.values.values()),
            list(pair.values.values()),
            margin,
            wanted.alpha / looks,
            direction=pair.known.direction,
            tests=tests,
        )
        return _Test(old, pair, margin, decision, looks, changed)

    return test


def _unfit(old: BankRow, pair: match.Pair, margin: float) -> Finding | None:
    """Why there can be no decision: values without a logarithm, or a single seed."""
    place = Finding(
        old.name, pair.id, "INCONCLUSIVE", margin=margin, old=pair.known.mean, new=pair.mean
    )
    lost = [seed for seed, value in pair.values.items() if not math.isfinite(value)]
    if lost:
        return replace(place, verdict="MISSING", reason=f"seed {lost[0]} has no finite value")
    if min([*pair.known.values.values(), *pair.values.values()], default=0.0) <= 0:
        others = [n.partition("@")[0] for n in old.metrics if n != pair.id]
        way = f"gate another metric: --metric {others[0]}" if others else "bank another metric"
        reason = f"a value of {pair.id} is not above 0 and has no logarithm; {way}"
        return replace(place, verdict="INCOMPARABLE", reason=reason)
    if len(pair.values) < 2:
        reason = "one training seed says nothing of their spread; run 3 seeds: seeds=0,1,2"
        return replace(place, reason=reason)
    return None


def _exact(old: BankRow, pair: match.Pair, changed: Sequence[str]) -> Finding:
    """A row that does not train must come out as it was."""
    was, now = pair.known.mean, pair.mean if pair.mean is not None else math.nan
    better = 1 if pair.known.direction == "lower" else -1
    change = better * (now - was) / abs(was) if was else None
    place = Finding(old.name, pair.id, "PASS", change=change, margin=_CLOSE, old=was, new=now)
    if math.isclose(was, now, rel_tol=_CLOSE, abs_tol=1e-9):
        return place
    reason = (
        f"a row that does not train moved from {was:.6g} to {now:.6g}: the measuring changed, "
        f"so no row can be trusted{_about(changed)}"
    )
    return replace(place, verdict="INCOMPARABLE", reason=reason)


def _decided(tests: Mapping[str, _Test], alpha: float) -> dict[str, Finding]:
    """The verdicts of one look, with Holm's correction over all of its tests."""
    p = {name: min(1.0, test.looks * test.decision.p) for name, test in tests.items()}
    worse = holm(p, alpha)
    return {name: _finding(test, name in worse, len(tests)) for name, test in tests.items()}


def _finding(test: _Test, worse: bool, tests: int) -> Finding:
    found = test.decision
    if worse:
        reason = f"worse by at least {found.lower:.1%}, more than the {test.margin:.1%} accepted"
    elif found.outcome == "PASS":
        reason = ""
    elif found.outcome == "REGRESSED":
        reason = f"worse alone (p = {found.p:.2g}), not beside {tests - 1} other cells"
    else:
        reason = (
            f"between {found.lower:+.1%} and {found.bound:+.1%} with {len(test.pair.values)} seeds"
        )
    outcome = "INCONCLUSIVE" if found.outcome == "REGRESSED" else found.outcome
    about = _about(test.changed)
    return Finding(
        test.row.name,
        test.pair.id,
        "REGRESSED" if worse else outcome,
        change=found.change,
        bound=found.bound,
        detectable=found.detectable if math.isfinite(found.detectable) else None,
        margin=test.margin,
        reason=reason + about if reason else about.removeprefix("; "),
        old=test.pair.known.mean,
        new=test.pair.mean,
    )


def _about(changed: Sequence[str]) -> str:
    return f"; changed: {', '.join(changed)}" if changed else ""


def _information(old: BankRow, row: Row, wanted: Settings) -> list[Information]:
    chosen = old.metric(wanted.metric)
    found = []
    for name in old.metrics:
        pair = match.pair(old, name, row)
        if (chosen is None or name != chosen[0]) and not pair.differ and pair.mean is not None:
            found.append(Information(old.name, name, pair.known.mean, pair.mean))
    return found


def numbers(
    bank: Bank,
    values: Mapping[int, float] | Sequence[float],
    wanted: Settings,
    cell: str | None = None,
) -> Finding:
    """The same decision for plain numbers, one for each training seed, in one look.

    Raises:
        ConfigError: For a cell or metric that the bank does not have.
    """
    old = bank.row(bank.names[0] if cell is None and len(bank.rows) == 1 else cell or "")
    chosen = old.metric(wanted.metric)
    if chosen is None:
        raise ConfigError(
            f"the bank has no {wanted.metric!r} of {old.name!r}; "
            f"{clean(nearest(str(wanted.metric), old.metrics))}"
        )
    seeds = dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
    pair = match.Pair(chosen[0], chosen[1], seeds)
    if not old.trains:
        return _exact(old, pair, ())
    margin = wanted.margin(old, pair.known)
    unfit = _unfit(old, pair, margin)
    if unfit is not None:
        return unfit
    then, now = list(pair.known.values.values()), list(seeds.values())
    found = decide(then, now, margin, wanted.alpha, direction=pair.known.direction)
    test = _Test(old, pair, margin, found, 1, ())
    return _decided({old.name: test}, wanted.alpha)[old.name]


# --- counters ------------------------------------------------------------------------------------


def _counters(old: BankRow, row: Row) -> list[Finding]:
    """More evaluations, parameters, images or operations than the bank has are a regression."""
    found = []
    for name, (was, now) in match.counters(old, row).items():
        place = Finding(old.name, name, "PASS", old=was, new=now)
        if now is None:
            place = replace(place, verdict="INCOMPARABLE", reason="was counted, and now is not")
        elif now == was:
            place = replace(place, change=0.0, quiet=True)
        else:
            change = (now - was) / was if was else None
            more = now > was
            place = replace(
                place,
                verdict="REGRESSED" if more else "PASS",
                change=change,
                reason=_why(was, now) + _about(match.changed(old, row)),
            )
        found.append(place)
    return found


def _why(was: float, now: float) -> str:
    """What a counter that moved means."""
    if now > was:
        return f"{was:,.0f} -> {now:,.0f}: counters are exact, any more is a regression"
    return f"{was:,.0f} -> {now:,.0f}: improved, make a new bank to keep it"
