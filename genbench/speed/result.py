"""The result of `genbench speed`: rows, how they were measured, and on what. No torch."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genbench.record import Environment
from genbench.spec import SampleSpec
from genbench.stats import Score
from genbench.timing import Fit, Ratio, Timing

__all__ = ["SCHEMA", "Change", "Row", "Settings", "SpeedResult"]

SCHEMA = 1


class Change(BaseModel):
    """Quality of a row less that of the reference row.

    Attributes:
        value: The difference; its sign is that of the metric, so up is not always better.
        ci95: 95 % interval, or None.
        method: What the interval is over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    ci95: tuple[float, float] | None = None
    method: str = ""


class Row(BaseModel):
    """One way to sample one trained model.

    Attributes:
        sampler: "ddpm", "ddim", ...; None where the family has one way to sample only.
        spacing: Name of the time-step sequence, or the sequence; None where there is none.
        steps: Steps that were asked for; 1 where the family has none.
        eta: Share of the posterior noise that a step adds: DDIM's eta, 1 for DDPM, 0 for
            deterministic solvers; None where the family has no steps.
        variance: "posterior" or "large" for DDPM, else None.
        nfe: Network evaluations per image, counted at the network.
        options: All sampling options, as the family read them.
        reference: Whether speed-ups and changes are against this row.
        ms_per_image: Median time of a batch of `Settings.batch`, divided by its images.
        images_per_second: 1000 / ms_per_image.
        latency_ms: Median time to make a single image.
        speedup: Time of the reference row over this one's, in batches; None without a reference.
        speedup_ci95: Its 95 % interval.
        speedup_single: The same for single images.
        nfe_ratio: NFE of the reference row over this one's.
        timings: What the clock gave, by batch size as text ("1", "64").
        stages: Seconds spent inside each network of the family in one batch, and the "rest".
        peak_bytes: Most memory in use while a batch was made.
        scores: By metric id; over training seeds where there are several.
        changes: Quality against the reference row, by metric id.
        seeds: Training seeds that were scored.
        cells: Keys of the records that the scores come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: str | None
    spacing: str | tuple[float, ...] | None
    steps: int
    eta: float | None
    variance: str | None = None
    nfe: float
    options: dict[str, Any] = {}
    reference: bool = False
    ms_per_image: float
    images_per_second: float
    latency_ms: float
    speedup: float | None = None
    speedup_ci95: tuple[float, float] | None = None
    speedup_single: Ratio | None = None
    nfe_ratio: float | None = None
    timings: dict[str, Timing] = {}
    stages: dict[str, float] = {}
    peak_bytes: int | None = None
    scores: dict[str, Score] = {}
    changes: dict[str, Change] = {}
    seeds: tuple[int, ...] = ()
    cells: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """For people: "ddim 50", "ddpm 1000 large", "ddim 20 eta 0.5 quadratic"."""
        parts = [self.sampler or "sample"]
        if self.sampler is not None:
            parts.append(str(self.steps))
        if self.sampler == "ddim" and self.eta:
            parts.append(f"eta {self.eta:g}")
        if self.variance == "large":
            parts.append("large")
        if isinstance(self.spacing, tuple):
            parts.append("own steps")
        elif self.spacing not in (None, "trailing"):
            parts.append(str(self.spacing))
        return " ".join(parts)


class Settings(BaseModel):
    """How the clock was read.

    Attributes:
        batch: Images in a batch of `ms_per_image`.
        batches: Sizes that were tried for the best throughput.
        rounds: Rounds of alternating visits; each visits every row twice.
        warmup: Calls before the first one that counts, for each row and size.
        dtype: "float32" or "bfloat16".
        compile: Whether networks were compiled by `torch.compile`.
        graphs: Whether networks were replayed as CUDA graphs.
        clock: What was read.
        load: Processes that wanted to run besides this one, just before (1 minute average).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int
    batches: tuple[int, ...]
    rounds: int
    warmup: int
    dtype: str = "float32"
    compile: bool = False
    graphs: bool = False
    clock: str = "time.perf_counter"
    load: float | None = None


class SpeedResult(BaseModel):
    """All rows of one trained model, or of several trainings of one model.

    Attributes:
        key: Hash of what was measured.
        sample: What was sampled, with the options of the reference row (of the first row, where
            there is no reference).
        rows: In the order that was asked for.
        settings: How the clock was read.
        sweep: Timing of the row with the fewest evaluations, by batch size as text.
        control: The same row timed against itself under two names: its interval should hold 1.
        fit: Seconds per image against NFE over the rows; None for fewer than three.
        environment: Where and with what, as in records.
        finished: When, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    key: str
    sample: SampleSpec
    rows: tuple[Row, ...] = Field(min_length=1)
    settings: Settings
    sweep: dict[str, Timing] = {}
    control: Ratio | None = None
    fit: Fit | None = None
    environment: Environment
    finished: str = ""
