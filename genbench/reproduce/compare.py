"""Then and now, number by number: the verdict on each, and on the cell that they belong to.

A score is *identical* when its value, standard error and interval are equal to the last bit, and
*equal* when |now - then| <= tolerance * |then|. Counters (network evaluations, parameters, images,
steps, FLOPs) have no tolerance. A number whose protocol differs is *not comparable*, whatever its
value; another machine, device or version of torch is a possible cause and forbids nothing.
"""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from genbench import differences
from genbench.record import Failure, Record
from genbench.reproduce.source import Entry
from genbench.reproduce.today import Attempt
from genbench.stats import Score
from genbench.text import clean

__all__ = ["EXPLAINED", "RULE", "Compared", "Outcome", "Verdict", "outcome"]

Verdict = Literal[
    "identical",
    "equal",
    "different",
    "not comparable",
    "failed",
    "failed then, ok now",
    "failed then and now",
    "not finished then",
    "damaged",
]
EXPLAINED: tuple[Verdict, ...] = get_args(Verdict)
RULE = (
    "identical: value, standard error and interval are equal to the last bit; equal: within "
    "{tolerance:g} % of the value then; counters (NFE, parameters, images, steps, FLOPs) exactly"
)
_COUNTERS = ("nfe", "params", "params_trained", "train_images", "train_steps", "train_flops")
_MISSING = ("WeightsError", "ModuleNotFoundError", "ImportError")
_WORST: tuple[Verdict, ...] = ("different", "not comparable", "equal", "identical")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Compared(_Frozen):
    """One number, then and now.

    Attributes:
        name: A metric's id, or the name of a counter.
        then: As recorded; None where there was none.
        now: As made again; None where it could not be.
        then_ci95: 95 % interval of then.
        now_ci95: 95 % interval of now.
        change: (now - then) / |then|; None where then is 0.
        in_stderr: (now - then) / standard error of then; None where there is none.
        verdict: On this number.
        reason: Why it alone is not comparable; empty where that is so of the whole cell.
    """

    name: str
    counter: bool = False
    then: float | None = None
    now: float | None = None
    then_ci95: tuple[float, float] | None = None
    now_ci95: tuple[float, float] | None = None
    change: float | None = None
    in_stderr: float | None = None
    verdict: Verdict
    reason: str = ""


class Outcome(_Frozen):
    """One cell, then and now.

    Attributes:
        name: The row's label, with seeds where the row has several.
        row: The row's label.
        then: Key of the record of then, "" where there is none.
        now: Key of the cell that was run today, "" where none was.
        verdict: The worst of its numbers'.
        reasons: Why it is not comparable, or how it failed.
        notes: What a reader must know besides.
        causes: What differs in the environment, and may explain a difference.
        numbers: The metrics, then the counters.
    """

    name: str
    row: str
    then: str = ""
    now: str = ""
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    numbers: tuple[Compared, ...] = ()


def outcome(
    entry: Entry, attempt: Attempt | None, now: Record | None, tolerance: float
) -> Outcome:
    """The verdict on one cell.

    Args:
        entry: What there was.
        attempt: How it was run again; None where there was no record to run again.
        now: What came of it, or None where it was not run.
        tolerance: Largest relative difference of a score that is called equal, e.g. 0.02.
    """
    if entry.record is None or attempt is None:
        if entry.damage:
            return Outcome(
                name=entry.name, row=entry.row, verdict="damaged", reasons=(entry.damage,)
            )
        return Outcome(name=entry.name, row=entry.row, verdict="not finished then")
    then, reasons = attempt.then, attempt.differs
    numbers: tuple[Compared, ...] = ()
    causes: tuple[str, ...] = ()
    if now is None:
        verdict: Verdict = "not comparable"
        reasons += tuple(dict.fromkeys(attempt.lacking.values()))
        numbers = _untested(then)
    elif now.status != "ok":
        verdict, why = _failure(then, now, attempt.at_hand)
        reasons += why
    elif then.status != "ok":
        verdict, reasons = "failed then, ok now", (*reasons, f"then: {_told(then.error)}")
    else:
        reasons += tuple(clean(text) for text in differences.protocol(then, now))
        numbers = _numbers(attempt, now, tolerance, not reasons)
        causes = _causes(then, now)
        verdict = _worst(numbers)
        reasons += tuple(f"{clean(n.name)}: {n.reason}" for n in numbers if n.reason)
    return Outcome(
        name=entry.name,
        row=entry.row,
        then=entry.record.key,
        now="" if now is None else now.key,
        verdict=verdict,
        reasons=reasons,
        notes=attempt.notes,
        causes=causes,
        numbers=numbers,
    )


