"""VAE: variational autoencoder (Kingma, Welling, arXiv 1312.6114).

An encoder q(z|x) = N(mu, diag(exp(logvar))) and a decoder p(x|z) maximise a lower bound of
log p(x), in nats:

    ELBO = E_q log p(x|z) - KL(q(z|x) || N(0, I))
    KL = 1/2 sum_j (mu_j^2 + exp(logvar_j) - 1 - logvar_j)

p(x|z) treats pixels as independent, around a mean x_hat that the decoder answers:

    gaussian              N(x_hat, sigma^2 I)
    bernoulli             the pixel is white with the probability (x_hat + 1) / 2; a grey level
                          counts as a share of white, so that this is no bound of its density
    discretized_logistic  the logistic distribution's mass in the bin of a grey level, 2/255 wide,
                          with standard deviation sigma (Kingma et al., arXiv 1606.04934)

sigma is fixed, learned, or the best one for the batch, whose square is the mean squared error (the
sigma-VAE of Rybkin et al., arXiv 2006.13202).

The latents of the training images do not fill N(0, I): what is decoded from between them is
blurred. A density that is fitted to them afterwards (Ghosh et al., arXiv 1903.12436) shows how
much of the error that is.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.autoencoder import Encoded, Net, encode_all, gaussian_kl, vectors
from baselines._nn.mixture import Mixture
from genbench import api

Sigma = PositiveFloat | Literal["learned", "optimal"]


class VAE(api.Baseline[api.Unconditional]):
    """Variational autoencoder; a sample is the decoder's mean of a latent."""

    kind = "autoencoder"
    counted = ("decoder",)
    defining = ("likelihood", "density")

    class Config(api.Config):
        """Settings.

        Attributes:
            d: Dimensions of z.
            likelihood: Of the pixels given z: "gaussian", "bernoulli" or "discretized_logistic".
                FD on digits after 200,000 images is 15.2, 19.3 and 8.1 (23.0 for a Gaussian with
                a linear mean), on MNIST after 80,000 by the MLP 24.5 and 23.1 for the last two.
            sigma: Standard deviation of a pixel given z, "learned" or, of the Gaussian, "optimal";
                None is 0.5 for the Gaussian and "learned" for the logistic distribution.
            mean: Of pixels: "tanh" keeps it in [-1, 1], as a Bernoulli pixel's is by itself;
                "linear" does not.
            beta: Weight of the KL: above 1 fewer nats in z, below 1 more of them (Higgins et al.,
                beta-VAE, 2017).
            components: Gaussians of the mixture.
            net: "mlp", "conv", or "auto": the MLP up to 8 pixels, else convolutions.
            hidden: Width of the MLP.
            channels: Channels of the convolutions at half the image's side; they double with every
                halving.
            lr: Adam's learning rate.
        """

        batch: int = Field(128, ge=1)
        decay: api.Decay = "cosine"
        d: int = Field(16, ge=1)
        likelihood: Literal["gaussian", "bernoulli", "discretized_logistic"] = (
            "discretized_logistic"
        )
        sigma: Sigma | None = None
        mean: Literal["tanh", "linear"] = "tanh"
        beta: float = Field(1.0, ge=0)
        components: int = Field(10, ge=1)
        net: Net = "auto"
        hidden: int = Field(512, ge=1)
        channels: int = Field(32, ge=1)
        lr: float = Field(1e-3, gt=0)

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            if self.likelihood == "bernoulli" and (self.sigma, self.mean) != (None, "tanh"):
                raise ValueError(
                    "sigma and mean are settings of likelihoods 'gaussian' and"
                    " 'discretized_logistic'; 'bernoulli' has neither"
                )
            if self.likelihood == "discretized_logistic" and self.sigma == "optimal":
                raise ValueError(
                    "sigma 'optimal' is in closed form for likelihood 'gaussian' alone; take"
                    " 'learned'"
                )
            return self

    class Options(api.Options):
        """Sampling options.

        Attributes:
            density: Of z: "prior", N(0, I); "gaussian" or "mixture", fitted to the latents of the
                training images; or "encoded", these latents, which gives reconstructions.
        """

        density: Literal["prior", "gaussian", "mixture", "encoded"] = "prior"

    # The paper's: MNIST, 28 px. It has tanh in one hidden layer, and Adagrad.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "d": 20,
            "likelihood": "bernoulli",
            "net": "mlp",
            "hidden": 500,
            "batch": 100,
            "decay": "constant",
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        d = config.d
        self.encoder, self.decoder = vectors(
            config.net, d, 2 * d, config.hidden, config.channels, data
        )
        logistic = config.likelihood == "discretized_logistic"
        self.sigma: Sigma = config.sigma or ("learned" if logistic else 0.5)
        self.log_sigma = nn.Parameter(torch.tensor(0.5).log()) if self.sigma == "learned" else None
        self.gaussian, self.mixture = Mixture(1, d), Mixture(config.components, d)
        self.encoded = Encoded(d)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for encoder, decoder and sigma together."""
        return {"vae": Adam(self.parameters(), lr=self.config.lr)}

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """-log p(x|z) + beta KL; at beta = 1 the negative ELBO."""
        mu, logvar = self.encode(x)
        z = mu + (logvar / 2).exp() * noise.normal(self.config.d)
        nll = self.nll(x, self.decoder(z).float())
        kl = gaussian_kl(mu, logvar).mean()
        loss = nll + self.config.beta * kl
        update("vae", loss)
        return {"loss": loss, "nll": nll, "kl": kl}

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), each of shape (B, d)."""
        mu, logvar = self.encoder(x).float().chunk(2, dim=1)  # the KL needs more than bfloat16
        return mu, logvar.clamp(-30, 20)

    def x_hat(self, h: Tensor) -> Tensor:
        """The mean of the pixels for an answer h of the decoder, both (B, C, H, W)."""
        if self.config.likelihood == "bernoulli":
            return (h / 2).tanh()  # 2 sigmoid(h) - 1
        return h.tanh() if self.config.mean == "tanh" else h

    def nll(self, x: Tensor, h: Tensor) -> Tensor:
        """-log p(x|z) in nats for an answer h of the decoder, a mean over the batch."""
        if self.config.likelihood == "bernoulli":
            return bernoulli_nll(x, h)
        sigma = self.sigma if self.log_sigma is None else self.log_sigma.exp()
        if self.config.likelihood == "gaussian" or isinstance(sigma, str):
            return gaussian_nll(x, self.x_hat(h), sigma)
        return logistic_nll(x, self.x_hat(h), sigma)

    def finish(self, x: Tensor) -> None:
        """Fit the densities to the means of q(z|x) of the training images."""
        mu = encode_all(lambda part: self.encode(part)[0], x)
        self.gaussian.fit(mu)
        self.mixture.fit(mu)
        self.encoded.keep(mu)

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """The decoder's mean for z of the density."""
        density = self.Options(**options).density
        if density == "prior":
            z = noise.normal(self.config.d)
        else:
            z = {
                "gaussian": self.gaussian.sample,
                "mixture": self.mixture.sample,
                "encoded": self.encoded.sample,
            }[density](noise)
        return self.x_hat(self.decoder(z).float()).clamp(-1, 1)  # bfloat16 under autocast


