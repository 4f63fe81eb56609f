"""What the families of denoisers share: their networks, and diffusion in T steps.

A denoiser is called as `net(x, t, y, context)`: images (B, C, H, W), times (B,) that span 0 to
1000, labels int64 (B,), where the number of classes stands for "no label", and a context (B, L, d)
such as an encoded text. Born with zeros in its last layer, it answers 0 until it is trained.

A `Chain` is the rest of a family like DDPM: the noise levels, what a network is to predict and by
which loss, and the samplers to choose from. It owns no network; a family adds its condition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from baselines._nn import diffusion, samplers
from baselines._nn.blocks import ResMLP, UNet
from baselines._nn.variational import Bound
from genbench import api

__all__ = [
    "Chain",
    "ChainConfig",
    "NetworkConfig",
    "Noised",
    "Sampling",
    "check_guidance",
    "guided",
    "learning_rate",
    "network",
    "uses_mlp",
]

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t, times) to an answer: of x_t's shape, or of twice the channels with learned variance."""


# --- networks ------------------------------------------------------------------------------------


class NetworkConfig(api.Config):
    """Settings of a denoiser's network and of its training.

    Attributes:
        lr: Adam's learning rate; None is 2e-3 for the MLP, 1e-3 for the U-Net.
        net: "mlp", "unet", or "auto": the MLP up to 8 pixels, else the U-Net.
        hidden: Width of the MLP.
        depth: Residual blocks of the MLP.
        channels: Channels of the U-Net's first level, a multiple of 8.
        mults: Channels of every level of the U-Net, as multiples of `channels`.
        blocks: Residual blocks per level of the U-Net.
        attention: Sides (after folding) with attention, besides the middle: to itself, and to the
            context where there is one.
        patch: The U-Net works on squares of patch x patch pixels folded into channels. At 32
            pixels, 4 with 48 channels costs a quarter of 2 with 32 (on a CPU).
        dropout: Of the U-Net's residual blocks.
    """

    batch: int = Field(128, ge=1)
    ema: float | None = Field(50_000, gt=0)
    warmup: int = Field(10_000, ge=0)
    decay: api.Decay = "cosine"
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


def uses_mlp(config: NetworkConfig, shape: Sequence[int]) -> bool:
    """Whether the network for images of shape (C, H, W) is the MLP."""
    return config.net == "mlp" or (config.net == "auto" and shape[-1] <= 8)


def learning_rate(config: NetworkConfig, shape: Sequence[int]) -> float:
    """The learning rate that the settings name, or that suits their network."""
    return config.lr or (2e-3 if uses_mlp(config, shape) else 1e-3)


def network(
    config: NetworkConfig,
    shape: Sequence[int],
    classes: int = 0,
    context: int = 0,
    out: int | None = None,
) -> nn.Module:
    """A denoiser of images of shape (C, H, W).

    Args:
        config: Its settings.
        shape: Of what it is shown. Where that is a noisy image with others beside it, the noisy
            image's channels come first.
        classes: Of the labels; 0 for a network that takes none.
        context: Channels d of the context (B, L, d); 0 for a network that takes none.
        out: Channels of the answer; None is C.

    Raises:
        ValueError: If the U-Net cannot halve the side as often as its levels ask.
    """
    if uses_mlp(config, shape):
        return ResMLP(shape, config.hidden, config.depth, classes, context, out)
    return UNet(
        shape,
        config.channels,
        config.mults,
        config.blocks,
        config.attention,
        config.patch,
        config.dropout,
        classes,
        context,
        out,
    )


# --- guidance without a classifier ---------------------------------------------------------------


def guided(
    network: Callable[[Tensor, Tensor, Tensor], Tensor], y: Tensor, null: Tensor, w: float
) -> Network:
    """(1 + w) network(x_t, t, y) - w network(x_t, t, null) (Ho and Salimans, arXiv 2207.12598).

    Both are evaluated in one call; w = 0 and w = -1 leave one of them out. A learned variance,
    behind the channels of x_t, is that of y alone.

    Args:
        network: Answers (x_t, times, condition).
        y: The condition of each row, (B, ...).
        null: What stands for "no condition", of y's shape.
        w: Strength of the guidance, at least -1.
    """

    def answer(x_t: Tensor, t: Tensor) -> Tensor:
        if w in (0, -1):
            return network(x_t, t, y if w == 0 else null)
        both = network(torch.cat((x_t, x_t)), torch.cat((t, t)), torch.cat((y, null)))
        with_y, without = both.chunk(2)
        c = x_t.shape[1]
        mean = torch.lerp(without[:, :c], with_y[:, :c], 1 + w)
        return torch.cat((mean, with_y[:, c:]), dim=1)

    return answer


