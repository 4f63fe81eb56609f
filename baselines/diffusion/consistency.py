"""Consistency models: one network call from noise to an image (Song et al., arXiv 2303.01469).

f(x, sigma) maps every point of a path of the probability flow to the path's start, so that
sampling is one evaluation. It is an EDM denoiser, scaled so that f(x, epsilon) = x at the lowest
level:

    f(x, sigma) = c_skip x + c_out F(c_in x, c_noise),   epsilon = 0.002
    E d(f(x + s_n+1 z, s_n+1), f-(x_n, s_n)),   s_1 = epsilon < ... < s_N = 80

f- is a moving average of f that gets no gradient. With a teacher x_n is one of its Heun steps from
the first point: consistency distillation. Without, x_n = x + s_n z with the same z: consistency
training, whose N grows. The teacher is trained here as well, in the first part of the budget; the
student goes on from its weights.

More steps: x = f(x + sqrt(sigma^2 - epsilon^2) z, sigma) at lower and lower levels.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn import denoising, karras
from baselines._nn.counter import Counter
from genbench import api

EPSILON = 0.002  # the lowest level
SECOND = 0.821  # the level of the second of two evaluations on CIFAR-10 (arXiv 2310.14189)


class Consistency(api.Baseline[api.Unconditional]):
    """Consistency distillation from an EDM teacher, or consistency training without."""

    kind = "diffusion"
    defining = ("teacher",)

    class Config(denoising.NetworkConfig):
        """Settings, besides those of the network.

        Attributes:
            teacher: "edm" distils a teacher that is trained first, "none" trains from data alone.
            teacher_share: Share of the budget that the teacher gets.
            sigma_data: Standard deviation of the data; None measures it.
            levels: N of distillation.
            s_0: Without a teacher: N at the start. The paper's 2 and 150 are for 800,000 steps;
                after 4,688 on digits one call's FD is 276 with them, and 15 with these.
            s_1: Without a teacher: N - 1 at the end.
            mu: Of distillation: the share of f- that a step keeps. 0 makes it f itself, as the
                paper does on CIFAR-10 with a low learning rate: a short training then diverges.
            mu_0: Without a teacher: the share is mu_0^(s_0 / N).
            distance: "l2", or "huber", sqrt(|x|^2 + c^2) - c with c = 0.00054 sqrt(pixels) (Song
                and Dhariwal, arXiv 2310.14189).
        """

        teacher: Literal["edm", "none"] = "edm"
        teacher_share: float = Field(0.3, gt=0, lt=1)
        sigma_data: float | None = Field(None, gt=0)
        levels: int = Field(18, ge=2)
        s_0: int = Field(10, ge=2)
        s_1: int = Field(40, ge=2)
        mu: float = Field(0.95, ge=0, lt=1)
        mu_0: float = Field(0.9, gt=0, lt=1)
        distance: Literal["l2", "huber"] = "huber"

        @model_validator(mode="after")
        def _levels_grow(self) -> Self:
            if self.s_1 < self.s_0:
                raise ValueError(f"s_1 = {self.s_1} must be at least s_0 = {self.s_0}: N grows")
            return self

    class Options(api.Options):
        """Sampling options.

        Attributes:
            steps: Evaluations of the network, 1 and more. The first is at 80, the last at 0.821,
                others between them on EDM's grid: 80; 80, 0.821; 80, 11.7, 0.821; ...
            clip_x0: Clamp every answer to [-1, 1].
        """

        steps: int = Field(1, ge=1)
        clip_x0: bool = True

    # Distillation on CIFAR-10. The paper's distance is LPIPS, its optimizer RAdam, and its teacher
    # an EDM model of 200 million images.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "net": "unet",
            "channels": 128,
            "mults": (2, 2, 2),
            "blocks": 4,
            "attention": (16,),
            "patch": 1,
            "lr": 4e-4,
            "batch": 512,
            "warmup": 0,
            "decay": "constant",
            "ema": 3_500_000,  # 0.9999 for each step of 512 images
            "sigma_data": 0.5,
            "levels": 18,
            "mu": 0.0,
            "s_0": 2,
            "s_1": 150,
            "distance": "l2",
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config, self.shape = config, data.shape
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape)
        self.teacher = frozen(self.net) if config.teacher == "edm" else None
        self.target = frozen(self.net)  # f-
        self.sigma_data: Tensor
        self.register_buffer("sigma_data", torch.tensor(config.sigma_data or 0.5))
        self.steps, self.students = Counter(), Counter()  # all, and the student's

    def fit(self, x: Tensor) -> None:
        """Measures sigma_data, unless the settings name it."""
        if self.config.sigma_data is None:
            self.sigma_data.fill_(karras.scale_of(x))

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam, the same for teacher and student."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def phase(self, progress: float) -> str:
        """Whose step it is: "teacher" or "student"."""
        teaches = self.config.teacher == "edm" and progress < self.config.teacher_share
        return "teacher" if teaches else "student"

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """A step of the teacher on EDM's loss, or of the student on the consistency loss."""
        self.steps.add()
        if self.teacher is not None and self.phase(update.progress) == "teacher":
            return self._teach(self.teacher, x, noise, update)
        if int(self.students) == 0:
            self._begin()
        self.students.add()
        count, kept = self.schedule(update.progress)
        loss = self.consistency_loss(x, noise, count)
        update("net", loss)
        follow(self.target, self.net, 1 - kept)
        return {"loss": loss}

    def _teach(
        self, teacher: nn.Module, x: Tensor, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """One step of EDM (`baselines/diffusion/edm.py`); the average of its weights moves on."""
        sigma = (-1.2 + 1.2 * noise.normal()).exp()
        loss = karras.denoising_loss(self.denoise, x, sigma, noise, self.sigma_data)
        update("net", loss)
        # as the loop's average, which is not the family's to read
        images = int(self.steps) * self.config.batch
        half_life = min(self.config.ema or math.inf, self.config.ema_rampup * images)
        follow(teacher, self.net, 1 - 0.5 ** (self.config.batch / half_life))
        return {"teacher": loss}

    def _begin(self) -> None:
        """The student's first step: it and f- start from the teacher, where there is one."""
        if self.teacher is not None:
            follow(self.net, self.teacher, 1)
        follow(self.target, self.net, 1)

    def schedule(self, progress: float) -> tuple[int, float]:
        """N, and the share of f- that a step keeps.

        Without a teacher, with K steps in all (arXiv 2303.01469, appendix C):

            N(k) = ceil(sqrt(k / K ((s_1 + 1)^2 - s_0^2) + s_0^2) - 1) + 1
            mu(k) = exp(s_0 ln(mu_0) / N(k))
        """
        c = self.config
        if c.teacher == "edm":
            return c.levels, c.mu
        count = math.ceil(math.sqrt(progress * ((c.s_1 + 1) ** 2 - c.s_0**2) + c.s_0**2) - 1) + 1
        return count, math.exp(c.s_0 * math.log(c.mu_0) / count)

    def consistency_loss(self, x: Tensor, noise: api.Noise, count: int) -> Tensor:
        """The distance of f at a level and f- at the next lower one of `count`, both on a path."""
        grid = torch.tensor(karras.sigmas(count, low=EPSILON, clean=False), device=x.device)
        # float64: a product with the largest float32 below 1 can round to count - 1
        n = (noise.uniform(dtype=torch.float64) * (count - 1)).long()
        high, low = grid[n], grid[n + 1]
        z = noise.normal(*self.shape)
        start = x + high[:, None, None, None] * z
        with torch.no_grad():
            if self.teacher is not None:
                end = self.teacher_step(self.teacher, start, high, low)
            else:
                end = x + low[:, None, None, None] * z
            wanted = self.f(end, low, self.target)
        return self._distance(self.f(start, high), wanted)

    def denoise(
        self, x: Tensor, sigma: Tensor, net: nn.Module | None = None, boundary: float = 0.0
    ) -> Tensor:
        """D(x; sigma) of the student, or of another network: (B, C, H, W) to (B, C, H, W)."""
        net = self.net if net is None else net
        return karras.precondition(net, x, sigma, self.sigma_data, boundary)

    def f(self, x: Tensor, sigma: Tensor, net: nn.Module | None = None) -> Tensor:
        """The start of the path on which x lies: (B, C, H, W) and (B,) to (B, C, H, W).

        Args:
            x: Noisy images.
            sigma: Their levels, 0.002 to 80.
            net: Another network than the student's.
        """
        return self.denoise(x, sigma, net, EPSILON)

    def teacher_step(self, teacher: nn.Module, x: Tensor, high: Tensor, low: Tensor) -> Tensor:
        """One step of Heun's method from level `high` to `low`, (B,), with the teacher."""
        h, high_, low_ = (c[:, None, None, None] for c in (low - high, high, low))
        d = (x - self.denoise(x, high, teacher)) / high_
        y = x + h * d
        return x + h * (d + (y - self.denoise(y, low, teacher)) / low_) / 2

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        square = (x - y).square()
        if self.config.distance == "l2":
            return square.mean()
        c = 0.00054 * math.sqrt(math.prod(self.shape))
        return ((square.flatten(1).sum(1) + c**2).sqrt() - c).mean()

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """f of noise; with more steps, noise is added to the answer and f asked again."""
        o = self.Options(**options)
        first, *rest = karras.sigmas(o.steps, low=SECOND, clean=False)
        x = self._answer(first * noise.normal(*self.shape), first, o.clip_x0)
        for sigma in rest:
            z = noise.normal(*self.shape)
            x = self._answer(x + math.sqrt(sigma**2 - EPSILON**2) * z, sigma, o.clip_x0)
        return x.clamp(-1, 1)

    def _answer(self, x: Tensor, sigma: float, clip_x0: bool) -> Tensor:
        x = self.f(x, torch.full((len(x),), sigma, device=x.device))
        return x.clamp(-1, 1) if clip_x0 else x


def frozen(network: nn.Module) -> nn.Module:
    """A copy without dropout, whose weights are buffers: no optimizer and no gradient moves it."""
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return copied


@torch.no_grad()
def follow(network: nn.Module, leader: nn.Module, share: float) -> None:
    """Move the weights of a network this share of the way to those of another of its form."""
    there = leader.state_dict()
    for name, weight in network.state_dict().items():
        weight.lerp_(there[name], share)
