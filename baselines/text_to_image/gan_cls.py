"""GAN-CLS and GAN-INT: text to image with a matching-aware discriminator (Reed, Akata, Yan,
Logeswaran, Schiele, Lee, arXiv 1605.05396).

D is shown three kinds of pairs of an image and a text t, and only the first is right:

    s_r = D(x, t),   s_w = D(x, t_wrong),   s_f = D(G(z, t), t),
    L_D = softplus(-s_r) + 1/2 softplus(s_w) + 1/2 softplus(s_f),   L_G = softplus(-s_f).

Without s_w (`mismatch=False`) it is a plain conditional GAN, softplus(-s_r) + softplus(s_f).
GAN-INT adds L_G of texts between two captions, t_int = (t_1 + t_2) / 2, on half a batch,

    L_G += interpolation * softplus(-D(G(z, t_int), t_int)),   which D is not trained on.

Two parts are not the paper's, as a budget of minutes asks for. Its text encoder is pretrained and
frozen; ours is a small one that is trained with D, whose second pair asks exactly for texts that
are told apart, and G reads its t as it stands. Its networks are DCGAN's, with t at G's input only;
ours have t in every normalisation of G, and spectral norm in place of D's batch normalisation.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.gan import g_loss, is_fake, is_real
from baselines._nn.gan_blocks import UpGenerator, orthogonal, spectral, spectral_trunk
from genbench import api


class GANCLS(api.Baseline[api.Caption]):
    """Text to image by a matching-aware GAN."""

    cond = api.Caption
    kind = "gan"
    counted = ("G",)
    sampled = ("g",)
    defining = ("mismatch", "interpolation")

    class Config(api.Config):
        """Settings.

        Attributes:
            nz: Dimensions of z ~ N(0, I).
            text: Channels of the text encoder, and dimensions of t.
            nt: Dimensions that each network compresses t to.
            ngf: Channels of G before its output; they double at every halving, up to 4 times.
            ndf: Channels of D after its input layer; they double at every halving of the side.
            mismatch: Whether D is shown real images with wrong captions.
            interpolation: Weight of G's loss on texts between two captions; 0 leaves it out.
            lr: Adam's learning rate, of both networks.
            beta1: Adam's momentum, of both networks.
        """

        batch: int = Field(32, ge=1)
        ema: float | None = Field(10_000.0, gt=0)
        nz: int = Field(32, ge=1)
        text: int = Field(64, ge=1)
        nt: int = Field(64, ge=1)
        ngf: int = Field(16, ge=1)
        ndf: int = Field(32, ge=1)
        mismatch: bool = True
        interpolation: float = Field(0.0, ge=0)
        lr: float = Field(5e-4, gt=0)
        beta1: float = Field(0.0, ge=0, lt=1)

    # GAN-INT-CLS on birds and flowers at 64 pixels. We lack the frozen char-CNN-RNN, the residual
    # blocks at 4 and 8 pixels, and a rate that is halved after every 100 of 600 epochs.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 64,
            "ema": None,
            "nz": 100,
            "text": 1024,
            "nt": 128,
            "ngf": 128,
            "ndf": 64,
            "mismatch": True,
            "interpolation": 1.0,  # the authors' code: 0.5, as its mean is over 1.5 batches
            "lr": 2e-4,
            "beta1": 0.5,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if not data.words:
            raise ValueError(f"GAN-CLS needs captions, and {data.name!r} has none")
        self.config = config
        self.G = Generator(config, data)
        self.D = Discriminator(config, data)
        self.text = TextEncoder(data.words, config.text)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each network; the text encoder belongs to D."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        d = [*self.D.parameters(), *self.text.parameters()]
        return {
            "d": Adam(d, lr=lr, betas=betas),
            "g": Adam(self.G.parameters(), lr=lr, betas=betas),
        }

    def step(
        self, x: Tensor, cond: api.Caption, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_D, then L_G with a fresh z."""
        loss_d = self.d_loss(x, cond.tokens, noise)
        update("d", loss_d)
        loss_g = self.g_loss(cond.tokens, noise)
        update("g", loss_g)
        return {"loss_d": loss_d, "loss_g": loss_g}

    def d_loss(self, x: Tensor, tokens: Tensor, noise: api.Noise) -> Tensor:
        """Real images with right captions against the two kinds of wrong pairs."""
        t = self.text(tokens)
        with torch.no_grad():
            fake = self.G(noise.normal(self.config.nz), t)
        # real images once for two texts: D without its head does not see the text
        real = self.D.features(x)
        s_r = self.D.match(real, t)
        s_f = self.D(fake, t)
        if not self.config.mismatch:
            return is_real(s_r) + is_fake(s_f)
        other, differs = wrong(tokens)
        s_w = self.D.match(real, t[other])
        return is_real(s_r) + (F.softplus(s_w) * differs).mean() / 2 + is_fake(s_f) / 2

    def g_loss(self, tokens: Tensor, noise: api.Noise) -> Tensor:
        """Fakes should look real and match their text, and so should those of texts between."""
        with torch.no_grad():
            t = self.text(tokens)
        loss = g_loss(self.D(self.G(noise.normal(self.config.nz), t), t))
        if self.config.interpolation:
            half = (len(t) + 1) // 2
            t_int = (t[:half] + t[-half:]) / 2
            z = noise.normal(self.config.nz)[:half]
            loss = loss + self.config.interpolation * g_loss(self.D(self.G(z, t_int), t_int))
        return loss

    def sample(self, cond: api.Caption, noise: api.Noise, **options: Any) -> Tensor:
        """G(z, t)."""
        self.Options(**options)
        x: Tensor = self.G(noise.normal(self.config.nz), self.text(cond.tokens))
        return x.float()  # bfloat16 under autocast


