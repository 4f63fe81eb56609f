"""What the reference rows of conditional tasks share: they know the questions' right answers."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines._nn.reference import Reference
from genbench import api

__all__ = ["Answering", "given"]


class Answering(Reference):
    """A reference row that is shown questions and answers: sample i is asked question i.

    Of `ToDomain` the sources are kept too, for samples that are moved back.
    """

    cond = api.Condition  # any
    fit_split = "test"

    def __init__(self, config: api.Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        for name in ("x", "source"):
            self.register_buffer(name, torch.empty(0, *data.shape, dtype=torch.uint8))
        self.register_buffer("target", torch.empty(0, dtype=torch.int64))
        self.x: Tensor
        self.source: Tensor
        self.target: Tensor

    def fit(self, x: Tensor) -> None:
        """Without conditions every image is an answer."""
        self.x = x

    def fit_answers(self, x: Tensor, cond: Any) -> None:
        """Keep the answers."""
        self.x = x
        if isinstance(cond, api.ToDomain):
            self.source, self.target = ((cond.source + 1) * 127.5).round().byte(), cond.target

    def rows(self, noise: api.Noise) -> Tensor:
        """The question of each sample; they begin anew after the last one."""
        return noise.index.to(self.x.device) % len(self.x)

    def right(self, cond: api.Condition, rows: Tensor) -> Tensor:
        """The right answers, uint8: of samples that are moved back, where they came from."""
        if not isinstance(cond, api.ToDomain):
            return self.x[rows]
        there = (cond.target == self.target[rows])[:, None, None, None]
        return torch.where(there, self.x[rows], self.source[rows])


def given(cond: api.Condition, data: api.DataSpec) -> Tensor | None:
    """The picture that a condition shows, as an image of the data; None for one in words.

    Low resolutions are enlarged by bicubic interpolation; one channel is repeated, and of several
    that are no colours (a label map) the mean is taken.
    """
    match cond:
        case api.Paired(source) | api.ToDomain(source=source) | api.Edit(source=source):
            picture = source
        case api.LowRes(image):
            shape = (data.size, data.size)
            picture = F.interpolate(image, shape, mode="bicubic", align_corners=False)
        case _:
            return None
    if picture.shape[1] != data.channels:
        picture = picture.mean(1, keepdim=True).expand(-1, data.channels, -1, -1)
    return picture.clamp(-1, 1)
