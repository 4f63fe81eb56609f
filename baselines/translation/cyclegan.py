"""CycleGAN: translation between two domains without pairs (Zhu et al., arXiv 1703.10593).

G makes images of the domain Y of those of X, F the other way. Discriminators see one domain each,
and going there and back must lead to the start:

    L_D = (D_Y(y) - 1)^2 + D_Y(G(x))^2 + (D_X(x) - 1)^2 + D_X(F(y))^2
    L_G = (D_Y(G(x)) - 1)^2 + (D_X(F(y)) - 1)^2
          + lambda_cycle (|F(G(x)) - x|_1 + |G(F(y)) - y|_1)
          + lambda_identity (|G(y) - y|_1 + |F(x) - x|_1)

Means over patches and pixels. D is shown earlier translations as well, out of a pool.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from baselines._nn.counter import Counter
from baselines._nn.gan import Kind, d_loss, g_loss, init_normal
from baselines._nn.translation import PatchGAN, ResNetGenerator
from genbench import api

KIND: Kind = "least_squares"


class CycleGAN(api.Baseline[api.ToDomain]):
    """Two generators and two discriminators, tied by the cycle loss; domain 0 is X, 1 is Y."""

    cond = api.ToDomain
    kind = "gan"
    counted = ("G", "F")
    sampled = ("g",)
    defining = ("lambda_identity",)

    class Config(api.Config):
        """Settings.

        Attributes:
            ngf: Channels of the generators at the full side.
            downs: How often the generators halve the side.
            blocks: Residual blocks of the generators.
            kernel: Side of the generators' first and last convolution.
            ndf: Channels of the discriminators' first layer.
            layers: Strided layers of the discriminators; their patches are squares of 1, 16, 34,
                70 pixels for 0, 1, 2, 3 layers.
            lambda_cycle: Weight of the cycle loss.
            lambda_identity: Weight of the identity loss.
            pool: Translations of each direction that are kept for the discriminators; 0 for none.
            lr: Adam's learning rate, of all networks.
            beta1: Adam's momentum, of all networks.
        """

        batch: int = Field(8, ge=1)
        decay: api.Decay = "cosine"
        ngf: int = Field(16, ge=1)
        downs: int = Field(1, ge=0)
        blocks: int = Field(2, ge=0)
        kernel: Literal[3, 5, 7] = 3
        ndf: int = Field(16, ge=1)
        layers: int = Field(1, ge=0)
        lambda_cycle: float = Field(10.0, ge=0)
        lambda_identity: float = Field(5.0, ge=0)
        pool: int = Field(50, ge=0)
        lr: float = Field(1e-3, gt=0)
        beta1: float = Field(0.5, ge=0, lt=1)

    # For crops of 256 pixels, mirrored at random, which we lack; 100 epochs and 100 in which the
    # rate falls. The identity loss is the one of paintings and photos: 0 for the other tasks.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {
            "batch": 1,
            "decay": "linear",
            "ngf": 64,
            "downs": 2,
            "blocks": 9,  # 6 at 128 pixels
            "kernel": 7,
            "ndf": 64,
            "layers": 3,
            "lambda_cycle": 10.0,
            "lambda_identity": 5.0,
            "pool": 50,
            "lr": 2e-4,
            "beta1": 0.5,
        }
    }

    def __init__(self, config: Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        if data.domains != 2:
            raise ValueError(
                f"cyclegan translates between two domains, not {data.domains}; name two in the "
                "task, for example 'to_domain:day,night'"
            )
        c, channels, size = config, data.channels, data.size
        self.config = config
        self.G, self.F = (
            ResNetGenerator(channels, channels, c.ngf, c.downs, c.blocks, c.kernel)
            for _ in range(2)
        )
        self.D_X, self.D_Y = (
            PatchGAN(channels, size, c.ndf, c.layers, norm="instance") for _ in range(2)
        )
        self.pool_x, self.pool_y = (ImagePool(c.pool, data.shape) for _ in range(2))
        self.apply(init_normal)

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for both generators, Adam for both discriminators."""
        lr, betas = self.config.lr, (self.config.beta1, 0.999)
        g, d = ([*a.parameters(), *b.parameters()] for a, b in self.players())
        return {"g": Adam(g, lr=lr, betas=betas), "d": Adam(d, lr=lr, betas=betas)}

    def players(self) -> tuple[tuple[nn.Module, nn.Module], tuple[nn.Module, nn.Module]]:
        """(G, F) and (D_X, D_Y)."""
        return (self.G, self.F), (self.D_X, self.D_Y)

    def step(
        self, x: Tensor, cond: api.ToDomain, noise: api.Noise, update: api.Update
    ) -> dict[str, Tensor]:
        """L_G, then L_D on translations out of the pool."""
        to_x = (cond.target == 0)[:, None, None, None]
        x, y = torch.where(to_x, x, cond.source), torch.where(to_x, cond.source, x)
        # one call for two inputs: no layer of a generator mixes rows
        fake_y, same_y = self.G(torch.cat((x, y))).chunk(2)
        fake_x, same_x = self.F(torch.cat((y, x))).chunk(2)
        losses = {
            "gan": g_loss(self.D_Y(fake_y), KIND) + g_loss(self.D_X(fake_x), KIND),
            "cycle": F.l1_loss(self.F(fake_y), x) + F.l1_loss(self.G(fake_x), y),
            "identity": F.l1_loss(same_y, y) + F.l1_loss(same_x, x),
        }
        c = self.config
        update(
            "g",
            losses["gan"]
            + c.lambda_cycle * losses["cycle"]
            + c.lambda_identity * losses["identity"],
        )
        shown_y = self.pool_y(fake_y, noise.uniform(2))
        shown_x = self.pool_x(fake_x, noise.uniform(2))
        losses["d_y"] = d_loss(self.D_Y(y), self.D_Y(shown_y), KIND)
        losses["d_x"] = d_loss(self.D_X(x), self.D_X(shown_x), KIND)
        update("d", losses["d_y"] + losses["d_x"])
        return losses

    def sample(self, cond: api.ToDomain, noise: api.Noise, **options: Any) -> Tensor:
        """G of the rows that are asked for domain 1, F of the others."""
        self.Options(**options)
        out = torch.empty_like(cond.source)
        for domain, net in enumerate((self.F, self.G)):
            rows = cond.target == domain
            if rows.any():  # each row goes through one network only
                out[rows] = net(cond.source[rows]).to(out.dtype)  # bfloat16 under autocast
        return out


