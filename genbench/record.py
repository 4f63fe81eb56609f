"""What is known of a cell after it ran: scores, counters, timings, environment, or the failure."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from genbench.spec import Cell
from genbench.stats import Measured, Score
from genbench.text import shortened

__all__ = ["SCHEMA", "Amount", "Count", "Counters", "Environment", "Failure", "Record", "Timings"]

SCHEMA = 1  # raised when the meaning of a stored field changes; other schemas are not read


# Beyond these nothing was measured: the file is damaged, and tables and axes would break.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[Measured, Field(ge=0, le=1e30)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(_Frozen):
    """Why a cell has no scores, and the command that runs that one cell again."""

    stage: Literal["load", "train", "sample", "features", "score", "worker"]
    type: str
    message: Annotated[str, AfterValidator(partial(shortened, limit=4_000))]
    traceback: Annotated[str, AfterValidator(partial(shortened, limit=40_000))]
    rerun: str


class Counters(_Frozen):
    """Exact numbers of a run, the same on every machine (but for the seconds kind of budget).

    Attributes:
        nfe: Network evaluations per sample.
        params: Parameters of the networks that sampling calls.
        params_trained: All parameters that the optimizers own.
        train_images: Image updates of training (see `Budget.images`).
        train_updates: Updates of the networks that are sampled (see `Budget.updates`).
        train_data: Images of data that training saw, each time anew.
        train_steps: Calls of the family's `step`.
        train_flops: Floating-point operations of training.
        ended_by: The budget limit that ended training, or "fit" for a family without optimizers.
        peak_bytes: Most memory of the device (CUDA) or of the process (CPU).
    """

    nfe: Amount | None = None
    params: Count | None = None
    params_trained: Count | None = None
    train_images: Count | None = None
    train_updates: Count | None = None
    train_data: Count | None = None
    train_steps: Count | None = None
    train_flops: Amount | None = None
    ended_by: str | None = None
    peak_bytes: Count | None = None


class Timings(_Frozen):
    """Seconds; those of a stage that was skipped are the ones measured when it ran."""

    train: Amount | None = None
    sample: Amount | None = None
    features: Amount | None = None
    score: Amount | None = None
    ms_per_image: Amount | None = None
    total: Amount | None = None


class Environment(_Frozen):
    """Where and with what a cell ran. No host names and no paths: records are shared.

    Attributes:
        commit: Of the checkout that genbench ran from, None for an installed package.
        dirty: Whether that checkout had changes that were not committed.
        batch: Images that were sampled at a time, which `ms_per_image` depends on.
        deterministic: Whether torch was told to use deterministic algorithms.
        hashes: sha256 of every split of data and of every extractor's weights that was used.
    """

    commit: str | None = None
    dirty: bool | None = None
    packages: dict[str, str] = {}
    machine: dict[str, str | int] = {}
    device: str = ""
    threads: Count = 0
    batch: Count | None = None
    world_size: Count = 1
    deterministic: bool = False
    hashes: dict[str, str] = {}


def _plausible(score: Score) -> Score:
    for value in (score.value, score.stderr, score.spread, *(score.ci95 or ())):
        if value is not None:
            _MEASURED.validate_python(value)
    return score


_MEASURED = TypeAdapter[float](Measured)


class Record(_Frozen):
    """The result of one cell; `key` is the cell's key.

    Attributes:
        kind: The family's kind, which groups rows: "gan", "autoencoder", "diffusion", "reference".
        skipped: Stages that were found done and not run again.
        scores: By metric id.
        data: What the dataset says of itself: images, split seed, resize rule.
        losses: The last value of every loss that the family logged.
        code: Digest of genbench's own code that a stage ran through, by stage; empty in records
            that are older than this field.
        warnings: What a reader of the scores must know, a sentence each.
    """

    schema_version: int = SCHEMA
    key: str
    cell: Cell
    kind: str = ""
    status: Literal["ok", "failed", "timeout", "skipped"]
    error: Failure | None = None
    skipped: tuple[str, ...] = ()
    scores: dict[str, Annotated[Score, AfterValidator(_plausible)]] = {}
    counters: Counters = Counters()
    timings: Timings = Timings()
    environment: Environment = Environment()
    data: dict[str, str | int | float] = {}
    losses: dict[str, float] = {}
    code: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    finished: str = ""
