"""What a family's `step` calls with each loss: backward, average, check, clip, step."""

import math
from typing import Any

import torch
from torch import Tensor

from genbench import dist
from genbench.api import Baseline, Config
from genbench.spec import ConfigError, nearest

__all__ = ["NonFiniteError", "Stepper"]

_READ_EVERY = 64  # losses on a device: to read one makes it wait for all that was queued


class NonFiniteError(ArithmeticError):
    """A loss or a gradient became NaN or infinite."""


class Stepper:
    """The `Update` that a family's `step` calls: backward, average, check, clip, step.

    Args:
        baseline: The model; each optimizer's gradients reach its own parameters only.
        config: For clipping.
    """

    def __init__(self, baseline: Baseline[Any], config: Config) -> None:
        self.optimizers = baseline.optimizers()
        self.params = {
            name: [p for group in optimizer.param_groups for p in group["params"]]
            for name, optimizer in self.optimizers.items()
        }
        self.progress = 0.0
        self.updates = 0
        self.sampled = 0  # of these those of networks that make samples
        self._sampled = baseline.sampled or tuple(self.optimizers)
        if unknown := [name for name in self._sampled if name not in self.optimizers]:
            raise ConfigError(
                f"{type(baseline).__name__}.sampled: no optimizer {unknown[0]!r}; "
                f"{nearest(unknown[0], self.optimizers)}"
            )
        self.share = 1.0  # of the global batch that is on this rank
        self._clip = config.clip
        self._unread: list[tuple[str, Tensor]] = []
        self._initial = {
            name: [float(group["lr"]) for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }

    def __call__(self, name: str, loss: Tensor) -> None:
        """See `api.Update`."""
        if name not in self.optimizers:
            raise ConfigError(f"update({name!r}, ...): {nearest(name, self.optimizers)}")
        optimizer, params = self.optimizers[name], self.params[name]
        self._refuse(f"loss {name!r}", loss.detach())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=params)
        if dist.world_size() > 1:
            dist.sum_flat([p.grad for p in params if p.grad is not None], self.share)
        if self._clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(params, self._clip)
            self._refuse(f"gradient {name!r}", norm)
        optimizer.step()
        self.updates += 1
        self.sampled += name in self._sampled

    def _refuse(self, what: str, value: Tensor) -> None:
        """Raise NonFiniteError unless `value` is finite; on a device, some steps later.

        Losses are looked at in every step. A gradient alone that is not finite spoils the weights
        and so the next loss; the norm of all gradients costs 4 % of a small step.
        """
        self._unread.append((what, value))
        if value.device.type == "cpu" or len(self._unread) >= _READ_EVERY:
            self.look()

    def look(self) -> None:
        """Raise NonFiniteError if a value that was not looked at yet is not finite."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        values = torch.stack([value.float() for _, value in unread]).tolist()
        for (what, _), value in zip(unread, values, strict=True):
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"the {what} is {value} after {self.progress:.1%} of the budget; try a "
                    "lower learning rate, or limit gradients with `clip`"
                )

    def scale_learning_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times what the family asked for."""
        for name, optimizer in self.optimizers.items():
            for group, initial in zip(optimizer.param_groups, self._initial[name], strict=True):
                group["lr"] = initial * factor
