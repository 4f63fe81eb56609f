"""The networks of a family on their own: what sampling costs at least."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genbench import api, registry
from genbench.train import build

__all__ = ["evaluations", "untrained"]


def untrained(name: str, data: api.DataSpec, device: str, **settings: Any) -> api.Baseline[Any]:
    """A family with random weights, at its default settings but for these.

    Layers that start at 0 get weights too: an answer of 0 would hide what goes wrong after it.
    """
    cls = registry.load(name)
    baseline = build(cls, cls.Config(**settings), data, 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in baseline.parameters():
            if not p.any():
                p.normal_(0, 0.02, generator=generator)
    return baseline.eval().to(device)


def evaluations(
    baseline: api.Baseline[Any], sample: Callable[[], object]
) -> tuple[list[Tensor], Callable[[], None]]:
    """The network calls that `sample` makes, and a function that makes the same ones alone.

    The networks are those that `api.count_nfe` counts, and their inputs are kept, so the function
    does nothing but call them.

    Returns:
        The first input of each call, and the function.
    """
    calls: list[tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((module, args, kwargs))

    networks = api.networks(baseline).values()
    hooks = [m.register_forward_pre_hook(keep, with_kwargs=True) for m in networks]
    try:
        with torch.inference_mode():
            sample()
    finally:
        for hook in hooks:
            hook.remove()

    def again() -> None:
        for module, args, kwargs in calls:
            module(*args, **kwargs)

    return [args[0] for _, args, _ in calls], again
