"""How often the gate's rule is right: false alarms and power, simulated.

    python tools/gate_simulation.py [--draws 40000] [--out results/gate/simulation.md]

Values of training seeds are lognormal. The arithmetic is `genbench.gate.rule`'s own, on arrays,
and a share of the draws is decided again by `rule.decide`, one by one.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genbench.gate.looks import LOOKS, MORE
from genbench.gate.rule import decide, detectable, interval
from genbench.store import atomic_write

TRUE = (0.0, 0.03, 0.05, 0.08, 0.10, 0.15, 0.20)
SPREADS = (0.013, 0.03, 0.06)
BANK, NEW, MARGIN, ALPHA = 8, 3, 0.05, 0.05
# an independent simulation of the same test, 40,000 draws: P(REGRESSED) at each true change
REFERENCE = {
    0.013: (0.000, 0.000, 0.049, 0.904, 0.999, 1.0, 1.0),
    0.03: (0.000, 0.005, 0.050, 0.356, 0.679, 0.993, 1.0),
    0.06: (0.003, 0.020, 0.049, 0.159, 0.279, 0.666, 0.915),
}
CHECKED = 200  # draws of each case that `decide` repeats

Array = NDArray[np.float64]


def draw(rng: np.random.Generator, cov: float, true: float, draws: int, n: int) -> Array:
    """Log values of (draws, n) seeds whose coefficient of variation is `cov`."""
    sigma = math.sqrt(math.log1p(cov**2))
    return math.log1p(true) + rng.normal(0.0, sigma, (draws, n))


def outcomes(bank: Array, new: Array, alpha: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """REGRESSED and PASS for every draw, by the rule on arrays."""
    shift, se, t = interval(bank, new, alpha)
    delta = math.log1p(MARGIN)
    return shift - t * se > delta, shift + t * se < delta


def check(bank: Array, new: Array, alpha: float) -> None:
    """`decide` must say the same, value by value."""
    worse, passed = outcomes(bank, new, alpha)
    for i in range(min(CHECKED, len(bank))):
        said = decide(list(np.exp(bank[i])), list(np.exp(new[i])), MARGIN, alpha).outcome
        expected = "REGRESSED" if worse[i] else "PASS" if passed[i] else "INCONCLUSIVE"
        if said != expected:
            raise AssertionError(f"draw {i}: decide says {said}, arrays say {expected}")


def one_look(cov: float, true: float, draws: int, seed: int) -> tuple[float, float]:
    """Shares of REGRESSED and PASS with one look at the whole of alpha."""
    rng = np.random.default_rng([seed, round(1e4 * cov), round(1e4 * true)])
    bank, new = draw(rng, cov, 0.0, draws, BANK), draw(rng, cov, true, draws, NEW)
    check(bank, new, ALPHA)
    worse, passed = outcomes(bank, new, ALPHA)
    return float(worse.mean()), float(passed.mean())


def looks(cov: float, true: float, draws: int, seed: int) -> tuple[float, float, float]:
    """The procedure: up to three looks, alpha shared, two seeds more where it is open.

    Returns:
        Shares of REGRESSED and PASS, and the mean number of new seeds.
    """
    rng = np.random.default_rng([seed + 1, round(1e4 * cov), round(1e4 * true)])
    bank = draw(rng, cov, 0.0, draws, BANK)
    new = draw(rng, cov, true, draws, NEW + MORE * (LOOKS - 1))
    open_, worse, seeds = np.ones(draws, bool), np.zeros(draws, bool), np.zeros(draws)
    for look in range(LOOKS):
        n = NEW + MORE * look
        check(bank, new[:, :n], ALPHA / LOOKS)
        bad, good = outcomes(bank, new[:, :n], ALPHA / LOOKS)
        seeds[open_] = n
        worse |= open_ & bad
        open_ &= ~(bad | good)
    return float(worse.mean()), float((~worse & ~open_).mean()), float(seeds.mean())


def report(draws: int, seed: int = 0) -> str:
    """The page, in Markdown."""
    head = "| CoV | " + " | ".join(f"{100 * t:g} %" for t in TRUE) + " |"
    rule = "|---|" + "---:|" * len(TRUE)
    lines = [
        "# How often the gate is right",
        "",
        f"`python tools/gate_simulation.py`: {draws:,} draws for each number, lognormal training "
        f"seeds, {BANK} in the bank, {NEW} of the candidate, margin {MARGIN:.0%}, "
        f"alpha {ALPHA:g}. Columns are true changes of the metric (positive is worse), CoV is "
        "the spread between training seeds. A true change of 5 % is the margin itself: there "
        "the gate may cry wolf in 5 % of the cases, and below it in fewer.",
        "",
        "## One look: P(REGRESSED)",
        "",
        "In brackets what an independent simulation of the same test gave.",
        "",
        head,
        rule,
    ]
    found = {cov: [one_look(cov, true, draws, seed) for true in TRUE] for cov in SPREADS}
    for cov in SPREADS:
        pairs = zip(found[cov], REFERENCE[cov], strict=True)
        cells = [f"{worse:.3f} ({other:.3f})" for (worse, _), other in pairs]
        lines.append(f"| {100 * cov:g} % | {' | '.join(cells)} |")
    lines += ["", "## One look: P(PASS)", "", "A true change above 5 % must not pass.", ""]
    lines += [head, rule]
    for cov in SPREADS:
        cells = [f"{passed:.3f}" for _, passed in found[cov]]
        lines.append(f"| {100 * cov:g} % | {' | '.join(cells)} |")
    lines += [
        "",
        f"## Up to {LOOKS} looks: P(REGRESSED) / P(PASS) / mean number of new seeds",
        "",
        f"Each look has a {LOOKS}rd of alpha; a look that decides nothing adds {MORE} seeds.",
        "",
        head,
        rule,
    ]
    for cov in SPREADS:
        several = [looks(cov, true, draws, seed) for true in TRUE]
        cells = [f"{w:.3f} / {p:.3f} / {n:.1f}" for w, p, n in several]
        lines.append(f"| {100 * cov:g} % | {' | '.join(cells)} |")
    lines += ["", "## The smallest regression that is found with 80 % power", ""]
    lines += ["| CoV | margin 5 % | the default margin |", "|---|---:|---:|"]
    for cov in SPREADS:
        default = max(MARGIN, 3 * cov)
        small = [detectable(cov, BANK, NEW, m, ALPHA) for m in (MARGIN, default)]
        lines.append(f"| {100 * cov:g} % | {small[0]:.1%} | {small[1]:.1%} ({default:.1%}) |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description="simulate the gate's rule")
    parser.add_argument("--draws", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/gate/simulation.md"))
    arguments = parser.parse_args()
    text = report(arguments.draws, arguments.seed)
    atomic_write(arguments.out, text.encode())
    print(text)


if __name__ == "__main__":
    main()
