"""GAN: generative adversarial networks (Goodfellow et al., arXiv 1406.2661) and their objectives.

D tells images from samples, in logits s_r = D(x) and s_f = D(G(z)), and G learns from D alone:

| objective        | L_D                                | L_G            | reference        |
|------------------|------------------------------------|----------------|------------------|
| `minimax`        | softplus(-s_r) + softplus(s_f)     | -softplus(s_f) | arXiv 1406.2661  |
| `non_saturating` | the same                           | softplus(-s_f) | arXiv 1406.2661  |
| `least_squares`  | (s_r - 1)^2 + s_f^2                | (s_f - 1)^2    | arXiv 1611.04076 |
| `hinge`          | max(0, 1 - s_r) + max(0, 1 + s_f)  | -s_f           | arXiv 1705.02894 |
| `wasserstein`    | s_f - s_r, weights in [-c, c]      | -s_f           | arXiv 1701.07875 |
| `wasserstein_gp` | s_f - s_r + lambda (slope - 1)^2   | -s_f           | arXiv 1704.00028 |

All are means over the batch; for the slope see `baselines/_nn/gradient_penalty.py`. Minimax is the
game itself, min_G max_D E log D(x) + E log(1 - D(G(z))); its gradient for G, -sigmoid(s_f),
vanishes where D is sure of a fake. The non-saturating loss has the same fixed point and the
gradient -(1 - sigmoid(s_f)). Adam divides by the size of the gradient, SGD does not: the
argument is about the latter. G has one step after every `n_critic` of D; at an equal number of
images, five steps of the critic leave G a third of the steps that it has with one.

With any objective D can be kept from becoming steep: `r1` adds gamma / 2 ||grad D(x)||^2 on real
images (arXiv 1801.04406), `spectral` divides every weight by its largest singular value (arXiv
1802.05957).

For every objective the networks are the same: multi-layer perceptrons, or DCGAN's G and its D
without batch normalisation, as a gradient penalty is of one image alone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from baselines._nn.conv_gan import discriminator, generator
from baselines._nn.counter import Counter
from baselines._nn.gan import Kind, d_loss, g_loss, init_normal
from baselines._nn.gan_blocks import spectral
from baselines._nn.gradient_penalty import r1, tracked, wgan_gp
from genbench import api

Objective = Literal[
    "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "wasserstein_gp"
]

KINDS: Mapping[str, Kind] = {
    "minimax": "vanilla",
    "non_saturating": "vanilla",
    "least_squares": "least_squares",
    "hinge": "hinge",
}


class GAN(api.Baseline[api.Unconditional]):
    """Generative adversarial network."""

    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("objective",)

    class Config(api.Config):
        """Settings.

        Attributes:
            objective: See above.
            net: "mlp", "conv", or "auto": the MLP up to 8 pixels, else convolutions.
            nz: Dimensions of z ~ N(0, I).
            hidden: Width of the MLPs' two hidden layers.
            ngf: Channels of the convolutional G before its output; they double at every halving.
            ndf: Channels of the convolutional D after its input layer; they double likewise.
            n_critic: Steps of D for one of G; None: 5 of the two Wasserstein objectives, else 1.
            penalty: lambda of wasserstein_gp.
            weight_clip: c of wasserstein.
            r1: gamma of R1.
            spectral: Spectral normalisation of D.
            optimizer: Of both networks.
            lr: Learning rate, of both networks. Wasserstein's papers have less, see the presets,
                which takes longer trainings.
            beta1: Momentum of Adam and SGD, of both networks.
            beta2: Adam's decay of squared gradients, of both networks.
        """

        batch: int = Field(64, ge=1)
        ema: float | None = Field(20_000.0, gt=0)
        objective: Objective = "non_saturating"
        net: Literal["auto", "mlp", "conv"] = "auto"
        nz: int = Field(32, ge=1)
        hidden: int = Field(256, ge=1)
        ngf: int = Field(32, ge=1)
        ndf: int = Field(32, ge=1)
        n_critic: int | None = Field(None, ge=1)
        penalty: float = Field(10.0, ge=0)
        weight_clip: float = Field(0.01, gt=0)
        r1: float = Field(0.0, ge=0)
        spectral: bool = False
        optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
        lr: float = Field(5e-4, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)
        beta2: float = Field(0.999, ge=0, lt=1)

    # "paper": MNIST. We lack D's maxout layers (5 pieces of 240) and dropout, G's sigmoid, and the
    # schedules: the rate falls from 0.1 to 1e-6, the momentum rises from 0.5 to 0.7.
    # The Wasserstein GANs of 64 pixels have DCGAN's networks, the first with batch normalisation.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 100,
            "ema": None,
            "net": "mlp",
            "nz": 100,
            "hidden": 1200,
            "optimizer": "sgd",
            "lr": 0.1,
            "beta1": 0.5,
        },
        "wgan": {  # arXiv 1701.07875, algorithm 1
            "batch": 64,
            "ema": None,
            "objective": "wasserstein",
            "net": "conv",
            "nz": 100,
            "ngf": 64,
            "ndf": 64,
            "n_critic": 5,
            "weight_clip": 0.01,
            "optimizer": "rmsprop",
            "lr": 5e-5,
        },
        "wgan_gp": {  # arXiv 1704.00028, algorithm 1
            "batch": 64,
            "ema": None,
            "objective": "wasserstein_gp",
            "net": "conv",
            "nz": 128,
            "ngf": 64,
            "ndf": 64,
            "n_critic": 5,
            "penalty": 10.0,
            "lr": 1e-4,
            "beta1": 0.0,
            "beta2": 0.9,
        },
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.n_critic = config.n_critic or (1 if config.objective in KINDS else 5)
        self.mlp = config.net == "mlp" or (config.net == "auto" and data.size <= 8)
        if self.mlp:
            self.G, self.D = mlps(config.nz, config.hidden, data, config.spectral)
        else:
            self.G = generator(config.nz, config.ngf, data).apply(init_normal)
            self.D = discriminator(config.ndf, data, "spectral" if config.spectral else "none")
        self.steps = Counter()

    def phase(self, progress: float) -> str | None:
        """Whether G has a step too."""
        return "d and g" if self.due() else "d"

    def due(self) -> bool:
        """Whether the next step is one of those in which G is updated."""
        return (int(self.steps) + 1) % self.n_critic == 0

    def optimizers(self) -> dict[str, Optimizer]:
        """One for each network."""
        return {"d": self.optimizer(self.D), "g": self.optimizer(self.G)}

    def optimizer(self, net: nn.Module) -> Optimizer:
        """The kind that is asked for."""
        c, params = self.config, net.parameters()
        if c.optimizer == "sgd":
            return SGD(params, lr=c.lr, momentum=c.beta1)
        if c.optimizer == "rmsprop":
            return RMSprop(params, lr=c.lr)
        return Adam(params, lr=c.lr, betas=(c.beta1, c.beta2))

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, and after the last of `n_critic` such steps L_G with a fresh z."""
        due = self.due()
        self.steps.add()
        with torch.no_grad():
            fake = self.G(self.z(noise))
        losses = {"loss_d": self.loss_d(x, fake, noise)}
        update("d", losses["loss_d"])
        if self.config.objective == "wasserstein":
            self.clip_weights()
        if due:
            losses["loss_g"] = self.loss_g(self.D(self.G(self.z(noise))))
            update("g", losses["loss_g"])
        return losses

    def loss_d(self, x: Tensor, fake: Tensor, noise: api.Noise) -> Tensor:
        """D's loss on real images and fakes, (B, C, H, W) each."""
        c = self.config
        x = tracked(x) if c.r1 else x
        s, s_fake = self.D(x), self.D(fake)
        loss: Tensor
        if c.objective in KINDS:
            loss = d_loss(s, s_fake, KINDS[c.objective])
        else:
            loss = s_fake.mean() - s.mean()
        if c.objective == "wasserstein_gp":
            loss = loss + c.penalty * wgan_gp(self.D, x, fake, noise.uniform(1, 1, 1))
        return loss + c.r1 * r1(s, x) if c.r1 else loss

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Put D's weights back into [-c, c]."""
        for p in self.D.parameters():
            p.clamp_(-self.config.weight_clip, self.config.weight_clip)

    def loss_g(self, s: Tensor) -> Tensor:
        """G's loss on D's logits of its images, (B,)."""
        if self.config.objective == "minimax":
            return -F.softplus(s).mean()
        if self.config.objective in KINDS:
            return g_loss(s, KINDS[self.config.objective])
        return -s.mean()

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """G(z)."""
        self.Options(**options)
        x: Tensor = self.G(self.z(noise))
        return x.float()  # bfloat16 under autocast

    def z(self, noise: api.Noise) -> Tensor:
        """z ~ N(0, I): (B, nz), for convolutions (B, nz, 1, 1)."""
        nz = self.config.nz
        return noise.normal(nz) if self.mlp else noise.normal(nz, 1, 1)


def mlps(
    nz: int, hidden: int, data: api.DataSpec, bounded: bool
) -> tuple[nn.Sequential, nn.Sequential]:
    """G, (B, nz) to (B, C, H, W) in [-1, 1], and D, (B, C, H, W) to logits (B,).

    Spectral normalisation keeps D's slope `bounded`.
    """
    pixels = data.channels * data.size**2
    G = nn.Sequential(
        nn.Linear(nz, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, pixels),
        nn.Tanh(),
        nn.Unflatten(1, data.shape),
    )
    d = [nn.Linear(pixels, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)]
    first, second, last = map(spectral, d) if bounded else d
    D = nn.Sequential(
        nn.Flatten(), first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last, nn.Flatten(0)
    )
    return G, D
