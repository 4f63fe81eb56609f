"""A Gaussian fitted to the pixels: what the first two moments of the data are worth.

    x = m + F u + s v,   u ~ N(0, I_r),   v ~ N(0, I_D),   clamped to [-1, 1]

Up to 4096 pixels F F^T is the whole covariance and s = 0. Beyond, where a covariance takes
gigabytes and its factor hours, F holds the leading 512 principal components, found by randomised
subspace iteration (Halko, Martinsson, Tropp, arXiv 0909.4061), and s the standard deviation that
they leave in every pixel.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from baselines._nn.reference import Reference, to_float
from genbench import api

FULL = 4096  # pixels: eigenvectors of a 4096 x 4096 matrix take half a minute
RANK = 512
CHUNK = 2048  # images turned to float64 at a time


class Gaussian(Reference):
    """N(mean, covariance) of the training images, fitted in float64."""

    def __init__(self, config: api.Config, data: api.DataSpec) -> None:
        super().__init__(config, data)
        pixels = math.prod(data.shape)
        self.mean: Tensor
        self.factor: Tensor
        self.rest: Tensor
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("factor", torch.zeros(pixels, 0))
        self.register_buffer("rest", torch.zeros(pixels))

    def fit(self, x: Tensor) -> None:
        """Mean and factor of the covariance, in float64, kept as float32.

        Raises:
            ValueError: For a single image, which has no covariance.
        """
        x = x.flatten(1)
        if len(x) < 2:
            raise ValueError("gaussian needs two training images or more, and there is one")
        mean = torch.stack([c.sum(0) for c in chunks(x)]).sum(0) / len(x)
        factor = (full_factor if x.shape[1] <= FULL else leading_factor)(x, mean)
        self.mean, self.factor = mean.float(), factor.float()
        if x.shape[1] > FULL:
            squares = torch.stack([(c - mean).square().sum(0) for c in chunks(x)]).sum(0)
            left = squares / (len(x) - 1) - factor.square().sum(1)
            self.rest = left.clamp(min=0).sqrt().float()

    def sample(self, cond: api.Unconditional, noise: api.Noise, **options: Any) -> Tensor:
        """m + F u + s v, clamped."""
        self.Options(**options)
        pixels, rank = self.factor.shape
        x = self.mean + noise.normal(rank) @ self.factor.T
        if self.rest.any():
            x = x + self.rest * noise.normal(pixels)
        return x.view(-1, *self.data.shape).clamp(-1, 1)


def chunks(x: Tensor) -> Iterator[Tensor]:
    """The rows of x (uint8), some at a time, in [-1, 1] as float64."""
    for i in range(0, len(x), CHUNK):
        yield to_float(x[i : i + CHUNK], torch.float64)


def full_factor(x: Tensor, mean: Tensor) -> Tensor:
    """F with F F^T the covariance of the rows of x (uint8); (N, D) to (D, D)."""
    covariance = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for chunk in chunks(x):
        centred = chunk - mean
        covariance += centred.T @ centred / (len(x) - 1)
    values, vectors = torch.linalg.eigh(covariance)  # Cholesky fails where pixels are constant
    factor: Tensor = vectors * values.clamp(min=0).sqrt()
    return factor


def leading_factor(x: Tensor, mean: Tensor) -> Tensor:
    """F of the leading principal components of the rows of x (uint8); (N, D) to (D, rank)."""
    rank = min(RANK, len(x) - 1)

    def times_covariance(q: Tensor) -> Tensor:
        out = torch.zeros_like(q)
        for chunk in chunks(x):
            centred = chunk - mean
            out += centred.T @ (centred @ q) / (len(x) - 1)
        return out

    generator = torch.Generator().manual_seed(0)
    q = torch.randn(x.shape[1], rank, generator=generator, dtype=torch.float64).to(x.device)
    for _ in range(3):  # three passes make the gap between kept and left components count
        q = torch.linalg.qr(times_covariance(q)).Q
    values, vectors = torch.linalg.eigh(q.T @ times_covariance(q))
    factor: Tensor = (q @ vectors) * values.clamp(min=0).sqrt()
    return factor
