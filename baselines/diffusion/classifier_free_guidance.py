"""Classifier-free guidance (Ho and Salimans, arXiv 2207.12598).

One network learns the noise with the label y and, by leaving the label out now and then, without
it, epsilon(x_t, t, y) and epsilon(x_t, t, null). Sampling goes from the second past the first:

    epsilon~ = (1 + w) epsilon(x_t, t, y) - w epsilon(x_t, t, null)
             = gamma cond + (1 - gamma) uncond,   gamma = 1 + w

as if from p(x) p(y | x)^gamma. w = 0 is the conditional model, w = -1 the unconditional one, and a
w above 0 gives images that show their class better and vary less. Other codes count from gamma:
a "guidance scale" of 7.5 is w = 6.5.

The combination is linear, so it is the same for epsilon, x_0 and v. x_0 is clamped after it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn import denoising
from genbench import api


class ClassifierFreeGuidance(api.Baseline[api.ClassLabel]):
    """Diffusion with labels, sampled by classifier-free guidance."""

    cond = api.ClassLabel
    kind = "diffusion"
    defining = ("w",)

    # ImageNet 64x64. The paper's noise levels are continuous, with log SNR drawn from a cosine
    # schedule over [-20, 20], its sampling variance lies between the two fixed ones, and its U-Net
    # is ADM's (arXiv 2105.05233): 32 groups, scale and shift by time and label, several heads.
    # A half-life of 14,200,000 images is a decay of 0.9999 at batches of 2048.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "p_uncond": 0.1,
            "schedule": "cosine",
            "net": "unet",
            "channels": 192,
            "mults": (1, 2, 3, 4),
            "blocks": 3,
            "attention": (32, 16, 8),
            "patch": 1,
            "dropout": 0.1,
            "lr": 3e-4,
            "batch": 2048,
            "ema": 14_200_000,
            "ema_rampup": 1e9,
            "warmup": 0,
            "decay": "constant",
            "options": {"steps": 256, "w": 0.1},  # of FID 1.55
        },
    }

    class Config(denoising.ChainConfig):
        """Settings, besides those of the chain and of the network.

        Attributes:
            p_uncond: Share of the training rows whose label is left out.
        """

        p_uncond: float = Field(0.1, ge=0, le=1)

    class Options(denoising.Sampling):
        """Sampling options, besides those of the chain.

        Attributes:
            w: Strength of the guidance, at least -1. A step is two network evaluations, but one
                at w = 0 (conditional) and at w = -1 (unconditional).
        """

        w: float = Field(0.5, ge=-1)

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.classes:
            raise ValueError(
                f"classifier-free guidance needs classes, and {data.name!r} has none; use ddpm"
                " instead"
            )
        self.config, self.null = config, data.classes
        self.chain = denoising.Chain(config, data.shape)
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape, data.classes, out=self.chain.out)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def step(
        self, x: Tensor, cond: api.ClassLabel, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The loss of the chain, with the label left out in a share `p_uncond` of the rows."""
        y = torch.where(noise.uniform() < self.config.p_uncond, self.null, cond.label)
        given = self.chain.noised(x, noise)
        losses = self.chain.loss(self.net(given.x_t, self.chain.time(given.t), y), given)
        update("net", losses["loss"])
        return losses

    @classmethod
    def check(cls, config: Config, options: Options) -> None:
        """Refuses time steps, a variance and a guidance that such a model does not have."""
        denoising.Chain.check(config, options)
        denoising.check_guidance(config.p_uncond, options.w)

    def sample(self, cond: api.ClassLabel, noise: api.Noise, **options: Any) -> Tensor:
        """x_T ~ N(0, I), then the steps of the sampler with guided answers."""
        o, y = self.Options(**options), cond.label
        null = torch.full_like(y, self.null)
        network = denoising.guided(self.net, y, null, o.w)
        return self.chain.sample(network, noise, o).clamp(-1, 1)
