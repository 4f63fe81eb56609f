"""Real data: images of the test split, the score that a perfect model would have."""

from typing import Any

import torch
from torch import Tensor

from baselines._nn.reference import Reference
from genbench import api


class Real(Reference):
    """Test images, in a permutation by the sampling seed, each at most once."""

    fit_split = "test"
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
