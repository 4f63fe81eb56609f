"""The training loop: everything that a family does not want to know.

The loop owns the budget, the learning-rate shape, the moving average, autocast, the order of the
data, checkpoints and data parallelism. Random numbers and data are functions of (seed, position),
so a checkpoint needs no generator state and a resumed run ends in the same bits.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genbench import dist
from genbench.api import Baseline, Config, Noise
from genbench.drawing import Drawn
from genbench.flops import flop_counter
from genbench.noise import stream_key
from genbench.spec import Budget, ConfigError
from genbench.stepper import NonFiniteError, Stepper
from genbench.tasks import Examples, to_float

__all__ = ["Loop", "Meter"]

_HISTORY_POINTS = 200  # of each loss curve


def fold(seed: int, *names: object) -> int:
    """A seed in [0, 2^63) for one named use of `seed`."""
    low, high = stream_key(seed, "/".join(map(str, names)))
    return (high << 32 | low) % (1 << 63)


@dataclass
class Meter:
    """What training has used of its budget, and how many images of data it has seen."""

    images: int = 0
    updates: int = 0
    steps: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    data: int = 0

    def used(self, budget: Budget) -> dict[str, float]:
        """Share of every limit that is used; 1 or more where it is reached."""
        return {name: getattr(self, name) / limit for name, limit in budget.limits.items()}


@dataclass
class Stream:
    """The endless stream of training images: epoch after epoch, each in its own order."""

    n: int
    seed: int
    device: torch.device
    _orders: dict[int, Tensor] = field(default_factory=dict)

    def rows(self, start: int, stop: int) -> Tensor:
        """Which images stand at positions [start, stop)."""
        parts = []
        for epoch in range(start // self.n, (stop - 1) // self.n + 1):
            offset = epoch * self.n
            parts.append(self._order(epoch)[max(start - offset, 0) : stop - offset])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1}
            generator = torch.Generator().manual_seed(fold(self.seed, "order", epoch))
            self._orders[epoch] = torch.randperm(self.n, generator=generator).to(self.device)
        return self._orders[epoch]


class Loop:
    """One training, from any state to the end of its budget.

    Args:
        baseline: The model, on its device.
        config: Its configuration.
        budget: When to end.
        seed: Of data order and noise.
        examples: What to train on, on the model's device.
    """

    def __init__(
        self,
        baseline: Baseline[Any],
        config: Config,
        budget: Budget,
        seed: int,
        examples: Examples,
    ) -> None:
        self.baseline, self.config, self.budget, self.seed = baseline, config, budget, seed
        self.examples, self.device = examples, examples.images.device
        self.meter, self.update = Meter(), Stepper(baseline, config)
        self.drawn = Drawn(self.device)
        self.position = 0  # in the stream of training images
        self.losses: dict[str, Tensor] = {}
        self.history: list[dict[str, float]] = []
        self._stream = Stream(len(examples), seed, self.device)
        # by (images over all ranks, shape of one, phase): what a step costs on all ranks together
        self._flops: dict[tuple[int, tuple[int, ...], int | str | None], float] = {}
        self._per_step = max(1, len(self.update.optimizers))  # updates; each step measures it
        state = baseline.state_dict()
        self._live = [t for t in state.values() if t.is_floating_point()]
        self._rest = [t for t in state.values() if not t.is_floating_point()]
        self._buffers = [b for b in baseline.buffers() if b.is_floating_point()]
        self._counts = [b for b in baseline.buffers() if not b.is_floating_point()]
        self.ema: dict[str, Tensor] | None = None
        if config.ema is not None and self.update.optimizers:
            self.ema = {name: t.clone() for name, t in state.items()}
            self._average = [t for t in self.ema.values() if t.is_floating_point()]
            self._average_rest = [t for t in self.ema.values() if not t.is_floating_point()]
        if self.update.optimizers and config.batch < dist.world_size():
            raise ConfigError(f"batch={config.batch} does not fill {dist.world_size()} ranks")
        budget.check_step(type(baseline).__name__, len(self.update.optimizers))
        if self.update.optimizers and not budget.limits:
            raise ConfigError(
                "a family that trains needs a budget: set budget.images, for example"
            )

    @property
    def ended_by(self) -> str | None:
        """The limit that ended training, or None while there is budget left."""
        if not self.update.optimizers:
            return "fit"
        reached = [name for name, share in self.meter.used(self.budget).items() if share >= 1]
        if not reached and self._next_batch() < dist.world_size():
            return "images"  # what is left does not fill one more step
        return reached[0] if reached else None

    @property
    def progress(self) -> float:
        """Share of the budget that is used, by the limit that is nearest; in [0, 1]."""
        return min(1.0, max(self.meter.used(self.budget).values(), default=1.0))

    def finish(self) -> None:
        """Show the family the training images, once with each set of weights that is kept."""
        self.update.look()
        if type(self.baseline).finish is Baseline.finish:
            return
        baseline = self.baseline.eval()
        with torch.no_grad():
            baseline.finish(self.examples.images.clone())  # its own, as it may change them
            if self.ema is not None:
                live = {name: t.clone() for name, t in baseline.state_dict().items()}
                baseline.load_state_dict(self.ema)
                baseline.finish(self.examples.images.clone())
                for name, t in baseline.state_dict().items():
                    self.ema[name].copy_(t)
                baseline.load_state_dict(live)
        baseline.train()
        self._check_tensors()

    def _next_batch(self) -> int:
        if self.budget.images is None:
            return self.config.batch
        return min(self.config.batch, (self.budget.images - self.meter.images) // self._per_step)

    def step(self) -> None:
        """One step of the family on the next images, and everything that goes with it."""
        begin = time.perf_counter()
        size, ranks, rank = self._next_batch(), dist.world_size(), dist.rank()
        first, last = size * rank // ranks, size * (rank + 1) // ranks
        start, stop = self.position + first, self.position + last
        rows = self._stream.rows(start, stop)
        index = range(start, stop)
        pairing = Noise(self.seed, index, stream="task", device=self.device)
        pixels, cond = self.examples.draw(rows, pairing)
        x = to_float(pixels)
        noise = Noise(self.seed, index, stream="train", device=self.device)
        self.update.progress, self.update.share = self.progress, (last - first) / size
        self.update.scale_learning_rate(self._learning_rate())
        _seed_dropout(fold(self.seed, "step", self.meter.steps, rank), x.device)
        updates, sampled = self.update.updates, self.update.sampled
        self._run_family(x, cond, noise, size)
        dist.sum_flat(self._buffers, 1 / ranks)  # running statistics: the mean over ranks
        dist.from_first(self._counts)
        self._per_step = self.update.updates - updates
        if self._per_step == 0:
            raise ConfigError("step() must call update() at least once")
        self.position += size
        self.meter.images += size * self._per_step
        self.meter.updates += self.update.sampled - sampled
        self.meter.data = self.position
        self.meter.steps += 1
        self._move_average(size * self._per_step)
        self.meter.seconds += self._slowest(time.perf_counter() - begin)

    def _run_family(self, x: Tensor, cond: Any, noise: Noise, size: int) -> None:
        half = self.config.precision == "bfloat16"
        cast = torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext()
        signature = (size, tuple(x.shape[1:]), self.baseline.phase(self.update.progress))
        counter = None if signature in self._flops else flop_counter()
        with cast, counter or nullcontext(), self.drawn:
            losses = self.baseline.step(x, cond, noise, self.update)
        self.losses = {name: loss.detach() for name, loss in losses.items()}
        if counter is not None:
            flops = torch.tensor([counter.get_total_flops()], dtype=torch.float64, device=x.device)
            dist.sum_flat([flops])
            self._flops[signature] = float(flops)
        self.meter.flops += self._flops[signature]

    def _learning_rate(self) -> float:
        """Factor in [0, 1]: linear warm-up over images, then the shape over the budget."""
        factor = 1.0
        if self.config.warmup:
            factor = min(1.0, (self.meter.images + self.config.batch) / self.config.warmup)
        if self.config.decay == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * self.progress))
        elif self.config.decay == "linear":
            factor *= min(1.0, 2 - 2 * self.progress)
        return factor

    def _move_average(self, images: int) -> None:
        if self.ema is None or self.config.ema is None:
            return
        half_life = min(self.config.ema, self.config.ema_rampup * self.meter.images)
        decay = 0.5 ** (images / half_life)
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)(self._average, self._live, None)  # type: ignore[no-untyped-call]
            for average, live in zip(self._average_rest, self._rest, strict=True):
                average.copy_(live)

    def _slowest(self, seconds: float) -> float:
        """The same seconds on every rank, so that all ranks end together."""
        if dist.world_size() == 1 or self.budget.seconds is None:
            return seconds
        value = torch.tensor([seconds], device=self.device)
        dist.sum_flat([value], 1 / dist.world_size())
        return float(value)

    # --- state -----------------------------------------------------------------------------------

    def log(self) -> None:
        """Add the losses to the history if a new point of it is due."""
        point = int(self.progress * _HISTORY_POINTS)
        if self.losses and (not self.history or self.history[-1]["point"] < point):
            self.update.look()
            values = {name: float(loss) for name, loss in self.losses.items()}
            for name, value in values.items():
                if not math.isfinite(value):
                    raise NonFiniteError(
                        f"loss {name!r} is {value} after {self.meter.steps} steps"
                    )
            self.history.append({"point": point, "images": self.meter.images, **values})
            self._check_tensors()

    def _check_tensors(self) -> None:
        """Refuse weights that are not finite, and tensors that were replaced.

        The average and the mean over ranks follow the tensors that were there at the start.
        """
        if not all(bool(torch.isfinite(t).all()) for t in self._live):
            raise NonFiniteError(
                f"a weight is NaN or infinite after {self.meter.steps} steps, since a gradient "
                "was; try a lower learning rate, or limit gradients with `clip`"
            )
        now = {t.data_ptr() for t in self.baseline.state_dict().values()}
        if now != {t.data_ptr() for t in (*self._live, *self._rest)}:
            raise ConfigError(
                "step() or finish() replaced a parameter or buffer; change it in place (copy_, "
                "lerp_, ...)"
            )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the rest of the training depends on: tensors, and JSON-able facts."""
        self.update.look()  # nothing that came after a NaN is worth a checkpoint
        tensors = {f"model/{k}": v for k, v in self.baseline.state_dict().items()}
        tensors |= {f"ema/{k}": v for k, v in (self.ema or {}).items()}
        scalars: dict[str, Any] = {}
        for name, optimizer in self.update.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                for slot, value in slots.items():
                    where = f"optimizer/{name}/{index}/{slot}"
                    if isinstance(value, Tensor):
                        tensors[where] = value
                    else:
                        scalars[where] = value
        info = {
            "meter": vars(self.meter),
            "position": self.position,
            "per_step": self._per_step,
            "flops": [[n, list(s), phase, f] for (n, s, phase), f in self._flops.items()],
            "losses": {name: float(loss) for name, loss in self.losses.items()},
            "history": self.history,
            "scalars": scalars,
        }
        return tensors, info

    def load(self, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
        """Go on from a state that `state` gave."""
        self.baseline.load_state_dict(_below(tensors, "model/"))
        for name, value in _below(tensors, "ema/").items():
            if self.ema is not None:
                self.ema[name].copy_(value)
        for name, optimizer in self.update.optimizers.items():
            _load_optimizer(optimizer, f"optimizer/{name}/", tensors, info["scalars"])
        self.meter = Meter(**info["meter"])
        self.position, self._per_step = info["position"], info["per_step"]
        self._flops = {(n, tuple(s), phase): f for n, s, phase, f in info["flops"]}
        self.losses = {name: torch.tensor(loss) for name, loss in info["losses"].items()}
        self.history = list(info["history"])


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the generators that dropout draws from.

    `torch.manual_seed` would also queue a call, with a stack trace, for every accelerator that is
    not in use: a millisecond for each step, and memory that grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _below(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def _load_optimizer(
    optimizer: Optimizer, prefix: str, tensors: dict[str, Tensor], scalars: dict[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    for where, value in (_below(tensors, prefix) | _below(scalars, prefix)).items():
        index, slot = where.split("/", 1)
        state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
