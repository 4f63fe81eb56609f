"""What the scripts that train genbench's networks have in common: a schedule, weights, cards."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

__all__ = ["initialise", "one_cycle", "without_biases", "write"]

_WARM = 0.15


def one_cycle(progress: float, warm: float = _WARM) -> float:
    """Share of the largest learning rate: up in a line, down as a cosine; progress in [0, 1]."""
    cooled = 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - warm) / (1 - warm))))
    return min(1.0, progress / warm) * cooled


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """He initialisation of matrices and kernels; biases stay as they are."""
    for parameter in net.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)


def without_biases(net: nn.Module) -> None:
    """Set all biases to 0, so that torch's first ones, of the global generator, take no part."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)


def write(folder: Path, name: str, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """NAME.safetensors and NAME.json, the card with the file's size and sha256."""
    kept = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    content = save(kept)
    about = about | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
