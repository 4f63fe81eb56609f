"""A count of steps that the host keeps: reading it makes no device wait."""

import torch
from torch import Tensor, nn

__all__ = ["Counter"]


class Counter(nn.Module):
    """Counts up from 0 on the CPU, whatever device the family is on; checkpoints hold it.

    As a buffer on a GPU it would be read back in every step, which waits for all that was queued.
    """

    def __init__(self) -> None:
        super().__init__()
        self._count = torch.zeros((), dtype=torch.int64)  # no buffer: `to` would move it

    def __int__(self) -> int:
        return int(self._count)

    def add(self, steps: int = 1) -> None:
        """So many more."""
        self._count += steps

    def get_extra_state(self) -> Tensor:
        """The count, for `state_dict`; not a copy, as of buffers."""
        return self._count

    def set_extra_state(self, state: Tensor) -> None:
        """Goes on from a count that was kept."""
        self._count.copy_(state)
