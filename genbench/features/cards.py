"""The cards and weights files that ship with the package: `weights/NAME.json`, `.safetensors`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from genbench.features.base import WeightsError
from genbench.spec import ConfigError, nearest

__all__ = ["WEIGHTS", "card", "names", "read_weights"]

WEIGHTS = Path(__file__).parent / "weights"


def names(folder: Path = WEIGHTS) -> list[str]:
    """Names of the networks that have a card."""
    return sorted(path.stem for path in folder.glob("*.json"))


def card(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """What is known of a network: the module that defines `load(request)`, sha256, held-out
    accuracy, training, input, how to retrain it.

    Raises:
        ConfigError: For an unknown name, with the nearest one.
    """
    if name not in names(folder):
        raise ConfigError(f"unknown extractor {name!r}; {nearest(name, names(folder))}")
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def read_weights(name: str, folder: Path = WEIGHTS) -> bytes:
    """The bytes of a weights file, checked against the sha256 of the card.

    Raises:
        WeightsError: For a missing file, or one with other content.
    """
    path = folder / f"{name}.safetensors"
    expected = card(name, folder)["sha256"]
    if not path.is_file():
        raise WeightsError(
            f"weights of {name} are missing: no file {path}; install genbench again"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WeightsError(
            f"weights of {name} in {path} have sha256 {found[:12]}..., but the card says "
            f"{expected[:12]}...; install genbench again or train both anew"
        )
    return content
