"""DDPM: denoising diffusion probabilistic models (Ho et al., arXiv 2006.11239).

A network learns to tell the noise in a noisy image; sampling starts from noise and removes it step
by step. DDIM (Song et al., arXiv 2010.02502) is another way to sample the same network.

    q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I)
    L_simple = E ||epsilon - epsilon_theta(x_t, t)||^2,   t uniform in 0 .. T-1

A mean over pixels, so an untrained network, whose last layer is 0, has the loss 1.

Later improvements are settings: the cosine schedule and the learned variance (Nichol and Dhariwal,
arXiv 2102.09672), v-prediction (Salimans and Ho, arXiv 2202.00512), the min-SNR weights (Hang et
al., arXiv 2303.09556). Each is defined in `baselines._nn.diffusion` and `variational`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn import denoising, samplers
from genbench import api


class DDPM(api.Baseline[api.Unconditional]):
    """Denoising diffusion; by default the linear schedule, epsilon prediction, fixed variance."""

    kind = "diffusion"
    defining = ("schedule", "prediction")

    # The U-Nets of the papers have 32 groups in their normalisations, where ours has 8, and none
    # of our `Gains`; the later one adds scale and shift by the time, and attention of 4 heads.
    # Half-lives of 887,000 images are a decay of 0.9999 at batches of 128, without a ramp-up.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {  # CIFAR-10, 32 px, 800,000 steps; images are flipped at random
            "net": "unet",
            "channels": 128,
            "mults": (1, 2, 2, 2),
            "blocks": 2,
            "attention": (16,),
            "patch": 1,
            "dropout": 0.1,
            "lr": 2e-4,
            "batch": 128,
            "ema": 887_000,
            "ema_rampup": 1e9,
            "warmup": 640_000,
            "decay": "constant",
            "clip": 1.0,
            "options": {"variance": "large"},  # of FID 3.17
        },
        "improved": {  # arXiv 2102.09672: CIFAR-10, 500,000 steps, L_hybrid
            "net": "unet",
            "channels": 128,
            "mults": (1, 2, 2, 2),
            "blocks": 3,
            "attention": (16, 8),
            "patch": 1,
            "dropout": 0.3,
            "T": 4000,
            "schedule": "cosine",
            "learn_variance": True,
            "lr": 1e-4,
            "batch": 128,
            "ema": 887_000,
            "ema_rampup": 1e9,
            "warmup": 0,
            "decay": "constant",
            "options": {"steps": 4000, "variance": "learned"},
        },
    }

    class Config(denoising.ChainConfig):
        """Settings: those of the chain, of the network and of its training."""

    class Options(denoising.Sampling):
        """Sampling options: those of the chain."""

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.chain = denoising.Chain(config, data.shape)
        self.lr = denoising.learning_rate(config, data.shape)
        self.net = denoising.network(config, data.shape, out=self.chain.out)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam."""
        return {"net": Adam(self.net.parameters(), lr=self.lr)}

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_simple, or what the settings make of it."""
        given = self.chain.noised(x, noise)
        losses = self.chain.loss(self.net(given.x_t, self.chain.time(given.t)), given)
        update("net", losses["loss"])
        return losses

    @classmethod
    def check(cls, config: Config, options: Options) -> None:
        """Refuses time steps and a variance that such a model does not have."""
        denoising.Chain.check(config, options)

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """x_T ~ N(0, I), then the steps of the sampler."""
        return self.chain.sample(self.net, noise, self.Options(**options)).clamp(-1, 1)

    def encode(self, x: Tensor, steps: int = 50) -> Tensor:
        """The noise from which DDIM makes the images x, (B, C, H, W) in [-1, 1], approximately.

        `decode` with as many steps leads back.
        """
        levels = self.chain.levels(self.Options(sampler="ddim", steps=steps, spacing="leading"))
        return samplers.ddim_encode(self.chain.denoiser(self.net), x, levels)

    def decode(self, x_T: Tensor, steps: int = 50) -> Tensor:
        """Images of the noise x_T by DDIM at eta = 0, both (B, C, H, W); not clamped."""
        levels = self.chain.levels(self.Options(sampler="ddim", steps=steps, spacing="leading"))
        return samplers.ddim(self.chain.denoiser(self.net), x_T, levels)
