"""DCGAN: deep convolutional GAN (Radford, Metz, Chintala, arXiv 1511.06434).

The GAN game of Goodfellow et al. (arXiv 1406.2661) with the generator's non-saturating loss,

    L_D = softplus(-D(x)) + softplus(D(G(z))),   L_G = softplus(-D(G(z))),   D in logits,

and the paper's recipe: strided and transposed convolutions only, batch normalisation everywhere
but at the generator's output and the discriminator's input, ReLU and tanh in G, LeakyReLU 0.2 in
D, weights from N(0, 0.02), Adam with beta1 = 0.5. Each part of it can be switched off.

Images of 8 pixels are halved down to 2 (see `baselines/_nn/conv_gan.py`). There, with the default
widths, an image costs about as much training as one of DDPM's.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.conv_gan import discriminator, generator
from baselines._nn.gan import d_loss, g_loss, init_normal
from genbench import api


class DCGAN(api.Baseline[api.Unconditional]):
    """Deep convolutional GAN."""

    kind = "gan"
    counted = ("G",)
    sampled = ("g",)

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z.
            z: N(0, 1), as most implementations have it, or U(-1, 1) as in the paper.
            ngf: Channels of G before its output; they double at every halving of the side.
            ndf: Channels of D after its input layer; they double at every halving of the side.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
            batch_norm: False leaves out batch normalisation.
            init: Weights from N(0, 0.02), or as PyTorch starts a layer.
        """

        batch: int = Field(64, ge=1)
        ema: float | None = Field(20_000.0, gt=0)
        nz: int = Field(64, ge=1)
        z: Literal["normal", "uniform"] = "normal"
        ngf: int = Field(64, ge=1)
        ndf: int = Field(64, ge=1)
        lr: float = Field(2e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)
        batch_norm: bool = True
        init: Literal["normal", "pytorch"] = "normal"

    # For 64 pixels (LSUN, faces): channels of G 1024, 512, 256, 128.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 128,
            "ema": None,
            "nz": 100,
            "z": "uniform",
            "ngf": 128,
            "ndf": 128,  # the paper shows G alone; D mirrors it
            "lr": 2e-4,
            "beta1": 0.5,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        batch_norm = config.batch_norm
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        self.G = generator(config.nz, config.ngf, data, norm)
        self.D = discriminator(config.ndf, data, "batch" if batch_norm else "none")
        if config.init == "normal":
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
        """z as a one-pixel image: (B, nz, 1, 1)."""
        nz = self.config.nz
        return (
            noise.normal(nz, 1, 1)
            if self.config.z == "normal"
            else 2 * noise.uniform(nz, 1, 1) - 1
        )
