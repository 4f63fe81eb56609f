"""What is known of a cell after it ran: scores, counters, timings, environment, or the failure."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from genbench.spec import Cell
from genbench.stats import Score
from genbench.text import shortened

__all__ = ["SCHEMA", "Counters", "Environment", "Failure", "Record", "Timings"]

SCHEMA = 1  # raised when the meaning of a stored field changes; other schemas are not read


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

    nfe: float | None = None
    params: int | None = None
    params_trained: int | None = None
    train_images: int | None = None
    train_updates: int | None = None
    train_data: int | None = None
    train_steps: int | None = None
    train_flops: float | None = None
    ended_by: str | None = None
    peak_bytes: int | None = None


class Timings(_Frozen):
    """Seconds; those of a stage that was skipped are the ones measured when it ran."""

    train: float | None = None
    sample: float | None = None
    features: float | None = None
    score: float | None = None
    ms_per_image: float | None = None
    total: float | None = None


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
    threads: int = 0
    batch: int | None = None
    world_size: int = 1
    deterministic: bool = False
    hashes: dict[str, str] = {}


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
    """

    schema_version: int = SCHEMA
    key: str
    cell: Cell
    kind: str = ""
    status: Literal["ok", "failed", "timeout", "skipped"]
    error: Failure | None = None
    skipped: tuple[str, ...] = ()
    scores: dict[str, Score] = {}
    counters: Counters = Counters()
    timings: Timings = Timings()
    environment: Environment = Environment()
    data: dict[str, str | int | float] = {}
    losses: dict[str, float] = {}
    code: dict[str, str] = {}
    finished: str = ""
