"""One pass over a source: every network sees every batch once, and only what is needed is kept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genbench.features import Extractor, Features
from genbench.inputs import Batch
from genbench.metrics import FeatureSet

__all__ = ["Collector", "Matcher"]


class Collector:
    """Gathers what metrics need of one source through one network.

    Args:
        extractor: The network.
        needs: Names of arrays and classes of `Sums`, as metrics list them.
        total: Number of images that will come.
    """

    def __init__(self, extractor: Extractor, needs: set[Any], total: int) -> None:
        self.extractor, self.total = extractor, total
        self.needs = needs - {"text"}  # text is no answer to an image
        self.done = 0  # images; they come in order
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._sums: dict[type[Any], Any] = {}

    def add(self, batch: Batch, device: str) -> None:
        """Look at a batch, unless it was looked at before the pass was stopped."""
        if batch.index[-1] < self.done:
            return
        answer = self.extractor(batch.images.to(device)).cpu()
        for need in self.needs:
            array = need if isinstance(need, str) else need.reads
            rows = _rows(answer, array)
            if rows is None:
                continue  # the metric that needs it says so, by name
            if isinstance(need, str):
                if need not in self._arrays:
                    self._arrays[need] = np.empty((self.total, rows.shape[1]), np.float32)
                self._arrays[need][batch.index] = rows
            else:
                before = self._sums.get(need)
                sums = need.start(self.total, rows.shape[1]) if before is None else before
                self._sums[need] = sums.update(rows, batch.index)
        self.done = int(batch.index[-1]) + 1

    @property
    def gathered(self) -> set[Any]:
        """Those of the needs that the network answers."""
        return {*self._arrays, *self._sums}

    def load(self, known: FeatureSet, done: int) -> None:
        """Go on from what was gathered of the first `done` images."""
        for need in self.needs:
            if isinstance(need, str) and known.gives(need):
                rows = np.asarray(known.array(need))
                self._arrays[need] = np.empty((self.total, rows.shape[1]), np.float32)
                self._arrays[need][:done] = rows
            elif not isinstance(need, str) and known.gives(need):
                self._sums[need] = known.sums(need)
        self.done = done

    def known(self, text: Tensor | None = None) -> FeatureSet:
        """Everything that was gathered."""
        arrays: dict[str, Any] = dict(self._arrays)
        if text is not None:
            arrays["text"] = text.cpu().numpy()
        return FeatureSet(self.total, arrays, self._sums)


def _rows(answer: Features, array: str) -> NDArray[np.float32] | None:
    tensor: Tensor | None = getattr(answer, array, None)
    return None if tensor is None else tensor.numpy()


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