def wrong(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """For every caption another one of the batch that differs from it.

    Args:
        tokens: int64 (B, L).

    Returns:
        Its row, int64 (B,): the next one that differs, around the end of the batch; and whether
        there is one at all, bool (B,).
    """
    rows = torch.arange(len(tokens), device=tokens.device)
    shifted = (rows[:, None] + rows) % len(rows)  # column s: the row s places further on
    differs = (tokens[shifted] != tokens[:, None]).any(dim=2)
    first = differs.int().argmax(dim=1)  # of several equal values the first
    return shifted[rows, first], differs.any(dim=1)


class TextEncoder(nn.Module):
    """Tokens (B, L) to t (B, text): word embeddings, two convolutions over five words, maximum.

    The convolutions see the order of up to nine words, wherever they stand in the sentence.
    """

    def __init__(self, words: int, text: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, text, padding_idx=0)
        self.net = nn.Sequential(
            nn.Conv1d(text, text, 5, padding=2), nn.LeakyReLU(0.2),
            nn.Conv1d(text, text, 5, padding=2),
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 (B, L) to (B, text)."""
        t: Tensor = self.net(self.words(tokens).transpose(1, 2)).amax(dim=2)
        return t


class Generator(nn.Module):
    """z (B, nz) and texts (B, text) to images (B, C, H, W) in [-1, 1].

    Both stand at the input and in every conditional batch normalisation.
    """

    def __init__(self, config: GANCLS.Config, data: api.DataSpec) -> None:
        super().__init__()
        self.compress = nn.Sequential(nn.Linear(config.text, config.nt), nn.LeakyReLU(0.2))
        d = config.nz + config.nt
        self.net = UpGenerator(d, d, config.ngf, data.channels, data.size)
        self.apply(orthogonal)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """(B, nz) and (B, text) to (B, C, H, W)."""
        w = torch.cat((z, self.compress(t)), dim=1)
        x: Tensor = self.net(w, w)
        return x


class Discriminator(nn.Module):
    """Images (B, C, H, W) and texts (B, text) to logits (B,)."""

    def __init__(self, config: GANCLS.Config, data: api.DataSpec) -> None:
        super().__init__()
        self.phi, c, base = spectral_trunk(data.channels, data.size, config.ndf)
        self.compress = nn.Sequential(nn.Linear(config.text, config.nt), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(
            spectral(nn.Conv2d(c + config.nt, c, 1)),
            nn.LeakyReLU(0.2),
            spectral(nn.Conv2d(c, 1, base)),
        )

    def features(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to features (B, c, base, base), which no text has touched."""
        phi: Tensor = self.phi(x.contiguous(memory_format=torch.channels_last))
        return phi

    def match(self, phi: Tensor, t: Tensor) -> Tensor:
        """Features (B, c, base, base) and texts to logits (B,); the text stands at every place."""
        places = self.compress(t)[:, :, None, None].expand(-1, -1, *phi.shape[2:])
        s: Tensor = self.head(torch.cat((phi, places), dim=1)).flatten()
        return s

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, C, H, W) and (B, text) to (B,)."""
        return self.match(self.features(x), t)
