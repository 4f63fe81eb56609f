"""Uniform noise: every pixel from U(-1, 1), the score of a model that learned nothing."""

from typing import Any

from torch import Tensor

from baselines._nn.reference import Reference
from genbench import api


class UniformNoise(Reference):
    """Independent uniform pixels."""

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """U(-1, 1) in every pixel."""
        self.Options(**options)
        return noise.uniform(*self.data.shape) * 2 - 1
