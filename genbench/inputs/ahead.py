"""Work done ahead of its use, in threads, in order and in bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_MOST_THREADS = 8


def ahead(jobs: Iterable[Job], work: Callable[[Job], Result], most: int = 16) -> Iterator[Result]:
    """`work(job)` for every job, in their order, while at most `most` results wait to be taken.

    Pillow and hashlib let other threads run while they work, so files are read and decoded while
    the caller computes. A caller that stops early leaves no work behind.
    """
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="images") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > max(most, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
