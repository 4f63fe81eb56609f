"""The contract between a family and the harness, and all that a family may import of ours.

A family is one file in `baselines/` (or in another package, through the entry-point group
`genbench.baselines`) with one subclass of `Baseline`. It knows its networks, its losses and how to
sample. It knows nothing of devices, EMA, precision, budgets, checkpoints, ranks or files.

The type of the condition is the kind of the task; `genbench.tasks` makes both of a dataset:

| task                          | condition                | x, and the condition               |
|-------------------------------|--------------------------|------------------------------------|
| unconditional                 | `Unconditional()`        | image, nothing                     |
| class_label                   | `ClassLabel(label)`      | image, its class                   |
| caption (text to image)       | `Caption(tokens)`        | image, its text                    |
| paired (image to image)       | `Paired(source)`         | target, source                     |
| to_domain (image to image)    | `ToDomain(source, o, t)` | image of the target domain, source |
| layout (boxes to image)       | `Layout(boxes, classes)` | image, its objects                 |
| low_res (super-resolution)    | `LowRes(image)`          | image, its reduced version         |
| edit                          | `Edit(source, amount)`   | edited image, source and strength  |
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.optim import Optimizer

from genbench.hashed_file import HashedFile
from genbench.noise import Noise

__all__ = [
    "NFE",
    "Baseline",
    "Caption",
    "ClassLabel",
    "Condition",
    "Config",
    "DataSpec",
    "Decay",
    "Edit",
    "HashedFile",
    "Layout",
    "LowRes",
    "Noise",
    "Options",
    "Paired",
    "ToDomain",
    "Unconditional",
    "Update",
    "count_nfe",
    "networks",
]

Decay = Literal["constant", "cosine", "linear"]


@dataclass(frozen=True)
class Condition:
    """A batch of conditions: every tensor field has the batch as its first dimension."""

    def map(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """The same condition with `fn` applied to every tensor; a field may be None."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: None if v is None else fn(v) for k, v in values.items()})

    def __getitem__(self, rows: slice | Tensor) -> Self:
        return self.map(lambda t: t[rows])

    def to(self, device: torch.device | str) -> Self:
        """The same condition on another device."""
        return self.map(lambda t: t.to(device))


@dataclass(frozen=True)
class Unconditional(Condition):
    """No condition at all."""


@dataclass(frozen=True)
class ClassLabel(Condition):
    """One class for each image; int64 of shape (B,), in [0, classes)."""

    label: Tensor


@dataclass(frozen=True)
class Caption(Condition):
    """Text as token ids; int64 of shape (B, length), padded with 0."""

    tokens: Tensor


@dataclass(frozen=True)
class Paired(Condition):
    """The source image of an aligned pair; float of shape (B, C, H, W) in [-1, 1]."""

    source: Tensor


@dataclass(frozen=True)
class ToDomain(Condition):
    """A source image, its domain and the domain to move it to.

    In training x and the source are unpaired: x is another image, of the target domain.

    Attributes:
        source: float (B, C, H, W) in [-1, 1].
        origin: int64 (B,), the source's domain, in [0, domains).
        target: int64 (B,), another domain.
        masks: bool (B, K, H, W), the source's instances, where the task asks for them.
    """

    source: Tensor
    origin: Tensor
    target: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class Layout(Condition):
    """Objects to place; unused places have class -1.

    Attributes:
        boxes: float (B, K, 4), x0, y0, x1, y1 in [0, 1].
        classes: int64 (B, K).
    """

    boxes: Tensor
    classes: Tensor


@dataclass(frozen=True)
class LowRes(Condition):
    """The image to enlarge; float of shape (B, C, h, w) in [-1, 1]."""

    image: Tensor


@dataclass(frozen=True)
class Edit(Condition):
    """An image and how strongly to edit it; `amount` float (B,), 0 leaves the image as it is."""

    source: Tensor
    amount: Tensor


