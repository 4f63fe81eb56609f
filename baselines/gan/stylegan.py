"""StyleGAN: a style-based generator (Karras, Laine, Aila, arXiv 1812.04948).

A mapping f turns z, scaled to length sqrt(nz), into w. The synthesis g starts from a learned
constant and has two layers for each resolution, each with its own style of w, y = A(w),

    h <- LeakyReLU(blur(conv(h)) + b + B n),   n ~ N(0, I), one number for each pixel
    AdaIN(h, y) = (1 + y_s) (h - mu(h)) / sigma(h) + y_b,   mu, sigma over the pixels of a channel.

Only a layer that doubles the side blurs, and the constant has no convolution. In training a share
of the images takes the styles from a random layer on from a second w (mixing regularisation).
Sampling may pull w towards its mean, w_mean + psi (w - w_mean) (truncation).
D is ProgressiveGAN's with a blur before halving. The loss is the non-saturating one with R1,

    L_D = softplus(-D(x)) + softplus(D(G(z))) + gamma/2 E ||grad D(x)||^2,
    L_G = softplus(-D(G(z))).

R1 costs as much as the rest of D's step. With `lazy` it is computed in every so many steps, with a
weight that makes up for the others (StyleGAN2, arXiv 1912.04958, which does so every 16 steps).

The paper grows both networks from 8 pixels on; at up to 32 pixels there is little to gain, so
that is an option here (`grow`, from the smallest side on, see `baselines/_nn/growing.py`).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.blocks import halvings
from baselines._nn.counter import Counter
from baselines._nn.equalized import EqualConv2d, EqualLinear, PixelNorm, blur, up
from baselines._nn.gan import d_loss, g_loss
from baselines._nn.gradient_penalty import r1, tracked
from baselines._nn.growing import Discriminator, Growth, rgb_levels, widths
from genbench import api

W_DECAY = 0.995  # of the running mean of w, for each step


class StyleGAN(api.Baseline[api.Unconditional]):
    """Style-based GAN, version 1."""

    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("grow", "truncation")

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I) and of w.
            depth: Layers of the mapping.
            mapping_lr: Learning rate of the mapping, as a multiple of `lr`.
            channels: Channels at the side of the images; they double at every halving.
            widest: The most channels that a layer has.
            gamma: Weight of R1; None takes 0.0002 size^2 / batch, as the configuration "auto" of
                StyleGAN2-ADA (arXiv 2006.06676) does, which is little: in short trainings on
                digits 1 is better than 0.1 and 0.01.
            lazy: Steps from one R1 to the next, which has `lazy` times the weight.
            mixing: Share of the training images with styles of two w.
            grow: Progressive growing, with `growth` and `fade`.
            growth: Share of the budget after which the last resolution enters; None: 0.2 for each
                resolution below it, 0.5 at the most.
            fade: Share of a resolution's part over which it is faded in.
            lr: Adam's learning rate, of both networks.
        """

        batch: int = Field(32, ge=1)
        ema: float | None = Field(20_000.0, gt=0)
        nz: int = Field(64, ge=1)
        depth: int = Field(4, ge=1)
        mapping_lr: float = Field(0.01, gt=0)
        channels: int = Field(16, ge=1)
        widest: int = Field(64, ge=1)
        gamma: float | None = Field(1.0, ge=0)
        lazy: int = Field(1, ge=1)
        mixing: float = Field(0.9, ge=0, le=1)
        grow: bool = False
        growth: float | None = Field(0.5, gt=0, lt=1)
        fade: float = Field(0.5, gt=0, le=1)
        lr: float = Field(3e-3, gt=0)

    class Options(api.Options):
        """Sampling options.

        Attributes:
            truncation: psi: 1 leaves w as it is, 0 makes it the mean.
            cutoff: Layers, from the first on, that are truncated; None truncates all.
            noise_inputs: False sets them to 0.
        """

        truncation: float = Field(1.0, ge=0, le=1)
        cutoff: int | None = Field(None, ge=1)
        noise_inputs: bool = True

    # For 1024 pixels (FFHQ) and 25 million images. We lack larger batches at small sides (512 at
    # 4 pixels) and a rate that rises with the side (1e-3 up to 64 pixels), a start at 8 pixels,
    # and mirrored images. Figures have psi = 0.7 in the first 8 layers, FIDs no truncation.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 32,
            "ema": 20_000.0,  # 10,000 real images, and as many that G made
            "nz": 512,
            "depth": 8,
            "mapping_lr": 0.01,
            "channels": 16,
            "widest": 512,
            "gamma": 10.0,
            "mixing": 0.9,
            "grow": True,
            "growth": 0.36,  # 600,000 images to fade a side in, 600,000 to go on
            "fade": 0.5,
            "lr": 3e-3,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        rule = 0.0002 * data.size**2 / config.batch
        self.gamma = rule if config.gamma is None else config.gamma
        self.growth = Growth(data.size, config.growth if config.grow else 0.0, config.fade)
        base, _ = halvings(data.size)
        c = widths(data.size, config.channels, config.widest)
        self.G = Generator(config, data.channels, base, c)
        self.D = Discriminator(data.channels, base, c, config.grow, blurred=True)
        self.steps = Counter()

    def phase(self, progress: float) -> str:
        """The resolution, whether it is fading in, and whether R1 is due."""
        return self.growth.phase(progress) + (" with R1" if self.due() else "")

    def due(self) -> bool:
        """Whether the next step is one of those with R1."""
        return int(self.steps) % self.config.lazy == 0

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network; the mapping's slower rate is in its layers."""
        lr, betas = self.config.lr, (0.0, 0.99)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with fresh z, at the resolution that is due."""
        due = self.due()
        self.steps.add()
        level, alpha = self.growth.at(update.progress)
        x = tracked(self.growth.reals(x, level, alpha))
        with torch.no_grad():
            fake = self.fakes(noise, level, alpha)
        # real and fake separately: D must not compare real images with fakes
        s = self.D(x, level, alpha)
        loss_d = d_loss(s, self.D(fake, level, alpha))
        losses = {"loss_d": loss_d}
        if due:
            losses["r1"] = r1(s, x)
            loss_d = loss_d + self.config.lazy * self.gamma * losses["r1"]
        update("d", loss_d)
        losses["loss_g"] = g_loss(self.D(self.fakes(noise, level, alpha), level, alpha))
        update("g", losses["loss_g"])
        return losses

    def fakes(self, noise: api.Noise, level: int, alpha: float) -> Tensor:
        """Images of a level for training, with mixed styles; w_mean follows the first w."""
        nz, layers = self.config.nz, 2 * (level + 1)
        w1, w2 = (self.G.f(noise.normal(nz)) for _ in range(2))
        self.G.w_mean.lerp_(w1.detach().mean(0).to(self.G.w_mean.dtype), 1 - W_DECAY)
        mixed, place = noise.uniform(2).unbind(1)
        # the crossover is one of the layers but the first, or comes after the last
        crossover = 1 + (place * (layers - 1)).long()
        crossover = torch.where(mixed < self.config.mixing, crossover, layers)
        x: Tensor = self.G.g(mix(w1, w2, crossover, layers), self.maps(noise, level), alpha)
        return x

    def maps(self, noise: api.Noise, level: int) -> list[Tensor]:
        """A noise input (B, 1, side, side) for every layer, two for each level up to this one."""
        sides = [self.G.g.base << k for k in range(level + 1) for _ in range(2)]
        return [noise.normal(1, side, side) for side in sides]

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """g(w_mean + psi (f(z) - w_mean)); the last layer is linear, so pixels are cut."""
        o = self.Options(**options)
        z = noise.normal(self.config.nz)
        maps = self.maps(noise, self.growth.last)
        maps = maps if o.noise_inputs else [0 * n for n in maps]
        x: Tensor = self.G(z, maps, o.truncation, o.cutoff or len(maps))
        return x.float().clamp(-1, 1)  # bfloat16 under autocast


def mix(w1: Tensor, w2: Tensor, crossover: Tensor, layers: int) -> Tensor:
    """Styles of w1 (B, nz) below the layer `crossover` (B,), of w2 from it on: (B, layers, nz)."""
    first = torch.arange(layers, device=w1.device) < crossover[:, None]
    return torch.where(first[:, :, None], w1[:, None], w2[:, None])


class Generator(nn.Module):
    """The mapping f, the synthesis g, and the running mean of w."""

    def __init__(self, config: StyleGAN.Config, channels: int, base: int, c: list[int]) -> None:
        super().__init__()
        nz = config.nz
        layers: list[nn.Module] = [PixelNorm()]
        for _ in range(config.depth):
            layers += [EqualLinear(nz, nz, lr=config.mapping_lr), nn.LeakyReLU(0.2)]
        self.f = nn.Sequential(*layers)
        self.g = Synthesis(nz, channels, base, c, config.grow)
        self.register_buffer("w_mean", torch.zeros(nz))
        self.w_mean: Tensor

    def forward(self, z: Tensor, maps: list[Tensor], psi: float, cutoff: int) -> Tensor:
        """z (B, nz) and noise inputs to images (B, C, H, W), truncated below a layer."""
        w = self.f(z)
        near = torch.lerp(self.w_mean.to(w.dtype), w, psi)
        below = torch.full((len(w),), cutoff, device=w.device)
        x: Tensor = self.g(mix(near, w, below, len(maps)), maps)
        return x


class Synthesis(nn.Module):
    """Styles (B, layers, nz) and noise inputs to images (B, C, side, side).

    The layers come two for each level; how many there are tells the level of the image.
    """

    def __init__(self, nz: int, channels: int, base: int, c: list[int], grow: bool) -> None:
        super().__init__()
        self.base = base
        self.const = nn.Parameter(torch.ones(c[0], base, base))
        enter = [Layer(a, b, nz, doubles=True) for a, b in pairwise(c)]
        stay = [Layer(n, n, nz) for n in c]
        self.enter = nn.ModuleList([Style(c[0], nz), *enter])
        self.stay = nn.ModuleList(stay)
        self.to_rgb = nn.ModuleDict(
            {str(k): EqualConv2d(n, channels, 1, gain=1) for k, n in rgb_levels(c, grow)}
        )

    def forward(self, w: Tensor, maps: list[Tensor], alpha: float = 1.0) -> Tensor:
        """(B, layers, nz) and `layers` noise inputs (B, 1, side, side) to (B, C, side, side)."""
        level = len(maps) // 2 - 1
        h = below = self.const.repeat(len(w), 1, 1, 1)  # a view would pass for a leaf of the graph
        for k in range(level + 1):
            below = h
            h = self.enter[k](h, w[:, 2 * k], maps[2 * k])
            h = self.stay[k](h, w[:, 2 * k + 1], maps[2 * k + 1])
        x: Tensor = self.to_rgb[str(level)](h)
        if alpha < 1:
            x = torch.lerp(up(self.to_rgb[str(level - 1)](below)), x, alpha)
        return x


class Style(nn.Module):
    """Bias and noise - LeakyReLU 0.2 - AdaIN: the end of every layer, and all of the first.

    The bias b and the strength of the noise, B, are learned for each channel and 0 at the start.
    """

    def __init__(self, c: int, nz: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(c, 1, 1))
        self.strength = nn.Parameter(torch.zeros(c, 1, 1))
        self.A = EqualLinear(nz, 2 * c, gain=1)

    def forward(self, h: Tensor, w: Tensor, n: Tensor) -> Tensor:
        """h (B, c, H, W), w (B, nz), n (B, 1, H, W) to (B, c, H, W)."""
        h = F.leaky_relu(h + self.bias + self.strength * n, 0.2)
        y_s, y_b = self.A(w)[:, :, None, None].chunk(2, dim=1)
        out: Tensor = (1 + y_s) * F.instance_norm(h, eps=1e-8) + y_b
        return out


class Layer(nn.Module):
    """Convolution of 3x3, then `Style`; one that doubles the side does so first, and blurs."""

    def __init__(self, c_in: int, c_out: int, nz: int, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles
        # the bias comes with the style: the blur, which takes 0 for what lies outside the image,
        # would weaken it at the border
        self.conv = EqualConv2d(c_in, c_out, 3, bias=False)
        self.style = Style(c_out, nz)

    def forward(self, h: Tensor, w: Tensor, n: Tensor) -> Tensor:
        """h (B, c_in, H, W), w (B, nz), n at the new side, to (B, c_out, 2 H, 2 W) or the old."""
        h = blur(self.conv(up(h))) if self.doubles else self.conv(h)
        out: Tensor = self.style(h, w, n)
        return out
