"""Flow matching on straight lines, also called rectified flow.

A network learns the velocity with which noise moves to data along straight lines; sampling follows
it. Time runs from noise to data here: x_0 is noise at t = 0, x_1 an image at t = 1 (other papers
and libraries have it the other way, with the velocity's sign turned).

    x_t = (1 - t) x_0 + t x_1,   x_0 ~ N(0, I)
    E |v(x_t, t) - (x_1 - x_0)|^2
    dx / dt = v(x, t),   from t = 0 to 1

Lipman et al., arXiv 2210.02747; Liu et al., arXiv 2209.03003. At its best, v is the mean velocity
of all lines through x_t: where lines cross, paths bend, so that one step from t = 0 ends at the
mean image.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn import denoising
from genbench import api

Velocity = Callable[[Tensor, float], Tensor]
"""v(x, t), of x's shape."""


class FlowMatching(api.Baseline[api.Unconditional]):
    """The velocity of straight lines from noise to data."""

    kind = "diffusion"
    defining = ("time",)

    class Config(denoising.NetworkConfig):
        """Settings, besides those of the network.

        Attributes:
            time: Distribution of t in training: "uniform", or "logit_normal", the logistic
                function of N(0, 1), which favours the middle (Esser et al., arXiv 2403.03206).
        """

        time: Literal["uniform", "logit_normal"] = "uniform"

    class Options(api.Options):
        """Sampling options.

        Attributes:
            sampler: "euler" (one evaluation of the network for each step), "midpoint" or "heun"
                (of order 2: two).
            steps: Steps of equal length from t = 0 to 1.
        """

        sampler: Literal["euler", "midpoint", "heun"] = "euler"
        steps: int = Field(50, ge=1)

    # Rectified flow on CIFAR-10: the network of score_sde's "DDPM++", trained as there. It also
    # scales skips by 1/sqrt(2), and is sampled by RK45 with steps of its own.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "net": "unet",
            "channels": 128,
            "mults": (1, 2, 2, 2),
            "blocks": 4,
            "attention": (16,),
            "patch": 1,
            "dropout": 0.15,
            "lr": 2e-4,
            "batch": 128,
            "warmup": 640_000,
            "decay": "constant",
            "clip": 1.0,
            "ema": 88_700_000,  # 0.999999 for each step of 128 images
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config, self.shape = config, data.shape
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def velocity(self, x_t: Tensor, t: Tensor) -> Tensor:
        """v(x_t, t): (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W)."""
        v: Tensor = self.net(x_t, 1000 * t)  # the embedding is for times up to 1000
        return v.to(x_t.dtype)  # under autocast it is bfloat16

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The squared error of the velocity, a mean over pixels."""
        t = noise.uniform() if self.config.time == "uniform" else noise.normal().sigmoid()
        x_0 = noise.normal(*self.shape)
        x_t = torch.lerp(x_0, x, t[:, None, None, None])
        loss = F.mse_loss(self.velocity(x_t, t), x - x_0)
        update("net", loss)
        return {"loss": loss}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """x_0 ~ N(0, I), moved along the velocity to t = 1."""
        o = self.Options(**options)
        return SAMPLERS[o.sampler](self._network, noise.normal(*self.shape), o.steps).clamp(-1, 1)

    def _network(self, x: Tensor, t: float) -> Tensor:
        return self.velocity(x, torch.full((len(x),), t, device=x.device))


def euler(v: Velocity, x: Tensor, steps: int) -> Tensor:
    """x at t = 1 from x at t = 0 by Euler's method, of order 1: x += h v(x, t)."""
    for t, p in pairwise(times(steps)):
        x = torch.add(x, v(x, t), alpha=p - t)
    return x


def midpoint(v: Velocity, x: Tensor, steps: int) -> Tensor:
    """The same by the midpoint method, of order 2: x += h v(x + h v(x, t) / 2, t + h / 2)."""
    for t, p in pairwise(times(steps)):
        half = torch.add(x, v(x, t), alpha=(p - t) / 2)
        x = torch.add(x, v(half, (t + p) / 2), alpha=p - t)
    return x


def heun(v: Velocity, x: Tensor, steps: int) -> Tensor:
    """The same by Heun's method, of order 2: x += h (v(x, t) + v(x + h v(x, t), t + h)) / 2."""
    for t, p in pairwise(times(steps)):
        first = v(x, t)
        second = v(torch.add(x, first, alpha=p - t), p)
        x = torch.add(x, first + second, alpha=(p - t) / 2)
    return x


def times(steps: int) -> list[float]:
    """0, 1 / steps, ..., 1."""
    return [i / steps for i in range(steps + 1)]


SAMPLERS = {"euler": euler, "midpoint": midpoint, "heun": heun}
