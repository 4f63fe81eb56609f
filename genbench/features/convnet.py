"""Small convolutional classifiers whose penultimate layer serves as features.

3x3 convolutions with batch normalisation and ReLU, then the average over positions, then a linear
layer: as in Inception, features are averages of rectified maps, so they keep more of an image's
look than the class alone. Features are scaled so that the total variance of the training images
is 100: a Frechet distance of 100 is what a single point at the mean of all features would get.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from genbench.features.base import Features, check_images
from genbench.features.cards import WEIGHTS, card, read_weights
from genbench.features.catalog import Request, check_plain

__all__ = ["PREPROCESSING", "TOTAL_VARIANCE", "ConvExtractor", "ConvNet", "load_convnet"]

PREPROCESSING = (
    "uint8 / 255; RGB to grey by 0.299 R + 0.587 G + 0.114 B; other sizes resized by bilinear, "
    "antialiased interpolation; minus mean, over std of the training pixels"
)
TOTAL_VARIANCE = 100.0
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L


class ConvNet(nn.Module):
    """The network.

    Buffers `mean` and `std` are those of the training pixels, `scale` that of the features: they
    are part of the weights file, so that its sha256 covers them.

    Args:
        size: Height and width of its input.
        layers: Channels and stride of each convolution; the last channels are the features.
        classes: Number of classes.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, size: int, layers: Sequence[tuple[int, int]], classes: int) -> None:
        super().__init__()
        self.size = size
        blocks: list[nn.Module] = []
        width = 1
        for channels, stride in layers:
            conv = nn.Conv2d(width, channels, 3, stride=stride, padding=1, bias=False)
            blocks += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
            width = channels
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(width, classes)
        for name, value in (("mean", 0.0), ("std", 1.0), ("scale", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W), C = 1 or 3, to float32 (B, 1, size, size); see `PREPROCESSING`."""
        x = images.to(self.mean.device, torch.float32) / 255
        if x.shape[1] == 3:
            weights = x.new_tensor(_GREY).view(1, 3, 1, 1)
            x = (x * weights).sum(1, keepdim=True)
        if x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return (x - self.mean) / self.std

    def features(self, x: Tensor) -> Tensor:
        """Features (B, D) of prepared images."""
        maps: Tensor = self.body(x)
        return maps.mean((2, 3)) * self.scale

    def logits(self, features: Tensor) -> Tensor:
        """Class scores (B, K) of features."""
        scores: Tensor = self.head(features / self.scale)
        return scores


class ConvExtractor(nn.Module):
    """An `Extractor` around a trained `ConvNet`; see there for the attributes."""

    def __init__(
        self, net: ConvNet, name: str, sha256: str, class_names: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.name = name
        self.protocol = ""
        self.dim = net.head.in_features
        self.classes = net.head.out_features
        self.class_names = tuple(class_names)
        self.sha256 = sha256
        self.official = True
        self.settings: dict[str, str] = {}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Features of uint8 images of shape (B, C, H, W), C = 1 or 3.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()  # batch statistics would let images of one batch change each other's features
        features = self.net.features(self.net.prepare(images))
        return Features(features, self.net.logits(features).softmax(1))


def build(card: dict[str, Any]) -> ConvNet:
    """The untrained network that a card describes."""
    layers = [(int(channels), int(stride)) for channels, stride in card["layers"]]
    return ConvNet(card["size"], layers, card["classes"])


def load(request: Request) -> ConvExtractor:
    """A network that ships with genbench; see `features.load`."""
    check_plain(request)
    return load_convnet(request.name)


def load_convnet(name: str, folder: Path = WEIGHTS) -> ConvExtractor:
    """A trained network, its weights checked against its card; for errors see `features.load`."""
    about = card(name, folder)
    content = read_weights(name, folder)
    net = build(about)
    net.load_state_dict(load_safetensors(content))
    return ConvExtractor(net, name, about["sha256"], about["class_names"])