def gaussian_nll(x: Tensor, x_hat: Tensor, sigma: Tensor | float | str) -> Tensor:
    """-log N(x; x_hat, sigma^2 I) in nats, a sum over pixels and a mean over the batch.

    sigma is a number or "optimal", the one with which this is least.
    """
    D = x[0].numel()
    mse = (x - x_hat).square().mean()
    # the floor keeps a perfect reconstruction finite; a grey level is 8e-3, its square 6e-5
    variance = mse.clamp(min=1e-6) if isinstance(sigma, str) else torch.as_tensor(sigma) ** 2
    return D / 2 * (mse / variance + (2 * math.pi * variance).log())


def bernoulli_nll(x: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy of (x + 1) / 2 and the logits in nats, summed over pixels."""
    return F.binary_cross_entropy_with_logits(logits, (x + 1) / 2, reduction="sum") / len(x)


def logistic_nll(x: Tensor, x_hat: Tensor, sigma: Tensor | float) -> Tensor:
    """-log of a logistic distribution's mass in the bin of each grey level, in nats.

    A sum over pixels and a mean over the batch. The lowest and the highest bin take the tails.
    """
    scale = sigma * math.sqrt(3) / math.pi
    above, below = (x + 1 / 255 - x_hat) / scale, (x - 1 / 255 - x_hat) / scale
    # log(S(a) - S(b)) = log S(a) + log S(-b) + log(1 - exp(b - a)) for the sigmoid S
    inside = torch.log(-torch.expm1(below - above))
    low, high = x < -0.999, x > 0.999
    mass = F.logsigmoid(above).masked_fill(high, 0) + F.logsigmoid(-below).masked_fill(low, 0)
    return -(mass + inside.masked_fill(low | high, 0)).flatten(1).sum(dim=1).mean()
