"""Counter-based noise: sample i depends on (seed, i, draw) alone.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2, 3*, 2011)
maps a 128-bit counter and a 64-bit key to 128 random bits without any state. The counter holds
(block inside the draw, number of the draw, sample index), the key holds (seed, stream). So a
sample has the same noise whatever the batch size, the number of ranks, the device or the order.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Noise", "philox", "stream_key"]

Words = TypeVar("Words", Tensor, NDArray[Any])
Make = Callable[[Tensor], Tensor]
"""Words in [0, 2^32) of shape (..., n) to numbers of the same shape."""

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = 0xFFFFFFFF
_CHUNK = 1 << 14  # counters per chunk: the 64-bit temporaries of a round stay in the L2 cache


def philox(counter: Sequence[Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Philox4x32-10 of four arrays of words, elementwise.

    Args:
        counter: Four arrays of one shape of words in [0, 2^32), low word first: uint64 (NumPy) or
            int64 (torch, which has no unsigned product).
        key: Two words in [0, 2^32).

    Returns:
        Four arrays of words in [0, 2^32), equal to the reference implementation (Random123).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    m0, m1 = _MULTIPLIERS
    for _ in range(_ROUNDS):
        # A product of two 32-bit words fits 64 bits, and int64 holds its bits whatever the sign;
        # the mask after the shift drops the copies of the sign.
        p0, p1 = c0 * m0, c2 * m1
        low0, low1 = p0 & _MASK, p1 & _MASK
        p0 >>= 32  # in place: half the time goes into memory
        p1 >>= 32
        if isinstance(p0, Tensor):
            p0 &= _MASK
            p1 &= _MASK
        p1 ^= c1
        p1 ^= k0
        p0 ^= c3
        p0 ^= k1
        c0, c1, c2, c3 = p1, low1, p0, low0
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def stream_key(seed: int, stream: str) -> tuple[int, int]:
    """The two 32-bit key words of a named stream: the first 64 bits of sha256(seed/stream)."""
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


class Noise:
    """A batch of independent noise sources, one for each sample index.

    Every call is one *draw*; draw d of sample i is the same whatever else is in the batch. Integer
    bits are equal on every device, floats to the last digits of the device's log, sin and cos.

    Args:
        seed: Any integer.
        index: The global indices of the samples in this batch, each in [0, 2^63).
        stream: A name that separates uses of one seed ("train", "sample").
        device: Where the tensors are made.
    """

    def __init__(
        self,
        seed: int,
        index: Sequence[int] | Tensor,
        *,
        stream: str = "sample",
        device: torch.device | str = "cpu",
    ) -> None:
        self.seed, self.stream = seed, stream
        self.index = torch.as_tensor(index, dtype=torch.int64, device=device)
        self._key = stream_key(seed, stream)
        self._draw = 0
        self._ahead: Tensor | None = None  # (draws, batch, values), made by `_made`
        self._ahead_end = 0
        self._made: tuple[Make, int] | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def device(self) -> torch.device:
        """The device of every tensor that this source returns."""
        return self.index.device

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """U[0, 1) of shape (batch, *shape), on a grid of 2^-24, so 1.0 never occurs."""
        return self._next(_uniform, shape, math.prod(shape)).to(dtype)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """N(0, 1) of shape (batch, *shape) by the Box-Muller transform; |value| < 6.7."""
        return self._next(_normal, shape, 2 * ((math.prod(shape) + 1) // 2)).to(dtype)

    def _next(self, make: "Make", shape: Sequence[int], words: int) -> Tensor:
        """The next draw, of `words` words for each sample.

        Loops ask for the same shape again and again: from the second time on, draws are made
        ahead, several in one pass, as a pass over few numbers costs as much as over thousands.
        """
        draw, self._draw = self._draw, self._draw + 1
        blocks = max(1, math.ceil(words / 4))
        ahead = self._ahead
        if ahead is None or self._made != (make, words):
            count, self._made = 1, (make, words)
        elif draw >= self._ahead_end:
            count = max(1, min(2 * len(ahead), _CHUNK // max(1, len(self) * blocks)))
        else:
            count = 0
        if count or ahead is None:
            ahead = make(self._block(range(draw, draw + count), blocks)[..., :words])
            self._ahead, self._ahead_end = ahead, draw + count
        # a copy: what lies ahead belongs to no caller
        return ahead[draw - self._ahead_end, :, : math.prod(shape)].reshape(-1, *shape).clone()

    def _block(self, draws: range, blocks: int) -> Tensor:
        """(draws, batch, 4 * blocks) words; word 4b + w of a sample is word w of its counter b."""
        if self.device.type == "cpu":
            return self._block_numpy(draws, blocks)
        column = self.index[:, None]
        draw = torch.arange(draws.start, draws.stop, device=self.device)[:, None, None]
        number = torch.arange(blocks, device=self.device)
        shape = (len(draws), len(self), blocks)
        counter = [c.expand(shape) for c in (number, draw, column & _MASK, column >> 32)]
        return torch.stack(philox(counter, self._key), dim=-1).flatten(2)

    def _block_numpy(self, draws: range, blocks: int) -> Tensor:
        """The same on the CPU, where NumPy's integer loops are four times as fast as torch's."""
        index = np.tile(self.index.numpy().astype(np.uint64), len(draws))[:, None]
        which = np.repeat(np.arange(draws.start, draws.stop, dtype=np.uint64), len(self))[:, None]
        block = np.arange(blocks, dtype=np.uint64)
        out = np.empty((len(index), blocks, 4), dtype=np.int64)
        rows = max(1, _CHUNK // blocks)
        for i in range(0, len(index), rows):
            part = index[i : i + rows]
            columns = [block, which[i : i + rows], part & _MASK, part >> 32]
            counter = [np.broadcast_to(c, (len(part), blocks)) for c in columns]
            for w, word in enumerate(philox(counter, self._key)):
                out[i : i + rows, :, w] = word
        return torch.from_numpy(out).view(len(draws), len(self), 4 * blocks)


def _uniform(words: Tensor) -> Tensor:
    return (words >> 8).to(torch.float32).mul_(2.0**-24)


def _normal(words: Tensor) -> Tensor:
    half = words.shape[-1] // 2
    # u in (0, 1]: half a step of offset keeps the log finite
    u = words[..., :half].to(torch.float32).add_(0.5).mul_(2.0**-32)
    angle = words[..., half:].to(torch.float32).mul_(2 * math.pi * 2.0**-32)
    radius = u.log_().mul_(-2.0).clamp_(min=0.0).sqrt_()
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=-1)
