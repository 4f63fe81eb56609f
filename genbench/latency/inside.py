"""Inside a call: which network takes the time, and networks that run compiled or as graphs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from genbench.api import Baseline, networks
from genbench.latency.visits import Call, clock

__all__ = ["compiled", "graphed", "stages"]

_SHAPES = 64  # times that torch.compile may compile one network anew
_WARM = 3  # calls before a capture, as PyTorch's notes on CUDA graphs have it


def stages(baseline: Baseline[Any], call: Call, device: torch.device) -> dict[str, float]:
    """Seconds inside each counted network during one call, and the "rest": the loop, the noise.

    The device is synchronised before and after every network, so on a GPU the sum is more than
    the call takes otherwise: these are shares, not latencies. Time in a network that another one
    calls belongs to the outer one.
    """
    spent: dict[str, float] = {}
    running: list[tuple[str, float]] = []
    depth = 0

    def before(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            running.append((name, clock(device)))

    def after(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            name, begin = running.pop()
            spent[name] = spent.get(name, 0.0) + clock(device) - begin

    handles = []
    for name, module in networks(baseline).items():
        handles.append(module.register_forward_pre_hook(partial(before, name)))
        handles.append(module.register_forward_hook(after))
    try:
        begin = clock(device)
        call()
        total = clock(device) - begin
    finally:
        for handle in handles:
            handle.remove()
    return {**spent, "rest": total - sum(spent.values())}


@contextmanager
def _forwards(
    baseline: Baseline[Any], change: Callable[[str, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Replace what the counted networks compute; their hooks, names and weights stay."""
    changed: list[tuple[nn.Module, Callable[..., Any] | None]] = []
    try:
        for name, module in networks(baseline).items():
            changed.append((module, vars(module).get("forward")))
            module.forward = change(name, module.forward)  # hides the method of the class
        yield
    finally:
        for module, before in changed:
            if before is not None:
                module.forward = before
            elif "forward" in vars(module):
                del module.forward


@contextmanager
def compiled(
    baseline: Baseline[Any], backend: str | Callable[..., Any] = "inductor"
) -> Iterator[None]:
    """Inside the block, the counted networks run through `torch.compile`.

    Each shape is compiled for itself, at its first call: warm up with every batch that is timed.

    Args:
        baseline: The model; counting and saving it work as ever.
        backend: Of `torch.compile`.
    """
    from torch._dynamo import config

    # past its limit of shapes, torch.compile would silently run what was not compiled
    with (
        config.patch(recompile_limit=_SHAPES, fail_on_recompile_limit_hit=True),
        _forwards(
            baseline, lambda _, forward: torch.compile(forward, backend=backend, dynamic=False)
        ),
    ):
        yield


@contextmanager
def graphed(baseline: Baseline[Any]) -> Iterator[None]:
    """Inside the block, the counted networks are replayed as CUDA graphs, without gradients.

    A graph is captured at the first call of each shape: warm up with every batch that is timed.

    Raises:
        ValueError: When a network is not on a CUDA device, or when a call cannot be captured.
    """
    for name, module in networks(baseline).items():
        device = next(module.parameters()).device
        if device.type != "cuda":
            raise ValueError(
                f"CUDA graphs need a CUDA device, but {name} is on {device}; "
                "leave graphs off, or choose device=cuda"
            )
    with _forwards(baseline, _Graphs):
        yield


class _Graphs:
    """A network as CUDA graphs, one for each kind of input.

    Inputs are copied to where the graph reads, the graph is replayed, and a copy of what it wrote
    is returned, as the next replay overwrites it.
    """

    def __init__(self, name: str, forward: Callable[..., Any]) -> None:
        self.name, self.forward = name, forward
        self.graphs: dict[object, tuple[list[Tensor], torch.cuda.CUDAGraph, object]] = {}

    def __call__(self, *args: Any) -> Any:
        leaves, spec = pytree.tree_flatten(args)
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        if any(tensor.device.type != "cuda" for tensor in given):
            raise ValueError(
                f"{self.name} was given a tensor that is not on the GPU, "
                "which a CUDA graph cannot read; leave graphs off"
            )
        # a number becomes part of the graph
        kinds = tuple(
            (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf
            for leaf in leaves
        )
        cast = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
        key = (kinds, str(spec), cast)
        # inference tensors could not be overwritten outside of inference mode
        with torch.inference_mode(False), torch.no_grad():
            if key not in self.graphs:
                self.graphs[key] = self._capture(leaves, spec)
            reads, graph, wrote = self.graphs[key]
            for read, tensor in zip(reads, given, strict=True):
                read.copy_(tensor)
            graph.replay()
            return pytree.tree_map_only(Tensor, Tensor.clone, wrote)

    def _capture(
        self, leaves: list[Any], spec: pytree.TreeSpec
    ) -> tuple[list[Tensor], torch.cuda.CUDAGraph, object]:
        leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        args = pytree.tree_unflatten(leaves, spec)
        reads = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        graph = torch.cuda.CUDAGraph()
        with _no_autocast_cache():
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM):
                    self.forward(*args)
            torch.cuda.current_stream().wait_stream(side)
            try:
                with torch.cuda.graph(graph):
                    wrote = self.forward(*args)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise ValueError(
                    f"{self.name} cannot be captured as a CUDA graph ({reason}); leave graphs off"
                ) from error
        return reads, graph, wrote


@contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Weights that autocast keeps in low precision are freed with it; a graph would read on."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)
