"""DDPM: denoising diffusion probabilistic models (Ho et al., arXiv 2006.11239).

A network learns to tell the noise in a noisy image; sampling starts from noise and removes it step
by step. DDIM (Song et al., arXiv 2010.02502) is another way to sample the same network.

    q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)
    L_simple = E ||epsilon - epsilon_theta(x_t, t)||^2,   t uniform in 0 .. T-1

A mean over pixels, so an untrained network, whose last layer is 0, has the loss 1.
"""

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn import diffusion, samplers
from baselines._nn.blocks import ResMLP, UNet
from genbench import api


class DDPM(api.Baseline[api.Unconditional]):
    """Denoising diffusion with the linear schedule, epsilon prediction and the fixed variance."""

    kind = "diffusion"

    class Config(api.Config):
        """Settings.

        Attributes:
            T: Number of noise levels; the schedule's ends scale with 1000 / T.
            lr: Adam's learning rate; None is 2e-3 for the MLP, 1e-3 for the U-Net.
            net: "mlp", "unet", or "auto": the MLP up to 8 pixels, else the U-Net.
            hidden: Width of the MLP.
            depth: Residual blocks of the MLP.
            channels: Channels of the U-Net's first level, a multiple of 8.
            mults: Channels of every level of the U-Net, as multiples of `channels`.
            blocks: Residual blocks per level of the U-Net.
            attention: Sides (after folding) with self-attention, besides the middle.
            patch: The U-Net works on squares of patch x patch pixels folded into channels. At 32
                pixels, 4 with 48 channels costs a quarter of 2 with 32 (on a CPU).
            dropout: Of the U-Net's residual blocks.
        """

        batch: int = Field(128, ge=1)
        ema: float | None = Field(50_000, gt=0)
        warmup: int = Field(10_000, ge=0)
        decay: Literal["constant", "cosine"] = "cosine"
        T: int = Field(1000, ge=21)
        lr: float | None = Field(None, gt=0)
        net: Literal["auto", "mlp", "unet"] = "auto"
        hidden: int = Field(256, ge=2, multiple_of=2)
        depth: int = Field(4, ge=1)
        channels: int = Field(32, ge=8, multiple_of=8)
        mults: tuple[PositiveInt, ...] = Field((1, 2), min_length=1)
        blocks: int = Field(1, ge=1)
        attention: tuple[int, ...] = ()
        patch: int = Field(2, ge=1)
        dropout: float = Field(0.0, ge=0, lt=1)

    class Options(api.Options):
        """Sampling options.

        Attributes:
            sampler: "ddpm" (ancestral), "ddim", "dpmpp_2m" (DPM-Solver++ of order 2) or "heun".
            steps: Steps, 1 to T. Each is one network evaluation, of heun two but for the last;
                "quadratic" drops repeated ones.
            spacing: Which time steps: "uniform", "leading", "trailing", "quadratic", "karras", or
                a descending list of them. "auto" is karras for heun, else trailing.
            eta: Noise that DDIM adds: 0 is deterministic, 1 is DDPM.
            variance: Of the noise that DDPM adds: "posterior" (fixed small) or "large".
            clip: Clamp every prediction of x_0 to [-1, 1].
        """

        sampler: Literal["ddpm", "ddim", "dpmpp_2m", "heun"] = "ddpm"
        steps: int = Field(1000, ge=1)
        spacing: (
            Literal["auto", "uniform", "leading", "trailing", "quadratic", "karras"]
            | tuple[float, ...]
        ) = "auto"
        eta: float = Field(0.0, ge=0, le=1)
        variance: samplers.Variance = "posterior"
        clip: bool = True

        @model_validator(mode="before")
        @classmethod
        def _resolve(cls, given: Any) -> Any:
            if not isinstance(given, dict):
                return given
            spacing = given.get("spacing", "auto")
            if isinstance(spacing, list | tuple):
                return {"steps": len(spacing)} | given
            if spacing == "auto":
                spacing = "karras" if given.get("sampler") == "heun" else "trailing"
            return given | {"spacing": spacing}

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            if self.sampler != "ddim" and self.eta != 0:
                raise ValueError(f"eta is an option of sampler 'ddim'; {self.sampler!r} has none")
            if self.sampler != "ddpm" and self.variance != "posterior":
                raise ValueError(
                    f"variance is an option of sampler 'ddpm'; {self.sampler!r} has none"
                )
            if not isinstance(self.spacing, str) and self.steps != len(self.spacing):
                raise ValueError(
                    f"steps={self.steps}, but spacing lists {len(self.spacing)} time steps"
                )
            return self

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config, self.shape = config, data.shape
        # no buffer: it follows from T, and nothing may round it to float32
        self.alpha_bar = diffusion.linear_alpha_bar(config.T)
        mlp = config.net == "mlp" or (config.net == "auto" and data.size <= 8)
        self.lr = config.lr or (2e-3 if mlp else 1e-3)
        self.net: nn.Module
        if mlp:
            self.net = ResMLP(data.shape, config.hidden, config.depth)
        else:
            self.net = UNet(
                data.shape,
                config.channels,
                config.mults,
                config.blocks,
                config.attention,
                config.patch,
                config.dropout,
            )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The predicted noise: (B, C, H, W) and integers (B,) to (B, C, H, W)."""
        e: Tensor = self.net(x_t, t * (1000 / self.config.T))  # the embedding is for 1000 levels
        return e

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_simple."""
        # float64: T times the largest float32 below 1 can round to T
        t = (noise.uniform(dtype=torch.float64) * self.config.T).long()
        epsilon = noise.normal(*self.shape)
        alpha_bar_t = self.alpha_bar.to(x.device)[t, None, None, None]
        x_t = alpha_bar_t.sqrt().float() * x + (1 - alpha_bar_t).sqrt().float() * epsilon
        loss = F.mse_loss(self.epsilon(x_t, t), epsilon)
        update("net", loss)
        return {"loss": loss}

    @classmethod
    def check(cls, config: Config, options: Options) -> None:
        """Refuses time steps that a model of `config.T` levels does not have."""
        diffusion.timesteps(options.spacing, options.steps, diffusion.linear_alpha_bar(config.T))

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """x_T ~ N(0, I), then the steps of the sampler."""
        o = self.Options(**options)
        x, levels = noise.normal(*self.shape), self.levels(o)
        denoise = samplers.denoiser(self._network, clip=o.clip)
        if o.sampler == "ddpm":
            x = samplers.ddpm(denoise, x, levels, noise, variance=o.variance)
        elif o.sampler == "ddim":
            x = samplers.ddim(denoise, x, levels, noise, eta=o.eta)
        elif o.sampler == "dpmpp_2m":
            x = samplers.dpmpp_2m(denoise, x, levels)
        else:
            x = samplers.heun(denoise, x, levels)
        return x.clamp(-1, 1)

    def encode(self, x: Tensor, steps: int = 50) -> Tensor:
        """The noise from which DDIM makes the images x, (B, C, H, W) in [-1, 1], approximately.

        `decode` with as many steps leads back.
        """
        levels = self.levels(self.Options(sampler="ddim", steps=steps, spacing="leading"))
        return samplers.ddim_encode(samplers.denoiser(self._network, clip=False), x, levels)

    def decode(self, x_T: Tensor, steps: int = 50) -> Tensor:
        """Images of the noise x_T by DDIM at eta = 0, both (B, C, H, W); not clamped."""
        levels = self.levels(self.Options(sampler="ddim", steps=steps, spacing="leading"))
        return samplers.ddim(samplers.denoiser(self._network, clip=False), x_T, levels)

    def levels(self, options: Options) -> list[diffusion.Level]:
        """The noise levels that the options ask for, from the noisiest to the clean image."""
        steps = diffusion.timesteps(options.spacing, options.steps, self.alpha_bar)
        return diffusion.levels(steps, self.alpha_bar)

    def _network(self, x_t: Tensor, t: float) -> Tensor:
        return self.epsilon(x_t, torch.full((len(x_t),), t, device=x_t.device))
