"""VGG16 of torchvision, fc2 after ReLU: the features of improved precision and recall.

Weights: IMAGENET1K_V1. Images are resized to 224 x 224 by TensorFlow 1's bilinear rule and
normalised by ImageNet's means and standard deviations times 255, as in torch-fidelity. Features:
4096.

Source: Kynkaanniemi et al., arXiv 1904.06991; torch-fidelity's `vgg16`, layer `fc2_relu`.
"""

import torch
from torch import Tensor, nn
from torchvision.models import VGG, VGG16_Weights, vgg16

from genbench.features import resizing
from genbench.features.catalog import Request
from genbench.features.chunks import ChunkedExtractor
from genbench.features.weights_file import fill, locate, read_state

__all__ = ["load"]

_SIZE = 224
_URL = str(VGG16_Weights.IMAGENET1K_V1.url)
FILE = _URL.rpartition("/")[2]
_SHA256 = "397923af"
_MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)
_STD = (255 * 0.229, 255 * 0.224, 255 * 0.225)


def load(request: Request) -> ChunkedExtractor:
    """The extractor; see the module.

    With bfloat16, all weights and activations have that type; only the answer is float32.

    Raises:
        WeightsError: For weights that are missing, damaged or of another network.
        ConfigError: For an unknown dtype.
    """
    weights = locate("vgg16", FILE, _URL, request.weights, _SHA256)
    with torch.device("meta"):  # no initial weights, which would draw from the global generator
        net = vgg16(init_weights=False)
    net.to_empty(device="cpu")
    fill(net, read_state(weights, "vgg16"), weights, "vgg16")
    dtype = torch.bfloat16 if request.dtype == "bfloat16" else torch.float32
    return ChunkedExtractor(request, weights, _Network(net, dtype), _prepare, 4096, 0)


class _Network(nn.Module):
    """Of prepared images (B, 3, 224, 224): fc2 after ReLU, without the dropout of training."""

    def __init__(self, net: VGG, dtype: torch.dtype) -> None:
        super().__init__()
        linear = [layer for layer in net.classifier if isinstance(layer, nn.Linear)]
        self.maps = net.features.to(dtype)
        self.dense = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU()).to(dtype)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """See the class; float32 (B, 4096)."""
        # torchvision's pool to 7 x 7 does nothing to maps of that size; rows are channels first
        maps = self.maps(x).contiguous(memory_format=torch.contiguous_format)
        return (self.dense(maps.flatten(1)).float(),)


def _prepare(images: Tensor) -> Tensor:
    x = resizing.tensorflow1(images, _SIZE).expand(-1, 3, -1, -1)
    mean, std = (x.new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return (x - mean) / std
