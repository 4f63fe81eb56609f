"""Speed results made by hand: no clock, no network."""

from itertools import product
from typing import Any

from genbench.record import Environment
from genbench.spec import SampleSpec, TrainSpec
from genbench.speed.result import Change, Row, Settings, SpeedResult
from genbench.stats import Score
from genbench.timing import Fit, Ratio, linear_fit

FD = "fd@digits-cnn/digits:train/n360"
IS = "is@digits-cnn/n360"
HOSTILE = "<b>|_%$x$\x1b[31m`c`\n\\f&#\u202e漢~^{}"
TRAIN = TrainSpec(baseline="ddpm", dataset="digits", version="0123456789abcdef")
JACKKNIFE = "jackknife, 20 groups of samples"


def score(value: float, half: float | None = None, n: int = 360) -> Score:
    ci95 = None if half is None else (value - half, value + half)
    return Score(value=value, ci95=ci95, n=n, method="" if half is None else JACKKNIFE)


def row(
    sampler: str | None = "ddim",
    steps: int = 50,
    *,
    fd: float | None = None,
    half: float | None = 0.2,
    eta: float | None = 0.0,
    **fields: Any,
) -> Row:
    """A row that takes 0.02 ms and 0.03 ms for every step."""
    ms = 0.02 + 0.03 * steps
    scores = {} if fd is None else {FD: score(fd, half)}
    given: dict[str, Any] = {
        "spacing": None if sampler is None else "trailing",
        "nfe": float(steps),
        "ms_per_image": ms,
        "images_per_second": 1000 / ms,
        "latency_ms": 3 * ms,
        "scores": scores,
        "seeds": (0,) if scores else (),
    }
    return Row(sampler=sampler, steps=steps, eta=eta, **(given | fields))


def result(*rows: Row, fit: Any = None, baseline: str = "ddpm", **fields: Any) -> SpeedResult:
    given: dict[str, Any] = {
        "settings": Settings(batch=64, batches=(1, 16, 64), rounds=10, warmup=1),
        "environment": Environment(
            packages={"torch": "2.15.0"},
            machine={"processor": "Test CPU", "cores": 2},
            device="cpu",
            threads=2,
        ),
    }
    train = TRAIN.model_copy(update={"baseline": baseline})
    sample = SampleSpec(train=train, n=360)
    return SpeedResult(key="0" * 16, sample=sample, rows=rows, fit=fit, **(given | fields))


def fitted(rows: tuple[Row, ...]) -> Fit:
    return linear_fit([r.nfe for r in rows], [r.ms_per_image / 1000 for r in rows])


def three() -> SpeedResult:
    """ddpm 1000 as reference, ddim 1000 and ddim 50."""
    change = Change(value=0.4, ci95=(0.1, 0.7), method="paired jackknife")
    stages = {"net": 0.9, "rest": 0.1}
    rows = (
        row("ddpm", 1000, fd=2.0, eta=1.0, variance="posterior", reference=True, speedup=1.0,
            speedup_ci95=(1.0, 1.0), nfe_ratio=1.0, stages=stages),
        row("ddim", 1000, fd=2.5, speedup=1.01, speedup_ci95=(1.0, 1.02), nfe_ratio=1.0,
            stages=stages, ms_per_image=29.0),
        row("ddim", 50, fd=2.4, speedup=19.9, speedup_ci95=(19.7, 20.1), nfe_ratio=20.0,
            changes={FD: change}, stages={"net": 0.8, "rest": 0.2}, peak_bytes=1_000_000),
    )  # fmt: skip
    control = Ratio(value=1.001, ci95=(0.995, 1.007), pairs=10)
    return result(*rows, fit=fitted(rows), control=control)


def sixty() -> SpeedResult:
    """Five etas, three spacings and four step counts of ddim."""
    rows = []
    for n, (eta, spacing, steps) in enumerate(
        product(
            (0.0, 0.2, 0.5, 0.8, 1.0), ("trailing", "leading", "quadratic"), (10, 20, 50, 1000)
        )
    ):
        fd = 1.2 + (8 + 30 * eta * eta) / steps + 0.05 * (n % 7) + 0.02 * (n % 5)
        ms = (0.02 + 0.03 * steps) * (1 + 0.01 * ((n * 7) % 5 - 2))
        rows.append(
            row(steps=steps, eta=eta, spacing=spacing, fd=fd, half=0.1 * fd, ms_per_image=ms)
        )
    return result(*rows, fit=fitted(tuple(rows)))
