"""cGAN: conditional GAN (Mirza, Osindero, arXiv 1411.1784) with DCGAN's networks.

Both networks see the label y, and D sees a fake with the label that it was made for,

    L_D = softplus(-D(x, y)) + softplus(D(G(z, y), y)),   L_G = softplus(-D(G(z, y), y)).

G reads (z, e(y)), an embedding beside the noise. Two ways for D, both in logits, with phi(x) the
features (B, c, base, base) of DCGAN's discriminator:

    projection   D(x, y) = psi(phi(x)) + <v(y), sum over space of phi(x)>   (arXiv 1802.05637)
    concat       D(x, y) = psi(h([phi(x), v(y) at every place])),  h a 1x1 convolution

With `conditioning="none"` D does not see y, the control: nothing then asks G to obey.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.conv_gan import generator, trunk
from baselines._nn.gan import d_loss, g_loss, init_normal
from genbench import api

Conditioning = Literal["projection", "concat", "none"]


class CGAN(api.Baseline[api.ClassLabel]):
    """Conditional GAN."""

    cond = api.ClassLabel
    kind = "gan"
    counted = ("G",)
    defining = ("conditioning",)

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I).
            ny: Dimensions of G's embedding of the label.
            ngf: Channels of G before its output; they double at every halving of the side.
            ndf: Channels of D after its input layer; they double at every halving of the side.
            conditioning: How D sees the label.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(64, ge=1)
        ema: float | None = Field(20_000.0, gt=0)
        nz: int = Field(64, ge=1)
        ny: int = Field(16, ge=1)
        ngf: int = Field(64, ge=1)
        ndf: int = Field(64, ge=1)
        conditioning: Conditioning = "projection"
        lr: float = Field(4e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)

    # MNIST. We lack the paper's multi-layer perceptrons with maxout and dropout, its 784 sigmoids,
    # and SGD with a rate that falls from 0.1 and a momentum that rises from 0.5 to 0.7.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"batch": 100, "ema": None, "nz": 100, "ny": 1000, "conditioning": "concat"}
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.classes:
            raise ValueError(
                f"a conditional GAN needs classes, and {data.name!r} has none; use dcgan instead"
            )
        self.config = config
        self.G = Generator(config, data)
        self.D = Discriminator(config, data)
        self.apply(init_normal)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.ClassLabel, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with a fresh z; fakes have the labels of the batch."""
        y, nz = cond.label, self.config.nz
        with torch.no_grad():
            fake = self.G(noise.normal(nz), y)
        # real and fake separately: D's batch statistics must not mix them
        loss_d = d_loss(self.D(x, y), self.D(fake, y))
        update("d", loss_d)
        loss_g = g_loss(self.D(self.G(noise.normal(nz), y), y))
        update("g", loss_g)
        return {"loss_d": loss_d, "loss_g": loss_g}

    def sample(self, cond: api.ClassLabel, noise: api.Noise, **options: Any) -> Tensor:
        """G(z, y)."""
        self.Options(**options)
        x: Tensor = self.G(noise.normal(self.config.nz), cond.label)
        return x.float()  # bfloat16 under autocast


class Generator(nn.Module):
    """z (B, nz) and labels (B,) to images (B, C, H, W) in [-1, 1]."""

    def __init__(self, config: CGAN.Config, data: api.DataSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.classes, config.ny)
        self.net = generator(config.nz + config.ny, config.ngf, data)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(B, nz) and (B,) to (B, C, H, W)."""
        x: Tensor = self.net(torch.cat((z, self.embedding(y)), dim=1)[:, :, None, None])
        return x


class Discriminator(nn.Module):
    """Images (B, C, H, W) and labels (B,) to logits (B,)."""

    def __init__(self, config: CGAN.Config, data: api.DataSpec) -> None:
        super().__init__()
        self.conditioning = config.conditioning
        self.phi, c, base = trunk(config.ndf, data)
        self.psi = nn.Conv2d(c, 1, base)  # base x base to 1x1
        if self.conditioning != "none":
            self.v = nn.Embedding(data.classes, c)
            nn.init.normal_(self.v.weight, std=0.02)
        if self.conditioning == "concat":
            # psi alone is linear: without h the label would add a constant, whatever the image
            self.h = nn.Sequential(nn.Conv2d(2 * c, c, 1), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C, H, W) and (B,) to (B,)."""
        phi = self.phi(x)
        if self.conditioning == "concat":
            v = self.v(y)[:, :, None, None].expand_as(phi)
            phi = self.h(torch.cat((phi, v), dim=1))
        s: Tensor = self.psi(phi).flatten()
        if self.conditioning == "projection":
            s = s + (self.v(y) * phi.sum(dim=(2, 3))).sum(dim=1)
        return s