class Config(BaseModel):
    """What the loop can be told; a family sets defaults and adds its own fields in a subclass.

    Attributes:
        batch: Images in one training step, over all ranks.
        ema: Half-life of the moving average of parameters and buffers, in images; None keeps none.
        ema_rampup: The largest half-life, as a share of images seen so far (as arXiv 2312.02696).
        warmup: Images over which the learning rate rises linearly from 0.
        decay: Of the learning rate after the warm-up; "linear" falls in the budget's second half.
        clip: Largest gradient norm of one optimizer's parameters; None does not clip.
        precision: "bfloat16" runs `step` and `sample` under autocast.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch: int = Field(128, ge=1)
    ema: float | None = Field(None, gt=0)
    ema_rampup: float = Field(0.05, gt=0)
    warmup: int = Field(0, ge=0)
    decay: Decay = "constant"
    clip: float | None = Field(None, gt=0)
    precision: Literal["float32", "bfloat16"] = "float32"


class Options(BaseModel):
    """A family's sampling options; a family declares its own fields in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class DataSpec:
    """What a family may know of the data before it sees any.

    Attributes:
        name: Dataset id, e.g. "digits".
        channels: 1 or 3.
        size: Height and width in pixels (images are square).
        classes: Number of classes, 0 if the data has no labels.
        words: Of `Caption`: number of different tokens, the padding 0 included.
        length: Of `Caption`: tokens of a caption.
        source: Of `Paired`: channels of the source image, whose side is `size`.
        factor: Of `LowRes`: by how much the side of the image is reduced.
        kinds: Of `Layout`: number of classes of objects.
        objects: Of `Layout`: the most objects of an image, K.
        domains: Of `ToDomain`: number of domains.
    """

    name: str
    channels: int
    size: int
    classes: int = 0
    words: int = 0
    length: int = 0
    source: int = 0
    factor: int = 1
    kinds: int = 0
    objects: int = 0
    domains: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, size, size)."""
        return (self.channels, self.size, self.size)


class Update(Protocol):
    """What `step` calls with each loss, once per optimizer, in the order that the method wants.

    The call runs `torch.autograd.backward(loss, inputs=parameters of that optimizer)`, averages
    the gradients over ranks, refuses non-finite ones, clips where the config asks, and steps. As
    gradients reach no other network, a family needs no `detach` and no `requires_grad_`.
    """

    @property
    def progress(self) -> float:
        """Share of the budget that is used, in [0, 1)."""
        ...

    def __call__(self, name: str, loss: Tensor) -> None:
        """Step the optimizer `name` down the gradient of `loss`."""
        ...


C = TypeVar("C", bound=Condition)


class Baseline(nn.Module, ABC, Generic[C]):
    """One family of generative models.

    State besides parameters is kept in buffers, changed in place: checkpoints hold them. With
    several ranks, buffers of floats are averaged after each step, others are the first rank's.

    Class attributes:
        cond: The type of the condition, which is the kind of the task.
        kind: "gan", "autoencoder", "diffusion", "reference", ...: groups the rows of tables.
        Config, Options: Its settings and sampling options, of `api.Config` and `api.Options`.
        counted: Submodules whose calls count as network evaluations; () for the direct children.
        sampled: Optimizers of networks that make samples, for `budget.updates`; () for all.
        fit_split: The split that `fit` is shown; with `each_once` a sample is one of its images.
        defining: Fields that say which variant a row is, for its label; a literal tuple.
        presets: Named settings, with fields of `Options` under "options"; "paper" is the paper's.
    """

    cond: ClassVar[type[Condition]] = Unconditional
    kind: ClassVar[str]
    Config: ClassVar[type[Config]] = Config
    Options: ClassVar[type[Options]] = Options
    counted: ClassVar[tuple[str, ...]] = ()
    sampled: ClassVar[tuple[str, ...]] = ()
    fit_split: ClassVar[str] = "train"
    each_once: ClassVar[bool] = False
    defining: ClassVar[tuple[str, ...]] = ()
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    @abstractmethod
    def __init__(self, config: Any, data: DataSpec) -> None:
        super().__init__()

    def phase(self, progress: float) -> int | str | None:
        """A name for the work that a step does; it changes when the cost of a step changes.

        FLOPs of a step are counted again in each new phase: a network that grows names its
        resolution, a penalty of every 16th step names whether it is due.

        Args:
            progress: Share of the budget that is used, in [0, 1).
        """
        return None

    def fit(self, x: Tensor) -> None:
        """Look at all images of the split `fit_split`, uint8 (N, C, H, W), once, before training.

        For reference rows and statistics that a method needs first. What is kept is a buffer.
        """

    def finish(self, x: Tensor) -> None:
        """Look at all training images, uint8 (N, C, H, W), once more, after training.

        For a density over latents or a prior. Called in evaluation mode, without gradients, and
        outside the budget: once with the last weights and, where an average is kept, once with
        the average. What is kept must be a buffer, changed in place; no randomness but a fixed
        seed's.
        """

    def fit_answers(self, x: Tensor, cond: C) -> None:
        """Look at the right answers once, after `fit`: for reference rows of conditional tasks.

        Called where the task has conditions: sample i will be asked condition i, and x_i of the
        split `fit_split` answers it. Keep it in a buffer. A family that trains must not look.

        Args:
            x: uint8 of shape (N, C, H, W).
            cond: Their conditions.
        """

    @classmethod
    def check(cls, config: Any, options: Any) -> None:
        """Refuse sampling options that do not fit the settings, before anything is trained.

        Args:
            config: A valid `Config`.
            options: Valid `Options`.

        Raises:
            ValueError: What does not fit, in one sentence.
        """

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers by name, made anew; {} for a family that does not train."""

    @abstractmethod
    def step(self, x: Tensor, cond: C, noise: Noise, update: Update) -> dict[str, Tensor]:
        """One training step.

        Args:
            x: Images, float of shape (B, C, H, W) in [-1, 1].
            cond: Their conditions.
            noise: Random numbers; every call gives fresh ones of shape (B, ...).
            update: Called once for each optimizer, with its scalar loss (a mean over the batch).

        Returns:
            Scalars to log, by name.
        """

    @abstractmethod
    def sample(self, cond: C, noise: Noise, **options: Any) -> Tensor:
        """Images for the conditions, float of shape (B, C, H, W) in [-1, 1], with B = len(noise).

        Runs in evaluation mode and without gradients. Row i may depend on row i of `cond` and of
        `noise` alone. `options` are validated fields of `Options`.
        """


