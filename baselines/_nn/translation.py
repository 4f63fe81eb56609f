"""Networks that turn images into images, and the discriminator that looks at patches.

Convolutions before a normalisation have no bias, as it would be subtracted again.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["PatchGAN", "ResNetGenerator", "UNetGenerator"]


class UNetGenerator(nn.Module):
    """The generator of pix2pix (arXiv 1611.07004): halve the side, double it again, with skips.

    Level i has ngf * mults[i] channels and half the side of the level before. Level L - i of the
    decoder also sees level i of the encoder, unless `skips` is off. Instance normalisation, but
    not at the first level, at the bottleneck (of one pixel nothing would be left) and at the end.

    Args:
        c_in: Channels of the source.
        c_out: Channels of the image.
        size: Side of both.
        ngf: Channels of the first level.
        mults: Channels of every level as multiples of `ngf`; levels that the side cannot be halved
            for are left out.
        skips: Without them it is an encoder and a decoder.
        dropouts: How many decoder levels, from the bottleneck on, a mask multiplies.

    Attributes:
        masked: Shapes (C, H, W) of the masks that `forward` takes.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int,
        ngf: int,
        mults: Sequence[int],
        skips: bool = True,
        dropouts: int = 0,
    ) -> None:
        super().__init__()
        self.skips = skips
        widths, side = [], size
        for mult in mults:
            if side % 2 == 0:
                widths.append(ngf * mult)
                side //= 2
        if not widths:
            raise ValueError(f"a U-Net needs an even side, not {size}")
        last = len(widths) - 1
        self.down = nn.ModuleList()
        for i, (a, b) in enumerate(zip([c_in, *widths], widths, strict=False)):
            norm = 0 < i < last
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            layers.append(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not norm))
            layers += [nn.InstanceNorm2d(b, affine=True)] if norm else []
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        self.masked: list[tuple[int, int, int]] = []
        for i in range(last, -1, -1):
            side *= 2
            a = widths[i] * (2 if skips and i < last else 1)
            b = widths[i - 1] if i else c_out
            layers = [nn.ReLU(), nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=not i)]
            layers.append(nn.InstanceNorm2d(b, affine=True) if i else nn.Tanh())
            self.up.append(nn.Sequential(*layers))
            if i and len(self.masked) < dropouts:
                self.masked.append((b, side, side))

    def forward(self, a: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        """(B, c_in, H, W) and a mask (B, *shape) for each of `masked` to (B, c_out, H, W)."""
        levels = [a]
        for layer in self.down:
            levels.append(layer(levels[-1]))
        h = levels.pop()
        for i, layer in enumerate(self.up):
            if i and self.skips:
                h = torch.cat((h, levels[-i]), dim=1)
            h = layer(h)
            if i < len(masks):
                h = h * masks[i]
        return h


class PatchGAN(nn.Sequential):
    """A discriminator of overlapping patches (arXiv 1611.07004): (B, C, H, W) to a map of logits.

    `layers` strided 4x4 convolutions, then two 4x4 convolutions of stride 1. A logit sees a square
    of 16, 34, 70, 142 pixels for 1, 2, 3, 4 layers; 0 layers judge every pixel alone.

    Args:
        channels: Of what it looks at.
        size: Its side.
        ndf: Channels of the first layer; they double up to 8 ndf.
        layers: Strided layers, n.
        norm: "batch" as in pix2pix, "instance" (without parameters) as in CycleGAN.

    Raises:
        ValueError: If the images are too small for as many layers.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        ndf: int,
        layers: int,
        norm: Literal["batch", "instance"] = "batch",
    ) -> None:
        if (size >> layers) < 3 and layers:
            raise ValueError(
                f"a PatchGAN of {layers} layers cannot look at {size}x{size} images: the side "
                f"must be at least {3 << layers}; choose fewer layers"
            )
        make = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
        kernel, padding = (4, 1) if layers else (1, 0)
        first = nn.Conv2d(channels, ndf, kernel, stride=2 if layers else 1, padding=padding)
        modules: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        a = ndf
        for i in range(1, max(layers, 1) + 1):
            b, stride = ndf * min(2**i, 8), 2 if i < layers else 1
            modules += [
                nn.Conv2d(a, b, kernel, stride=stride, padding=padding, bias=False),
                make(b),
                nn.LeakyReLU(0.2),
            ]
            a = b
        super().__init__(*modules, nn.Conv2d(a, 1, kernel, padding=padding))


class ResNetGenerator(nn.Sequential):
    """The generator of CycleGAN (arXiv 1703.10593, after 1603.08155): blocks at a reduced side.

    A k x k convolution to ngf channels, `downs` strided 3x3 convolutions that double them,
    residual blocks, as many transposed convolutions, a k x k convolution, tanh. Instance
    normalisation without parameters, reflected edges.

    Args:
        c_in: Channels of the source.
        c_out: Channels of the image.
        ngf: Channels at the full side.
        downs: How often the side is halved.
        blocks: Residual blocks.
        kernel: Side k of the first and last convolution, odd.
    """

    def __init__(
        self, c_in: int, c_out: int, ngf: int, downs: int, blocks: int, kernel: int
    ) -> None:
        modules = [nn.ReflectionPad2d(kernel // 2), *_normed(nn.Conv2d(c_in, ngf, kernel))]
        c = ngf
        for _ in range(downs):
            modules += _normed(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1))
            c *= 2
        modules += [_Residual(c) for _ in range(blocks)]
        for _ in range(downs):
            modules += _normed(nn.ConvTranspose2d(c, c // 2, 3, 2, padding=1, output_padding=1))
            c //= 2
        modules += [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(c, c_out, kernel), nn.Tanh()]
        super().__init__(*modules)


class _Residual(nn.Module):
    """x + IN(conv(ReLU(IN(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.ReflectionPad2d(1),
            *_normed(nn.Conv2d(channels, channels, 3)),
            nn.ReflectionPad2d(1),
            *_normed(nn.Conv2d(channels, channels, 3))[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.net(x)
        return x + residual


def _normed(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """The convolution without its bias, instance normalisation, ReLU."""
    layer.bias = None
    return [layer, nn.InstanceNorm2d(layer.out_channels), nn.ReLU()]
