"""What came of an evaluation: scores by metric id, and everything that they depend on."""

from pydantic import BaseModel, ConfigDict

from genbench.record import Environment
from genbench.spec import MetricSpec
from genbench.stats import Score

__all__ = ["Evaluation", "Network", "Side"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Side(_Frozen):
    """One of the two sets of images: its name, size, content hash, and what was done to it."""

    name: str
    n: int
    digest: str
    notes: dict[str, str | int | float] = {}
    source: str = "images"


class Network(_Frozen):
    """A network that was looked through.

    Attributes:
        sha256: Of its weights.
        official: Whether these are the weights that its name stands for.
        settings: Type of numbers, whether it was compiled.
    """

    protocol: str = ""
    sha256: str
    official: bool = True
    dim: int
    settings: dict[str, str] = {}


class Evaluation(_Frozen):
    """The scores, in the order in which they were asked for.

    Attributes:
        scores: By metric id.
        failed: Why a metric could not be computed, by its id; the others were.
        metrics: What each id stands for.
        labels: What tables print for each id.
        generated: The images that were scored.
        reference: What they were compared with, or None.
        extractors: The networks, by name.
        warnings: What a reader of the numbers should know, one sentence each.
        seconds: Spent on looking at images ("features") and on the metrics ("score").
        environment: Versions, machine and device.
    """

    scores: dict[str, Score]
    failed: dict[str, str] = {}
    metrics: dict[str, MetricSpec]
    labels: dict[str, str]
    generated: Side
    reference: Side | None = None
    extractors: dict[str, Network] = {}
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    environment: Environment
