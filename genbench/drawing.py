"""Notices draws from torch's own generators, which a family should make from its `noise`."""

from types import TracebackType

import torch
from torch import Tensor

__all__ = ["Drawn"]


class Drawn:
    """A block of code, entered as often as one likes, and whether any draw was made in it.

    Such draws follow the order of calls instead of the number of the sample: with another batch
    size they are others.

    Args:
        device: Whose generator is looked at, besides the CPU's.
    """

    def __init__(self, device: torch.device) -> None:
        self.any = False
        self._cuda = device if device.type == "cuda" else None
        self._before: list[Tensor] = []

    def __enter__(self) -> None:
        self._before = self._states()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pairs = zip(self._before, self._states(), strict=True)
        self.any = self.any or not all(torch.equal(before, now) for before, now in pairs)

    def _states(self) -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(self._cuda)] if self._cuda is not None else []
        return [torch.get_rng_state(), *cuda]
