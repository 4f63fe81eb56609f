"""Inception-v3 of 2015-12-05, the network of FID, IS, KID and sFID; in three preprocessings.

The network is that of torch-fidelity: TF-slim's Inception-v3 with 1008 classes, whose average
pools leave padding out of the mean and whose last block pools by the maximum. It is rebuilt from
torch-fidelity's blocks for speed, with the same function up to rounding:

- batch normalisation is folded into the convolutions, which run with channels last;
- a block's 1x1 convolutions of its input are one convolution;
- the 1x1 convolution after an average pool goes before it, since both are linear and the pool
  averages inside the image only: the pool then reads a quarter of the channels.

Protocols (x is the image in [0, 255], all resize to 299 x 299):

    tf1           TensorFlow 1's bilinear without half-pixel centres, (x - 128) / 128
    pytorch-fid   x / 255, bilinear with half-pixel centres, 2 x - 1
    clean         Pillow's antialiased bicubic in float32, clipped, (x - 128) / 128

Answers: `features`, pool3, 2048; `probs`, softmax of the logits without bias, 1008; `spatial`, as
sFID reads it (Nash et al., arXiv 2103.03841): the first 7 channels of "mixed_6/conv" of the 2015
graph, which is the ReLU output of the 1x1 branch of Mixed_6d here, 17 x 17 x 7 = 2023.

With bfloat16, weights and activations have that type, up to the last block; pool3 is averaged and
everything after it computed in float32.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity import feature_extractor_inceptionv3 as peer

from genbench.features import resizing
from genbench.features.catalog import Request
from genbench.features.chunks import ChunkedExtractor
from genbench.features.weights_file import fill, locate, read_state

__all__ = ["PROTOCOLS", "load"]

_SIZE = 299
_URL = peer.URL_INCEPTION_V3
FILE = _URL.rpartition("/")[2]
_SHA256 = "6726825d"
ALSO = ("pt_inception-2015-12-05-6726825d.pth",)  # pytorch-fid's name for the same file
_SPATIAL = 7  # channels


def load(request: Request) -> ChunkedExtractor:
    """The extractor; see the module.

    Raises:
        WeightsError: For weights that are missing, damaged or of another network.
        ConfigError: For an unknown dtype.
    """
    weights = locate("inception", FILE, _URL, request.weights, _SHA256, ALSO)
    with torch.device("meta"):  # no initial weights, which would draw from the global generator
        original = _Original()
    original.to_empty(device="cpu").eval()
    fill(original, read_state(weights, "inception"), weights, "inception")
    dtype = torch.bfloat16 if request.dtype == "bfloat16" else torch.float32
    network = _Network(original, dtype)
    return ChunkedExtractor(request, weights, network, PROTOCOLS[request.protocol], 2048, 1008)


def _tf1(images: Tensor) -> Tensor:
    return resizing.tensorflow1(images, _SIZE).sub_(128).div_(128)


def _pytorch_fid(images: Tensor) -> Tensor:
    return resizing.half_pixel(images.to(torch.float32) / 255, _SIZE).mul_(2).sub_(1)


def _clean(images: Tensor) -> Tensor:
    return resizing.clean(images, _SIZE).sub_(128).div_(128)


PROTOCOLS = {"tf1": _tf1, "pytorch-fid": _pytorch_fid, "clean": _clean}


class _Original(nn.Module):
    """The modules under the names that the weights file has for them; not meant to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = peer.BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = peer.BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = peer.BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = peer.BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = peer.BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = peer.InceptionA(192, pool_features=32)
        self.Mixed_5c = peer.InceptionA(256, pool_features=64)
        self.Mixed_5d = peer.InceptionA(288, pool_features=64)
        self.Mixed_6a = peer.InceptionB(288)
        self.Mixed_6b = peer.InceptionC(768, channels_7x7=128)
        self.Mixed_6c = peer.InceptionC(768, channels_7x7=160)
        self.Mixed_6d = peer.InceptionC(768, channels_7x7=160)
        self.Mixed_6e = peer.InceptionC(768, channels_7x7=192)
        self.Mixed_7a = peer.InceptionD(768)
        self.Mixed_7b = peer.InceptionE_1(1280)
        self.Mixed_7c = peer.InceptionE_2(2048)
        self.fc = nn.Linear(2048, 1008)


