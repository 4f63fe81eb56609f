"""Networks and layers that several families share.

The U-Net follows DDPM (Ho et al., arXiv 2006.11239) at a smaller scale: group normalisation over 8
groups, the time added inside every residual block, and a zero-initialised last layer, so that the
untrained network answers 0.
"""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResMLP", "UNet", "halvings", "sinusoid", "zeroed"]


def halvings(size: int, least: int = 1) -> tuple[int, int]:
    """The side of 4 to 7 pixels that `size` reaches by halving, and how often it is halved.

    8, 16, 32, 64 end at 4; 28 ends at 7. A network that needs two halvings for its depth asks for
    them: then 8 ends at 2 and 12 at 3, and larger sides where they did.

    Args:
        size: Side of the images.
        least: The fewest halvings, 1 or 2.

    Raises:
        ValueError: If there is no such side, or it takes fewer halvings to reach it.
    """
    base, times, smallest = size, 0, 4 >> (least - 1)
    while base % 2 == 0 and (base > 7 or (times < least and base > smallest)):
        base, times = base // 2, times + 1
    if not (smallest <= base <= 7 and times >= least):
        sides = (
            "4, 5, 6 or 7 doubled at least once" if least == 1 else "2 to 7 doubled at least twice"
        )
        raise ValueError(
            f"cannot build a convolutional network for {size}x{size} images: the side must be"
            f" {sides}, e.g. 8, 16, 28, 32, 64"
        )
    return base, times


def zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer with all its parameters set to 0."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def sinusoid(t: Tensor, dim: int) -> Tensor:
    """[cos(t w_i), sin(t w_i)] with w_i = 10000^(-i / (dim / 2)); (B,) to (B, dim), dim even.

    Times should span hundreds: of t in [0, 1] all embeddings look alike.
    """
    w = torch.exp(-math.log(10000.0) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angle = t[:, None].float() * w
    return torch.cat((angle.cos(), angle.sin()), dim=1)


class TimeEmbedding(nn.Module):
    """sinusoid - linear - SiLU - linear, + the label's row, SiLU: (B,) and (B,) to (B, out).

    The last SiLU stands here because every block would apply it to the same tensor. With labels
    there is one row more, `classes`, for "no label", which None stands for too.
    """

    def __init__(self, dim: int, out: int, classes: int = 0) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.net = nn.Sequential(nn.Linear(dim, out), nn.SiLU(), nn.Linear(out, out))
        self.label = nn.Embedding(classes + 1, out) if classes else None

    def forward(self, t: Tensor, y: Tensor | None = None) -> Tensor:
        emb: Tensor = self.net(sinusoid(t, self.dim))
        if self.label is not None:
            emb = emb + self.label(torch.full_like(t, self.classes).long() if y is None else y)
        elif y is not None:
            raise ValueError("labels were given to a network that was made without classes")
        return F.silu(emb)


class Gains(nn.Module):
    """a(t) x + (1 + b(t)) h, with a and b learned and 0 at the start.

    At high noise the answer of a denoiser is nearly x, at low noise it is a small part of it. A
    network whose last layer must produce both scales by itself needs several times the training;
    Karras et al. (arXiv 2206.00364) fix a and b by a formula.
    """

    def __init__(self, emb: int) -> None:
        super().__init__()
        self.gains = zeroed(nn.Linear(emb, 2))

    def forward(self, x: Tensor, h: Tensor, emb: Tensor) -> Tensor:
        """x and h may have other numbers of channels: the first ones of each belong together."""
        a, b = self.gains(emb)[:, :, None, None, None].unbind(1)
        x, more = x[:, : h.shape[1]], h.shape[1] - x.shape[1]
        if more > 0:
            x = F.pad(x, (0, 0, 0, 0, 0, more))
        answer: Tensor = a * x + (1 + b) * h
        return answer


class ResMLP(nn.Module):
    """A residual MLP on flattened images, for sides where a convolution has little to share.

    Block: h + W2 SiLU(W1 (LN(h) (1 + scale(t)) + shift(t))), then attention from h to the context
    where there is one.

    Args:
        shape: (C, H, W) of the images.
        hidden: Width.
        blocks: Their number.
        classes: Of the labels; 0 for none.
        context: Channels d of the context; 0 for none.
        out: Channels of the answer; None is C.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int,
        blocks: int,
        classes: int = 0,
        context: int = 0,
        out: int | None = None,
    ) -> None:
        super().__init__()
        pixels = math.prod(shape)
        self.shape = (shape[0] if out is None else out, *shape[1:])
        answers = math.prod(self.shape)
        self.time = TimeEmbedding(hidden, hidden, classes)
        self.input = nn.Linear(pixels, hidden)
        self.blocks = nn.ModuleList(ResMLPBlock(hidden, context) for _ in range(blocks))
        self.output = nn.Sequential(nn.LayerNorm(hidden), zeroed(nn.Linear(hidden, answers)))
        self.gains = Gains(hidden)

    def forward(
        self, x: Tensor, t: Tensor, y: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """(B, C, H, W), times (B,), labels (B,) and context (B, L, d) to (B, out, H, W)."""
        emb = self.time(t, y)
        h: Tensor = self.input(x.flatten(1))
        for block in self.blocks:
            h = block(h, emb, context)
        answer: Tensor = self.gains(x, self.output(h).unflatten(1, self.shape), emb)
        return answer


class ResMLPBlock(nn.Module):
    """One block of `ResMLP`."""

    def __init__(self, hidden: int, context: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)  # the time sets the affine part
        self.time = nn.Linear(hidden, 2 * hidden)
        self.w1 = nn.Linear(hidden, hidden)
        self.w2 = nn.Linear(hidden, hidden)
        self.cross = CrossAttention(hidden, context) if context else None

    def forward(self, h: Tensor, emb: Tensor, context: Tensor | None = None) -> Tensor:
        scale, shift = self.time(emb).chunk(2, dim=1)
        residual: Tensor = self.w2(F.silu(self.w1(self.norm(h) * (1 + scale) + shift)))
        h = h + residual
        return h if self.cross is None else self.cross(h[:, None], context).squeeze(1)


class CrossAttention(nn.Module):
    """Attention from (B, N, c) to a context (B, L, d); starts as the identity, as its output is 0.

        x + W softmax(Q K^T / sqrt(c / heads)) V,   Q from LN(x), K and V from the context

    (Rombach et al., arXiv 2112.10752, section 3.3.) Four heads where the width allows it.
    """

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.heads = math.gcd(4, channels)
        self.norm = nn.LayerNorm(channels)
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(context, 2 * channels, bias=False)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        if context is None:
            raise ValueError("a network that attends to a context was called without one")
        found = (self.q(self.norm(x)), *self.kv(context).chunk(2, dim=-1))
        q, k, v = (u.unflatten(-1, (self.heads, -1)).transpose(1, 2) for u in found)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        residual: Tensor = self.out(h)
        return x + residual


class Attention(nn.Module):
    """Self-attention over pixels with a zero-initialised output, so it starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        # no bias: the softmax cancels that of the keys
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, dim=-1)
        h = F.scaled_dot_product_attention(q, k, v)  # (B, 1, HW, C)
        residual: Tensor = self.out(h.squeeze(1).transpose(1, 2).view_as(x))
        return x + residual


class ResBlock(nn.Module):
    """GN - SiLU - conv3, + time, GN - SiLU - dropout - zero-initialised conv3, + skip.

    With `attention`, self-attention follows, and attention to the context where there is one.
    """

    def __init__(
        self, c_in: int, c_out: int, emb: int, dropout: float, attention: bool, context: int = 0
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.GroupNorm(8, c_in), nn.SiLU(), nn.Conv2d(c_in, c_out, 3, padding=1)
        )
        self.time = nn.Linear(emb, c_out)
        self.conv2 = nn.Sequential(
            nn.GroupNorm(8, c_out),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(c_out, c_out, 3, padding=1)),
        )
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        self.attention = Attention(c_out) if attention else nn.Identity()
        self.cross = CrossAttention(c_out, context) if attention and context else None

    def forward(self, x: Tensor, emb: Tensor, context: Tensor | None = None) -> Tensor:
        h: Tensor = self.conv1(x) + self.time(emb)[:, :, None, None]
        h = self.attention(self.skip(x) + self.conv2(h))
        if self.cross is None:
            return h
        attended: Tensor = self.cross(h.flatten(2).transpose(1, 2), context)
        return attended.transpose(1, 2).view_as(h)


