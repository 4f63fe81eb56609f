"""DCGAN: deep convolutional GAN (Radford, Metz, Chintala, arXiv 1511.06434).

The GAN game of Goodfellow et al. (arXiv 1406.2661) with the generator's non-saturating loss,

    L_D = softplus(-D(x)) + softplus(D(G(z))),   L_G = softplus(-D(G(z))),   D in logits,

and the paper's recipe: strided and transposed convolutions only, batch normalisation everywhere
but at the generator's output and the discriminator's input, ReLU and tanh in G, LeakyReLU 0.2 in
D, weights from N(0, 0.02), Adam with beta1 = 0.5.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.conv_gan import generator, trunk
from baselines._nn.gan import d_loss, g_loss, init_normal
from genbench import api


class DCGAN(api.Baseline[api.Unconditional]):
    """Deep convolutional GAN."""

    kind = "gan"
    counted = ("G",)

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I).
            ngf: Channels of G before its output; they double at every halving of the side.
            ndf: Channels of D after its input layer; they double at every halving of the side.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(64, ge=1)
        nz: int = Field(64, ge=1)
        ngf: int = Field(64, ge=1)
        ndf: int = Field(64, ge=1)
        lr: float = Field(2e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.G = generator(config.nz, config.ngf, data)
        self.D = discriminator(config.ndf, data)
        self.apply(init_normal)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with a fresh z."""
        with torch.no_grad():
            fake = self.G(self.z(noise))
        # real and fake separately: D's batch statistics must not mix them
        loss_d = d_loss(self.D(x), self.D(fake))
        update("d", loss_d)
        loss_g = g_loss(self.D(self.G(self.z(noise))))
        update("g", loss_g)
        return {"loss_d": loss_d, "loss_g": loss_g}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """G(z)."""
        self.Options(**options)
        x: Tensor = self.G(self.z(noise))
        return x.float()  # bfloat16 under autocast

    def z(self, noise: api.Noise) -> Tensor:
        """z ~ N(0, I) as a one-pixel image: (B, nz, 1, 1)."""
        return noise.normal(self.config.nz, 1, 1)


def discriminator(ndf: int, data: api.DataSpec) -> nn.Sequential:
    """Images (B, C, H, W) to logits (B,)."""
    phi, c, base = trunk(ndf, data)
    return nn.Sequential(*phi, nn.Conv2d(c, 1, base), nn.Flatten(0))  # base x base to 1x1
