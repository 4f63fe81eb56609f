"""cGAN: conditional GAN (Mirza, Osindero, arXiv 1411.1784).

Both networks see the label y, and D sees a fake with the label that it was made for,

    L_D = softplus(-D(x, y)) + softplus(D(G(z, y), y)),   L_G = softplus(-D(G(z, y), y)),

or the hinge losses. Three ways for D, all in logits, with phi(x) its features (B, c, base, base):

    projection   D(x, y) = psi(phi(x)) + <v(y), sum over space of phi(x)>   (arXiv 1802.05637)
    concat       D(x, y) = psi(h([phi(x), v(y) at every place])),  h a 1x1 convolution
    auxiliary    D(x) = psi(phi(x)), and D guesses y (AC-GAN, arXiv 1610.09585): the cross-entropy
                 of its guess is added to L_D, on real images and fakes, and to L_G

With `conditioning="none"` D does not see y, the control: nothing then asks G to obey.

The networks are DCGAN's, with an embedding of y beside the noise, (z, e(y)). Those called
"spectral" follow the paper on projection: e(y) is in every normalisation of G, which doubles the
side by nearest neighbours and a convolution, and D has spectral in place of batch normalisation.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.conv_gan import generator, trunk
from baselines._nn.gan import d_loss, g_loss, init_normal
from baselines._nn.gan_blocks import UpGenerator, orthogonal, spectral
from genbench import api

Conditioning = Literal["projection", "concat", "auxiliary", "none"]


class CGAN(api.Baseline[api.ClassLabel]):
    """Conditional GAN."""

    cond = api.ClassLabel
    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("conditioning", "networks")

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I).
            ny: Dimensions of G's embedding of the label.
            ngf: Channels of G before its output; they double at every halving of the side.
            ndf: Channels of D after its input layer; they double at every halving of the side.
            conditioning: How D sees the label.
            networks: See above.
            loss: "vanilla", softplus as above, or "hinge".
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
            beta2: Adam's decay of squared gradients, of both networks.
        """

        batch: int = Field(64, ge=1)
        ema: float | None = Field(20_000.0, gt=0)
        nz: int = Field(64, ge=1)
        ny: int = Field(16, ge=1)
        ngf: int = Field(64, ge=1)
        ndf: int = Field(64, ge=1)
        conditioning: Conditioning = "projection"
        networks: Literal["dcgan", "spectral"] = "dcgan"
        loss: Literal["vanilla", "hinge"] = "vanilla"
        lr: float = Field(4e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)
        beta2: float = Field(0.999, ge=0, lt=1)

    # "paper": MNIST. We lack the multi-layer perceptrons with maxout and dropout, the sigmoids of
    # 784 pixels, and SGD with a rate that falls from 0.1 and a momentum that rises to 0.7.
    # "projection": arXiv 1802.05637, ImageNet at 128 pixels. We lack residual blocks, G's layers
    # of more than 4 ngf channels, five steps of D for one of G, and a rate that falls at the end.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"batch": 100, "ema": None, "nz": 100, "ny": 1000, "conditioning": "concat"},
        "projection": {
            "batch": 256,
            "ema": None,
            "nz": 128,
            "ny": 128,
            "ngf": 64,
            "ndf": 64,
            "conditioning": "projection",
            "networks": "spectral",
            "loss": "hinge",
            "lr": 2e-4,
            "beta1": 0.0,
            "beta2": 0.9,
        },
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
        if config.networks == "dcgan":
            self.apply(init_normal)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, self.config.beta2)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.ClassLabel, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with a fresh z; fakes have the labels of the batch."""
        y, nz, kind = cond.label, self.config.nz, self.config.loss
        with torch.no_grad():
            fake = self.G(noise.normal(nz), y)
        # real and fake separately: D's batch statistics must not mix them
        (s, guess), (s_fake, guess_fake) = self.D(x, y), self.D(fake, y)
        loss_d = d_loss(s, s_fake, kind) + guess + guess_fake
        update("d", loss_d)
        s_fake, guess_fake = self.D(self.G(noise.normal(nz), y), y)
        loss_g = g_loss(s_fake, kind) + guess_fake
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
        self.conditional = config.networks == "spectral"
        if self.conditional:
            self.net: nn.Module = UpGenerator(
                config.nz, config.ny, config.ngf, data.channels, data.size
            ).apply(orthogonal)
        else:
            self.net = generator(config.nz + config.ny, config.ngf, data)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """(B, nz) and (B,) to (B, C, H, W)."""
        e = self.embedding(y)
        x: Tensor
        if self.conditional:
            x = self.net(z, e)
        else:
            x = self.net(torch.cat((z, e), dim=1)[:, :, None, None])
        return x


class Discriminator(nn.Module):
    """Images (B, C, H, W) and labels (B,) to logits (B,), and to what a wrong guess of y costs."""

    def __init__(self, config: CGAN.Config, data: api.DataSpec) -> None:
        super().__init__()
        bounded = config.networks == "spectral"

        def layer(module: nn.Module) -> nn.Module:
            return spectral(module) if bounded else module

        self.conditioning = config.conditioning
        self.phi, c, base = trunk(config.ndf, data, "spectral" if bounded else "batch")
        self.psi = layer(nn.Conv2d(c, 1, base))  # base x base to 1x1
        if self.conditioning in ("projection", "concat"):
            v = nn.Embedding(data.classes, c)
            nn.init.normal_(v.weight, std=0.02)
            self.v = layer(v)
        if self.conditioning == "concat":
            # psi alone is linear: without h the label would add a constant, whatever the image
            self.h = nn.Sequential(layer(nn.Conv2d(2 * c, c, 1)), nn.LeakyReLU(0.2))
        if self.conditioning == "auxiliary":
            self.guess = layer(nn.Conv2d(c, data.classes, base))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) and (B,) to (B,), and a scalar: the cross-entropy if `auxiliary`, or 0."""
        phi = self.phi(x)
        if self.conditioning == "concat":
            v = self.v(y)[:, :, None, None].expand_as(phi)
            phi = self.h(torch.cat((phi, v), dim=1))
        s: Tensor = self.psi(phi).flatten()
        if self.conditioning == "projection":
            s = s + (self.v(y) * phi.sum(dim=(2, 3))).sum(dim=1)
        if self.conditioning == "auxiliary":
            return s, F.cross_entropy(self.guess(phi).flatten(1), y)
        return s, s.new_zeros(())