class ImagePool(nn.Module):
    """A history of translations (Shrivastava et al., arXiv 1612.07828), for one discriminator.

    The first `n` images are kept and given back. After that an image is either given back as it is
    or, with probability 1/2, it replaces a random one of the pool, which is given instead.

    What it holds are buffers, so that a checkpoint brings them back. They are bytes: the average
    over ranks that other buffers go through would blend images.
    """

    images: Tensor

    def __init__(self, n: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(n, *shape, dtype=torch.uint8))
        self.count = Counter()

    @torch.no_grad()
    def forward(self, fake: Tensor, u: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] and numbers (B, 2) in [0, 1) to images, without graph."""
        n, shown = len(self.images), fake.clone()
        if n == 0:
            return shown
        stored = ((fake.float() + 1) * 127.5).round().to(torch.uint8)
        new = min(n - int(self.count), len(fake))
        self.images[int(self.count) : int(self.count) + new] = stored[:new]
        self.count.add(new)
        swap, slots = (u[:, 0] < 0.5)[:, None, None, None], (u[:, 1] * n).long()
        for i in range(new, len(fake)):  # one after the other: two rows may want one slot
            kept = self.images.index_select(0, slots[i : i + 1])
            earlier = kept.to(shown.dtype) / 127.5 - 1
            shown[i : i + 1] = torch.where(swap[i], earlier, shown[i : i + 1])
            self.images.index_copy_(0, slots[i : i + 1], torch.where(swap[i], stored[i], kept))
        return shown
