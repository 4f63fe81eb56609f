"""Memoriser: gives back its training images, to show which metrics fail to notice."""

from typing import Any

import torch
from torch import Tensor

from baselines._nn.reference import Reference
from genbench import api


class Memoriser(Reference):
    """Training images, in a permutation by the sampling seed, each at most once."""

    each_once = True

    def __init__(self, config: api.Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.x: Tensor
        self.register_buffer("x", torch.empty(0, *data.shape, dtype=torch.uint8))

    def fit(self, x: Tensor) -> None:
        """Keep the images."""
        self.x = x

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """Sample i is image i of the permutation."""
        self.Options(**options)
        return self.images(self.x, noise)
