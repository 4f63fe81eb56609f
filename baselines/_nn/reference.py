"""What the reference rows share: they look at the data once and do not train."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from genbench import api

__all__ = ["Reference", "to_float"]


def to_float(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 in 0..255 to [-1, 1]."""
    return x.to(dtype) / 127.5 - 1


class Reference(api.Baseline[api.Unconditional]):
    """A family without optimizers, whose buffers `fit` fills.

    The buffers' shapes depend on the data, so they start empty and a state dict may resize them.
    """

    kind = "reference"

    def __init__(self, config: api.Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.data = data

    def optimizers(self) -> dict[str, Optimizer]:
        """None."""
        return {}

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """Refused: raises RuntimeError."""
        raise RuntimeError(f"{type(self).__name__} is a reference row: it has nothing to train")

    def images(self, of: Tensor, noise: api.Noise) -> Tensor:
        """Distinct rows of `of` (uint8) in a permutation by `noise.seed`; float in [-1, 1].

        Raises:
            ValueError: If there are fewer images than the sample index asks for.
        """
        if noise.index.numel() and (last := int(noise.index.max())) >= len(of):
            raise ValueError(
                f"{type(self).__name__} has {len(of)} distinct images (split {self.fit_split!r})"
                f" and was asked for {last + 1}"
            )
        generator = torch.Generator().manual_seed(noise.seed % 2**63)
        order = torch.randperm(len(of), generator=generator)
        return to_float(of[order.to(of.device)[noise.index]])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != buffer.shape:
                self.register_buffer(name, buffer.new_empty(saved.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
