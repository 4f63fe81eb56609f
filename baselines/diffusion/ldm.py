"""LDM: latent diffusion (Rombach et al., arXiv 2112.10752), conditioned on a class.

First an autoencoder learns a grid of latents that is smaller than the image,

    L_1 = mean |x - D(z)|^2 + kl_weight KL(q(z|x) || N(0, I)) / pixels     (regularisation "kl")
    L_1 = mean |x - D(z_q)|^2 + beta mean |z - sg(z_q)|^2                  (regularisation "vq")

Then it rests, and a denoiser learns z_0 = k z, with k = 1 / std of the training latents, as DDPM
learns pixels; for "vq" z is the latent before it is quantised, and a sample is quantised before it
is decoded. At every place of the grid the denoiser attends to tokens tau(y) of the label,

    softmax(Q K^T / sqrt(d)) V,   Q of the place, K and V of tau(y),

and sampling is guided without a classifier (arXiv 2207.12598): gamma cond + (1 - gamma) uncond,
gamma = 1 + w. The paper trains its autoencoders with a perceptual and an adversarial loss too,
which images of 8 to 32 pixels do without.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn import denoising, diffusion
from baselines._nn.autoencoder import Encoded, Net, encode_all, gaussian_kl, grid_side, grids
from baselines._nn.quantize import Quantizer, straight_through
from genbench import api


class LDM(api.Baseline[api.ClassLabel]):
    """Diffusion in the latents of an autoencoder, with labels as a context."""

    cond = api.ClassLabel
    kind = "diffusion"
    counted = ("net", "decoder")
    defining = ("regularisation", "latents", "w")

    class Config(denoising.ChainConfig):
        """Settings, besides those of the chain and of the denoiser, whose images are the latents.

        Attributes:
            prediction: By default v: nothing clips x_0, and at the first step an error of epsilon
                is one of 1 / a_T = 157 times its size in x_0, but one of v is not enlarged.
            net: Of the denoiser: "unet", the paper's; "mlp", whose one place attends for all; or
                "auto": the MLP for grids up to 4x4 and for odd ones, which cannot be halved.
            regularisation: Of the latents: "kl" or "vq".
            kl_weight: Of the KL, beside squared errors; 2 sigma^2 of a pixel in a VAE's terms.
            K: Size of the codebook of "vq", whose codes are moving averages.
            beta: Weight of the commitment of "vq".
            c: Channels of the latents, which must be fewer numbers than the image; None is 1 up to
                8 pixels, else 4.
            factor: By how much the grid is smaller than the image; None is 2 up to 8 pixels, else
                4.
            diffusion_start: Share of the budget after which the autoencoder rests and the
                denoiser learns.
            ae_net: The autoencoder's networks: "conv", "mlp", or "auto".
            ae_hidden: Width of its MLP.
            ae_channels: Channels of its convolutions.
            ae_lr: Adam's learning rate for it.
            tokens: Tokens of a label.
            token_width: Dimensions of a token.
            p_uncond: Share of the training rows whose label is left out.
        """

        prediction: diffusion.Prediction = "v"
        patch: int = Field(1, ge=1)
        attention: tuple[int, ...] = (4,)
        regularisation: Literal["kl", "vq"] = "kl"
        kl_weight: float = Field(0.01, ge=0)
        K: int = Field(256, ge=2)
        beta: float = Field(0.25, ge=0)
        c: int | None = Field(None, ge=1)
        factor: int | None = Field(None, ge=2)
        diffusion_start: float = Field(0.4, gt=0, lt=1)
        ae_net: Net = "conv"
        ae_hidden: int = Field(512, ge=1)
        ae_channels: int = Field(64, ge=1)
        ae_lr: float = Field(1e-3, gt=0)
        tokens: PositiveInt = 4
        token_width: PositiveInt = 32
        p_uncond: float = Field(0.1, ge=0, le=1)

        @model_validator(mode="after")
        def _latents_have_no_bins(self) -> Self:
            if self.learn_variance:
                raise ValueError(
                    "learn_variance scores 8-bit pixels by the bins of their 256 values, which"
                    " latents don't have; leave it out, or train ddpm"
                )
            return self

    class Options(denoising.Sampling):
        """Sampling options, besides those of the chain.

        Attributes:
            variance: Of the noise that DDPM adds, "posterior" or "large".
            clip_x0: Not for latents, whose range is not known.
            latents: "diffused", or "encoded", those of training images whatever is asked for: the
                reconstructions of the first stage, whose Frechet distance (rFD) is about the least
                that the second can reach.
            w: Strength of the guidance, at least -1. A step is two network evaluations, but one
                at w = 0 (conditional) and at w = -1 (unconditional). The decoder is one more.
        """

        sampler: Literal["ddpm", "ddim", "dpmpp_2m", "heun"] = "ddim"
        steps: int = Field(50, ge=1)
        variance: Literal["posterior", "large"] = "posterior"
        clip_x0: Literal[False] = False
        latents: Literal["diffused", "encoded"] = "diffused"
        w: float = Field(0.5, ge=-1)

    # ImageNet 256x256, LDM-4. Besides its losses, the paper has residual blocks and attention in
    # the autoencoder, a transformer block of self- and cross-attention and GEGLU where the
    # denoiser has two attentions, and a schedule that is linear in sqrt(beta).
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "prediction": "epsilon",
            "regularisation": "vq",
            "K": 8192,
            "c": 3,
            "factor": 4,
            "net": "unet",
            "ae_channels": 128,
            "channels": 192,
            "mults": (1, 2, 3, 5),
            "blocks": 2,
            "attention": (32, 16, 8),
            "tokens": 1,
            "token_width": 512,
            "batch": 1200,
            "ema": 8_320_000,  # 0.9999 for each step of 1200 images
            "ema_rampup": 0.077,  # min(0.9999, (1 + n) / (10 + n)) after n steps
            "warmup": 0,
            "lr": 1e-4,
            "decay": "constant",
            "options": {"steps": 250, "w": 0.5},  # of FID 3.60
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.classes:
            raise ValueError(
                f"ldm is told the class of an image, and {data.name!r} has none; use ddpm instead"
            )
        self.config, self.null = config, data.classes
        side = grid_side(data.size, config.factor)
        c = config.c or (1 if data.size <= 8 else 4)
        self.pixels, self.shape = data.channels * data.size**2, (c, side, side)
        if c * side**2 >= self.pixels:
            raise ValueError(
                f"ldm would diffuse {c} x {side} x {side} latents, which is not fewer numbers than"
                f" the image's {self.pixels}; lower c or raise factor, or take"
                " classifier_free_guidance, which diffuses pixels"
            )
        kl = config.regularisation == "kl"
        self.encoder, self.decoder = grids(
            config.ae_net,
            c,
            2 * c if kl else c,
            side,
            config.ae_hidden,
            config.ae_channels,
            data,
        )
        self.quantizer = None if kl else Quantizer(config.K, c, "ema", restart=0.05)
        self.chain = denoising.Chain(config, self.shape)
        if config.net == "auto":
            config = config.model_copy(update={"net": "mlp" if side <= 4 or side % 2 else "unet"})
        self.lr = denoising.learning_rate(config, self.shape)
        self.net = denoising.network(
            config, self.shape, context=config.token_width, out=self.chain.out
        )
        self.tau = nn.Embedding(data.classes + 1, config.tokens * config.token_width)
        self.encoded = Encoded(*self.shape)
        self.mean: Tensor
        self.square: Tensor
        self.batches: Tensor
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("square", torch.ones(()))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for the autoencoder, Adam for the denoiser and the tokens of the labels."""
        first = [*self.encoder.parameters(), *self.decoder.parameters()]
        second = [*self.net.parameters(), *self.tau.parameters()]
        return {
            "autoencoder": Adam(first, lr=self.config.ae_lr),
            "net": Adam(second, lr=self.lr),
        }

    def phase(self, progress: float) -> str:
        """What learns: "autoencoder", then "net"."""
        return "autoencoder" if progress < self.config.diffusion_start else "net"

    @property
    def scale(self) -> Tensor:
        """k = 1 / std of the training latents, all channels and places together."""
        return (self.square - self.mean**2).clamp(min=1e-12).rsqrt()

    def step(
        self, x: Tensor, cond: api.ClassLabel, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_1, or the loss of the chain on latents, with the label left out in some rows."""
        if self.phase(update.progress) == "autoencoder":
            return self._first(x, noise, update)
        with torch.no_grad():
            z = self.encode(x, noise)
            given = self.chain.noised(self.scale * z, noise)
            self._measure(z)
        y = torch.where(noise.uniform() < self.config.p_uncond, self.null, cond.label)
        answer = self._denoise(given.x_t, self.chain.time(given.t), self.context(y))
        losses = self.chain.loss(answer, given)
        update("net", losses["loss"])
        return losses | {"scale": self.scale}

    def _first(self, x: Tensor, noise: api.Noise, update: api.Update) -> dict[str, Tensor]:
        """A step of the autoencoder."""
        c = self.config
        if self.quantizer is None:
            mu, logvar = self.posterior(x)
            z = mu + (logvar / 2).exp() * noise.normal(*self.shape)
            reconstruction = F.mse_loss(self.decoder(z), x)
            penalty = gaussian_kl(mu, logvar).mean() / self.pixels
            update("autoencoder", reconstruction + c.kl_weight * penalty)
            self._measure(z.detach())
            return {"reconstruction": reconstruction, "kl": penalty * self.pixels}
        self.quantizer.revive()
        z = self.encoder(x)
        k = self.quantizer.indices(z)
        z_q = self.quantizer.lookup(k)
        reconstruction = F.mse_loss(self.decoder(straight_through(z, z_q)), x)
        penalty = F.mse_loss(z, z_q)  # the codes have no gradient
        update("autoencoder", reconstruction + c.beta * penalty)
        self.quantizer.follow(z, k)
        self._measure(z.detach())
        return {"reconstruction": reconstruction, "commitment": penalty}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), each (B, c, h, w); of "kl"."""
        mu, logvar = self.encoder(x).float().chunk(2, dim=1)
        return mu, logvar.clamp(-30, 20)

    def encode(self, x: Tensor, noise: api.Noise) -> Tensor:
        """z, not yet scaled: a draw of q(z|x), or the latent before it is quantised."""
        if self.quantizer is not None:
            z: Tensor = self.encoder(x).float()
            return z
        mu, logvar = self.posterior(x)
        return mu + (logvar / 2).exp() * noise.normal(*self.shape)

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) of latents that are not scaled."""
        if self.quantizer is not None:
            z = self.quantizer.lookup(self.quantizer.indices(z))
        x: Tensor = self.decoder(z)
        return x.float()  # bfloat16 under autocast

    def context(self, y: Tensor) -> Tensor:
        """tau(y): labels (B,) to tokens (B, L, d)."""
        tokens: Tensor = self.tau(y).unflatten(1, (self.config.tokens, self.config.token_width))
        return tokens

    def _denoise(self, x_t: Tensor, t: Tensor, context: Tensor) -> Tensor:
        answer: Tensor = self.net(x_t, t, context=context)
        return answer

    def _measure(self, z: Tensor) -> None:
        """Take a batch into the means, which are over the last hundred batches or so.

        They are settled when the denoiser begins, and as the autoencoder rests then, they stay.
        """
        self.batches += 1
        share = (1 / self.batches).clamp(min=0.01)
        self.mean.lerp_(z.mean(), share)
        self.square.lerp_(z.square().mean(), share)

    def finish(self, x: Tensor) -> None:
        """Keep latents of training images: the means of q(z|x), or those to be quantised."""
        self.encoded.keep(encode_all(lambda part: self.encoder(part)[:, : self.shape[0]], x))

    def sample(self, cond: api.ClassLabel, noise: api.Noise, **options: Any) -> Tensor:
        """x_T ~ N(0, I), the steps of the sampler with guided answers, then the decoder once."""
        o = self.Options(**options)
        if o.latents == "encoded":
            return self.decode(self.encoded.sample(noise)).clamp(-1, 1)
        y, null = self.context(cond.label), self.context(torch.full_like(cond.label, self.null))
        network = denoising.guided(self._denoise, y, null, o.w)
        z_0 = self.chain.sample(network, noise, o)
        return self.decode(z_0 / self.scale).clamp(-1, 1)

    @classmethod
    def check(cls, config: Config, options: Options) -> None:
        """Refuses time steps and a guidance that such a model does not have."""
        denoising.Chain.check(config, options)
        denoising.check_guidance(config.p_uncond, options.w)
