"""AE: autoencoder, and a density over its latents that is fitted after training.

An encoder E and a decoder D are trained to give an image back,

    L = mean |x - D(E(x))|^2   (l2)   or   mean |x - D(E(x))|   (l1);

where an image cannot be told from its latent, the best answer is the mean of the candidates for
l2 and their median for l1, which is why reconstructions are blurry. Nothing asks the latents to
follow a known distribution. For samples one is fitted afterwards to z = E(x) of the training
images (ex-post density estimation: Ghosh et al., arXiv 1903.12436): a Gaussian with full
covariance, or a mixture of them. Decoding N(0, I) shows what is lost without.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from baselines._nn.autoencoder import Encoded, Net, encode_all, vectors
from baselines._nn.mixture import Mixture
from genbench import api


class AE(api.Baseline[api.Unconditional]):
    """Autoencoder; a sample is the decoded draw of a density that was fitted to the latents."""

    kind = "autoencoder"
    counted = ("decoder",)
    defining = ("density",)

    class Config(api.Config):
        """Settings.

        Attributes:
            d: Dimensions of z.
            loss: "l2" (squares) or "l1" (absolute values).
            components: Gaussians of the mixture.
            net: "mlp", "conv", or "auto": the MLP up to 8 pixels, else convolutions.
            hidden: Width of the MLP.
            channels: Channels of the convolutions at half the image's side; they double with every
                halving.
            lr: Adam's learning rate.
        """

        batch: int = Field(128, ge=1)
        decay: api.Decay = "cosine"
        d: int = Field(8, ge=1)
        loss: Literal["l2", "l1"] = "l2"
        components: int = Field(10, ge=1)
        net: Net = "auto"
        hidden: int = Field(512, ge=1)
        channels: int = Field(32, ge=1)
        lr: float = Field(1e-3, gt=0)

    class Options(api.Options):
        """Sampling options.

        Attributes:
            density: Of z: "mixture", "gaussian", both fitted after training, "normal", N(0, I), or
                "encoded", the latents of training images, which gives reconstructions.
        """

        density: Literal["mixture", "gaussian", "normal", "encoded"] = "mixture"

    # The paper's: CIFAR-10, 32 px. It has batch normalisation, ReLU, weight decay of the decoder
    # or a penalty on its gradient, and a learning rate that halves where the loss stands still.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"d": 128, "net": "conv", "channels": 128, "batch": 100, "decay": "constant"}
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        self.config = config
        d = config.d
        self.encoder, self.decoder = vectors(
            config.net, d, d, config.hidden, config.channels, data
        )
        self.gaussian, self.mixture = Mixture(1, d), Mixture(config.components, d)
        self.encoded = Encoded(d)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for encoder and decoder together."""
        return {"ae": Adam(self.parameters(), lr=self.config.lr)}

    def step(
        self, x: Tensor, cond: api.Unconditional, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """The error of the reconstruction, a mean over pixels."""
        distance = F.mse_loss if self.config.loss == "l2" else F.l1_loss
        loss = distance(self.decoder(self.encoder(x)), x)
        update("ae", loss)
        return {"loss": loss}

    def finish(self, x: Tensor) -> None:
        """Fit the densities to the latents of the training images."""
        z = encode_all(self.encoder, x)
        self.gaussian.fit(z)
        self.mixture.fit(z)
        self.encoded.keep(z)

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """D(z), with z from the density."""
        density = self.Options(**options).density
        if density == "normal":
            z = noise.normal(self.config.d)
        else:
            z = {
                "gaussian": self.gaussian.sample,
                "mixture": self.mixture.sample,
                "encoded": self.encoded.sample,
            }[density](noise)
        x: Tensor = self.decoder(z)
        return x.float().clamp(-1, 1)  # bfloat16 under autocast
