"""Super-resolution by regression: SRResNet (Ledig et al., arXiv 1609.04802).

One network enlarges the image y, and is trained on the distance of pixels alone:

    L2: |x - G(y)|_2^2, smallest at the mean of all x that fit y,
    L1: |x - G(y)|_1, smallest at their median,   both as means over pixels

Where y leaves details open, the mean and the median of what they can be are blurred.
"""

from typing import Any, Literal

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
    defining = ("loss",)

    class Config(api.Config):
        """Settings.

        The paper, x4 to 96 pixels: width 64, 16 blocks, batch normalisation, batch 16, lr 1e-4.

        Attributes:
            loss: "l2" or "l1".
            width: Channels of the network.
            blocks: Residual blocks.
            batch_norm: Batch normalisation in the blocks.
            lr: Adam's learning rate.
        """

        batch: int = Field(16, ge=1)
        decay: Literal["constant", "cosine"] = "cosine"
        loss: Literal["l1", "l2"] = "l2"
        width: int = Field(32, ge=1)
        blocks: int = Field(4, ge=0)
        batch_norm: bool = False
        lr: float = Field(1e-3, gt=0)

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.G = SRResNet(
            data.channels, data.factor, config.width, config.blocks, config.batch_norm
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