def networks(baseline: Baseline[Any]) -> dict[str, nn.Module]:
    """The submodules whose calls count as network evaluations, by name, each once.

    Those that `counted` names, else the direct children; never one without parameters.
    """
    names = baseline.counted or tuple(name for name, _ in baseline.named_children())
    found: dict[nn.Module, str] = {}
    for name in names:
        module = baseline.get_submodule(name)
        if any(True for _ in module.parameters()):
            found.setdefault(module, name)
    return {name: module for module, name in found.items()}


class NFE:
    """Counts network evaluations; see `count_nfe`."""

    def __init__(self) -> None:
        self.rows = 0
        self.modules: set[nn.Module] = set()

    def per_sample(self, n: int) -> float:
        """Evaluations per sample when `n` samples were drawn."""
        return self.rows / n

    @property
    def params(self) -> int:
        """Parameters of the networks that were called."""
        return sum({p: p.numel() for m in self.modules for p in m.parameters()}.values())


@contextmanager
def count_nfe(baseline: Baseline[Any]) -> Iterator[NFE]:
    """Count, at the networks, how often they are evaluated inside the `with` block.

    One evaluation is one row through one of the `networks`: guidance's doubled batch counts two.
    """
    nfe = NFE()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        batch = next(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        nfe.rows += len(batch)
        nfe.modules.add(module)

    handles = [
        m.register_forward_pre_hook(count, with_kwargs=True) for m in networks(baseline).values()
    ]
    try:
        yield nfe
    finally:
        for handle in handles:
            handle.remove()
