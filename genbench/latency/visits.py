"""Seconds of calls: one visit, variants that alternate, batch sizes."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch

from genbench.environment import peak_bytes, reset_peak
from genbench.timing import Timing

__all__ = ["Call", "alternate", "best_batch", "clock", "peak", "sweep", "visit"]

Call = Callable[[], object]

_SHORT, _LONG = 0.1, 0.5  # seconds of a visit whose calls are short, at least and at most
_CALLS = 200  # of a visit, at most
_CLOSE = 0.97  # a batch size this near to the best throughput is as good


def visit(
    call: Call, device: torch.device, least_seconds: float = _SHORT, most_calls: int = _CALLS
) -> tuple[float, ...]:
    """Seconds of each call of one visit: one call, and more until they took `least_seconds`.

    The device is synchronised before and after every call, and the garbage collector rests.

    Args:
        call: What is timed.
        device: Where it computes.
        least_seconds: No more calls are made once they took this long together.
        most_calls: Nor after so many.
    """
    seconds: list[float] = []
    spent = 0.0
    with _no_collection():
        while not seconds or (spent < least_seconds and len(seconds) < most_calls):
            begin = clock(device)
            call()
            seconds.append(clock(device) - begin)
            spent += seconds[-1]
    return tuple(seconds)


def clock(device: torch.device) -> float:
    """Seconds by `time.perf_counter`, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for cycles, which would be charged to whichever call it met."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _no_progress(done: int, total: int) -> None:
    pass


def _no_keep(timings: dict[str, Timing]) -> None:
    pass


def alternate(
    calls: Mapping[str, Call],
    device: torch.device,
    *,
    rounds: int,
    warmup: int = 1,
    batch: int = 1,
    least_seconds: float | None = None,
    done: Mapping[str, Timing] | None = None,
    progress: Callable[[int, int], None] = _no_progress,
    keep: Callable[[dict[str, Timing]], None] = _no_keep,
) -> dict[str, Timing]:
    """Time variants that compete, in rounds that `timing.paired_ratio` can compare.

    A round visits all variants in one order and then in the reverse, A B C C B A, so the two
    visits of each have the same mean position and a drift that is linear within a round cancels.
    That holds whichever order a round starts from, so each starts one variant later than the
    round before (B C A A C B): being first or last, or twice in a row in the middle, falls to
    every variant in turn and becomes noise, which the interval sees, instead of bias, which it
    does not. Visits 2 r and 2 r + 1 of a variant are those of round r.

    Args:
        calls: What to time, by name.
        device: Where they compute.
        rounds: Rounds in all.
        warmup: Calls of each variant that do not count, before the first round that is made here.
        batch: Images that a call makes.
        least_seconds: Of a visit to a call that is shorter, so that all variants are exposed to
            the same disturbance, see `timing.paired_ratio`. By default what the longest of the
            last warm-up calls took, between 0.1 and 0.5.
        done: What an earlier, interrupted measurement of the same calls kept; its rounds count.
        progress: Called after each visit with the visits made and all there will be.
        keep: Called after each round with all timings so far; a round that is interrupted is lost.

    Raises:
        ValueError: When there is nothing to time, or when `done` is not of whole rounds of these
            calls and this batch.
    """
    if rounds < 1 or not calls:
        raise ValueError(f"there are {len(calls)} calls to time in {rounds} rounds")
    visits = _resumed(calls, batch, done)
    names = list(calls)
    first = len(visits[names[0]]) // 2
    if done and first >= rounds:
        return {name: done[name] for name in names}
    longest = max(_warm(call, device, warmup) for call in calls.values())
    least = min(max(longest, _SHORT), _LONG) if least_seconds is None else least_seconds
    timings: dict[str, Timing] = {}
    for r in range(first, rounds):
        start = r % len(names)
        order = names[start:] + names[:start]
        for i, name in enumerate(order + order[::-1], 1):
            visits[name].append(visit(calls[name], device, least))
            progress(2 * r * len(names) + i, 2 * rounds * len(names))
        timings = {name: Timing(visits=tuple(visits[name]), batch=batch) for name in names}
        keep(timings)
    return timings


