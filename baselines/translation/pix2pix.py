"""Pix2pix: image-to-image translation with a conditional GAN (Isola et al., arXiv 1611.07004).

Of a source A the generator makes the aligned image B. A discriminator looks at patches of both:

    L_D = softplus(-D(A, B)) + softplus(D(A, G(A, z))),   D in logits, a mean over patches
    L_G = softplus(-D(A, G(A, z))) + lambda |B - G(A, z)|_1,   the L1 norm as a mean over pixels

The noise z is dropout in the decoder, in training and at sampling alike. The paper normalises with
the statistics of the test batch, of one image; here it is instance normalisation, which is the
same for one image and does not depend on the batch. Without `adversarial` it is regression with
the L1 loss, whose optimum is the median of what B can be.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn.gan import d_loss, g_loss, init_normal
from baselines._nn.translation import PatchGAN, UNetGenerator
from genbench import api


class Pix2Pix(api.Baseline[api.Paired]):
    """Conditional GAN on pairs of images, with the L1 loss."""

    cond = api.Paired
    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("adversarial",)

    class Config(api.Config):
        """Settings.

        Attributes:
            ngf: Channels of the U-Net's first level.
            mults: Channels of every level of the U-Net, as multiples of `ngf`.
            skips: Connect the U-Net's encoder to its decoder.
            dropout: Share of the decoder's activations that are dropped: the noise.
            dropouts: Decoder levels with dropout, from the bottleneck on.
            adversarial: Train against a discriminator; without one only the L1 loss is left.
            conditional: The discriminator sees the source, too.
            ndf: Channels of the discriminator's first layer.
            layers: Strided layers of the discriminator; its patches are squares of 1, 16, 34, 70
                pixels for 0, 1, 2, 3 layers.
            lambda_l1: Weight of the L1 loss, lambda.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(16, ge=1)
        ngf: int = Field(16, ge=1)
        mults: tuple[PositiveInt, ...] = Field((1, 2, 4, 4), min_length=1)
        skips: bool = True
        dropout: float = Field(0.5, ge=0, lt=1)
        dropouts: int = Field(2, ge=0)
        adversarial: bool = True
        conditional: bool = True
        ndf: int = Field(16, ge=1)
        layers: int = Field(1, ge=0)
        lambda_l1: float = Field(100.0, ge=0)
        lr: float = Field(2e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)

    # For crops of 256 pixels, mirrored at random, which we lack. The paper's rate is constant; the
    # authors' later code in PyTorch has "linear".
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 1,  # 4 or 10 for some of the datasets
            "ngf": 64,
            "mults": (1, 2, 4, 8, 8, 8, 8, 8),
            "dropout": 0.5,
            "dropouts": 3,
            "ndf": 64,
            "layers": 3,
            "lambda_l1": 100.0,
            "lr": 2e-4,
            "beta1": 0.5,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        c = self.config = config
        self.G = UNetGenerator(
            data.source, data.channels, data.size, c.ngf, c.mults, c.skips, c.dropouts
        )
        if c.adversarial:
            seen = data.channels + (data.source if c.conditional else 0)
            self.D = PatchGAN(seen, data.size, c.ndf, c.layers)
        self.apply(init_normal)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        nets = {"d": self.D, "g": self.G} if self.config.adversarial else {"g": self.G}
        return {name: Adam(net.parameters(), lr=lr, betas=betas) for name, net in nets.items()}

    def step(
        self, x: Tensor, cond: api.Paired, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G against the new D, of the same G(A, z)."""
        fake = self.translate(cond.source, noise)
        losses = {"l1": F.l1_loss(fake, x)}
        loss_g = self.config.lambda_l1 * losses["l1"]
        if self.config.adversarial:
            losses["loss_d"] = d_loss(self.judge(cond.source, x), self.judge(cond.source, fake))
            update("d", losses["loss_d"])
            losses["gan"] = g_loss(self.judge(cond.source, fake))
            loss_g = loss_g + losses["gan"]
        update("g", loss_g)
        return losses

    def sample(self, cond: api.Paired, noise: api.Noise, **options: Any) -> Tensor:
        """G(A, z)."""
        self.Options(**options)
        return self.translate(cond.source, noise).float()  # bfloat16 under autocast

    def translate(self, source: Tensor, noise: api.Noise) -> Tensor:
        """G(A, z): the U-Net with fresh dropout masks for every image."""
        keep = 1 - self.config.dropout
        masks = [(noise.uniform(*shape) < keep) / keep for shape in self.G.masked]
        fake: Tensor = self.G(source, masks)
        return fake

    def judge(self, source: Tensor, image: Tensor) -> Tensor:
        """D(A, B), logits of every patch: (B, 1, h, w)."""
        seen = torch.cat((source, image), dim=1) if self.config.conditional else image
        logits: Tensor = self.D(seen)
        return logits
