"""LPIPS: distance of aligned pairs of images in the features of a classifier, weighted by people.

    LPIPS = sum_l mean_hw sum_c w_lc (u_lchw - v_lchw)^2,

u and v being layer l's rectified features of the two images, divided by their length over channels
at each position, and w_l >= 0 fitted to what people found more alike. Lower is better.

Zhang, Isola, Efros, Shechtman, Wang, *The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric*, arXiv 1801.03924. The network and w (version 0.1) are those of the package
`lpips`; the classifier's ImageNet weights are torchvision's.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genbench.metrics.metric import PairMetric
from genbench.metrics.pairs import check_pairs
from genbench.spec import ConfigError, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.features.weights_file import Weights

__all__ = ["PAIR_METRIC", "LpipsOptions", "Network", "lpips", "network"]

_URL = "https://download.pytorch.org/models/"
_CHUNK = 2**18  # pixels of a side looked at together: 4 of 256 x 256 take 0.7 GB in VGG16


@dataclass(frozen=True)
class _Classifier:
    """A classifier of torchvision: its name in metric ids, its weights file, and the height and
    width of the smallest images that its layers leave something of."""

    name: str
    file: str
    least: int

    @property
    def sha256(self) -> str:
        """The start of the file's sha256, which torchvision puts into the file's name."""
        return Path(self.file).stem.rpartition("-")[2]


_CLASSIFIERS = {
    "alex": _Classifier("alexnet", "alexnet-owt-7be5be79.pth", 31),
    "vgg": _Classifier("vgg16", "vgg16-397923af.pth", 16),
    "squeeze": _Classifier("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 17),
}


class LpipsOptions(Spec):
    """Settings of `lpips`.

    Attributes:
        net: Classifier: AlexNet, the authors' choice for judging images; VGG16 without batch
            normalisation; SqueezeNet 1.1. Their numbers cannot be compared with each other.
        weights: The classifier's weights file, in torchvision's format; None looks for it in the
            usual places. Left out of dumps: what the file holds is part of the id, not its path.
    """

    net: Literal["alex", "vgg", "squeeze"] = "alex"
    weights: Path | None = Field(None, exclude=True)


@dataclass(frozen=True)
class Network:
    """A loaded network.

    Attributes:
        module: From two batches (B, 3, H, W) in [-1, 1] to distances (B, 1, 1, 1).
        weights: The classifier's weights file.
    """

    module: Any
    weights: "Weights"


def lpips(made: "Tensor", real: "Tensor", options: LpipsOptions) -> NDArray[np.float64]:
    """LPIPS of each pair, on the device of the images; see the module.

    Values become float32 in [-1, 1] by x / 127.5 - 1; grey images are repeated to three channels.
    Images are not resized. torchmetrics adds 1e-8 to squared lengths where this network adds
    1e-10 to lengths: its values agree to about 1e-5.

    Args:
        made: uint8 of shape (B, C, H, W), C = 1 or 3.
        real: Of the same shape.
        options: The network.

    Returns:
        Values of shape (B,), >= 0; 0 for identical images.

    Raises:
        ValueError: For other types or unequal shapes.
        ConfigError: For images that are too small, or without the package `lpips`.
        WeightsError: For weights that are missing or of another network.
    """
    import torch

    check_pairs(made, real)
    _check_images(made, options)
    module = network(options.net, options.weights).module.to(made.device)
    with torch.inference_mode():
        values = [module(x, y).flatten().double().cpu() for x, y in _chunks(made, real)]
    found: NDArray[np.float64] = torch.cat(values).numpy() if values else np.empty(0)
    return found


@cache
def network(net: str, given: Path | None = None) -> Network:
    """The network in evaluation mode, on the CPU; loaded once for each file.

    Args:
        net: "alex", "vgg" or "squeeze".
        given: The classifier's weights file, or None for the usual places.

    Raises:
        ConfigError: Without the package `lpips`.
        WeightsError: For weights that are missing or of another network.
    """
    from genbench.features.weights_file import fill, locate, read_state

    module = _without_weights(net)
    classifier, title = _CLASSIFIERS[net], f"lpips (net={net})"
    weights = locate(
        title,
        classifier.file,
        _URL + classifier.file,
        given,
        sha256=classifier.sha256,
        option="--weights lpips=FILE",
    )
    # slice2.3.weight here is features.3.weight in the file, whose last layers are not needed
    names = {f"features.{key.partition('.')[2]}": key for key in module.net.state_dict()}
    state = read_state(weights, title)
    features = {names.get(k, k): v for k, v in state.items() if k.startswith("features.")}
    module.net.to_empty(device="cpu")
    fill(module.net, features, weights, title)
    return Network(module, weights)


def _without_weights(net: str) -> Any:
    """The package's network with the package's w, and no memory yet for the classifier."""
    import torch

    try:
        from lpips import LPIPS
    except ImportError as error:
        raise ConfigError(
            f"metric 'lpips' needs the package lpips ({error}); pip install 'genbench[pairs]'"
        ) from None
    with warnings.catch_warnings():
        # the package still asks torchvision for networks by arguments of old
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        with torch.device("meta"):  # else random weights are drawn, which takes seconds
            module = LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    with as_file(files("lpips") / "weights" / "v0.1" / f"{net}.pth") as path:
        state = torch.load(path, map_location="cpu", weights_only=True)
    module.lins.load_state_dict({k.removeprefix("lin"): v for k, v in state.items()}, assign=True)
    return module


def _name(options: LpipsOptions) -> str:
    """The classifier's name; for a file of another content than torchvision's, its sha256 too."""
    weights = network(options.net, options.weights).weights
    name = _CLASSIFIERS[options.net].name
    return name if weights.official else f"{name}/weights={weights.sha256[:8]}"


def _check_images(images: "Tensor", options: LpipsOptions) -> None:
    if images.shape[1] not in (1, 3):
        raise ValueError(f"lpips needs 1 or 3 channels, got images {tuple(images.shape)}")
    (height, width), least = images.shape[2:], _CLASSIFIERS[options.net].least
    if min(height, width) < least:
        raise ConfigError(
            f"lpips with net={options.net} needs images of at least {least} x {least} pixels, got "
            f"{height} x {width}; bring both sides to a larger size with resize=SIZE"
        )


def _chunks(made: "Tensor", real: "Tensor") -> "Iterator[tuple[Tensor, Tensor]]":
    """Some pairs at a time: float32 (P, 3, H, W) in [-1, 1]."""
    count = max(1, _CHUNK // (made.shape[2] * made.shape[3]))
    for i in range(0, len(made), count):
        sides = [t[i : i + count].float() / 127.5 - 1 for t in (made, real)]
        x, y = (side.expand(-1, 3, -1, -1) for side in sides)
        yield x, y


PAIR_METRIC = PairMetric("lpips", "LPIPS", "lower", lpips, LpipsOptions, weights=_name)
