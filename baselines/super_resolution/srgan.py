"""SRGAN: super-resolution with a discriminator (Ledig et al., arXiv 1609.04802).

A network G enlarges the image y. A discriminator tells its images from real ones:

    L_D = softplus(-D(x)) + softplus(D(G(y))),   D in logits
    L_G = content(G(y), x) + lambda softplus(-D(G(y)))

    content "mse":   |G(y) - x|^2, a mean over pixels; the paper's SRGAN-MSE
    content "vgg19": |phi_54(G(y)) - phi_54(x)|^2 / 12.75^2, a mean over features after the last
                     convolution of VGG19 (arXiv 1409.1556) and its ReLU; the paper's SRGAN-VGG54

The first part of the training is on the mean squared error alone, as the paper's G starts from a
trained SRResNet; D learns from the start, so that it is no stranger when G begins to listen.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn.gan import d_loss, g_loss, init_normal
from baselines._nn.super_resolution import VGG54, SRResNet, discriminator
from genbench import api


class SRGAN(api.Baseline[api.LowRes]):
    """SRResNet with a content loss and a discriminator."""

    cond = api.LowRes
    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("content", "bicubic_skip")

    class Config(api.Config):
        """Settings.

        Attributes:
            content: "mse", or "vgg19" for features of VGG19.
            vgg_weights: File of torchvision's VGG19 (a state dict), which content "vgg19" needs;
                torchvision.models.VGG19_Weights.IMAGENET1K_V1.url is where to find it.
            adversarial: Weight of the adversarial loss, lambda; it depends on the content loss.
            warmup_share: Share of the training without the adversarial loss, on the squared error.
            width: Channels of G.
            blocks: Residual blocks of G.
            batch_norm: Batch normalisation in the blocks of G.
            kernel: Side of G's first and last convolution.
            bicubic_skip: Add the interpolated image, so that G has to learn only what it lacks.
            ndf: Channels of D's first layer; they double at every side, up to 8 ndf.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(16, ge=1)
        decay: api.Decay = "cosine"
        content: Literal["mse", "vgg19"] = "mse"
        vgg_weights: str = ""
        adversarial: float = Field(5e-4, ge=0)
        warmup_share: float = Field(0.25, ge=0, le=1)
        width: int = Field(32, ge=1)
        blocks: int = Field(4, ge=0)
        batch_norm: bool = False
        kernel: Literal[3, 5, 7, 9] = 5
        bicubic_skip: bool = True
        ndf: int = Field(16, ge=1)
        lr: float = Field(1e-3, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            if self.content == "vgg19" and not self.vgg_weights:
                raise ValueError(
                    "content 'vgg19' needs vgg_weights, the file of torchvision's VGG19; without "
                    "one choose content 'mse'"
                )
            if self.content != "vgg19" and self.vgg_weights:
                raise ValueError(
                    f"vgg_weights belongs to content 'vgg19'; content {self.content!r} has no use "
                    "for it"
                )
            return self

    # SRGAN-VGG54, x4 to crops of 96 pixels (ImageNet): a million steps on the squared error, then
    # 200,000 of the game; vgg_weights says where VGG19 is. We lack the rate of 1e-5 in the last
    # half of the game, and SRResNet learns beside D, where the paper has a finished one.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 16,
            "decay": "constant",
            "content": "vgg19",
            "adversarial": 1e-3,
            "warmup_share": 0.83,
            "width": 64,
            "blocks": 16,
            "batch_norm": True,
            "kernel": 9,
            "bicubic_skip": False,
            "ndf": 64,
            "lr": 1e-4,
            "beta1": 0.9,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        c = self.config = config
        self.G = SRResNet(
            data.channels, data.factor, c.width, c.blocks, c.batch_norm, c.kernel, c.bicubic_skip
        )
        self.D = discriminator(data.channels, data.size, c.ndf)
        self.D.apply(init_normal)
        self.vgg = VGG54(c.vgg_weights, data.size) if c.content == "vgg19" else None

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        return {
            "d": Adam(self.D.parameters(), lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def phase(self, progress: float) -> str:
        """Whether G plays against D yet."""
        return "alone" if progress < self.config.warmup_share else "game"

    def step(
        self, x: Tensor, cond: api.LowRes, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G against the new D, of the same G(y)."""
        fake = self.G(cond.image)
        losses = {"loss_d": d_loss(self.D(x), self.D(fake)), "mse": F.mse_loss(fake, x)}
        update("d", losses["loss_d"])
        loss_g = losses["mse"]
        if self.phase(update.progress) == "game":
            if self.vgg is not None:
                loss_g = losses["content"] = F.mse_loss(self.vgg(fake), self.vgg(x))
            losses["gan"] = g_loss(self.D(fake))
            loss_g = loss_g + self.config.adversarial * losses["gan"]
        update("g", loss_g)
        return losses

    def sample(self, cond: api.LowRes, noise: api.Noise, **options: Any) -> Tensor:
        """G(y), clamped."""
        self.Options(**options)
        x: Tensor = self.G(cond.image)
        return x.float().clamp(-1, 1)