def check_guidance(p_uncond: float, w: float) -> None:
    """Refuses guidance by a branch that was never trained.

    Args:
        p_uncond: Share of the training rows whose condition was left out.
        w: Strength of the guidance.
    """
    if p_uncond == 0 and w != 0:
        raise ValueError(
            f"w = {w:g} needs a network that also learned without labels, and p_uncond = 0 never"
            " leaves one out; set w = 0 or p_uncond = 0.1"
        )
    if p_uncond == 1 and w != -1:
        raise ValueError(
            f"w = {w:g} needs a network that learned labels, and p_uncond = 1 leaves all of them"
            " out; set w = -1 or p_uncond = 0.1"
        )


# --- diffusion in T steps ------------------------------------------------------------------------


class ChainConfig(NetworkConfig):
    """Settings of a chain of noise levels and of the loss, besides those of the network.

    Attributes:
        T: Number of noise levels.
        schedule: "linear", whose ends scale with 1000 / T, or "cosine", see `diffusion`.
        prediction: What the network answers: "epsilon", "x0", or "v" = a epsilon - s x_0.
        weighting: Of the squared error at a level: "simple" is 1, "min_snr" `diffusion.min_snr`.
        gamma: Of min_snr, the largest weight of x_0's error.
        learn_variance: The network also answers a variance, trained by the variational bound.
    """

    T: int = Field(1000, ge=21)
    schedule: diffusion.Schedule = "linear"
    prediction: diffusion.Prediction = "epsilon"
    weighting: Literal["simple", "min_snr"] = "simple"
    gamma: float = Field(5.0, gt=0)
    learn_variance: bool = False


class Sampling(api.Options):
    """Sampling options.

    Attributes:
        sampler: "ddpm" (ancestral), "ddim", "dpmpp_2m" (DPM-Solver++ of order 2) or "heun".
        steps: Steps, 1 to T. Each is one network evaluation, of heun two but for the last;
            "quadratic" drops repeated ones.
        spacing: Which time steps: "uniform", "leading", "trailing", "quadratic", "karras", or a
            descending list of them. "auto" is karras for heun, else trailing.
        eta: Noise that DDIM adds: 0 is deterministic, 1 is DDPM.
        variance: Of the noise that DDPM adds: "posterior" (fixed small), "large", or "learned",
            where the config says `learn_variance`.
        clip_x0: Clamp every prediction of x_0 to [-1, 1].
    """

    sampler: Literal["ddpm", "ddim", "dpmpp_2m", "heun"] = "ddpm"
    steps: int = Field(1000, ge=1)
    spacing: (
        Literal["auto", "uniform", "leading", "trailing", "quadratic", "karras"]
        | tuple[float, ...]
    ) = "auto"
    eta: float = Field(0.0, ge=0, le=1)
    variance: Literal["posterior", "large", "learned"] = "posterior"
    clip_x0: bool = True

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
            raise ValueError(f"variance is an option of sampler 'ddpm'; {self.sampler!r} has none")
        if not isinstance(self.spacing, str) and self.steps != len(self.spacing):
            raise ValueError(
                f"steps={self.steps}, but spacing lists {len(self.spacing)} time steps"
            )
        return self


@dataclass(frozen=True)
class Noised:
    """Images with noise at random levels.

    Attributes:
        x_0: (B, C, H, W).
        epsilon: The noise, (B, C, H, W).
        t: Integers (B,) in 0 .. T-1.
        a: sqrt(alpha_bar_t), float32 (B, 1, 1, 1).
        s: sqrt(1 - alpha_bar_t), float32 (B, 1, 1, 1).
    """

    x_0: Tensor
    epsilon: Tensor
    t: Tensor
    a: Tensor
    s: Tensor

    @property
    def x_t(self) -> Tensor:
        """a x_0 + s epsilon."""
        return self.a * self.x_0 + self.s * self.epsilon


