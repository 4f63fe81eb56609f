"""The right answer to another question: real images that ignore what was asked."""

from typing import Any

from torch import Tensor

from baselines._nn.answers import Answering
from baselines._nn.reference import to_float
from genbench import api


class Other(Answering):
    """Sample i is the answer to some other question, drawn for each sample."""

    def sample(self, cond: api.Condition, noise: api.Noise, **options: Any) -> Tensor:
        """Answers of the same kind (the same target domain, where there are domains)."""
        self.Options(**options)
        others = len(self.x) - 1
        shift = 1 + (noise.uniform() * others).long().clamp_(max=others - 1)
        rows = (self.rows(noise) + shift.to(self.x.device)) % len(self.x)
        return to_float(self.right(cond, rows))
