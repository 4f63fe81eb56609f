"""DCGAN: deep convolutional GAN (Radford, Metz, Chintala, arXiv 1511.06434).

The GAN game of Goodfellow et al. (arXiv 1406.2661) with the generator's non-saturating loss,

    L_D = softplus(-D(x)) + softplus(D(G(z))),   L_G = softplus(-D(G(z))),   D in logits,

and the paper's recipe: strided and transposed convolutions only, batch normalisation everywhere
but at the generator's output and the discriminator's input, ReLU and tanh in G, LeakyReLU 0.2 in
D, weights from N(0, 0.02), Adam with beta1 = 0.5.
"""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.blocks import halvings
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
        self.apply(init_weights)

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
        loss_d = F.softplus(-self.D(x)).mean() + F.softplus(self.D(fake)).mean()
        update("d", loss_d)
        loss_g = F.softplus(-self.D(self.G(self.z(noise)))).mean()
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


def generator(nz: int, ngf: int, data: api.DataSpec) -> nn.Sequential:
    """z (B, nz, 1, 1) to images (B, C, H, W) in [-1, 1]."""
    base, ups = halvings(data.size)
    c = ngf << (ups - 1)
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(nz, c, base, bias=False),  # 1x1 to base x base
        nn.BatchNorm2d(c),
        nn.ReLU(),
    ]
    for _ in range(ups - 1):
        layers += [
            nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(c // 2),
            nn.ReLU(),
        ]
        c //= 2
    layers += [nn.ConvTranspose2d(c, data.channels, 4, stride=2, padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def discriminator(ndf: int, data: api.DataSpec) -> nn.Sequential:
    """Images (B, C, H, W) to logits (B,)."""
    base, downs = halvings(data.size)
    c = ndf
    layers: list[nn.Module] = [
        nn.Conv2d(data.channels, c, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
    ]
    for _ in range(downs - 1):
        layers += [
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * c),
            nn.LeakyReLU(0.2),
        ]
        c *= 2
    layers += [nn.Conv2d(c, 1, base), nn.Flatten(0)]  # base x base to 1x1
    return nn.Sequential(*layers)


def init_weights(module: nn.Module) -> None:
    """Weights from N(0, 0.02), those of batch normalisation from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
        mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
        nn.init.normal_(module.weight, mean, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
