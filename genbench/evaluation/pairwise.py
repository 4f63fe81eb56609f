"""Metrics of pairs in the pass over both sides: images that belong together are compared."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genbench.evaluation.collect import FAILURES, reason
from genbench.evaluation.request import Job
from genbench.inputs import Batch, Source, pairs
from genbench.metrics import PairMetric
from genbench.metrics.pairs import pair_score
from genbench.stats import Score

__all__ = ["Comparing", "Matcher"]


class Comparing:
    """The values of all pairs, for each metric.

    Args:
        jobs: The metrics.
        made: The generated images.
        real: The reference.

    Raises:
        ConfigError: Where not every generated image has its partner.
    """

    def __init__(self, jobs: Sequence[Job], made: Source, real: Source) -> None:
        self.failed: dict[Job, str] = {}  # metrics that cannot be computed of these images
        self._values = {job: np.full(made.n, np.nan) for job in jobs}
        self._matcher = Matcher(pairs(made, real))

    def add(self, side: str, batch: Batch) -> None:
        """Images of "made" or "real"; compares the pairs that they complete."""
        add = self._matcher.add_made if side == "made" else self._matcher.add_real
        add(batch)
        index, made, real = self._matcher.ready()
        alive = [job for job in self._values if job not in self.failed]
        if len(index) == 0 or not alive:
            return
        if made[0].shape != real[0].shape:
            said = (
                f"pairs need images of one shape: generated {tuple(made[0].shape)}, reference "
                f"{tuple(real[0].shape)}; {_way(made[0].shape, real[0].shape)}"
            )
            self.failed |= dict.fromkeys(alive, said)
            return
        both = torch.stack(made), torch.stack(real)
        for job in alive:
            assert isinstance(job.metric, PairMetric)
            try:
                self._values[job][index] = job.metric.values(*both, job.options)
            except FAILURES as error:
                self.failed[job] = reason(error)

    def score(self, job: Job) -> Score:
        """The score of a metric, of all pairs."""
        return pair_score(self._values[job], cap=getattr(job.options, "cap", None))


def _way(made: Sequence[int], real: Sequence[int]) -> str:
    if made[1:] != real[1:]:
        return "bring both to one size with resize=SIZE"
    return "bring both to grey or both to colour"


class Matcher:
    """Brings images of two sources together that belong to each other, whenever they come.

    Args:
        partner: For each image of the first source, its partner in the second, int64 (N,).
    """

    def __init__(self, partner: NDArray[np.int64]) -> None:
        self._first = {int(other): i for i, other in enumerate(partner)}
        self._made: dict[int, Tensor] = {}
        self._real: dict[int, Tensor] = {}

    def add_made(self, batch: Batch) -> None:
        """Images of the first source."""
        self._made |= dict(zip(batch.index.tolist(), batch.images, strict=True))

    def add_real(self, batch: Batch) -> None:
        """Images of the second source."""
        rows = zip(batch.index.tolist(), batch.images, strict=True)
        self._real |= {self._first[i]: image for i, image in rows if i in self._first}

    def ready(self) -> tuple[NDArray[np.int64], list[Tensor], list[Tensor]]:
        """The pairs that are complete by now: positions in the first source, and both images."""
        index = sorted(self._made.keys() & self._real.keys())
        made, real = [self._made.pop(i) for i in index], [self._real.pop(i) for i in index]
        return np.array(index, np.int64), made, real
