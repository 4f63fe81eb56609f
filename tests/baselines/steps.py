"""What tests of families share: an `update` that only looks, and training on one image."""

from typing import Any

import torch
from torch import Tensor

from genbench.api import Baseline, Noise, Unconditional
from genbench.stepper import Stepper


class Losses:
    """An `update` that keeps the losses and changes nothing.

    Attributes:
        progress: Share of the budget that the step is told.
        seen: The last loss of each optimizer.
        loss: The last loss of all.
    """

    def __init__(self, progress: float = 0.0) -> None:
        self.progress = progress
        self.seen: dict[str, float] = {}

    def __call__(self, name: str, loss: Tensor) -> None:
        self.loss = self.seen[name] = loss.detach().item()


def learned(m: Baseline[Any], **options: Any) -> float:
    """The share of pixels on the right side of 0 after 120 steps on one image; .5 by chance."""
    stepper = Stepper(m.train(), type(m).Config())
    image = torch.where(Noise(3, [0]).uniform(1, 8, 8) < 0.5, -0.5, 0.5)
    for i in range(120):
        m.step(image.expand(32, -1, -1, -1), Unconditional(), Noise(i, range(32)), stepper)
    with torch.no_grad():
        x = m.eval().sample(Unconditional(), Noise(0, range(16)), **options)
    return ((x > 0) == (image > 0)).float().mean().item()
