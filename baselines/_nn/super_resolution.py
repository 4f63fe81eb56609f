"""What SRGAN is made of (arXiv 1609.04802): two networks, and the features of its content loss.

To enlarge, a convolution makes four channels for each one of the result, and `PixelShuffle` lays
them out as squares of 2 x 2 pixels, so that most of the work is done at the small side.
"""

import pickle
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines._nn.blocks import halvings

__all__ = ["VGG54", "SRResNet", "bicubic", "discriminator"]

_RELU_54 = 36  # layers of VGG19 up to the ReLU after the fourth convolution of block 5


class SRResNet(nn.Module):
    """The generator of SRGAN.

    A wide convolution, residual blocks with a skip around all of them, a doubling of the side for
    each power of two in `factor`, a wide convolution. The answer is not clamped, so that losses
    keep their gradients.

    Args:
        channels: Of the images.
        factor: 2 or 4, by which the side grows.
        width: Channels inside.
        blocks: Residual blocks.
        batch_norm: After every convolution of the blocks, as in the paper; without it training is
            faster and more accurate (EDSR, arXiv 1707.02921).
        kernel: Side of the first and last convolution, odd; 9 in the paper.
        bicubic_skip: Add the interpolated image, so that only what it lacks has to be learned.
            The paper does not.

    Raises:
        ValueError: For another factor.
    """

    def __init__(
        self,
        channels: int,
        factor: int,
        width: int,
        blocks: int,
        batch_norm: bool = False,
        kernel: int = 5,
        bicubic_skip: bool = True,
    ) -> None:
        super().__init__()
        if factor not in (2, 4):
            raise ValueError(f"images can be enlarged by 2 or by 4, not by {factor}")
        self.factor, self.bicubic_skip = factor, bicubic_skip
        self.head = nn.Sequential(
            nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.PReLU()
        )
        self.body = nn.Sequential(
            *(_Block(width, batch_norm) for _ in range(blocks)), *_conv(width, width, batch_norm)
        )
        up: list[nn.Module] = []
        for _ in range(factor // 2):
            up += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.up = nn.Sequential(*up)
        self.tail = nn.Conv2d(width, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) in [-1, 1] to (B, C, factor h, factor w), near [-1, 1]."""
        h = self.head(x)
        answer: Tensor = self.tail(self.up(h + self.body(h)))
        return answer + bicubic(x, self.factor) if self.bicubic_skip else answer


class _Block(nn.Module):
    """x + conv(PReLU(conv(x)))."""

    def __init__(self, width: int, batch_norm: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *_conv(width, width, batch_norm), nn.PReLU(), *_conv(width, width, batch_norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.net(x)
        return x + residual


def _conv(a: int, b: int, batch_norm: bool) -> list[nn.Module]:
    conv = nn.Conv2d(a, b, 3, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(b)] if batch_norm else [conv]


def bicubic(x: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) to (B, C, factor h, factor w) by bicubic interpolation, a = -1/2, float32."""
    # `antialias` only changes a, which is -3/4 without: the answer to a ramp would be no ramp
    return F.interpolate(x.float(), scale_factor=float(factor), mode="bicubic", antialias=True)


def discriminator(channels: int, size: int, width: int) -> nn.Sequential:
    """SRGAN's discriminator: images (B, C, H, W) to logits (B,).

    At every side a 3x3 convolution and a strided one that halves it, with twice the channels at
    the next side (up to 8 times), until 4 to 7 pixels are left; then two linear layers. Batch
    normalisation but for the first convolution, LeakyReLU 0.2.

    Raises:
        ValueError: If the side cannot be halved like that.
    """
    base, times = halvings(size)
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
    a = width
    for i in range(times):
        b = width << min(i, 3)
        strides = (1, 2) if i else (2,)
        for stride in strides:
            layers += [
                nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.2),
            ]
            a = b
    layers += [
        nn.Flatten(),
        nn.Linear(a * base * base, 16 * width),
        nn.LeakyReLU(0.2),
        nn.Linear(16 * width, 1),
        nn.Flatten(0),
    ]
    return nn.Sequential(*layers)


class VGG54:
    """phi_54 / 12.75 of images in [-1, 1], by a frozen VGG19 (arXiv 1409.1556).

    No module of a family: its weights are in no optimizer, no average and no checkpoint.

    Args:
        path: torchvision's file, a state dict with `features.0.weight` and so on.
        size: Side of the images; four poolings halve it.

    Raises:
        ValueError: If the images are too small, or the file is not what it should be.
    """

    def __init__(self, path: str, size: int) -> None:
        from torchvision.models import vgg19  # a second that only this needs

        if size < 16:
            raise ValueError(
                f"features of VGG19 need images of at least 16 pixels, not {size}; choose content"
                " 'mse'"
            )
        with torch.device("meta"):  # half a gigabyte would be drawn and thrown away
            self.net = vgg19(weights=None).features[:_RELU_54]
        self.net.load_state_dict(_read_vgg19(path, self.net), assign=True)
        self.net.eval().requires_grad_(False)
        self.mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # of ImageNet, in [0, 1]
        self.std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) in [-1, 1] to (B, 512, H // 16, W // 16), >= 0."""
        net, mean, std = self.net.to(x.device), self.mean.to(x.device), self.std.to(x.device)
        phi: Tensor = net(((x.expand(-1, 3, -1, -1) + 1) / 2 - mean) / std)
        return phi / 12.75


# What torch has been seen to raise on a damaged file: it checks little of what it unpickles.
_DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError),
    *(MemoryError, OSError, RuntimeError, TypeError, ValueError, pickle.PickleError, struct.error),
)


def _read_vgg19(path: str, net: nn.Module) -> dict[str, Tensor]:
    """The weights of `net`, float32, out of a file of the whole network."""
    try:
        file = Path(path).expanduser()
        if file.exists() and not file.is_file():  # to read a pipe may take for ever
            raise OSError("it is no file")
        whole = torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        reason = repr(str(error).partition("\n")[0] or type(error).__name__)[1:-1]
        raise ValueError(f"cannot read vgg_weights {path!r}: {reason}") from error
    for key, weight in net.state_dict().items():
        found = whole.get(f"features.{key}") if isinstance(whole, dict) else None
        if not isinstance(found, Tensor) or found.shape != weight.shape:
            raise ValueError(
                f"vgg_weights {path!r} is not the state dict of torchvision's vgg19: it has no "
                f"'features.{key}' of shape {tuple(weight.shape)}"
            )
    return {key: whole[f"features.{key}"].float() for key in net.state_dict()}
