"""Score-based models through stochastic differential equations (Song et al., arXiv 2011.13456).

Noise is added in continuous time, a network learns the score of the noisy images, the gradient of
their log-density, and sampling runs the equation backwards.

    x_t = a(t) x_0 + s(t) z,   z ~ N(0, I)
    E |s(t) score(x_t, t) + z|^2,   t uniform in [1e-5, 1]
    score(x, t) = -epsilon(x, t) / s(t)

The network answers the noise epsilon, so that the loss is |z - epsilon|^2, 1 at the start. The
equations and samplers stand in `_nn/sde.py`.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn import denoising, sde
from genbench import api

T_MIN = 1e-5  # of training


class ScoreSDE(api.Baseline[api.Unconditional]):
    """A score network in continuous time, for the VP, sub-VP or VE equation."""

    kind = "diffusion"
    defining = ("sde",)

    class Config(denoising.NetworkConfig):
        """Settings, besides those of the network.

        Attributes:
            sde: "vp" (DDPM in continuous time), "subvp" or "ve" (noise is added, the image stays).
            beta_min: Of vp and subvp: the noise rate at t = 0.
            beta_max: The same at t = 1.
            sigma_min: Of ve: the noise at t = 0.
            sigma_max: The same at t = 1; None is 2 sqrt(C H W), farther apart than which no two
                images are.
        """

        sde: Literal["vp", "subvp", "ve"] = "vp"
        beta_min: float = Field(0.1, gt=0)
        beta_max: float = Field(20.0, gt=0)
        sigma_min: float = Field(0.01, gt=0)
        sigma_max: float | None = Field(None, gt=0)

        @model_validator(mode="after")
        def _grow(self) -> Self:
            if not self.beta_min < self.beta_max:
                raise ValueError(
                    f"beta_min={self.beta_min:g} must be below beta_max={self.beta_max:g}"
                )
            if self.sigma_max is not None and not self.sigma_min < self.sigma_max:
                raise ValueError(
                    f"sigma_min={self.sigma_min:g} must be below sigma_max={self.sigma_max:g}"
                )
            return self

    class Options(api.Options):
        """Sampling options.

        Attributes:
            sampler: "pc" (predictor-corrector: steps (1 + corrections) evaluations of the
                network) or "ode" (the probability flow by Heun's method: 2 steps - 1).
            steps: Steps from t = 1 to (nearly) 0.
            predictor: Of pc: "reverse_diffusion" or "euler_maruyama".
            corrections: Of pc: Langevin steps before each step of the predictor; 0 is the
                predictor alone.
            snr: Of pc: the size of the Langevin steps.
        """

        sampler: Literal["pc", "ode"] = "pc"
        steps: int = Field(500, ge=1)
        predictor: sde.Predictor = "reverse_diffusion"
        corrections: int = Field(1, ge=0)
        snr: float = Field(0.16, gt=0)

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            given = (self.predictor, self.corrections, self.snr)
            if self.sampler != "pc" and given != ("reverse_diffusion", 1, 0.16):
                raise ValueError(
                    "predictor, corrections and snr are options of sampler 'pc';"
                    f" {self.sampler!r} has none"
                )
            return self

    # DDPM++ (VP) on CIFAR-10. The paper's network also scales skips by 1/sqrt(2); its images for
    # VE are in [0, 1], with sigma_max = 50, which is 100 in [-1, 1].
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "net": "unet",
            "channels": 128,
            "mults": (1, 2, 2, 2),
            "blocks": 4,
            "attention": (16,),
            "patch": 1,
            "dropout": 0.1,
            "lr": 2e-4,
            "batch": 128,
            "warmup": 640_000,
            "decay": "constant",
            "clip": 1.0,
            "ema": 890_000,  # 0.9999 for each step of 128 images
            "sde": "vp",
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config, self.shape = config, data.shape
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape)
        self.sde: sde.SDE
        if config.sde == "ve":
            sigma_max = config.sigma_max or 2 * math.sqrt(math.prod(data.shape))
            self.sde = sde.VE(config.sigma_min, sigma_max)
        else:
            kind = sde.VP if config.sde == "vp" else sde.SubVP
            self.sde = kind(config.beta_min, config.beta_max)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def epsilon(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The predicted noise: (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W).

        The network sees x_t / sqrt(a^2 + s^2), which has about the size of an image at every t;
        the paper's own for VE sees x_t, up to 100 times as large.
        """
        norm = (self.sde.a(t) ** 2 + self.sde.s(t) ** 2).rsqrt().to(x_t.dtype)
        e: Tensor = self.net(norm[:, None, None, None] * x_t, 999 * t)
        return e.to(x_t.dtype)  # under autocast it is bfloat16

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """Denoising score matching, weighted by s(t)^2; a mean over pixels."""
        t = T_MIN + (1 - T_MIN) * noise.uniform()
        z = noise.normal(*self.shape)
        a, s = (c.to(x.dtype)[:, None, None, None] for c in (self.sde.a(t), self.sde.s(t)))
        loss = F.mse_loss(self.epsilon(a * x + s * z, t), z)
        update("net", loss)
        return {"loss": loss}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """x at t = 1 is noise; then the equation, or its probability flow, backwards."""
        o = self.Options(**options)
        x = self.sde.prior * noise.normal(*self.shape)
        if o.sampler == "ode":
            x = sde.flow(self.sde, self._network, x, o.steps)
        else:
            x = sde.predictor_corrector(
                self.sde,
                self._network,
                x,
                noise,
                o.steps,
                predictor=o.predictor,
                corrections=o.corrections,
                snr=o.snr,
            )
        return x.clamp(-1, 1)

    def _network(self, x: Tensor, t: float) -> Tensor:
        return self.epsilon(x, torch.full((len(x),), t, device=x.device))
