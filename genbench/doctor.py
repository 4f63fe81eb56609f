"""What is installed, which device, which weights and data are at hand, and what that allows."""

import importlib.util
import os
import shutil
from pathlib import Path

from genbench import data, features, suite
from genbench.environment import machine, packages
from genbench.spec import ConfigError

__all__ = ["examine"]


def examine(root: Path | None) -> dict[str, dict[str, str]]:
    """Findings by section, each a name and a line of text.

    Args:
        root: Where to look for data, besides the default places.
    """
    named = [name for name in data.names() if name not in data.FOLDERS]
    available = {name: data.available(name, root) for name in named}
    return {
        "machine": _machine(),
        "packages": packages(),
        "data": {
            name: "at hand" if there else "not here: downloaded on first use, or data.root=PATH"
            for name, there in available.items()
        }
        | {name: data.describe()[name] for name in data.FOLDERS},
        "extractors": {name: _extractor(name) for name in features.names()}
        | {name: _network(name) for name in features.NETWORKS},
        "suites": {name: _suite(name, available) for name in suite.names()},
    }


def _machine() -> dict[str, str]:
    facts = {name: str(value) for name, value in machine().items()}
    facts["device"] = _device()
    facts["free disk"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB"
    if not os.access(Path.cwd(), os.W_OK):
        facts["free disk"] += ", but this folder is read-only: use --out"
    return facts


def _device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: only ls, report and doctor work"
    import torch

    if not torch.cuda.is_available():
        return f"cpu, {torch.get_num_threads()} threads; no CUDA device"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names)


def _extractor(name: str) -> str:
    try:
        features.load(name)
    except (features.WeightsError, ConfigError) as error:
        return f"unusable: {error}"
    card = features.card(name)
    accuracy = f"held-out accuracy {card['test_accuracy']:.2%}"
    return f"weights at hand, sha256 {card['sha256'][:12]}, {accuracy}"


def _network(name: str) -> str:
    """Of a network that genbench does not ship: whether it could be used at once."""
    files, arguments = features.NETWORKS[name].files, features.NETWORKS[name].arguments
    if arguments:
        if importlib.util.find_spec(name) is None:
            return "not installed: pip install 'genbench[clip]'"
        return f"installed; weights are those of {':'.join((name, *arguments))}"
    if not files:
        return "needs no weights"
    from genbench.features.weights_file import at_hand  # loads torch

    try:
        path = at_hand(files)
    except features.WeightsError as error:
        return f"unusable: {error}"
    if path is None:
        return "weights not here: downloaded on first use, or --weights FILE, or GENBENCH_WEIGHTS"
    return f"weights at hand: {path}"


def _suite(name: str, available: dict[str, bool]) -> str:
    parts = suite.parts(name)
    needed = {part.dataset.partition("@")[0].partition(":")[0]: part.optional for part in parts}
    absent = {name: optional for name, optional in needed.items() if not available.get(name, True)}
    if not absent:
        return "can run offline"
    said = f"{', '.join(absent)}: a network, or data.root=PATH"
    return f"can run offline, but for {said}" if all(absent.values()) else f"needs {said}"
