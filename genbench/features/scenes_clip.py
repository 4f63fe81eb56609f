"""`scenes-clip`: a CLIP for pictures of `scenes` and their captions.

Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, arXiv
2103.00020. The class is open_clip's, with a small ResNet and a small transformer; the words are
those of `genbench.data.scenes.VOCABULARY`. The weights are kept in half precision and computed
with in float32. Features are not normalised, which is the metrics' work, and scaled so that the
total variance of the training images is 100.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from genbench.data.scenes import LENGTH, VOCABULARY, encode
from genbench.features.base import Features, check_images
from genbench.features.cards import WEIGHTS, card, read_weights
from genbench.features.catalog import Request, check_plain
from genbench.spec import ConfigError

__all__ = [
    "MODEL",
    "PREPROCESSING",
    "ScenesClip",
    "build",
    "load",
    "load_clip",
    "prepare",
    "tokens",
]

NAME = "scenes-clip"
SIZE = 32  # pixels on each side, as the dataset has them
START, END = len(VOCABULARY), len(VOCABULARY) + 1  # the text network looks at the highest token
PREPROCESSING = (
    "uint8 / 127.5 - 1; grey repeated to RGB; other sizes than 32 x 32 resized by bilinear, "
    "antialiased interpolation; then 64 x 64 by bilinear interpolation"
)
MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 2 * SIZE, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "text_cfg": {
        "context_length": LENGTH + 2,
        "vocab_size": len(VOCABULARY) + 2,
        "width": 96,
        "heads": 4,
        "layers": 3,
    },
}
_CAPTIONS = 512  # encoded at a time


class ScenesClip(nn.Module):
    """A `TextExtractor`; see there for the attributes."""

    def __init__(self, net: nn.Module, dim: int, sha256: str) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        self.name = NAME
        self.protocol = ""
        self.dim = dim
        self.classes = 0
        self.class_names: tuple[str, ...] = ()
        self.sha256 = sha256
        self.official = True
        self.settings: dict[str, str] = {}

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Embeddings of uint8 images of shape (B, C, H, W), C = 1 or 3.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()  # batch statistics would let images of one batch change each other's features
        x = prepare(images.to(next(self.net.parameters()).device))
        return Features(cast(Any, self.net).encode_image(x))

    @torch.no_grad()
    def text(self, captions: Sequence[str]) -> Tensor:
        """Embeddings of captions, float32 of shape (B, D); equal captions have equal ones.

        Raises:
            ConfigError: For unknown words, with the nearest ones, and captions that are too long.
        """
        self.eval()
        device = next(self.net.parameters()).device
        place = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
        parts = [torch.empty(0, self.dim, device=device)]
        for part in torch.split(tokens(list(place)).to(device), _CAPTIONS):
            parts.append(cast(Any, self.net).encode_text(part))
        return torch.cat(parts)[[place[caption] for caption in captions]]

    def too_long(self, captions: Sequence[str]) -> list[int]:
        """Nothing: `text` refuses captions that it could read only in part."""
        return []


def prepare(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W), C = 1 or 3, to float32 (B, 3, 64, 64); see `PREPROCESSING`."""
    x = images.to(torch.float32) / 127.5 - 1
    if x.shape[2:] != (SIZE, SIZE):
        x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
    return F.interpolate(x.expand(-1, 3, -1, -1), scale_factor=2.0, mode="bilinear")


def tokens(captions: list[str]) -> Tensor:
    """int64 (B, 30): the start, the words' places in `VOCABULARY`, the end, zeros.

    Raises:
        ConfigError: For unknown words, with the nearest ones, and captions that are too long.
    """
    words = encode(captions)
    rows = F.pad(words, (1, 1))
    rows[:, 0] = START
    rows[torch.arange(len(rows)), 1 + (words > 0).sum(1)] = END
    return rows


def build(model: dict[str, Any]) -> nn.Module:
    """open_clip's untrained network of these settings.

    Raises:
        ConfigError: If open_clip is not installed.
    """
    try:
        from open_clip.model import CLIP
    except ImportError:
        raise ConfigError(
            f"extractor {NAME} needs the package open_clip_torch; pip install 'genbench[clip]'"
        ) from None
    with torch.random.fork_rng(devices=[]):  # initial weights come from the global generator
        torch.default_generator.manual_seed(0)
        net: nn.Module = CLIP(**model)
    return net


def load(request: Request) -> ScenesClip:
    """The network that ships with genbench; see `features.load`."""
    check_plain(request)
    return load_clip()


def load_clip(folder: Path = WEIGHTS) -> ScenesClip:
    """The trained network, its weights checked by its card; for errors see `features.load`."""
    about = card(NAME, folder)
    content = read_weights(NAME, folder)
    net = build(about["model"])
    net.load_state_dict(load_safetensors(content))  # halves become float32
    return ScenesClip(net, about["dim"], about["sha256"])
