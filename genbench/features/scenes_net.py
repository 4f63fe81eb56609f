"""The network of `scenes-parser`: what every pixel of a scene belongs to.

A U-Net (Ronneberger et al., arXiv 1505.04597) whose skips are added: 32 x 32, 16 x 16, 8 x 8,
4 x 4 pixels and back. 3x3 convolutions with batch normalisation and ReLU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genbench.data.scenes import COLOURS, SHAPES, SIZES, STYLES

__all__ = ["PREPROCESSING", "SIZE", "WIDTHS", "Maps", "SceneNet"]

SIZE = 32  # pixels on each side of its input
WIDTHS = (24, 48, 64, 96)
PREPROCESSING = (
    "uint8 / 127.5 - 1; grey repeated to RGB; other sizes than 32 x 32 resized by bilinear, "
    "antialiased interpolation, and what is said of pixels resized back by bilinear interpolation"
)
_HEADS = (1 + len(SHAPES), len(COLOURS), len(SIZES), 2)
_OFFSET = 0.25  # of the side: what a one in the answer stands for
# of a pixel of a small object in the label's probabilities, where a large object's counts 1
_SMALL = 0.01
_NOTHING = 1e-6  # what each class has in an image without objects


@dataclass(frozen=True)
class Maps:
    """What the network says of N images of S x S pixels; all float32, scores before softmax.

    Attributes:
        shape: (N, 7, S, S), the ground first.
        colour: (N, 6, S, S), of objects' pixels; arbitrary on the ground, here and below.
        size: (N, 2, S, S).
        offset: (N, 2, S, S), from the pixel to its object's centre: x, y, in shares of the side.
        style: (N, 4).
        features: (N, D).
    """

    shape: Tensor
    colour: Tensor
    size: Tensor
    offset: Tensor
    style: Tensor
    features: Tensor

    @property
    def probs(self) -> Tensor:
        """(N, 6), of the dataset's label: the shares of the shapes in the large objects' pixels.

        Small objects decide only where there is no large one, since they weigh 100 times less.
        """
        shape, large = self.shape.softmax(1), self.size.softmax(1)[:, 1:]
        inside = shape[:, :1] < 0.5  # else what little all of the ground adds hides small objects
        mass = (shape[:, 1:] * (large + _SMALL) * inside).mean((2, 3)) + _NOTHING
        return mass / mass.sum(1, keepdim=True)

    def float(self) -> "Maps":
        """The same in float32."""
        return Maps(*(getattr(self, f.name).float() for f in fields(self)))

    def resized(self, height: int, width: int) -> "Maps":
        """The same for images of another size."""
        if self.shape.shape[2:] == (height, width):
            return self
        shape, colour, size, offset = (
            F.interpolate(m, (height, width), mode="bilinear")
            for m in (self.shape, self.colour, self.size, self.offset)
        )
        return Maps(shape, colour, size, offset, self.style, self.features)


def _block(inside: int, out: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class SceneNet(nn.Module):
    """The network.

    The buffer `scale` is that of the features: it is part of the weights file.

    Args:
        widths: Channels at 32, 16, 8 and 4 pixels.
    """

    scale: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, *_, deepest = widths
        self.dim = first + deepest
        self.stem = _block(3, first)
        steps = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in steps
        )
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(steps))
        self.up = nn.ModuleList(_block(a, a) for a, _ in reversed(steps))
        self.last = _block(first, first)
        self.heads = nn.Conv2d(first, sum(_HEADS), 1)
        self.style = nn.Linear(self.dim, len(STYLES))
        self.register_buffer("scale", torch.tensor(1.0))

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W), C = 1 or 3, to float32 (B, 3, 32, 32); see `PREPROCESSING`."""
        x = images.to(self.scale.device, torch.float32) / 127.5 - 1
        if x.shape[2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
        return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Maps:
        """What it says of prepared images."""
        seen = [self.stem(x)]
        for down in self.down:
            seen.append(down(seen[-1]))
        deepest = maps = seen.pop()
        for lift, up in zip(self.lift, self.up, strict=True):
            maps = up(F.interpolate(lift(maps), scale_factor=2.0) + seen.pop())
        maps = self.last(maps)
        pooled = torch.cat((maps.mean((2, 3)), deepest.mean((2, 3))), 1)
        shape, colour, size, offset = self.heads(maps).split(_HEADS, 1)
        return Maps(shape, colour, size, offset * _OFFSET, self.style(pooled), pooled * self.scale)
