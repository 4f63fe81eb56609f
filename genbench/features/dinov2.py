"""DINOv2 ViT-L/14 (Oquab et al., arXiv 2304.07193), prepared as dgm-eval prepares images.

Stein et al., *Exposing flaws of generative model evaluation metrics and their unfair treatment of
diffusion models*, arXiv 2306.04675, measure their Frechet distance in these features: the class
token after the last norm, 1024 numbers, of images resized to 224x224.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, to_tensor

from genbench.features.base import Features, check_images
from genbench.features.catalog import Request
from genbench.features.pillow import prepare
from genbench.features.weights_file import Weights, fill, locate, read_state
from genbench.spec import ConfigError

__all__ = [
    "FILE",
    "LARGE",
    "PREPROCESSING",
    "SHA256",
    "URL",
    "DinoExtractor",
    "Size",
    "load",
    "resized_positions",
]

PREPROCESSING = (
    "grey repeated to RGB; Pillow's bicubic, antialiased resizing to 224x224, whatever the shape; "
    "uint8 / 255; minus ImageNet's mean, over its std"
)
FILE = "dinov2_vitl14_pretrain.pth"
URL = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/{FILE}"
SHA256 = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"

_NAME = "dinov2"
_PIXELS = 224
_PATCH = 14
_OFFSET = 0.1  # what the official code adds to the number of patches before it divides
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Size:
    """Depth, width and number of heads of a vision transformer."""

    depth: int
    width: int
    heads: int


LARGE = Size(depth=24, width=1024, heads=16)


class DinoExtractor(nn.Module):
    """An `Extractor` around the network; see there for the attributes."""

    def __init__(self, net: nn.Module, dim: int, weights: Weights) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.name = _NAME
        self.protocol = ""
        self.dim = dim
        self.classes = 0
        self.class_names: tuple[str, ...] = ()
        self.sha256 = weights.sha256
        self.official = weights.official
        self.settings: dict[str, str] = {}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Features of uint8 images of shape (B, C, H, W), C = 1 or 3.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()  # dropout would make features a matter of chance
        x = prepare(images, _prepared).to(next(self.net.parameters()).device)
        tokens = cast(Any, self.net).forward_features(x)  # after the norm
        return Features(tokens[:, 0].float())


def load(request: Request) -> DinoExtractor:
    """The network with Meta's weights, or those of a file of the user's; see `features.load`."""
    if request.compiled or request.dtype != "float32":
        raise ConfigError(f"{_NAME} runs in float32 only; leave out compile and dtype")
    net = build(_timm(), LARGE)
    weights = locate(_NAME, FILE, URL, request.weights, SHA256)
    state = resized_positions(read_state(weights, _NAME))
    state.pop("mask_token", None)  # only training masks patches; all other names are timm's too
    fill(net, state, weights, _NAME)
    return DinoExtractor(net, LARGE.width, weights)


def build(timm: ModuleType, size: Size) -> nn.Module:
    """The untrained network for 224x224 pixels, as timm defines it."""
    net: nn.Module = timm.create_model(
        "vit_large_patch14_dinov2",
        pretrained=False,
        num_classes=0,
        img_size=_PIXELS,
        depth=size.depth,
        embed_dim=size.width,
        num_heads=size.heads,
    )
    return net


def resized_positions(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights whose position embedding fits 16x16 patches, from one for M x M, usually 37x37.

    Resized as the official code does it in every forward pass: bicubic without antialiasing, by
    the scale (16 + 0.1) / M rather than 16 / M. The class token's position stays as it is.
    timm's own resizing antialiases, which gives other features.
    """
    positions, wanted = state.get("pos_embed"), _PIXELS // _PATCH
    if positions is None or positions.ndim != 3:
        return state  # of another network; `fill` says so
    grid = round((positions.shape[1] - 1) ** 0.5)
    if grid == wanted or grid**2 != positions.shape[1] - 1:
        return state
    table = positions[:, 1:].float().reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    scale = (wanted + _OFFSET) / grid
    table = F.interpolate(table, scale_factor=(scale, scale), mode="bicubic")
    table = table.permute(0, 2, 3, 1).flatten(1, 2)
    return {**state, "pos_embed": torch.cat((positions[:, :1].float(), table), 1)}


def _prepared(image: Image.Image) -> Tensor:
    """One image as in `PREPROCESSING`, float32 of shape (3, 224, 224)."""
    resized = image.resize((_PIXELS, _PIXELS), Image.Resampling.BICUBIC).convert("RGB")
    x: Tensor = normalize(to_tensor(resized), list(_MEAN), list(_STD))
    return x


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise ConfigError(
            f"extractor {_NAME} needs the package timm; pip install 'genbench[clip]'"
        ) from None
    module: ModuleType = timm
    return module
