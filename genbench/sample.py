"""The sampling stage: from weights to uint8 images, in batches that survive an interruption."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genbench import dist, own_code
from genbench.api import NFE, Baseline, Condition, DataSpec, Noise, ToDomain, count_nfe
from genbench.drawing import Drawn
from genbench.inputs.pixels import to_uint8
from genbench.runtime import Progress, Runtime
from genbench.spec import ConfigError, SampleSpec
from genbench.stepper import NonFiniteError
from genbench.store import Artifact, Store
from genbench.tasks import to_float
from genbench.train import build, from_arrays

__all__ = ["AGAIN", "REPEATED", "draw", "more", "restore", "sample", "to_uint8"]

AGAIN, REPEATED = 3, 64  # more answers to a question, and questions that are asked again

_KEEP_SECONDS = 1.0  # a batch that took less is made again rather than saved apart
_SHORT = 0.1  # seconds; of batches that took less, the best is the time that is reported
_CALLS = 5  # of a short batch, at least
_OTHER_NOISE = (
    "sample() draws from torch's generator: samples change with the batch size; draw from noise "
    "instead"
)


def restore(
    cls: type[Baseline[Any]], spec: SampleSpec, trained: Artifact, device: str
) -> Baseline[Any]:
    """The model that training left, in evaluation mode, with the weights that `spec` asks for.

    Raises:
        ConfigError: When `weights=ema` is asked of a training that kept no average.
    """
    data = DataSpec(**trained.info["data"])
    baseline = build(cls, cls.Config.model_validate(spec.train.config), data, spec.train.seed)
    prefix = "ema/" if spec.weights == "ema" else "model/"
    arrays = {
        k.removeprefix(prefix): v for k, v in trained.tensors.items() if k.startswith(prefix)
    }
    if not arrays and spec.weights == "ema":
        raise ConfigError(
            f"{spec.train.baseline} keeps no average of its weights; use weights=raw or set "
            f"{spec.train.baseline}.ema to a half-life in images"
        )
    baseline.load_state_dict(from_arrays(arrays, "cpu"))
    return baseline.to(device).eval()


def draw(
    baseline: Baseline[Any],
    spec: SampleSpec,
    device: torch.device,
    asked: Callable[[Tensor], Condition],
    index: range,
    stream: str = "sample",
) -> Tensor:
    """Samples `index` of `spec`, float (len(index), C, H, W) in [-1, 1].

    Args:
        baseline: In evaluation mode, on `device`.
        spec: Seed, options and precision.
        device: Where to compute.
        asked: The conditions of samples by number, int64 (B,); see `tasks.asked`.
        index: Which samples.
        stream: Of noise; another one gives other samples for the same conditions.

    Raises:
        NonFiniteError: When a pixel is NaN or infinite.
        ValueError: When shape or range break the contract.
    """
    where = torch.arange(index.start, index.stop, device=device)
    cond = asked(where)
    noise = Noise(spec.seed, where, stream=stream, device=device)
    half = spec.train.config.get("precision") == "bfloat16"
    cast = torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
    with torch.inference_mode(), cast:
        images = baseline.sample(cond, noise, **spec.options).float()
    if images.ndim != 4 or len(images) != len(index):
        raise ValueError(f"sample() gave shape {tuple(images.shape)} for {len(index)} conditions")
    low, high = torch.stack(images.aminmax()).tolist()
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise NonFiniteError(
            f"samples {index.start} to {index.stop - 1} have NaN or infinite pixels"
        )
    if low < -1.001 or high > 1.001:
        raise ValueError(f"sample() must stay in [-1, 1], it gave [{low:.3f}, {high:.3f}]")
    return images


def sample(
    cls: type[Baseline[Any]],
    spec: SampleSpec,
    trained: Artifact,
    asked: Callable[[Tensor], Condition],
    store: Store,
    runtime: Runtime,
) -> Artifact:
    """Draw all samples of `spec` and keep them; batches that are there are not drawn again.

    Ranks take batches in turn. Batches start at multiples of `runtime.batch` whatever the number
    of ranks, so that one process and many give the same bits.

    Returns:
        Tensor `images`, uint8 (n, C, H, W); facts on time, NFE and parameters.
    """
    device = torch.device(runtime.device)
    baseline = restore(cls, spec, trained, runtime.device)
    drawing = partial(draw, baseline, spec, device, asked)
    starts = range(0, spec.n, runtime.batch)
    batches = [range(a, min(a + runtime.batch, spec.n)) for a in starts]
    mine = batches[dist.rank() :: dist.world_size()]
    key, parts = spec.key, dict[int, Artifact]()
    spent = 0.0
    stopped = store.has("samples", f"{key}-*")  # only then are there batches to find
    drawn = Drawn(device)
    with count_nfe(baseline) as nfe:
        for done, index in enumerate(mine):
            part = store.get("samples", _part(key, index)) if stopped else None
            if part is None:
                with drawn:
                    part = _batch(drawing, index, nfe, device)
                if part.info["seconds"] > _KEEP_SECONDS or dist.world_size() > 1:
                    info = part.info | {"params": nfe.params}
                    store.put("samples", _part(key, index), part.tensors, info)
            parts[index.start] = part
            spent += part.info["seconds"]
            left = spent / (done + 1) * (len(mine) - done - 1)
            rate = runtime.batch / max(part.info["seconds"], 1e-9)
            runtime.progress(Progress("sample", (done + 1) / len(mine), rate, left))
    dist.barrier()
    for index in batches:  # what other ranks drew
        if index.start not in parts:
            part = store.get("samples", _part(key, index))
            if part is None:
                raise RuntimeError(f"the batch of samples from {index.start} on was not saved")
            parts[index.start] = part
    made = [parts[index.start] for index in batches]
    best = _best(drawing, made, batches[0], device)
    params = nfe.params if nfe.modules else made[0].info.get("params", 0)  # of another process
    artifact = _join(made, best, params, spec, runtime)
    artifact.info["warnings"] = [_OTHER_NOISE] if drawn.any else []
    dist.barrier()
    if dist.rank() == 0:
        store.put("sample", key, artifact.tensors, artifact.info)
        for index in batches:
            store.drop("samples", _part(key, index))
    dist.barrier()
    return artifact


def more(
    cls: type[Baseline[Any]],
    spec: SampleSpec,
    trained: Artifact,
    asked: Callable[[Tensor], Condition],
    made: NDArray[np.uint8],
    which: str,
    runtime: Runtime,
) -> NDArray[np.uint8]:
    """More samples than the table's own, for metrics that look at how answers hang together.

    "again": `AGAIN` more answers to each of the first `REPEATED` questions, with other noise.
    "back": every sample moved back to the domain that its source is of; it goes in as it was
    kept, in 8 bits, so that nothing can be hidden in its last digits.

    Args:
        made: The samples, uint8 (n, C, H, W).
        which: "again" or "back".

    Returns:
        uint8 (K, AGAIN, C, H, W), K <= REPEATED, or (n, C, H, W).
    """
    device = torch.device(runtime.device)
    baseline = restore(cls, spec, trained, runtime.device)

    def returning(index: Tensor) -> ToDomain:
        there = asked(index)
        if not isinstance(there, ToDomain):
            raise ConfigError(f"task {spec.train.task!r} has no way back to an origin")
        source = to_float(torch.from_numpy(made)[index.cpu()]).to(device)
        return replace(there, source=source, origin=there.target, target=there.origin, masks=None)

    def drawn(n: int, stream: str, wanted: Callable[[Tensor], Condition]) -> NDArray[np.uint8]:
        parts = []
        for start in range(0, n, runtime.batch):
            index = range(start, min(start + runtime.batch, n))
            images = draw(baseline, spec, device, wanted, index, stream)
            parts.append(to_uint8(images).cpu().numpy())
        return np.concatenate(parts)

    if which == "back":
        return drawn(spec.n, "back", returning)
    count = min(REPEATED, spec.n)
    return np.stack([drawn(count, f"again/{r}", asked) for r in range(AGAIN)], axis=1)


def _part(key: str, index: range) -> str:
    return f"{key}-{own_code.digest()[:8]}-{index.start}-{index.stop}"


def _batch(
    drawing: Callable[[range], Tensor], index: range, nfe: NFE, device: torch.device
) -> Artifact:
    before = nfe.rows
    begin = _clock(device)
    images = drawing(index)
    seconds = _clock(device) - begin
    info = {"seconds": seconds, "nfe": (nfe.rows - before) / len(index)}
    return Artifact({"images": to_uint8(images).cpu().numpy()}, info)


def _join(
    parts: list[Artifact], best: float, params: int, spec: SampleSpec, runtime: Runtime
) -> Artifact:
    images = np.concatenate([part.tensors["images"] for part in parts])
    evaluations = sum(part.info["nfe"] * len(part.tensors["images"]) for part in parts)
    info = {
        "code": own_code.digest(),
        "nfe": evaluations / spec.n,
        "params": params,
        "seconds": sum(part.info["seconds"] for part in parts),
        "ms_per_image": 1000 * best,
        "batch": min(runtime.batch, spec.n),
    }
    return Artifact({"images": images}, info)


def _best(
    drawing: Callable[[range], object], made: list[Artifact], index: range, device: torch.device
) -> float:
    """Seconds per image: over all of them, or of the best of `_CALLS` batches if these are short.

    A first call is mostly warm-up; where there were too few calls, the first batch is drawn again.
    """
    times = [part.info["seconds"] for part in made if len(part.tensors["images"]) == len(index)]
    if min(times) > _SHORT:
        images = sum(len(part.tensors["images"]) for part in made)
        return float(sum(part.info["seconds"] for part in made)) / images
    for _ in range(_CALLS - len(times)):
        begin = _clock(device)
        drawing(index)
        times.append(_clock(device) - begin)
    return float(min(times)) / len(index)


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
