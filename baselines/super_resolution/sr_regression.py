"""Super-resolution by regression: SRResNet (Ledig et al., arXiv 1609.04802).

One network enlarges the image y, and is trained on the distance of pixels alone:

    L2: |x - G(y)|_2^2, smallest at the mean of all x that fit y,
    L1: |x - G(y)|_1, smallest at their median,   both as means over pixels

Where y leaves details open, the mean and the median of what they can be are blurred.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn.super_resolution import SRResNet
from genbench import api


class SRRegression(api.Baseline[api.LowRes]):
    """SRResNet trained on the mean squared or absolute error."""

    cond = api.LowRes
    kind = "regression"
    defining = ("loss", "bicubic_skip")

    class Config(api.Config):
        """Settings.

        Attributes:
            loss: "l2" or "l1".
            width: Channels of the network.
            blocks: Residual blocks.
            batch_norm: Batch normalisation in the blocks.
            kernel: Side of the first and last convolution.
            bicubic_skip: Add the interpolated image, so that only what it lacks has to be learned.
            lr: Adam's learning rate.
        """

        batch: int = Field(16, ge=1)
        decay: api.Decay = "cosine"
        loss: Literal["l1", "l2"] = "l2"
        width: int = Field(32, ge=1)
        blocks: int = Field(4, ge=0)
        batch_norm: bool = False
        kernel: Literal[3, 5, 7, 9] = 5
        bicubic_skip: bool = True
        lr: float = Field(1e-3, gt=0)

    # x4 to crops of 96 pixels (ImageNet), a million steps.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 16,
            "decay": "constant",
            "loss": "l2",
            "width": 64,
            "blocks": 16,
            "batch_norm": True,
            "kernel": 9,
            "bicubic_skip": False,
            "lr": 1e-4,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        c = self.config = config
        self.G = SRResNet(
            data.channels, data.factor, c.width, c.blocks, c.batch_norm, c.kernel, c.bicubic_skip
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"g": Adam(self.G.parameters(), lr=self.config.lr)}

    def step(
        self, x: Tensor, cond: api.LowRes, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The L2 or L1 loss."""
        distance = F.mse_loss if self.config.loss == "l2" else F.l1_loss
        loss = distance(self.G(cond.image), x)
        update("g", loss)
        return {"loss": loss}

    def sample(self, cond: api.LowRes, noise: api.Noise, **options: Any) -> Tensor:
        """G(y), clamped."""
        self.Options(**options)
        x: Tensor = self.G(cond.image)
        return x.float().clamp(-1, 1)
