"""What stands below a speed table: how the clock was read, on what, and what may be concluded."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from genbench.report import published
from genbench.report.notes import CAPTION, machine  # the same words as under a leaderboard
from genbench.report.speed_rows import front, labels, metrics, quality
from genbench.report.text import compact, measured
from genbench.text import clean

if TYPE_CHECKING:
    from genbench.speed.result import SpeedResult
    from genbench.stats import Score

__all__ = ["notes"]


def notes(result: "SpeedResult") -> list[str]:
    """All notes of a result, each a sentence or more on one line."""
    parts = (
        _caption(result), _reference(result), _clock(result), _networks(result), _control(result),
        _fit(result), _front(result), _stages(result), _metrics(result), _seeds(result),
        _published(result), _machines(result),
    )  # fmt: skip
    return [clean(note) for part in parts for note in part]


def _caption(result: "SpeedResult") -> Iterable[str]:
    if any(row.scores or row.speedup_ci95 for row in result.rows):
        yield CAPTION


def _reference(result: "SpeedResult") -> Iterable[str]:
    named = [n for n, r in zip(labels(result), result.rows, strict=True) if r.reference]
    if not named:
        yield "No reference row: there are no speed-ups and no changes of quality."
        return
    against = f"Speed-up and NFE ratio are {named[0]} over the row"
    changes = any(row.changes for row in result.rows)
    yield against + ("; Δ is the row less " + named[0] if changes else "") + "."


def _clock(result: "SpeedResult") -> Iterable[str]:
    s = result.settings
    yield (
        f"Times: ms/image is the median time of a batch of {s.batch} over its images, "
        f"ms for 1 image is the median time of a batch of 1; clock {s.clock}, {_count(s.rounds)} "
        f"after {s.warmup} call{'' if s.warmup == 1 else 's'} to warm up, and a round visits "
        "every row in one order and then in the reverse."
    )
    if any(row.speedup_ci95 for row in result.rows):
        yield (
            "Ratios of times compare the best stretches of equal length in each round, with 95 % "
            "intervals over the rounds: on a busy machine they are not the ratio of the medians."
        )
    if len(s.batches) > 1:
        yield f"Throughput was tried with batches of {', '.join(map(str, s.batches))}."


def _count(rounds: int) -> str:
    return f"{rounds} round{'' if rounds == 1 else 's'}"


def _networks(result: "SpeedResult") -> Iterable[str]:
    s, env = result.settings, result.environment
    how = "compiled by torch.compile" if s.compile else "not compiled"
    how += ", replayed as CUDA graphs" if s.graphs else ", without CUDA graphs"
    where = f"on {env.device or 'an unnamed device'}"
    threads = f", {env.threads} thread{'' if env.threads == 1 else 's'}" if env.threads else ""
    load = "" if s.load is None else f"; load average just before {s.load:.3g}"
    yield f"Networks ran in {s.dtype}, {how}, {where}{threads}{load}."


def _control(result: "SpeedResult") -> Iterable[str]:
    control = result.control
    if control is None:
        return
    low, high = control.ci95
    text = f"Control: the same code timed against itself, {measured(control.value, control.ci95)}"
    if low <= 1 <= high:
        yield f"{text} (its interval holds 1, as it should)."
    else:
        yield (
            f"{text}: ITS INTERVAL DOES NOT HOLD 1 ({low:.4g} to {high:.4g}), so the machine was "
            "not quiet; speed-ups are off by at least as much, and should be measured again."
        )


def _fit(result: "SpeedResult") -> Iterable[str]:
    fit = result.fit
    if fit is None:
        return
    start, slope = 1000 * fit.start, 1000 * fit.slope
    sign = "-" if start < 0 else "+"
    text = f"Line: ms/image = {slope:.4g} NFE {sign} {abs(start):.3g}, R² {_share(fit.r2)}"
    names = labels(result)
    if fit.residuals:
        worst = max(range(len(fit.residuals)), key=lambda i: abs(fit.residuals[i]))
        where = f" ({names[worst]})" if len(fit.residuals) == len(names) else ""
        text += f", largest residual {100 * fit.residuals[worst]:+.2g} % of the time{where}"
    yield text + "."


def _share(r2: float) -> str:
    """R² to the digits in which it differs from 1."""
    for decimals in range(3, 7):
        if round(r2, decimals) < 1:
            return f"{r2:.{decimals}f}"
    return "1.000000"


def _front(result: "SpeedResult") -> Iterable[str]:
    metric = quality(result)
    found = [] if metric is None else front(result, metric)
    if metric is not None and len(result.rows) > 1 and found:
        names = labels(result)
        yield (
            f"Pareto front of time and {metric.header}, which no row beats in one without losing "
            f"in the other: {', '.join(names[i] for i in found)}; by values, not intervals."
        )


def _stages(result: "SpeedResult") -> Iterable[str]:
    """The share of every network and of the rest, over the rows."""
    shares: dict[str, list[float]] = {}
    for row in result.rows:
        total = sum(row.stages.values())
        for name, seconds in row.stages.items():
            if total > 0:
                shares.setdefault(name, []).append(100 * seconds / total)
    if not shares:
        return
    rest = shares.pop("rest", None)
    parts = [f"network {name} {_range(values, '%')}" for name, values in shares.items()]
    if rest is not None:
        parts.append(f"the rest (sampler, noise) {_range(rest, '%')}")
    yield f"Where a batch's time goes: {', '.join(parts)}."


def _range(values: Sequence[float], unit: str) -> str:
    low, high = compact(min(values)), compact(max(values))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _metrics(result: "SpeedResult") -> Iterable[str]:
    for metric in metrics(result):
        scores = [row.scores[metric.id] for row in result.rows if metric.id in row.scores]
        text = f"{metric.header} is {metric.id}, {_images(scores)}"
        over = _methods(s.method for s in scores if s.ci95)
        change = _methods(
            row.changes[metric.id].method
            for row in result.rows
            if metric.id in row.changes and row.changes[metric.id].ci95
        )
        text += f"; interval: {over}" if over else ""
        text += f"; interval of Δ: {change}" if change else ""
        yield text + "."


def _images(scores: Sequence["Score"]) -> str:
    return f"{_range([s.n for s in scores], 'images')}"


def _methods(methods: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(m for m in methods if m))


def _seeds(result: "SpeedResult") -> Iterable[str]:
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, row in zip(labels(result), result.rows, strict=True):
        if row.scores:
            groups.setdefault(row.seeds, []).append(name)
    said = [
        f"{len(seeds)} training seed{'' if len(seeds) == 1 else 's'} "
        f"({', '.join(map(str, seeds))})" + (f": {', '.join(names)}" if len(groups) > 1 else "")
        for seeds, names in groups.items()
        if seeds
    ]
    if said:
        yield (
            f"Scores are over {'; '.join(said)}; times are of the training with seed "
            f"{result.sample.train.seed}."
        )


def _published(result: "SpeedResult") -> Iterable[str]:
    if any(published.match(row) is not None for row in result.rows):
        yield (
            f"Published FID is of CIFAR-10 by {published.SOURCE}, with quadratic steps and 50,000 "
            "samples: other data, another network and another distance, so only order and ratio "
            "compare."
        )


def _machines(result: "SpeedResult") -> Iterable[str]:
    train = result.sample.train
    yield (
        f"Model: {train.baseline} on {train.dataset}, {result.sample.weights} weights"
        f"{f', measured {result.finished}' if result.finished else ''}."
    )
    if text := machine(result.environment):
        yield f"Machine: {text}."