class _Network(nn.Module):
    """Of prepared images (B, 3, 299, 299): pool3, class probabilities, spatial features."""

    def __init__(self, net: _Original, dtype: torch.dtype) -> None:
        super().__init__()
        self.lower = nn.Sequential(
            _conv(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3),
            nn.MaxPool2d(3, 2),
            _conv(net.Conv2d_3b_1x1, net.Conv2d_4a_3x3),
            nn.MaxPool2d(3, 2),
            *(_mixed_5(b) for b in (net.Mixed_5b, net.Mixed_5c, net.Mixed_5d)),
            _mixed_6a(net.Mixed_6a),
            *(_mixed_6(b) for b in (net.Mixed_6b, net.Mixed_6c)),
        ).to(dtype)
        self.mixed_6d = _mixed_6(net.Mixed_6d).to(dtype)
        self.upper = nn.Sequential(
            _mixed_6(net.Mixed_6e),
            _mixed_7a(net.Mixed_7a),
            _mixed_7(net.Mixed_7b, _AveragedConv(net.Mixed_7b.branch_pool)),
            _mixed_7(
                net.Mixed_7c,
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _conv(net.Mixed_7c.branch_pool)),
            ),
        ).to(dtype)
        self.classes = nn.Parameter(net.fc.weight.detach())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class; float32 (B, 2048), (B, 1008), (B, 2023)."""
        x = self.lower(x)
        heads = self.mixed_6d.heads(x)
        spatial = heads[:, :_SPATIAL].permute(0, 2, 3, 1).float().flatten(1)
        x = self.upper(self.mixed_6d.finish(x, heads))
        features = x.float().mean((2, 3))
        return features, F.linear(features, self.classes).softmax(1), spatial


class _Mixed(nn.Module):
    """An Inception block: 1x1 convolutions of its input, something on each of them, and a pool.

    Args:
        heads: torch-fidelity's modules for the 1x1 convolutions.
        tails: What follows each.
        pool: The branch that starts with a pool.
    """

    def __init__(
        self, heads: Sequence[peer.BasicConv2d], tails: Sequence[nn.Module], pool: nn.Module
    ) -> None:
        super().__init__()
        folded = [_folded(head) for head in heads]
        self.widths = [conv.out_channels for conv in folded]
        conv = nn.Conv2d(folded[0].in_channels, sum(self.widths), 1, device="meta")
        states = [each.state_dict() for each in folded]
        merged = {key: torch.cat([state[key] for state in states]) for key in states[0]}
        conv.load_state_dict(merged, assign=True)
        self.heads = nn.Sequential(conv, nn.ReLU(inplace=True))
        self.tails = nn.ModuleList(tails)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x, self.heads(x))

    def finish(self, x: Tensor, heads: Tensor) -> Tensor:
        """The block's output, from its input and what `heads` says of it."""
        parts = zip(self.tails, torch.split(heads, self.widths, 1), strict=True)
        return torch.cat([*(tail(part) for tail, part in parts), self.pool(x)], 1)


class _Parallel(nn.Module):
    """Several modules on one input, their channels together."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _AveragedConv(nn.Module):
    """3x3 average pool, 1x1 convolution and ReLU; the convolution first, which is the same."""

    def __init__(self, block: peer.BasicConv2d) -> None:
        super().__init__()
        self.conv = _folded(block)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(x), 3, 1, 1, count_include_pad=False).relu_()


def _mixed_5(block: peer.InceptionA) -> _Mixed:
    return _Mixed(
        [block.branch1x1, block.branch5x5_1, block.branch3x3dbl_1],
        [
            nn.Identity(),
            _conv(block.branch5x5_2),
            _conv(block.branch3x3dbl_2, block.branch3x3dbl_3),
        ],
        _AveragedConv(block.branch_pool),
    )


def _mixed_6a(block: peer.InceptionB) -> _Parallel:
    return _Parallel(
        _conv(block.branch3x3),
        _conv(block.branch3x3dbl_1, block.branch3x3dbl_2, block.branch3x3dbl_3),
        nn.MaxPool2d(3, 2),
    )


def _mixed_6(block: peer.InceptionC) -> _Mixed:
    double = (getattr(block, f"branch7x7dbl_{i}") for i in (2, 3, 4, 5))
    return _Mixed(
        [block.branch1x1, block.branch7x7_1, block.branch7x7dbl_1],
        [nn.Identity(), _conv(block.branch7x7_2, block.branch7x7_3), _conv(*double)],
        _AveragedConv(block.branch_pool),
    )


def _mixed_7a(block: peer.InceptionD) -> _Mixed:
    return _Mixed(
        [block.branch3x3_1, block.branch7x7x3_1],
        [
            _conv(block.branch3x3_2),
            _conv(block.branch7x7x3_2, block.branch7x7x3_3, block.branch7x7x3_4),
        ],
        nn.MaxPool2d(3, 2),
    )


def _mixed_7(block: peer.InceptionE_1 | peer.InceptionE_2, pool: nn.Module) -> _Mixed:
    single = _Parallel(_conv(block.branch3x3_2a), _conv(block.branch3x3_2b))
    double = _Parallel(_conv(block.branch3x3dbl_3a), _conv(block.branch3x3dbl_3b))
    return _Mixed(
        [block.branch1x1, block.branch3x3_1, block.branch3x3dbl_1],
        [nn.Identity(), single, nn.Sequential(_conv(block.branch3x3dbl_2), double)],
        pool,
    )


def _conv(*blocks: peer.BasicConv2d) -> nn.Sequential:
    """Convolutions with batch normalisation folded in, each with its ReLU."""
    layers = [layer for b in blocks for layer in (_folded(b), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers)


def _folded(block: peer.BasicConv2d) -> nn.Conv2d:
    conv: nn.Conv2d = fuse_conv_bn_eval(block.conv, block.bn)
    return conv
