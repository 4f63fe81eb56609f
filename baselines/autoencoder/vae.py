"""VAE: variational autoencoder (Kingma, Welling, arXiv 1312.6114).

An encoder q(z|x) = N(mu, diag(exp(logvar))) and a decoder p(x|z) = N(x_hat, sigma^2 I) maximise a
lower bound of log p(x), in nats:

    ELBO = E_q log p(x|z) - KL(q(z|x) || N(0, I))
    KL = 1/2 sum_j (mu_j^2 + exp(logvar_j) - 1 - logvar_j)
    -log p(x|z) = ||x - x_hat||^2 / (2 sigma^2) + D/2 log(2 pi sigma^2)

sigma is fixed, or the best one for the batch: sigma^2 is the mean squared error, so that the first
term is D/2 (the sigma-VAE of Rybkin et al., arXiv 2006.13202).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn.autoencoder import Net, gaussian_kl, vectors
from genbench import api


class VAE(api.Baseline[api.Unconditional]):
    """Gaussian variational autoencoder; a sample is the decoder's mean for z ~ N(0, I)."""

    kind = "autoencoder"
    counted = ("decoder",)

    class Config(api.Config):
        """Settings.

        Attributes:
            d: Dimensions of z.
            sigma: Standard deviation of a pixel given z, or "optimal".
            beta: Weight of the KL: above 1 fewer nats in z, below 1 more of them (Higgins et al.,
                beta-VAE, 2017).
            net: "mlp", "conv", or "auto": the MLP up to 8 pixels, else convolutions.
            hidden: Width of the MLP.
            channels: Channels of the convolutions at half the image's side; they double with every
                halving.
            lr: Adam's learning rate.
        """

        batch: int = Field(128, ge=1)
        decay: api.Decay = "cosine"
        d: int = Field(16, ge=1)
        sigma: PositiveFloat | Literal["optimal"] = 0.5
        beta: float = Field(1.0, ge=0)
        net: Net = "auto"
        hidden: int = Field(512, ge=1)
        channels: int = Field(32, ge=1)
        lr: float = Field(1e-3, gt=0)

    # The paper's: MNIST, 28 px. It has tanh in one hidden layer, Bernoulli pixels and Adagrad.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"d": 20, "net": "mlp", "hidden": 500, "batch": 100, "decay": "constant"}
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        d = config.d
        self.encoder, self.decoder = vectors(
            config.net, d, 2 * d, config.hidden, config.channels, data
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for encoder and decoder together."""
        return {"vae": Adam(self.parameters(), lr=self.config.lr)}

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """-log p(x|z) + beta KL; at beta = 1 the negative ELBO."""
        mu, logvar = self.encode(x)
        z = mu + (logvar / 2).exp() * noise.normal(self.config.d)
        nll = gaussian_nll(x, self.decoder(z), self.config.sigma)
        kl = gaussian_kl(mu, logvar).mean()
        loss = nll + self.config.beta * kl
        update("vae", loss)
        return {"loss": loss, "nll": nll, "kl": kl}

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """The decoder's mean for z ~ N(0, I)."""
        self.Options(**options)
        x: Tensor = self.decoder(noise.normal(self.config.d))
        return x.float().clamp(-1, 1)  # bfloat16 under autocast

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), each of shape (B, d)."""
        mu, logvar = self.encoder(x).float().chunk(2, dim=1)  # the KL needs more than bfloat16
        return mu, logvar.clamp(-30, 20)


def gaussian_nll(x: Tensor, x_hat: Tensor, sigma: float | Literal["optimal"]) -> Tensor:
    """-log N(x; x_hat, sigma^2 I) in nats, a sum over pixels and a mean over the batch."""
    D = x[0].numel()
    mse = (x - x_hat).square().mean()
    if sigma == "optimal":
        # the floor keeps a perfect reconstruction finite; a grey level is 8e-3, its square 6e-5
        return D / 2 * ((2 * math.pi * mse.clamp(min=1e-6)).log() + 1)
    return D / 2 * (mse / sigma**2 + math.log(2 * math.pi * sigma**2))
