"""A pass that was stopped goes on where it was: what it gathered is kept now and then.

Sums take a number of images at a time into account, and so depend on it to the last digits. They
are brought up to date at fixed numbers of images, whether they are saved there or not: a pass
that was stopped and went on ends in the same bits as one that was not.
"""

import time
from typing import Any

from genbench.evaluation.collect import Collector
from genbench.evaluation.kept import pack, unpack
from genbench.evaluation.reference import Origin
from genbench.spec import content_key
from genbench.store import Store

__all__ = ["Partial"]

_STAGE = "partial"
_EVERY = 2048  # images between two points at which a pass can go on
_SECONDS = 60.0  # at least, between two saves
_SHARE = 20  # saving takes one part in so many of the time


class Partial:
    """Keeps what a collector has gathered.

    Args:
        store: Where.
        of: What images, through which network.
        collector: The collector; brought to where it was when a pass was stopped.
        batch: Images at a time.
    """

    def __init__(self, store: Store, of: Origin, collector: Collector, batch: int) -> None:
        self._store, self._collector = store, collector
        needs = sorted(getattr(need, "__name__", need) for need in collector.needs)
        self._key = content_key([of.model_dump(exclude={"name"}), needs, batch])
        self._saved, self._pause = time.monotonic(), _SECONDS
        found = store.get(_STAGE, self._key)
        if found is not None:
            collector.load(unpack(of.n, found.tensors), int(found.info["done"]))

    def mark(self, before: int) -> None:
        """After a batch; `before` is how many images the collector had seen before it."""
        done = self._collector.done
        if before // _EVERY == done // _EVERY:
            return
        gathered = self._pack()  # brings sums up to date, so it must not depend on the clock
        if time.monotonic() - self._saved > self._pause:
            self._save(gathered)

    def finish(self) -> None:
        """At the end of a pass that took long: what comes after it may be stopped too."""
        if self._store.has(_STAGE, self._key) or time.monotonic() - self._saved > self._pause:
            self._save(self._pack())

    def drop(self) -> None:
        """Forget it: its use is over."""
        self._store.drop(_STAGE, self._key)

    def _pack(self) -> dict[str, Any]:
        collector = self._collector
        return pack(collector.known(), collector.gathered, rows=collector.done)

    def _save(self, gathered: dict[str, Any]) -> None:
        begin = time.monotonic()
        self._store.put(_STAGE, self._key, gathered, {"done": self._collector.done})
        self._saved = time.monotonic()
        self._pause = max(_SECONDS, _SHARE * (self._saved - begin))
