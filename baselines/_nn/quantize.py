"""A vector quantiser: a codebook of K vectors, and what training does to it.

    k = argmin_j |z - e_j|^2,   z_q = e_k

The codebook follows the latents by gradient, |sg(z) - e_k|^2, or as averages of those that chose
each code (van den Oord et al., arXiv 1711.00937, appendix A.1):

    N_j <- g N_j + (1 - g) n_j,   M_j <- g M_j + (1 - g) sum of z that chose j,   e_j = M_j / N_j

n_j and the sums are shares of all latents of the batch, not counts: so the mean over ranks of what
each rank finds in its part of a batch is what one process finds in the whole.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Quantizer", "perplexity", "straight_through"]

_SMOOTH = 1e-9  # keeps the average of a code that none has chosen for ever finite


class Quantizer(nn.Module):
    """K vectors of c numbers.

    Args:
        K: Size of the codebook.
        c: Dimensions of a code.
        codebook: How it learns: "ema" or "gradient".
        decay: g, of the averages, per step.
        restart: A code that is used less than this share of 1 / K is moved beside the most used
            one; 0 never does that.
    """

    def __init__(
        self,
        K: int,
        c: int,
        codebook: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        restart: float = 0.0,
    ) -> None:
        super().__init__()
        self.decay, self.restart = decay, restart
        self.share: Tensor
        self.total: Tensor
        self.register_buffer("share", torch.full((K,), 1 / K))  # N
        start = torch.empty(K, c).uniform_(-1 / K, 1 / K)
        self.learned = nn.Parameter(start) if codebook == "gradient" else None
        if self.learned is None:
            self.register_buffer("total", start / K)  # M

    @property
    def codes(self) -> Tensor:
        """e, of shape (K, c)."""
        if self.learned is not None:
            return self.learned
        return self.total / (self.share + _SMOOTH)[:, None]

    def indices(self, z: Tensor) -> Tensor:
        """The nearest code of each latent: (B, c, h, w) to int64 (B, h, w)."""
        e = self.codes.detach()
        rows = z.detach().float().movedim(1, -1)
        # |z|^2 is the same for all codes
        distance = e.square().sum(1) - 2 * rows @ e.T
        return distance.argmin(-1)

    def lookup(self, indices: Tensor) -> Tensor:
        """Codes by number: (B, h, w) to (B, c, h, w)."""
        return F.embedding(indices, self.codes).movedim(-1, 1)

    @torch.no_grad()
    def follow(self, z: Tensor, indices: Tensor) -> None:
        """Move the averages towards the latents z (B, c, h, w) that chose these indices."""
        rows = z.detach().float().movedim(1, -1).flatten(0, -2)
        chosen = F.one_hot(indices.flatten(), len(self.share)).to(rows.dtype)
        self.share.lerp_(chosen.mean(0), 1 - self.decay)
        if self.learned is None:
            self.total.lerp_(chosen.T @ rows / len(rows), 1 - self.decay)

    @torch.no_grad()
    def revive(self) -> None:
        """Move every code that is hardly used beside the most used one, which it then splits.

        A hundredth of the way from there to where it was; the j-th of them goes to the j-th most
        used code. Of averages alone, so that all ranks do the same.
        """
        K = len(self.share)
        dead = (self.share < self.restart / K).nonzero().flatten()[: K // 2]
        if not len(dead):
            return
        used = self.share.argsort(descending=True, stable=True)[: len(dead)]
        e = self.codes
        moved = torch.lerp(e[used], e[dead], 0.01)
        half = self.share[used] / 2
        self.share[used] = half
        self.share[dead] = half
        if self.learned is not None:
            self.learned[dead] = moved
        else:
            self.total[used] = e[used] * half[:, None]
            self.total[dead] = moved * half[:, None]


def straight_through(z: Tensor, z_q: Tensor) -> Tensor:
    """z_q, whose gradient goes to z as if nothing had been quantised."""
    return z + (z_q - z).detach()


def perplexity(share: Tensor) -> Tensor:
    """exp(-sum p log p) of shares (K,): K when all codes are used alike, 1 when only one is."""
    entropy: Tensor = torch.special.entr(share / share.sum()).sum()
    return entropy.exp()
