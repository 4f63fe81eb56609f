"""What is said of conditional models, against the records of the suite `tasks`.

    python tools/task_claims.py results/tasks > results/tasks/claims.md

Each claim compares two rows by one metric, paired over training seeds: the mean difference with
its 95 % Student interval. It is REPRODUCED where the interval lies wholly on the claimed side, NOT
REPRODUCED where it lies wholly on the other, and INCONCLUSIVE where it holds 0.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genbench import metrics
from genbench.record import Record
from genbench.stats import mean_interval
from genbench.store import Store


@dataclass(frozen=True)
class Row:
    """A family, and the settings that tell it from its siblings."""

    baseline: str
    config: tuple[tuple[str, Any], ...] = ()

    def holds(self, record: Record) -> bool:
        """Whether a record belongs to the row."""
        train = record.cell.sample.train
        same = all(train.config.get(name) == value for name, value in self.config)
        return train.baseline == self.baseline and same and record.status == "ok"

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value}" for name, value in self.config)
        return f"{self.baseline} ({inside})" if inside else self.baseline


@dataclass(frozen=True)
class Claim:
    """`better` is better than `worse` by a metric of a task on a dataset."""

    statement: str
    task: str
    metric: str
    better: Row
    worse: Row


PIX2PIX = Row("pix2pix", (("adversarial", True),))
L1 = Row("pix2pix", (("adversarial", False),))
CYCLE, FREE = (Row("cyclegan", (("lambda_cycle", weight),)) for weight in (10.0, 0.0))
AWARE, PLAIN = (Row("gan_cls", (("mismatch", seen),)) for seen in (True, False))
SR, SRGAN = Row("sr_regression"), Row("srgan")
NIGHT = "to_domain:day,night"

CLAIMS = (
    Claim("L1 alone has the better PSNR", "paired:outline", "psnr", L1, PIX2PIX),
    Claim("a discriminator has the better FD", "paired:outline", "fd", PIX2PIX, L1),
    Claim("regression has the better PSNR", "low_res:4", "psnr", SR, SRGAN),
    Claim("SRGAN has the better FD", "low_res:4", "fd", SRGAN, SR),
    Claim(
        "the cycle loss lowers the cycle error", "to_domain:day,night", "cycle_error", CYCLE, FREE
    ),
    Claim("the cycle loss keeps content", "to_domain:day,night", "content_kept", CYCLE, FREE),
    Claim("wrong captions teach to follow the text", "caption", "attributes", AWARE, PLAIN),
    Claim("wrong captions teach colours", "caption", "attr_colour", AWARE, PLAIN),
)


def values(records: list[Record], row: Row, claim: Claim) -> dict[str, dict[int, float]]:
    """The metric by dataset and training seed."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        train = record.cell.sample.train
        if train.task == claim.task and row.holds(record):
            for spec in record.cell.metrics:
                if spec.name == claim.metric and spec.id in record.scores:
                    found.setdefault(train.dataset, {})[train.seed] = record.scores[spec.id].value
    return found


def verdict(low: float, high: float) -> str:
    """Of an interval of differences that the claim says are positive."""
    return "REPRODUCED" if low > 0 else "NOT REPRODUCED" if high < 0 else "INCONCLUSIVE"


def lines(records: list[Record]) -> list[str]:
    """The table, a line for each claim and dataset."""
    rows = [
        "| claim | dataset | metric | better | worse | difference | seeds | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS:
        metric = metrics.find(claim.metric)
        sign = 1 if metric.direction == "higher" else -1
        one, two = (values(records, row, claim) for row in (claim.better, claim.worse))
        for dataset in sorted(one.keys() & two.keys()):
            seeds = sorted(one[dataset].keys() & two[dataset].keys())
            pairs = [(one[dataset][s], two[dataset][s]) for s in seeds]
            if len(pairs) < 2:
                continue
            mean, _, (low, high) = mean_interval([sign * (a - b) for a, b in pairs])
            means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
            rows.append(
                f"| {claim.statement} | {dataset} | {metric.label} "
                f"| {claim.better}: {means[0]:.4g} | {claim.worse}: {means[1]:.4g} "
                f"| {mean:.3g} [{low:.3g}, {high:.3g}] | {len(seeds)} | {verdict(low, high)} |"
            )
    return rows


def main() -> None:
    """Print the table of a results folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    records = Store(parser.parse_args().folder).records()
    head = (__doc__ or "").split("\n\n")
    print("# Claims on conditional tasks\n")
    print(head[2].strip() + "\n")
    print("\n".join(lines(records)))


if __name__ == "__main__":
    main()