def _warm(call: Call, device: torch.device, times: int) -> float:
    """Seconds of the last of some calls."""
    seconds = 0.0
    for _ in range(times):
        begin = clock(device)
        call()
        seconds = clock(device) - begin
    return seconds


def _resumed(
    calls: Mapping[str, Call], batch: int, done: Mapping[str, Timing] | None
) -> dict[str, list[tuple[float, ...]]]:
    if not done:
        return {name: [] for name in calls}
    if set(done) != set(calls):
        raise ValueError(
            f"timings of {sorted(done)} cannot go on as timings of {sorted(calls)}: "
            "time these anew"
        )
    lengths = {len(timing.visits) for timing in done.values()}
    if len(lengths) > 1 or lengths.pop() % 2:
        counts = {name: len(timing.visits) for name, timing in done.items()}
        raise ValueError(f"a round has two visits of every variant, these have {counts}")
    if batches := {timing.batch for timing in done.values()} - {batch}:
        raise ValueError(
            f"timings of batches of {min(batches)} cannot go on as timings of batches of {batch}"
        )
    return {name: list(done[name].visits) for name in calls}


def sweep(
    make: Callable[[int], Call],
    sizes: Iterable[int],
    device: torch.device,
    *,
    rounds: int = 2,
    warmup: int = 1,
    progress: Callable[[int, int], None] = _no_progress,
) -> dict[int, Timing]:
    """Time one variant at several batch sizes, in ascending order and alternating.

    A size for which memory runs out ends the sweep; what is below it is timed.

    Args:
        make: The call that makes so many images.
        sizes: Batch sizes.
        device: Where the calls compute.
        rounds: See `alternate`, as for the rest.
        warmup: At least one, which finds out whether there is enough memory.
        progress: See `alternate`.

    Raises:
        RuntimeError: The device's own error (`torch.OutOfMemoryError` on CUDA), when memory runs
            out for the smallest size.
    """
    calls: dict[int, Call] = {}
    for size in sorted(set(sizes)):
        call = _fits(make, size, max(warmup, 1), device, last=not calls)
        if call is None:
            break
        calls[size] = call
    timings = alternate(
        {str(size): call for size, call in calls.items()},
        device,
        rounds=rounds,
        warmup=0,
        progress=progress,
    )
    return {
        int(size): timing.model_copy(update={"batch": int(size)})
        for size, timing in timings.items()
    }


def _fits(
    make: Callable[[int], Call], size: int, warmup: int, device: torch.device, last: bool
) -> Call | None:
    try:
        call = make(size)
        for _ in range(warmup):
            call()
    except RuntimeError as error:  # OutOfMemoryError is one
        if last or not _out_of_memory(error):
            raise
    else:
        return call
    if device.type == "cuda":  # here, where the error and what its frames held are gone
        torch.cuda.empty_cache()
    return None


def _out_of_memory(error: RuntimeError) -> bool:
    # on a CPU it has no type of its own
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def best_batch(sweep: Mapping[int, Timing]) -> int:
    """The smallest batch whose throughput, images / seconds of the best call, is near the best.

    Near is 3 %: a larger batch would only take more memory.

    Raises:
        ValueError: When there is nothing to choose from.
    """
    if not sweep:
        raise ValueError("no batch size was timed")
    rate = {size: size / timing.minimum for size, timing in sweep.items()}
    return min(size for size in rate if rate[size] >= _CLOSE * max(rate.values()))


def peak(call: Call, device: torch.device) -> int | None:
    """Most bytes in use during one call: see `environment.peak_bytes`."""
    reset_peak(str(device))
    call()
    return peak_bytes(str(device))
