"""Classifier guidance (Dhariwal and Nichol, arXiv 2105.05233).

Bayes' rule adds a classifier of noisy images to the score of an unconditional model,

    grad log p(x_t | y) = grad log p(x_t) + grad log p(y | x_t, t),   score = -epsilon / s_t

so sampling takes, for epsilon_theta, with s_t = sqrt(1 - alpha_bar_t) and a `scale` beside it

    epsilon' = epsilon_theta(x_t, t) - scale sqrt(1 - alpha_bar_t) grad_(x_t) log p(y | x_t, t)

(algorithm 2 there), with any sampler. A scale above 1 sharpens p(y | x) into p(y | x)^scale. The
classifier must know every noise level: it learns, beside the denoiser and from the same noisy
images, by cross-entropy. With `conditional` the denoiser is told the label too.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from baselines._nn import denoising
from baselines._nn.blocks import Down, ResBlock, ResMLPBlock, TimeEmbedding, zeroed
from genbench import api


class ClassifierGuidance(api.Baseline[api.ClassLabel]):
    """Diffusion guided by the gradient of a classifier of noisy images."""

    cond = api.ClassLabel
    kind = "diffusion"
    sampled = ("net",)  # the classifier learns beside it
    defining = ("scale",)

    # ImageNet 256x256, the conditional model; the classifier is 128 channels wide there, pools by
    # attention and trains apart, on random crops, at 3e-4 with batches of 256 for 500,000 steps.
    # The U-Net has 32 groups, scale and shift by time and label, attention of several heads, and
    # residual blocks that change the side. A half-life of 3,540,000 images is a decay of 0.9999 a
    # step, which counts 512 of them: 256 of the denoiser and 256 of the classifier.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "conditional": True,
            "learn_variance": True,
            "net": "unet",
            "channels": 256,
            "mults": (1, 1, 2, 2, 4, 4),
            "blocks": 2,
            "attention": (32, 16, 8),
            "patch": 1,
            "lr": 1e-4,
            "classifier_lr": 3e-4,
            "weight_decay": 0.05,
            "batch": 256,
            "ema": 3_540_000,
            "ema_rampup": 1e9,
            "warmup": 0,
            "decay": "constant",
            "options": {"steps": 250, "variance": "learned", "scale": 1.0},
        },
    }

    class Config(denoising.ChainConfig):
        """Settings, besides those of the chain and of the network.

        The classifier has the sizes of the network: of the MLP all, of the U-Net the way down.

        Attributes:
            conditional: Whether the denoiser is told the label too.
            classifier_lr: AdamW's learning rate for the classifier; None is the network's.
            weight_decay: AdamW's, of the classifier.
        """

        conditional: bool = False
        classifier_lr: float | None = Field(None, gt=0)
        weight_decay: float = Field(0.05, ge=0)

    class Options(denoising.Sampling):
        """Sampling options, besides those of the chain.

        Attributes:
            scale: Of the classifier's gradient. A step is an evaluation of each of both networks,
                and the way back through the classifier; at 0, of the denoiser alone.
        """

        scale: float = Field(4.0, ge=0)

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.classes:
            raise ValueError(
                f"classifier guidance needs classes, and {data.name!r} has none; use ddpm instead"
            )
        self.config = config
        self.chain = denoising.Chain(config, data.shape)
        self.lr = denoising.learning_rate(config, data.shape)
        classes = data.classes if config.conditional else 0
        self.net = denoising.network(config, data.shape, classes, out=self.chain.out)
        self.classifier = NoisyClassifier(config, data)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the denoiser, AdamW for the classifier."""
        c = self.config
        return {
            "net": Adam(self.net.parameters(), lr=self.lr),
            "classifier": AdamW(
                self.classifier.parameters(),
                lr=c.classifier_lr or self.lr,
                weight_decay=c.weight_decay,
            ),
        }

    def step(
        self, x: Tensor, cond: api.ClassLabel, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The loss of the chain, and the cross-entropy of the classifier on the same images."""
        given = self.chain.noised(x, noise)
        x_t, t = given.x_t, self.chain.time(given.t)
        losses = self.chain.loss(self._denoise(x_t, t, cond.label), given)
        update("net", losses["loss"])
        losses["classifier"] = F.cross_entropy(self.classifier(x_t, t).float(), cond.label)
        update("classifier", losses["classifier"])
        return losses

    @classmethod
    def check(cls, config: Config, options: Options) -> None:
        """Refuses time steps and a variance that such a model does not have."""
        denoising.Chain.check(config, options)

    def sample(self, cond: api.ClassLabel, noise: api.Noise, **options: Any) -> Tensor:
        """x_T ~ N(0, I), then the steps of the sampler with a guided score."""
        o, y = self.Options(**options), cond.label

        def network(x_t: Tensor, t: Tensor) -> Tensor:
            return self._denoise(x_t, t, y)

        def guide(x_t: Tensor, t: Tensor) -> Tensor:
            return o.scale * self.gradient(x_t, t, y)

        x = self.chain.sample(network, noise, o, guide if o.scale > 0 else None)
        return x.clamp(-1, 1)

    def gradient(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """grad_(x_t) log p(y | x_t, t) of each row, (B, C, H, W)."""
        # samples are drawn in inference mode, whose tensors may not take part in a gradient; their
        # copies made outside of it may
        with torch.inference_mode(False), torch.enable_grad():
            x_t, t, y = x_t.clone().requires_grad_(), t.clone(), y.clone()
            log_p = F.log_softmax(self.classifier(x_t, t).float(), dim=1)
            # a sum, for a mean would weaken the gradient by the size of the batch
            (found,) = torch.autograd.grad(log_p.gather(1, y[:, None]).sum(), x_t)
        return found

    def _denoise(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        answer: Tensor = self.net(x_t, t, y) if self.config.conditional else self.net(x_t, t)
        return answer


class NoisyClassifier(nn.Module):
    """Noisy images (B, C, H, W) and times (B,) in 0 .. 1000 to logits (B, classes)."""

    def __init__(self, config: ClassifierGuidance.Config, data: api.DataSpec) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        if denoising.uses_mlp(config, data.shape):
            self.patch, width = 0, config.hidden
            self.time = TimeEmbedding(width, width)
            self.input: nn.Module = nn.Linear(data.channels * data.size**2, width)
            self.blocks.extend(ResMLPBlock(width) for _ in range(config.depth))
            self.norm: nn.Module = nn.LayerNorm(width)
        else:
            self.patch, width = config.patch, config.channels * config.mults[0]
            emb = 4 * config.channels
            self.time = TimeEmbedding(config.channels, emb)
            self.input = nn.Conv2d(data.channels * self.patch**2, width, 3, padding=1)
            for level, mult in enumerate(config.mults):
                if level:
                    self.blocks.append(Down(width))
                for _ in range(config.blocks):
                    c_out = config.channels * mult
                    self.blocks.append(ResBlock(width, c_out, emb, config.dropout, False))
                    width = c_out
            self.norm = nn.GroupNorm(8, width)
        self.output = zeroed(nn.Linear(width, data.classes))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Logits; 0 from an untrained network."""
        emb = self.time(t)
        h = F.pixel_unshuffle(x_t, self.patch) if self.patch else x_t.flatten(1)
        h = self.input(h)
        for block in self.blocks:
            h = block(h, emb)
        h = F.silu(self.norm(h))
        logits: Tensor = self.output(h.mean(dim=(2, 3)) if self.patch else h)
        return logits