class Down(nn.Module):
    """Halve the side with a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor | None = None) -> Tensor:
        h: Tensor = self.conv(x)
        return h


class Up(nn.Module):
    """Double the side by nearest neighbours and a convolution, which also sets the channels.

    Going to the narrower level at once saves half of the network's most expensive convolution.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor, context: Tensor | None = None) -> Tensor:
        h: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return h


class UNet(nn.Module):
    """The denoiser of DDPM, with labels and a context where it is told of them.

    Args:
        shape: (C, H, W) of the images, H = W.
        width: Channels of the first level, a multiple of 8.
        mults: Channels of every level as multiples of `width`; each level halves the side.
        blocks: Residual blocks per level (one more on the way up).
        attention: Sides with self-attention after every block; the middle always has it.
        patch: Side of the square of pixels that is folded into channels before the first level, so
            that the network works on a side of H / patch.
        dropout: In the residual blocks.
        classes: Of the labels; 0 for none.
        context: Channels d of the context, attended to wherever there is self-attention; 0 for
            none.
        out: Channels of the answer; None is C.

    Raises:
        ValueError: If H is not a multiple of patch * 2^(levels - 1).
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int,
        mults: Sequence[int],
        blocks: int,
        attention: Iterable[int] = (),
        patch: int = 1,
        dropout: float = 0.0,
        classes: int = 0,
        context: int = 0,
        out: int | None = None,
    ) -> None:
        super().__init__()
        channels, size, _ = shape
        answers = (channels if out is None else out) * patch**2
        attention, emb, last = set(attention), 4 * width, len(mults) - 1
        if size % (patch << last):
            raise ValueError(
                f"a U-Net with patch {patch} and {last + 1} levels needs a side that is a multiple"
                f" of {patch << last}, not {size}"
            )

        def block(c_in: int, c_out: int, attends: bool) -> ResBlock:
            return ResBlock(c_in, c_out, emb, dropout, attends, context)

        self.patch, self.time = patch, TimeEmbedding(width, emb, classes)
        side, c = size // patch, width * mults[0]
        self.input = nn.Conv2d(channels * patch**2, c, 3, padding=1)

        self.down, skips = nn.ModuleList(), [c]
        for level, mult in enumerate(mults):
            for _ in range(blocks):
                self.down.append(block(c, width * mult, side in attention))
                c = width * mult
                skips.append(c)
            if level < last:
                self.down.append(Down(c))
                skips.append(c)
                side //= 2

        self.middle = nn.ModuleList(block(c, c, attends) for attends in (True, False))

        self.up = nn.ModuleList()
        for level in range(last, -1, -1):
            c_out = width * mults[level]
            for _ in range(blocks + 1):
                self.up.append(block(c + skips.pop(), c_out, side in attention))
                c = c_out
            if level > 0:
                self.up.append(Up(c, width * mults[level - 1]))
                c = width * mults[level - 1]
                side *= 2

        self.output = nn.Sequential(
            nn.GroupNorm(8, c),
            nn.SiLU(),
            zeroed(nn.Conv2d(c, answers, 3, padding=1)),
        )
        self.gains = Gains(emb)

    def forward(
        self, x: Tensor, t: Tensor, y: Tensor | None = None, context: Tensor | None = None
    ) -> Tensor:
        """(B, C, H, W), times (B,), labels (B,) and context (B, L, d) to (B, out, H, W)."""
        emb = self.time(t, y)
        h = self.input(F.pixel_unshuffle(x, self.patch))
        skips = [h]
        for layer in self.down:
            h = layer(h, emb, context)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, emb, context)
        for layer in self.up:
            if isinstance(layer, ResBlock):
                h = torch.cat((h, skips.pop()), dim=1)
            h = layer(h, emb, context)
        answer: Tensor = self.gains(x, F.pixel_shuffle(self.output(h), self.patch), emb)
        return answer
