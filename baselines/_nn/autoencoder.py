"""Encoders and decoders: images to vectors or to grids of latents, and back."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines._nn.blocks import halvings
from genbench import api

__all__ = ["Encoded", "Net", "encode_all", "gaussian_kl", "grid_side", "grids", "vectors"]

Net = Literal["auto", "mlp", "conv"]
"""Of an autoencoder; "auto" is the MLP up to 8 pixels, else convolutions."""

Pair = tuple[nn.Sequential, nn.Sequential]

_CHUNK = 1024  # images that are floats at one time


def encode_all(encode: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The latents of all images: uint8 (N, C, H, W) to (N, ...), a thousand images at a time."""
    parts = (x[i : i + _CHUNK] for i in range(0, len(x), _CHUNK))
    return torch.cat([encode(part.float() / 127.5 - 1) for part in parts])


class Encoded(nn.Module):
    """Latents of 1,000 training images: evenly spaced ones, or all over and over.

    What is decoded from them tells the error of the decoder from that of a density over latents:
    its Frechet distance is the one that is called rFD.

    Args:
        shape: Of a latent.
        dtype: Of its numbers.
    """

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.z: Tensor
        self.register_buffer("z", torch.zeros(1000, *shape, dtype=dtype))

    def keep(self, z: Tensor) -> None:
        """Take them from the latents (N, ...) of all training images."""
        i = torch.arange(len(self.z), device=z.device)
        self.z.copy_(z[i * len(z) // len(i) if len(z) > len(i) else i % len(z)])

    def sample(self, noise: api.Noise) -> Tensor:
        """z of shape (B, ...): of sample i the i-th one, from the start again after the last."""
        return self.z[noise.index % len(self.z)]


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, diag(exp(logvar))) || N(0, I)) in nats: (B, ...) to (B,)."""
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).flatten(1).sum(dim=1)


def _is_mlp(net: Net, data: api.DataSpec) -> bool:
    return net == "mlp" or (net == "auto" and data.size <= 8)


def vectors(net: Net, d: int, out: int, hidden: int, channels: int, data: api.DataSpec) -> Pair:
    """Encoder (B, C, H, W) to (B, out) and decoder (B, d) to (B, C, H, W).

    Args:
        net: Which networks.
        d: Dimensions of a latent.
        out: Numbers that the encoder answers: d, or 2d for a mean and a variance.
        hidden: Width of the MLPs.
        channels: Of the convolutions at half the image's side; they double with every halving.
        data: For the images' shape.

    Raises:
        ValueError: If the side of the image cannot be halved to 4 to 7 pixels by convolutions.
    """
    if _is_mlp(net, data):
        return _mlps(d, out, hidden, data)
    return _convolutions(d, out, channels, data)


def _layers(n_in: int, hidden: int, n_out: int) -> list[nn.Module]:
    return [
        nn.Linear(n_in, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, n_out),
    ]


def _mlps(d: int, out: int, hidden: int, data: api.DataSpec) -> Pair:
    pixels = math.prod(data.shape)
    encoder = nn.Sequential(nn.Flatten(), *_layers(pixels, hidden, out))
    return encoder, nn.Sequential(*_layers(d, hidden, pixels), nn.Unflatten(1, data.shape))


def _convolutions(d: int, out: int, channels: int, data: api.DataSpec) -> Pair:
    base, halved = halvings(data.size)
    widths = [data.channels, *(channels << i for i in range(halved))]
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for wide, narrow in zip(widths[1:], widths, strict=False):
        down += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.SiLU()]
        up = [nn.SiLU(), nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), *up]
    flat = widths[-1] * base**2
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, out))
    unflatten = nn.Unflatten(1, (widths[-1], base, base))
    return encoder, nn.Sequential(nn.Linear(d, flat), unflatten, *up)


def grid_side(size: int, factor: int | None) -> int:
    """The side of the grid of latents: size / factor; None is 2 up to 8 pixels, else 4.

    Raises:
        ValueError: If the factor is no power of 2 above 1 or does not divide the side.
    """
    factor = factor or (2 if size <= 8 else 4)
    if factor < 2 or factor & (factor - 1) or size % factor:
        raise ValueError(
            f"cannot reduce {size}x{size} images by {factor}: the factor must be 2, 4, 8, ... and"
            " divide the side"
        )
    return size // factor


def grids(
    net: Net, c: int, out: int, side: int, hidden: int, channels: int, data: api.DataSpec
) -> Pair:
    """Encoder (B, C, H, W) to (B, out, side, side) and decoder (B, c, side, side) to the images.

    The convolutions are those of VQ-VAE (van den Oord et al., arXiv 1711.00937): strided ones,
    then two residual blocks; the decoder is the mirror.

    Args:
        net: Which networks.
        c: Channels of a latent.
        out: Channels that the encoder answers: c, or 2c for a mean and a variance.
        side: Of the grid, see `grid_side`.
        hidden: Width of the MLPs.
        channels: Of the convolutions.
        data: For the images' shape.
    """
    pixels, cells = math.prod(data.shape), side**2
    if _is_mlp(net, data):
        encoder = nn.Sequential(
            nn.Flatten(), *_layers(pixels, hidden, out * cells), nn.Unflatten(1, (out, side, side))
        )
        decoder = nn.Sequential(
            nn.Flatten(), *_layers(c * cells, hidden, pixels), nn.Unflatten(1, data.shape)
        )
        return encoder, decoder
    halved = (data.size // side).bit_length() - 1
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for level in range(halved):
        narrow = channels if level else data.channels
        down += [nn.Conv2d(narrow, channels, 4, stride=2, padding=1), nn.SiLU()]
        up = [nn.SiLU(), nn.ConvTranspose2d(channels, narrow, 4, stride=2, padding=1), *up]
    encoder = nn.Sequential(
        *down,
        nn.Conv2d(channels, channels, 3, padding=1),
        *(Residual(channels) for _ in range(2)),
        nn.SiLU(),
        nn.Conv2d(channels, out, 1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(c, channels, 3, padding=1), *(Residual(channels) for _ in range(2)), *up
    )
    return encoder, decoder


class Residual(nn.Module):
    """x + conv1(SiLU(conv3(SiLU(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.conv1(F.silu(self.conv3(F.silu(x))))
        return x + h
