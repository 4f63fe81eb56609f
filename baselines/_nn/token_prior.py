"""An autoregressive prior over a grid of tokens, with masked convolutions (PixelCNN).

    p(k) = prod_i p(k_i | k_1, ..., k_(i-1)),   in raster order

(van den Oord et al., arXiv 1601.06759.) The first convolution does not see the token itself (mask
A) and is wide, up to 7 places as the paper's; the others see features of the token's own place,
which do not know the token (mask B).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genbench import api

__all__ = ["MaskedConv2d", "TokenPrior", "ancestral", "choose", "nll"]


class MaskedConv2d(nn.Conv2d):
    """A convolution whose output at a place depends on places before it in raster order alone.

    The rows of the kernel below the place, all 0, are left out: they would cost and do nothing.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        kernel: Side of the kernel, odd.
        own: Whether it sees the place itself (mask B) or not (mask A).
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, own: bool) -> None:
        middle = kernel // 2
        super().__init__(c_in, c_out, (middle + 1, kernel))
        self.around = (middle, middle, middle, 0)  # left, right, above, below
        mask = torch.ones(middle + 1, kernel)
        mask[middle, middle + int(own) :] = 0
        self.mask: Tensor
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._conv_forward(F.pad(x, self.around), self.weight * self.mask, self.bias)
        return y


class TokenPrior(nn.Module):
    """Tokens int64 (B, h, w) to logits (B, K, h, w), each of what its place holds.

    Args:
        K: Number of different tokens.
        side: h = w.
        channels: Width of the network.
        blocks: Residual blocks.
        dropout: In each block.
    """

    def __init__(
        self, K: int, side: int, channels: int, blocks: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.side = side
        self.embedding = nn.Embedding(K, channels)
        self.past = MaskedConv2d(channels, channels, min(2 * side - 1, 7), own=False)
        # zero padding tells a convolution where the border is, and this where in the middle it is
        self.place = nn.Parameter(torch.zeros(channels, side, side))
        self.blocks = nn.ModuleList(_Block(channels, dropout) for _ in range(blocks))
        self.output = nn.Sequential(nn.SiLU(), nn.Conv2d(channels, K, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.past(self.embedding(tokens).movedim(-1, 1)) + self.place
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.output(h)
        return logits.float()  # bfloat16 under autocast


class _Block(nn.Module):
    """h + conv1(tanh(a) sigmoid(b)) with a, b = masked conv3(SiLU(h)) (arXiv 1606.05328)."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.gates = MaskedConv2d(channels, 2 * channels, 3, own=True)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        a, b = self.gates(F.silu(h)).chunk(2, dim=1)
        residual: Tensor = self.out(self.dropout(a.tanh() * b.sigmoid()))
        return h + residual


def nll(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log p(k) in nats: logits (B, K, h, w) and tokens (B, h, w) to (B,)."""
    return F.cross_entropy(logits, tokens, reduction="none").flatten(1).sum(1)


def ancestral(prior: TokenPrior, noise: api.Noise, temperature: float = 1.0) -> Tensor:
    """Tokens (B, h, w), one after the other: h w calls of the prior.

    Args:
        prior: The network.
        noise: One uniform number for each token.
        temperature: Logits are divided by it: below 1 likely tokens become likelier.
    """
    side = prior.side
    u = noise.uniform(side, side, dtype=torch.float64)
    tokens = torch.zeros(len(noise), side, side, dtype=torch.int64, device=noise.device)
    for i in range(side):
        for j in range(side):
            logits = prior(tokens)[:, :, i, j].double() / temperature
            tokens[:, i, j] = choose(logits.softmax(1), u[:, i, j])
    return tokens


def choose(p: Tensor, u: Tensor) -> Tensor:
    """The token whose interval of the cumulative sums of p (..., K) holds u (...) in [0, 1)."""
    edges = p.cumsum(-1)
    # the last edge is 1 up to rounding: u below it always finds a token that has p > 0
    found = torch.searchsorted(edges, (u * edges[..., -1])[..., None].contiguous(), right=True)
    return found.squeeze(-1)
