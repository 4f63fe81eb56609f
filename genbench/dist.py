"""Data parallelism under torchrun's environment, without wrapper classes.

One process is the special case of world size 1, in which every function here does nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch import distributed as td

__all__ = [
    "anywhere",
    "barrier",
    "from_first",
    "group",
    "lost_peer",
    "rank",
    "sum_flat",
    "world_size",
]


def world_size() -> int:
    """Number of processes that train or sample one cell together."""
    return td.get_world_size() if td.is_initialized() else 1


def rank() -> int:
    """This process's number in [0, world_size)."""
    return td.get_rank() if td.is_initialized() else 0


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        td.barrier()


@contextmanager
def group(device: str) -> Iterator[None]:
    """Join the other ranks if torchrun started this process, and leave them at the end.

    Args:
        device: This rank's; CUDA ranks talk through NCCL, others through Gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or td.is_initialized():
        yield
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    td.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        td.destroy_process_group()


def anywhere(flag: bool) -> bool:
    """Whether the flag is set on any rank; the same answer on all of them."""
    if world_size() == 1:
        return flag
    device = "cuda" if td.get_backend() == "nccl" else "cpu"
    value = torch.tensor([float(flag)], device=device)
    td.all_reduce(value)
    return bool(value > 0)


def lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone, and not what went wrong there."""
    return world_size() > 1 and (isinstance(error, td.DistError) or "gloo" in str(error).lower())


def from_first(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by that of the first rank, whose state is the one that is saved."""
    if world_size() > 1:
        for tensor in tensors:
            td.broadcast(tensor, 0)


def sum_flat(tensors: Iterable[Tensor], weight: float = 1.0) -> None:
    """Replace each tensor by the sum over ranks of weight * tensor, in one all-reduce.

    With weight = (local batch) / (global batch), gradients of local means become the gradient of
    the global mean, also when the ranks' batches differ in size.
    """
    parts = [t for t in tensors if t.numel()]
    if world_size() == 1 or not parts:
        return
    dtype = max((t.dtype for t in parts), key=lambda d: torch.finfo(d).bits)
    flat = torch.cat([t.reshape(-1).to(dtype) for t in parts]).mul_(weight)
    td.all_reduce(flat)
    for tensor, value in zip(parts, torch.split(flat, [t.numel() for t in parts]), strict=True):
        tensor.copy_(value.view_as(tensor))
