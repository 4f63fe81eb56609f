"""The right answer to every question: what a perfect model of a conditional task would score."""

from typing import Any

from torch import Tensor

from baselines._nn.answers import Answering
from baselines._nn.reference import to_float
from genbench import api


class Truth(Answering):
    """x of each question of the test split."""

    def sample(self, cond: api.Condition, noise: api.Noise, **options: Any) -> Tensor:
        """Sample i is the answer to question i."""
        self.Options(**options)
        return to_float(self.right(cond, self.rows(noise)))