class Chain:
    """T noise levels, what a network predicts at them, by which loss, and how to sample with it.

    Args:
        config: The settings.
        shape: (C, H, W) of what is noised.

    Attributes:
        alpha_bar: float64 (T,). No buffer: it follows from the settings, and nothing may round it.
        out: Channels of the network's answer: C, or 2 C with learned variance.
    """

    def __init__(self, config: ChainConfig, shape: Sequence[int]) -> None:
        self.config, self.shape = config, tuple(shape)
        self.alpha_bar = diffusion.alpha_bar(config.schedule, config.T)
        self._there: Tensor | None = None  # the same on the device of the last step
        self.out = shape[0] * (2 if config.learn_variance else 1)
        self.bound = Bound(self.alpha_bar) if config.learn_variance else None

    def time(self, t: Tensor) -> Tensor:
        """What the network is told at steps t: its embedding is made for 1000 levels."""
        return t * (1000 / self.config.T)

    def noised(self, x: Tensor, noise: api.Noise) -> Noised:
        """Images at levels that are uniform over the chain, row by row."""
        # float64: T times the largest float32 below 1 can round to T
        t = (noise.uniform(dtype=torch.float64) * self.config.T).long()
        epsilon = noise.normal(*self.shape)
        alpha_bar_t = self._table(x.device)[t, None, None, None]
        return Noised(x, epsilon, t, alpha_bar_t.sqrt().float(), (1 - alpha_bar_t).sqrt().float())

    def _table(self, device: torch.device) -> Tensor:
        """`alpha_bar` on a device; copied there once, not in every step."""
        if self._there is None or self._there.device != device:
            self._there = self.alpha_bar.to(device)
        return self._there

    def loss(self, answer: Tensor, given: Noised) -> dict[str, Tensor]:
        """What the answer to `given.x_t` costs: "loss", and its part "bound" where it has one.

            L_simple = E w(t) ||answer - target||^2, a mean over pixels
            L_hybrid = L_simple + 0.001 T L_t        (arXiv 2102.09672, eq. 16)

        L_t, in bits per dimension, teaches the variance alone: its x_0 is a constant.
        """
        c, answer = self.config, answer.float()
        answer, u = answer[:, : self.shape[0]], answer[:, self.shape[0] :]
        target = diffusion.target(c.prediction, given.x_0, given.epsilon, given.a, given.s)
        if c.weighting == "simple":
            loss = F.mse_loss(answer, target)
        else:
            alpha_bar = self._table(answer.device)
            weights = diffusion.min_snr(c.prediction, alpha_bar, c.gamma).float()
            errors = (answer - target).square().flatten(1).mean(dim=1)
            loss = (weights[given.t] * errors).mean()
        if self.bound is None:
            return {"loss": loss}
        x_0 = diffusion.x_0(c.prediction, answer.detach(), given.x_t, given.a, given.s)
        bound = self.bound.terms(given.x_0, x_0, u, given.t).mean()
        return {"loss": loss + 0.001 * c.T * bound, "bound": bound}

    @staticmethod
    def check(config: ChainConfig, options: Sampling) -> None:
        """Refuses time steps that the chain does not have, and a variance that is not learned."""
        alpha_bar = diffusion.alpha_bar(config.schedule, config.T)
        diffusion.timesteps(options.spacing, options.steps, alpha_bar)
        if options.variance == "learned" and not config.learn_variance:
            raise ValueError(
                "variance 'learned' is one that the network answers; train it with"
                " learn_variance = true, or take 'posterior' or 'large'"
            )

    def levels(self, options: Sampling) -> list[diffusion.Level]:
        """The noise levels that the options ask for, from the noisiest to the clean image."""
        steps = diffusion.timesteps(options.spacing, options.steps, self.alpha_bar)
        return diffusion.levels(steps, self.alpha_bar)

    def sample(
        self, network: Network, noise: api.Noise, options: Sampling, guide: Network | None = None
    ) -> Tensor:
        """x_T ~ N(0, I), then the steps of the sampler; not clamped.

        Args:
            network: Answers (x_t, time).
            noise: Of the samples.
            options: Checked ones.
            guide: Is added to the score: a gradient at (x_t, time).
        """
        self.check(self.config, options)
        x, levels = noise.normal(*self.shape), self.levels(options)
        predict = samplers.moments(
            self._told(network),
            self.config.prediction,
            options.clip_x0,
            None if guide is None else self._told(guide),
        )
        if options.variance == "learned":
            return samplers.ddpm_learned(predict, x, levels, noise)

        def denoise(x: Tensor, level: diffusion.Level) -> Tensor:
            return predict(x, level)[0]

        if options.sampler == "ddpm":
            return samplers.ddpm(denoise, x, levels, noise, variance=options.variance)
        if options.sampler == "ddim":
            return samplers.ddim(denoise, x, levels, noise, eta=options.eta)
        solver = samplers.dpmpp_2m if options.sampler == "dpmpp_2m" else samplers.heun
        return solver(denoise, x, levels)

    def denoiser(self, network: Network) -> samplers.Denoiser:
        """The network as a denoiser that does not clip."""
        return samplers.denoiser(self._told(network), self.config.prediction, clip_x0=False)

    def _told(self, network: Network) -> samplers.Network:
        """The network, told the step of the chain as a number."""
        return lambda x, t: network(x, self.time(torch.full((len(x),), t, device=x.device)))
