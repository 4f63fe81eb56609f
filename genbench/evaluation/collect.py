"""One pass over a source: every network sees every batch once, and only what is needed is kept."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genbench.features import Extractor, Features
from genbench.inputs import Batch
from genbench.metrics import FeatureSet
from genbench.spec import ConfigError

__all__ = ["FAILURES", "Collector", "reason"]

# What a metric or a network raises that cannot be computed of these images; others still can.
FAILURES = (ConfigError, ValueError, ArithmeticError, MemoryError)


def reason(error: BaseException) -> str:
    """Why something could not be computed, as a sentence."""
    return str(error) or ("not enough memory" if isinstance(error, MemoryError) else repr(error))


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
        self.failed: dict[Any, str] = {}  # needs that cannot be had of these images, and why
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._sums: dict[type[Any], Any] = {}

    def add(self, batch: Batch, device: str) -> None:
        """Look at a batch, unless it was looked at before the pass was stopped."""
        wanted = [need for need in self.needs if need not in self.failed]
        if batch.index[-1] < self.done or not wanted:
            return
        try:
            answer = self.extractor(batch.images.to(device)).cpu()
        except FAILURES as error:
            self._fail(wanted, error)
            return
        for need in wanted:
            rows = _rows(answer, need if isinstance(need, str) else need.reads)
            if rows is None:
                continue  # the metric that needs it says so, by name
            try:
                self._take(need, rows, batch)
            except FAILURES as error:
                self._fail([need], error)
        self.done = int(batch.index[-1]) + 1

    def _take(self, need: Any, rows: NDArray[np.float32], batch: Batch) -> None:
        if isinstance(need, str):
            if need not in self._arrays:
                self._arrays[need] = np.empty((self.total, rows.shape[1]), np.float32)
            self._arrays[need][batch.index] = rows
        else:
            before = self._sums.get(need)
            sums = need.start(self.total, rows.shape[1]) if before is None else before
            self._sums[need] = sums.update(rows, batch.index)

    def _fail(self, needs: Iterable[Any], error: BaseException) -> None:
        for need in needs:
            self.failed[need] = reason(error)
            self._arrays.pop(need, None)
            self._sums.pop(need, None)

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
