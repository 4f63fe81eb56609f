"""The training stage: from a spec to weights, resumable at any moment."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from genbench import dist, own_code
from genbench.api import Baseline, Config, DataSpec, Unconditional
from genbench.data import Dataset
from genbench.loop import Loop, fold
from genbench.runtime import Progress, Runtime
from genbench.spec import TrainSpec
from genbench.store import Artifact, Store
from genbench.tasks import Task, task
from genbench.terminal import say

__all__ = ["build", "from_arrays", "to_arrays", "train"]

_REPORT_SECONDS = 0.5
_CHECKPOINT_SHARE = 0.02  # of the time that training may spend on saving


def build(cls: type[Baseline[Any]], config: Config, data: DataSpec, seed: int) -> Baseline[Any]:
    """A new model on the CPU whose weights are a function of the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "weights"))  # noqa: TID251 - initialisers know no other source
        return cls(config, data)


def to_arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Tensors of any device as NumPy arrays, for the store."""
    return {name: t.detach().cpu().numpy() for name, t in tensors.items()}


def from_arrays(arrays: dict[str, Any], device: torch.device | str) -> dict[str, Tensor]:
    """The inverse of `to_arrays`."""
    return {name: torch.from_numpy(a).to(device) for name, a in arrays.items()}


def train(
    cls: type[Baseline[Any]],
    spec: TrainSpec,
    dataset: Callable[[str], Dataset],
    store: Store,
    runtime: Runtime,
) -> Artifact:
    """Train what `spec` says and keep the weights; goes on from a checkpoint if there is one.

    Args:
        cls: The family's class.
        spec: What to train.
        dataset: Loads a split: "train" and, where the family fits another one, that one.
        store: Where checkpoints and weights go.
        runtime: Device, progress, interruption.

    Returns:
        Tensors `model/NAME` and, with an average, `ema/NAME`; facts on budget, time and losses.

    Raises:
        KeyboardInterrupt: After a checkpoint, when the run was interrupted.
        NonFiniteError: When a loss or gradient is not finite.
    """
    device = torch.device(runtime.device)
    data = dataset("train")
    config = cls.Config.model_validate(spec.config)
    wanted = task(spec.task)
    described = wanted.data_spec(data)
    baseline = build(cls, config, described, spec.seed)
    _fit(baseline, wanted, dataset, spec.shares)
    baseline.to(device).train()
    examples = wanted.training(data).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        loop = Loop(baseline, config, spec.budget, spec.seed, examples)
        saved = store.get("checkpoint", spec.key)
        if saved is not None and saved.info.get("code") != own_code.digest():
            say(f"genbench: {spec.baseline} starts again: its checkpoint is of another code")
        elif saved is not None:
            loop.load(from_arrays(saved.tensors, device), saved.info)
        with runtime.interrupts.deferred():
            _run(loop, spec, store, runtime)
            loop.finish()
    artifact = _finish(loop, spec, described, data.notes)
    if dist.rank() == 0:
        store.put("train", spec.key, artifact.tensors, artifact.info)
        store.drop("checkpoint", spec.key)
    dist.barrier()
    return artifact


def _fit(
    baseline: Baseline[Any], wanted: Task, dataset: Callable[[str], Dataset], shares: str
) -> None:
    """Show the family what it may look at before training: copies, which it may change."""
    split = dataset(baseline.fit_split)
    baseline.fit(split.images.clone())
    if wanted.cond is not Unconditional and baseline.kind == "reference":
        questions = wanted.questions(split, dataset(shares) if shares else None)
        index = torch.arange(len(questions))
        baseline.fit_answers(questions.images.clone(), questions.condition(index))


def _run(loop: Loop, spec: TrainSpec, store: Store, runtime: Runtime) -> None:
    clock = time.perf_counter
    reported = saved = begin = clock()
    images, wait = loop.meter.images, runtime.checkpoint_seconds
    while loop.ended_by is None:
        loop.step()
        loop.log()
        now = clock()
        if now - reported > _REPORT_SECONDS:
            rate = (loop.meter.images - images) / (now - begin)
            runtime.progress(_progress(loop, rate))
            reported = now
        stop = dist.anywhere(runtime.interrupts.requested)
        if now - saved > wait or stop:
            _save(loop, spec, store)
            saved = clock()
            wait = max(runtime.checkpoint_seconds, (saved - now) / _CHECKPOINT_SHARE)
        if stop:
            raise KeyboardInterrupt


def _progress(loop: Loop, rate: float) -> Progress:
    share, spent = loop.progress, loop.meter.seconds
    left = spent * (1 - share) / share if share else None
    losses = "  ".join(f"{name} {float(loss):.3f}" for name, loss in loop.losses.items())
    return Progress("train", share, rate, left, losses)


def _save(loop: Loop, spec: TrainSpec, store: Store) -> None:
    if dist.rank() == 0:
        tensors, info = loop.state()
        info["code"] = own_code.digest()
        store.put("checkpoint", spec.key, to_arrays(tensors), info)


def _warnings(loop: Loop) -> list[str]:
    """Draws of the family that do not come from its noise; those of dropout layers are fine."""
    layers = {type(module).__name__ for module in loop.baseline.modules()}
    if not loop.drawn.any or any("Dropout" in name for name in layers):
        return []
    return [
        "step() draws from torch's generator: the training depends on how its images are batched; "
        "draw from noise instead"
    ]


def _finish(
    loop: Loop, spec: TrainSpec, data: DataSpec, notes: dict[str, str | int | float]
) -> Artifact:
    tensors, _ = loop.state()
    kept = {k: v for k, v in tensors.items() if not k.startswith("optimizer/")}
    params = {p: p.numel() for ps in loop.update.params.values() for p in ps}
    info = {
        "baseline": spec.baseline,
        "code": own_code.digest(),
        "warnings": _warnings(loop),
        "data": asdict(data),
        "notes": notes,
        "ended_by": loop.ended_by,
        "images": loop.meter.images,
        "updates": loop.meter.updates,
        "data_images": loop.meter.data,
        "steps": loop.meter.steps,
        "flops": loop.meter.flops,
        "seconds": loop.meter.seconds,
        "params": sum(params.values()),
        "losses": {name: float(loss) for name, loss in loop.losses.items()},
        "history": loop.history,
    }
    return Artifact(to_arrays(kept), info)
