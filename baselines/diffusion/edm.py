"""EDM: elucidating the design space of diffusion models (Karras et al., arXiv 2206.00364).

The same diffusion as DDPM's, with every choice made anew: noise levels are standard deviations
sigma, what the network sees and answers is scaled to the variance 1, training draws the levels
that matter, and sampling follows the probability flow with Heun's method on a grid that is dense
at low noise.

    D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)
    E lambda(sigma) |D(x_0 + sigma n; sigma) - x_0|^2,   ln sigma ~ N(P_mean, P_std^2)
    dx / dsigma = (x - D(x; sigma)) / sigma,             from sigma = 80 to 0

The formulas stand in `_nn/karras.py`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn import denoising, karras
from genbench import api


class EDM(api.Baseline[api.Unconditional]):
    """A preconditioned denoiser in the sigma frame, sampled by Heun's method."""

    kind = "diffusion"
    defining = ("P_mean",)

    class Config(denoising.NetworkConfig):
        """Settings, besides those of the network.

        Attributes:
            P_mean: Mean of ln sigma in training.
            P_std: Its standard deviation.
            sigma_data: Standard deviation of the data, on which the scaling rests. None measures
                it: digits have 0.75, scenes and photographs about the paper's 0.5.
        """

        P_mean: float = -1.2
        P_std: float = Field(1.2, gt=0)
        sigma_data: float | None = Field(None, gt=0)

    class Options(api.Options):
        """Sampling options.

        Attributes:
            sampler: "heun" (2 steps - 1 evaluations of the network) or "euler" (one for each
                step).
            steps: Steps N; the last one ends at sigma = 0.
            sigma_min: The last level above 0.
            sigma_max: The level that sampling starts from.
            rho: How much denser the levels are at low noise.
            S_churn: How much noise is added before the steps, see `karras.Churn`; 0 adds none.
            S_min: The lowest level at which it is added.
            S_max: The highest.
            S_noise: Its standard deviation.
        """

        sampler: Literal["heun", "euler"] = "heun"
        steps: int = Field(18, ge=1)
        sigma_min: float = Field(0.002, gt=0)
        sigma_max: float = Field(80.0, gt=0)
        rho: float = Field(7.0, gt=0)
        S_churn: float = Field(0.0, ge=0)
        S_min: float = Field(0.0, ge=0)
        S_max: float = Field(80.0, ge=0)
        S_noise: float = Field(1.0, gt=0)

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            if not self.sigma_min < self.sigma_max:
                raise ValueError(
                    f"sigma_min={self.sigma_min:g} must be below sigma_max={self.sigma_max:g}"
                )
            if self.S_churn == 0 and (self.S_min, self.S_max, self.S_noise) != (0.0, 80.0, 1.0):
                raise ValueError("S_min, S_max and S_noise say how churn is added: set S_churn")
            return self

    # CIFAR-10. The paper's network also has four heads of attention and skips scaled by 1/sqrt(2),
    # and it augments images geometrically, which the network is told of.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "net": "unet",
            "channels": 128,
            "mults": (2, 2, 2),
            "blocks": 4,
            "attention": (16,),
            "patch": 1,
            "dropout": 0.13,
            "lr": 1e-3,
            "batch": 512,
            "warmup": 10_000_000,
            "decay": "constant",
            "ema": 500_000,
            "ema_rampup": 0.05,
            "sigma_data": 0.5,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config, self.shape = config, data.shape
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape)
        self.sigma_data: Tensor
        self.register_buffer("sigma_data", torch.tensor(config.sigma_data or 0.5))

    def fit(self, x: Tensor) -> None:
        """Measures sigma_data, unless the settings name it."""
        if self.config.sigma_data is None:
            self.sigma_data.fill_(karras.scale_of(x))

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma): (B, C, H, W) and levels (B,) to (B, C, H, W)."""
        return karras.precondition(self.net, x, sigma, self.sigma_data)

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The weighted denoising loss at levels of a log-normal distribution."""
        sigma = (self.config.P_mean + self.config.P_std * noise.normal()).exp()
        loss = karras.denoising_loss(self.denoise, x, sigma, noise, self.sigma_data)
        update("net", loss)
        return {"loss": loss}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """x ~ N(0, sigma_max^2 I), then the steps of the sampler."""
        o = self.Options(**options)
        levels = karras.sigmas(o.steps, o.sigma_min, o.sigma_max, o.rho)
        churn = karras.Churn(o.S_churn, o.S_min, o.S_max, o.S_noise)
        x = levels[0] * noise.normal(*self.shape)
        sampler = karras.heun if o.sampler == "heun" else karras.euler
        return sampler(self._network, x, levels, noise, churn).clamp(-1, 1)

    def _network(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoise(x, torch.full((len(x),), sigma, device=x.device))
