"""Where and with what a cell runs, without names of hosts, users or folders."""

import os
import platform
import subprocess
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genbench.record import Environment

__all__ = ["checkout", "environment", "machine", "packages", "peak_bytes", "reset_peak"]

_PACKAGES = ("genbench", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")


def environment(device: str, batch: int, hashes: dict[str, str]) -> Environment:
    """The environment of this process; needs torch.

    Args:
        device: The device that the cell used.
        batch: Images that were sampled at a time.
        hashes: sha256 of the data and of the extractors' weights, by name.
    """
    import torch

    from genbench import dist

    commit, dirty = checkout()
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return Environment(
        commit=commit,
        dirty=dirty,
        packages=packages(),
        machine=machine(),
        device=name,
        threads=torch.get_num_threads(),
        batch=batch,
        world_size=dist.world_size(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        hashes=hashes,
    )


@lru_cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a checkout that is not installed: the commit tells the version
    return found


@lru_cache
def machine() -> dict[str, str | int]:
    """Processor, cores, memory and system."""
    facts: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gib"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@lru_cache
def checkout() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package is run from, and whether it has changes."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", "genbench", "baselines")
    except (OSError, subprocess.SubprocessError):
        return None, None  # no git here, a folder that git does not trust, a slow disk
    return head, bool(changes)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def reset_peak(device: str) -> None:
    """Start measuring the most memory in use from now on."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif os.access("/proc/self/clear_refs", os.W_OK):
        with suppress(OSError):  # some containers show the file and refuse the write
            Path("/proc/self/clear_refs").write_text("5")  # "5" resets VmHWM, see proc(5)


def peak_bytes(device: str) -> int | None:
    """Most memory since `reset_peak`: the device's allocator on CUDA, else this process's."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    return resident_peak()


def resident_peak() -> int | None:
    """Most bytes that this process had in memory at once; None where the system does not tell.

    Of this program alone: what `getrusage` says begins at the peak of the program before `exec`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
