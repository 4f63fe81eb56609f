"""ProgressiveGAN: GANs that grow (Karras, Aila, Laine, Lehtinen, arXiv 1710.10196).

Both networks begin at 4x4 pixels (28 pixels: at 7x7) and double the side until it is that of the
images. A new resolution is faded in, see `baselines/_nn/growing.py`. No batch normalisation: G
normalises every pixel's features, weights have an equalised learning rate, and D sees the standard
deviation within groups of a batch. The loss is WGAN-GP with a drift term,

    L_D = E D(G(z)) - E D(x) + lambda E (||grad D(x_hat)|| - 1)^2 + 0.001 E D(x)^2,
    L_G = -E D(G(z)),

or the non-saturating one with R1, gamma/2 E ||grad D(x)||^2. One step of D for one of G.

The schedule follows the share of the budget that is used, so that a cut budget still ends with the
whole network: every resolution but the last has an equal part of the first `growth`. A single
doubling should not wait: on digits a fifth of the budget at 4 pixels is better than a half.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.blocks import halvings
from baselines._nn.equalized import GAIN, EqualConv2d, EqualLinear, PixelNorm, up
from baselines._nn.gan import d_loss, g_loss
from baselines._nn.gradient_penalty import r1, tracked, wgan_gp
from baselines._nn.growing import Discriminator, Growth, rgb_levels, widths
from genbench import api

DRIFT = 1e-3


class ProgressiveGAN(api.Baseline[api.Unconditional]):
    """Progressively growing GAN."""

    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("loss", "grow")

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I), which is scaled to length sqrt(nz).
            channels: Channels at the side of the images; they double at every halving.
            widest: The most channels that a layer has.
            loss: WGAN-GP, or non-saturating with R1.
            penalty: lambda of WGAN-GP, or gamma of R1.
            grow: False trains the whole network from the start.
            growth: Share of the budget after which the last resolution enters; None: 0.2 for each
                resolution below it, 0.5 at the most.
            fade: Share of a resolution's part over which it is faded in.
            lr: Adam's learning rate, of both networks.
        """

        batch: int = Field(32, ge=1)
        ema: float | None = Field(10_000.0, gt=0)
        nz: int = Field(64, ge=1)
        channels: int = Field(16, ge=1)
        widest: int = Field(64, ge=1)
        loss: Literal["wasserstein_gp", "r1"] = "wasserstein_gp"
        penalty: float = Field(10.0, ge=0)
        grow: bool = True
        growth: float | None = Field(None, gt=0, lt=1)
        fade: float = Field(0.5, gt=0, le=1)
        lr: float = Field(3e-3, gt=0)

    # For 1024 pixels and 12 million images, 600,000 to fade a resolution in, as many to go on.
    # We lack smaller batches (from 256 pixels on), moments of Adam that begin anew with every
    # resolution, and mirrored images.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 16,
            "ema": 22_000.0,  # 0.999 for each step of 16 images, which both networks see
            "nz": 512,
            "channels": 16,
            "widest": 512,
            "growth": 0.75,
            "fade": 0.5,
            "lr": 1e-3,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.growth = Growth(data.size, config.growth if config.grow else 0.0, config.fade)
        base, _ = halvings(data.size)
        c = widths(data.size, config.channels, config.widest)
        self.G = Generator(config.nz, data.channels, base, c, config.grow)
        self.D = Discriminator(data.channels, base, c, config.grow)

    def phase(self, progress: float) -> str:
        """The resolution, and whether it is fading in."""
        return self.growth.phase(progress)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (0.0, 0.99)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with a fresh z, at the resolution that is due."""
        level, alpha = self.growth.at(update.progress)
        x = tracked(self.growth.reals(x, level, alpha))
        with torch.no_grad():
            fake = self.G(noise.normal(self.config.nz), level, alpha)
        # real and fake separately: D must not compare real images with fakes
        s, s_fake = self.D(x, level, alpha), self.D(fake, level, alpha)
        wasserstein = self.config.loss == "wasserstein_gp"
        if wasserstein:
            u = noise.uniform(1, 1, 1)
            penalty = wgan_gp(lambda x_hat: self.D(x_hat, level, alpha), x, fake, u)
            loss_d = s_fake.mean() - s.mean() + DRIFT * s.square().mean()
        else:
            penalty = r1(s, x)
            loss_d = d_loss(s, s_fake)
        update("d", loss_d + self.config.penalty * penalty)
        s_fake = self.D(self.G(noise.normal(self.config.nz), level, alpha), level, alpha)
        loss_g = -s_fake.mean() if wasserstein else g_loss(s_fake)
        update("g", loss_g)
        return {"loss_d": loss_d, "loss_g": loss_g, "penalty": penalty}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """G(z) of the whole network; its last layer is linear, so pixels are cut to [-1, 1]."""
        self.Options(**options)
        x: Tensor = self.G(noise.normal(self.config.nz))
        return x.float().clamp(-1, 1)  # bfloat16 under autocast


class Generator(nn.Module):
    """z (B, nz) to images (B, C, side, side) of a level.

    normalised z - dense - conv3, then for each level double - conv3 - conv3, then to_rgb, linear;
    LeakyReLU 0.2 and pixel normalisation after each.
    """

    def __init__(self, nz: int, channels: int, base: int, c: list[int], grow: bool) -> None:
        super().__init__()
        self.last = len(c) - 1
        act, norm = nn.LeakyReLU(0.2), PixelNorm()
        self.input = nn.Sequential(
            norm,
            # a quarter, as the authors have it: only the bias sees the scale, for pixel norm
            EqualLinear(nz, c[0] * base**2, gain=GAIN / 4),
            nn.Unflatten(1, (c[0], base, base)),
            act,
            norm,
            EqualConv2d(c[0], c[0], 3),
            act,
            norm,
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(EqualConv2d(a, b, 3), act, norm, EqualConv2d(b, b, 3), act, norm)
            for a, b in pairwise(c)
        )
        self.to_rgb = nn.ModuleDict(
            {str(k): EqualConv2d(n, channels, 1, gain=1) for k, n in rgb_levels(c, grow)}
        )

    def forward(self, z: Tensor, level: int | None = None, alpha: float = 1.0) -> Tensor:
        """(B, nz) to (B, C, side, side); without a level, the last one."""
        level = self.last if level is None else level
        h = below = self.input(z)
        for block in self.blocks[:level]:
            below, h = h, block(up(h))
        x: Tensor = self.to_rgb[str(level)](h)
        if alpha < 1:
            x = torch.lerp(up(self.to_rgb[str(level - 1)](below)), x, alpha)
        return x
