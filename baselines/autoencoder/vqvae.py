"""VQ-VAE: vector-quantised variational autoencoder (van den Oord et al., arXiv 1711.00937).

An encoder gives a grid of latents z_e; each is replaced by the nearest of K codes e_k, which is
what the decoder sees. With sg the stop-gradient,

    L = mean |x - D(z_q)|^2 + mean |sg(z_e) - e_k|^2 + beta mean |z_e - sg(e_k)|^2,
    z_q = z_e + sg(e_k - z_e),   k = argmin_j |z_e - e_j|^2.

The second term is left out where the codes are moving averages (`codebook="ema"`). When a share
`prior_start` of the budget is used, the autoencoder rests and an autoregressive prior p(k) learns
the grids of codes of the training images; a sample is a grid drawn from it, decoded once.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn import token_prior
from baselines._nn.autoencoder import Encoded, Net, encode_all, grid_side, grids
from baselines._nn.quantize import Quantizer, perplexity, straight_through
from baselines._nn.token_prior import TokenPrior
from genbench import api


class VQVAE(api.Baseline[api.Unconditional]):
    """Vector-quantised autoencoder with an autoregressive prior over its codes."""

    kind = "autoencoder"
    counted = ("prior", "decoder")
    defining = ("prior",)

    class Config(api.Config):
        """Settings.

        Attributes:
            K: Size of the codebook.
            c: Dimensions of a code.
            factor: By how much the grid of codes is smaller than the image; None is 2 up to 8
                pixels, else 4.
            beta: Weight of the commitment, which moves the encoder alone.
            codebook: Codes are moving averages ("ema") or learn by gradient ("gradient").
            codebook_decay: Of the moving averages, per step.
            restart: A code used less than this share of 1 / K is moved beside the most used one;
                0 never does.
            prior_start: Share of the budget after which the prior learns, and nothing else.
            net: "mlp", "conv", or "auto": the MLP up to 8 pixels, else convolutions.
            hidden: Width of the MLP.
            channels: Channels of the convolutions.
            prior_channels: Of the prior; None is 8 for each place of the grid's side, 32 to 128: a
                step of the prior then costs about as much as one of the autoencoder.
            prior_blocks: Residual blocks of the prior.
            prior_dropout: In each of them.
            lr: Adam's learning rate, of the autoencoder.
            prior_lr: Adam's learning rate, of the prior.
        """

        batch: int = Field(128, ge=1)
        decay: api.Decay = "cosine"
        K: int = Field(32, ge=2)
        c: int = Field(8, ge=1)
        factor: int | None = Field(None, ge=2)
        beta: float = Field(0.25, ge=0)
        codebook: Literal["ema", "gradient"] = "ema"
        codebook_decay: float = Field(0.99, ge=0, lt=1)
        restart: float = Field(0.05, ge=0, lt=1)
        prior_start: float = Field(0.4, gt=0, lt=1)
        net: Net = "auto"
        hidden: int = Field(512, ge=1)
        channels: int = Field(64, ge=1)
        prior_channels: int | None = Field(None, ge=1)
        prior_blocks: int = Field(3, ge=1)
        prior_dropout: float = Field(0.1, ge=0, lt=1)
        lr: float = Field(2e-3, gt=0)
        prior_lr: float = Field(3e-3, gt=0)

    class Options(api.Options):
        """Sampling options.

        Attributes:
            prior: Of the codes: "autoregressive"; "marginal", each place by itself, with how often
                the training images have each code there; "uniform"; or "encoded", the codes of
                training images, which gives reconstructions.
            temperature: Divides the autoregressive prior's logits; below 1 likely codes become
                likelier.
        """

        prior: Literal["autoregressive", "marginal", "uniform", "encoded"] = "autoregressive"
        temperature: float = Field(1.0, gt=0)

        @model_validator(mode="after")
        def _belong_together(self) -> Self:
            if self.prior != "autoregressive" and self.temperature != 1:
                raise ValueError(
                    f"temperature is an option of prior 'autoregressive'; {self.prior!r} has none"
                )
            return self

    # ImageNet, 128 px, its latents 32x32. It has ReLU, and its prior is a gated PixelCNN (arXiv
    # 1606.05328) that is trained to the end after the autoencoder; codes learn by gradient.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "K": 512,
            "c": 64,
            "factor": 4,
            "codebook": "gradient",
            "restart": 0.0,
            "net": "conv",
            "channels": 256,
            "lr": 2e-4,
            "decay": "constant",
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        self.side = grid_side(data.size, config.factor)
        self.encoder, self.decoder = grids(
            config.net, config.c, config.c, self.side, config.hidden, config.channels, data
        )
        self.quantizer = Quantizer(
            config.K, config.c, config.codebook, config.codebook_decay, config.restart
        )
        channels = config.prior_channels or min(max(8 * self.side, 32), 128)
        self.prior = TokenPrior(
            config.K, self.side, channels, config.prior_blocks, config.prior_dropout
        )
        self.encoded = Encoded(self.side, self.side, dtype=torch.int64)
        self.marginal: Tensor
        uniform = torch.full((self.side, self.side, config.K), 1 / config.K)
        self.register_buffer("marginal", uniform)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for encoder, decoder and codes together, Adam for the prior."""
        first = nn.ModuleList((self.encoder, self.decoder, self.quantizer))
        return {
            "autoencoder": Adam(first.parameters(), lr=self.config.lr),
            "prior": Adam(self.prior.parameters(), lr=self.config.prior_lr),
        }

    def phase(self, progress: float) -> str:
        """What learns: "autoencoder", then "prior"."""
        return "autoencoder" if progress < self.config.prior_start else "prior"

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L, or the prior's cross-entropy in nats, and in bits, per code."""
        if self.phase(update.progress) == "prior":
            with torch.no_grad():
                k = self.quantizer.indices(self.encoder(x))
            loss = F.cross_entropy(self.prior(k), k)
            update("prior", loss)
            return {"prior": loss, "bits_per_code": loss / math.log(2)}
        self.quantizer.revive()
        z_e = self.encoder(x)
        k = self.quantizer.indices(z_e)
        z_q = self.quantizer.lookup(k)
        reconstruction = F.mse_loss(self.decoder(straight_through(z_e, z_q)), x)
        commitment = F.mse_loss(z_e, z_q.detach())
        loss = reconstruction + self.config.beta * commitment
        if self.config.codebook == "gradient":
            loss = loss + F.mse_loss(z_q, z_e.detach())
        update("autoencoder", loss)
        self.quantizer.follow(z_e, k)
        return {
            "reconstruction": reconstruction,
            "commitment": commitment,
            "perplexity": perplexity(self.quantizer.share),
        }

    def finish(self, x: Tensor) -> None:
        """Count how often the training images have each code at each place, and keep some."""
        k = encode_all(lambda part: self.quantizer.indices(self.encoder(part)), x)
        self.marginal.copy_(F.one_hot(k, self.config.K).float().mean(0))
        self.encoded.keep(k)

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """A grid of codes from the prior, decoded."""
        o = self.Options(**options)
        if o.prior == "autoregressive":
            k = token_prior.ancestral(self.prior, noise, o.temperature)
        elif o.prior == "encoded":
            k = self.encoded.sample(noise)
        else:
            p = self.marginal if o.prior == "marginal" else torch.ones_like(self.marginal)
            u = noise.uniform(self.side, self.side, dtype=torch.float64)
            k = token_prior.choose(p.double().expand(len(noise), -1, -1, -1), u)
        x: Tensor = self.decoder(self.quantizer.lookup(k))
        return x.float().clamp(-1, 1)  # bfloat16 under autocast
