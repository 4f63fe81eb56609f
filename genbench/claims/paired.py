"""The test of a comparison: paired over training seeds, with a 95 % Student interval.

`less < more` is judged by the differences more - less of equal seeds, or, where one side is
multiplied, by the logarithm of the ratio. REPRODUCED: the interval lies wholly on the claimed
side; NOT REPRODUCED: wholly on the other; else INCONCLUSIVE. Of a chain all links must hold, each
at 95 %; that one of its k links fails is told at 95 % over all of them (Bonferroni).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from genbench.claims.expectation import Comparison, Side
from genbench.claims.result import Link, Verdict
from genbench.stats import mean_interval, student_t

__all__ = ["FEWEST", "compared", "together"]

FEWEST = 3  # training seeds that a verdict needs


def together(links: Sequence[Link]) -> Verdict:
    """Of a chain: NOT REPRODUCED if a link is, REPRODUCED if all are, else INCONCLUSIVE."""
    verdicts = {link.verdict for link in links}
    if "NOT REPRODUCED" in verdicts:
        return "NOT REPRODUCED"
    return "REPRODUCED" if verdicts == {"REPRODUCED"} else "INCONCLUSIVE"


def compared(
    one: Comparison,
    values: Mapping[str, Mapping[int, float]],
    *,
    exact: bool = False,
    links: int = 1,
) -> Link:
    """One comparison, tested.

    Args:
        one: What is claimed.
        values: The measure by row and training seed; seeds that both sides have are paired.
        exact: Whether the measure has no uncertainty: then all seeds must agree, one is enough.
        links: How many comparisons the claim makes.
    """
    form: Literal["difference", "ratio"] = "ratio" if one.scaled else "difference"
    seeds = sorted(set.intersection(*(set(values.get(row, ())) for row in one.rows)))
    link = Link(text=one.text, form=form, seeds=tuple(seeds), verdict="INCONCLUSIVE")
    if not seeds:
        return _but(link, "no training seed has both sides")
    less, more = ([_value(side, values, seed) for seed in seeds] for side in (one.less, one.more))
    if not all(map(math.isfinite, (*less, *more))):
        return _but(link, "values that are no numbers cannot be judged")
    if one.scaled:
        if min(*less, *more) <= 0:
            return _but(link, "a ratio of values that are not above 0 cannot be judged")
        return _ratio(one, link, less, more, exact, links)
    return _verdict(link, [b - a for a, b in zip(less, more, strict=True)], exact, links)


def _but(link: Link, reason: str) -> Link:
    return link.model_copy(update={"reason": reason})


def _value(side: Side, values: Mapping[str, Mapping[int, float]], seed: int) -> float:
    return values[side.row][seed] if side.row else side.number


def _ratio(
    one: Comparison, link: Link, less: list[float], more: list[float], exact: bool, links: int
) -> Link:
    """The ratio as the claim reads: of the row alone to the one that is multiplied."""
    below = one.less.number == 1
    sign, factor = (1, one.more.number) if below else (-1, one.less.number)
    alone, times = (less, more) if below else (more, less)
    logs = [math.log(a / b) for a, b in zip(alone, times, strict=True)]
    told = _verdict(link, [sign * (math.log(factor) - x) for x in logs], exact, links)
    ends = told.ci95 and tuple(sorted(factor * math.exp(-sign * end) for end in told.ci95))
    ratio = math.exp(math.fsum(logs) / len(logs))
    side = "below" if below else "above"
    update = {"estimate": ratio, "ci95": ends, "factor": factor, "side": side}
    return told.model_copy(update=update)


def _verdict(link: Link, gaps: Sequence[float], exact: bool, links: int) -> Link:
    """The verdict on differences that the claim says are above 0."""
    link = link.model_copy(update={"estimate": math.fsum(gaps) / len(gaps)})
    if exact:
        if min(gaps) <= 0 < max(gaps):
            return _but(link, "counts that differ between seeds")
        told = "REPRODUCED" if min(gaps) > 0 else "NOT REPRODUCED"
        return link.model_copy(update={"verdict": told})
    if len(gaps) > 1:
        mean, stderr, interval = mean_interval(gaps)
        link = link.model_copy(update={"ci95": interval})
    if len(gaps) < FEWEST:
        seeds = f"{len(gaps)} training seed{'s' * (len(gaps) > 1)}"
        return _but(link, f"{seeds}, a verdict needs {FEWEST}: seeds=0,1,2")
    if interval[0] > 0:
        return link.model_copy(update={"verdict": "REPRODUCED"})
    if mean + student_t(len(gaps) - 1, 1 - 0.05 / links) * stderr < 0:
        return link.model_copy(update={"verdict": "NOT REPRODUCED"})
    return link