def _failure(then: Record, now: Record, at_hand: bool) -> tuple[Verdict, tuple[str, ...]]:
    """A cell that has no scores today: something is missing here, or the code fails."""
    why = _told(now.error)
    if then.status != "ok":
        return "failed then and now", (f"then: {_told(then.error)}", f"now: {why}")
    kind = now.error.type if now.error is not None else ""
    if kind in _MISSING or (kind == "ConfigError" and not at_hand):
        return "not comparable", (f"missing here: {why}",)
    return "failed", (why,)


def _told(error: Failure | None) -> str:
    if error is None:
        return "without a reason"
    return f"in stage {error.stage}: {clean(error.type)}: {clean(error.message, 300)}"


def _causes(then: Record, now: Record) -> tuple[str, ...]:
    """Differences of the environment; the version of the family is told elsewhere."""
    same = now.cell.model_copy(
        update={
            "sample": now.cell.sample.model_copy(update={"train": then.cell.sample.train}),
        }
    )
    return tuple(
        clean(text) for text in differences.changes(then, now.model_copy(update={"cell": same}))
    )


def _untested(then: Record) -> tuple[Compared, ...]:
    return tuple(
        Compared(
            name=name,
            then=score.value,
            then_ci95=score.ci95,
            verdict="not comparable",
        )
        for name, score in then.scores.items()
    )


def _numbers(
    attempt: Attempt, now: Record, tolerance: float, comparable: bool
) -> tuple[Compared, ...]:
    """The scores, then the counters; `comparable` says whether the two cells are."""
    then, found = attempt.then, []
    specs = {spec.id: spec for spec in now.cell.metrics}
    for was in then.cell.metrics:
        score, here = then.scores.get(was.id), now.scores.get(was.id)
        if score is None:
            continue
        if here is None:
            reason = attempt.lacking.get(was.id, "it was not computed")
        else:
            reason = clean("; ".join(differences.metric(then, now, was, specs[was.id])))
        found.append(_score(was.id, score, here, tolerance, comparable, reason))
    return (*found, *_counters(then, now, comparable))


def _score(
    name: str, then: Score, now: Score | None, tolerance: float, comparable: bool, reason: str
) -> Compared:
    if now is None:
        return Compared(
            name=name,
            then=then.value,
            then_ci95=then.ci95,
            verdict="not comparable",
            reason=reason,
        )
    difference = now.value - then.value
    if reason or not comparable:
        verdict: Verdict = "not comparable"
    elif (now.value, now.stderr, now.ci95) == (then.value, then.stderr, then.ci95):
        verdict = "identical"
    else:
        verdict = "equal" if abs(difference) <= tolerance * abs(then.value) else "different"
    return Compared(
        name=name,
        then=then.value,
        now=now.value,
        then_ci95=then.ci95,
        now_ci95=now.ci95,
        change=difference / abs(then.value) if then.value else None,
        in_stderr=difference / then.stderr if then.stderr else None,
        verdict=verdict,
        reason=reason,
    )


def _counters(then: Record, now: Record, comparable: bool) -> list[Compared]:
    """The counters that both records have."""
    found = []
    for name in _COUNTERS:
        was, here = (getattr(r.counters, name) for r in (then, now))
        if was is None or here is None:
            continue
        same: Verdict = "identical" if was == here else "different"
        found.append(
            Compared(
                name=name,
                counter=True,
                then=was,
                now=here,
                change=(here - was) / was if was else None,
                verdict=same if comparable else "not comparable",
            )
        )
    return found


def _worst(numbers: tuple[Compared, ...]) -> Verdict:
    verdicts = {number.verdict for number in numbers}
    return next((verdict for verdict in _WORST if verdict in verdicts), "not comparable")
