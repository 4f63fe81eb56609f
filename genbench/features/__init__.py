"""Networks that turn images into features and class probabilities; listing them loads no torch."""

from importlib import import_module
from pathlib import Path

from genbench.features.base import Extractor, Features, TextExtractor, WeightsError
from genbench.features.cards import card, names
from genbench.features.catalog import NETWORKS, Request, describe, parse
from genbench.features.purpose import unfit, unsure

__all__ = [
    "NETWORKS",
    "Extractor",
    "Features",
    "Request",
    "TextExtractor",
    "WeightsError",
    "card",
    "classifies",
    "describe",
    "load",
    "names",
    "parse",
    "reads_text",
    "unfit",
    "unsure",
]


def classifies(name: str) -> bool:
    """Whether a network gives class probabilities; of a user's own that is known once it runs."""
    if name in names():
        return bool(card(name)["classes"])
    return NETWORKS[name].classes > 0 if name in NETWORKS else True


def reads_text(name: str) -> bool:
    """Whether a network reads captions; of a user's own that is known once it runs."""
    if name in names():
        return bool(card(name).get("text", False))
    return NETWORKS[name].text if name in NETWORKS else True


def load(
    name: str | Request,
    weights: Path | None = None,
    dtype: str = "float32",
    compiled: bool = False,
) -> Extractor:
    """The network, on the CPU and in evaluation mode, its weights checked; see `catalog`.

    Args:
        name: E.g. "digits-cnn", "inception/clean", "open_clip:ViT-B-32:openai", "net.py:Net".
        weights: A weights file of the user's, for networks that genbench does not ship.
        dtype: "float32" or "bfloat16".
        compiled: Compile the network first, where that is offered.

    Raises:
        ConfigError: For an unknown name, with the nearest one, or an option that it does not have.
        WeightsError: For weights that are missing or not the ones that the name stands for.
    """
    request = parse(name, weights, dtype, compiled) if isinstance(name, str) else name
    if request.name in names():
        module = card(request.name)["module"]
    elif request.name in NETWORKS:
        module = NETWORKS[request.name].module
    else:
        module = "genbench.features.user"
    extractor: Extractor = import_module(module).load(request)  # loads torch
    return extractor
