"""`scenes-parser`: reads what a picture of `scenes` shows, pixel by pixel and object by object.

An extractor like any other: its features are the means over positions of the last and of the
deepest maps, its classes those of the dataset's label. Besides, it reads images: `read`.
"""

from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from genbench.data.scenes import SHAPES
from genbench.features.base import Features, check_images
from genbench.features.cards import WEIGHTS, card, read_weights
from genbench.features.catalog import Request, check_plain
from genbench.features.scenes_net import SceneNet
from genbench.features.scenes_reading import Reading, read_maps

__all__ = ["Reading", "ScenesParser", "load", "load_parser"]

NAME = "scenes-parser"
_CHUNK = 256  # images whose maps are in memory at once


class ScenesParser(nn.Module):
    """An `Extractor` that reads images; see there for the attributes."""

    def __init__(self, net: SceneNet, sha256: str) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.name = NAME
        self.protocol = ""
        self.dim = net.dim
        self.classes = len(SHAPES)
        self.class_names = tuple(SHAPES)
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
        maps = self.net(self.net.prepare(images))
        return Features(maps.features, maps.probs)

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """What uint8 images of shape (N, C, H, W), C = 1 or 3, show; on the CPU.

        Trained for 32 x 32 pixels. Other sizes are resized to that and the maps back, so that
        positions and areas mean the same; the card says how well that works.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()
        height, width = images.shape[2:]
        chunks = torch.split(images, _CHUNK)
        maps = (self.net(self.net.prepare(chunk)).resized(height, width) for chunk in chunks)
        return Reading.join([read_maps(each) for each in maps])


def load(request: Request) -> ScenesParser:
    """The network that ships with genbench; see `features.load`."""
    check_plain(request)
    return load_parser()


def load_parser(folder: Path = WEIGHTS) -> ScenesParser:
    """The trained network, its weights checked by its card; for errors see `features.load`."""
    about = card(NAME, folder)
    content = read_weights(NAME, folder)
    net = SceneNet(about["widths"])
    net.load_state_dict(load_safetensors(content))
    return ScenesParser(net, about["sha256"])
