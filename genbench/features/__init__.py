"""Networks that turn images into features and class probabilities; listing them loads no torch."""

from typing import TYPE_CHECKING

from genbench.features.base import Extractor, Features, WeightsError
from genbench.features.cards import card, names

__all__ = ["Extractor", "Features", "WeightsError", "card", "load", "names"]

if TYPE_CHECKING:
    from genbench.features.convnet import ConvExtractor


def load(name: str) -> "ConvExtractor":
    """The network, on the CPU and in evaluation mode, its weights checked against its card.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
        WeightsError: For weights that are missing or not the ones of the card.
    """
    from genbench.features.convnet import load_convnet  # loads torch

    return load_convnet(name)
