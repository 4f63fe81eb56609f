"""The unit of work as a command.

    python -m genbench.worker CELL.json --out DIR            one cell
    torchrun -n 2 -m genbench.worker CELL.json --out DIR     one cell on two ranks

Executors run their cells by `genbench.forkserver`.

Exit codes: 0 ok, 2 the results folder or the input is unusable, 3 the cell failed,
130 interrupted.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from genbench.environment import checkout
from genbench.runtime import Runtime
from genbench.spec import Cell, ConfigError, nearest, parse
from genbench.store import Store, StoreError
from genbench.terminal import finish, result, say, settle

__all__ = ["check_device", "configure", "devices", "import_for", "main"]

_NEEDED = (
    "genbench.features.convnet",
    "genbench.pipeline",
    "safetensors.numpy",
    "safetensors.torch",
    "scipy.linalg",
    "scipy.special",
)
_TO_TRAIN = (
    "sklearn",  # which sets variables of the environment; some families fit by it
    "torch._dynamo",  # which every optimizer imports
)


def import_for(trains: bool) -> None:
    """Import what cells need: some of it changes what all in one process share.

    Args:
        trains: Whether they train; what only that needs takes as long as torch itself.
    """
    for name in (*_NEEDED, *(_TO_TRAIN if trains else ())):
        importlib.import_module(name)


def configure(runtime: Runtime) -> None:
    """Make torch ready: device, threads, determinism. Changes `runtime.device` from "auto"."""
    # read by cuBLAS when it starts; without it deterministic CUDA matrix products are refused
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    if runtime.device in ("auto", "cuda"):
        runtime.device = devices(runtime.device)[0]
        if runtime.device != "cpu":
            runtime.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    check_device(runtime.device)
    if runtime.device.startswith("cuda"):
        torch.cuda.set_device(runtime.device)  # where "cuda" alone means the first one
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    checkout()  # now: a commit that is made while cells run is not what they ran
    # the same as `use_deterministic_algorithms`, which imports torch's compiler as well: 1.6 s
    torch.set_deterministic_debug_mode("warn")
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # for whoever compiles all the same
    # TensorFloat-32 and benchmark mode change results from run to run or from card to card
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def devices(device: str) -> list[str]:
    """The devices that a name stands for: "cuda" and "auto" for all of CUDA's there are."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cuda:0"]
    return [device]


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: With the devices that it has.
    """
    import torch

    there = ["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if device not in there and not (device == "cuda" and len(there) > 2):
        raise ConfigError(f"no device {device!r} here; {nearest(device, there)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line that the module's docstring shows."""
    arguments = _parser().parse_args(argv)
    runtime = Runtime(
        out=arguments.out,
        device=arguments.device,
        threads=arguments.threads,
        data_root=arguments.data_root,
        batch=arguments.batch,
        timeout=arguments.timeout,
        checkpoint_seconds=arguments.checkpoint_seconds,
    )
    store = Store(arguments.out, _warn, mends=True)
    try:
        with runtime.interrupts.installed():
            return _single(arguments.cell, store, runtime)
    except KeyboardInterrupt:
        return 130
    except (ConfigError, StoreError) as error:
        _warn(str(error))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m genbench.worker", description=__doc__)
    parser.add_argument("cell", nargs="?", type=Path, help="JSON file of a cell")
    parser.add_argument("--out", type=Path, required=True, help="results folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--checkpoint-seconds", type=float, default=15.0)
    return parser


def _warn(message: str) -> None:
    say(f"genbench: {message}")


def _single(path: Path | None, store: Store, runtime: Runtime) -> int:
    if path is None:
        raise ConfigError("name the JSON file of a cell")
    try:
        cell = parse(Cell, json.loads(path.read_text("utf-8")), str(path))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not a cell: {error}") from None
    configure(runtime)
    from genbench import dist
    from genbench.pipeline import run_cell

    with dist.group(runtime.device):
        record = run_cell(cell, store, runtime)
        if dist.rank() == 0:
            result(str(store.record_path(record.key)))
            if record.error is not None:
                _warn(f"{record.status} in stage {record.error.stage}: {record.error.message}")
    return 0 if record.status == "ok" else 3


if __name__ == "__main__":
    settle()
    exit_code = main()
    finish()
    sys.exit(exit_code)
