"""Golden runs: what every family did when it was last looked at, in numbers small enough to keep.

Each family trains for 20 steps on digits with batches of 16 and draws 32 samples. Kept are every
loss of every step, the first four samples (mean, standard deviation, eight pixels), their Frechet
distance, and the exact counters. `tests/test_golden.py` runs the same again.

    python tools/golden.py                 compare all families with tests/golden/FAMILY.json
    python tools/golden.py dcgan vae       these only
    python tools/golden.py --write dcgan   keep what they do now; look at the difference first

Everything runs with one thread and in double precision, where rounding stays far below the
tolerances: in single precision a bias in front of a normalisation has no gradient but rounding,
which Adam scales to a full step, so that after 20 steps a GAN's samples depend on the processor
and the version of torch. Counters are compared exactly. A learning rate 1 % too large moves
something by 38 times its tolerance (dcgan) or more, noise levels shifted by one by 59 times.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from genbench import data, features, metrics, registry, tasks
from genbench.api import Baseline, count_nfe
from genbench.inputs.pixels import to_uint8
from genbench.metrics import FeatureSet
from genbench.runtime import Runtime
from genbench.sample import draw, restore
from genbench.spec import Budget, SampleSpec, TrainSpec
from genbench.store import Store, atomic_write
from genbench.train import train

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS, BATCH, WARMUP, SAMPLES, SHOWN, SAMPLER_STEPS = 20, 16, 64, 32, 4, 10
PIXELS = (0, 9, 18, 27, 36, 45, 54, 63)  # the diagonal of 8x8
# At its default rate, rounding errors grow tenfold with each of the first steps: after 20, samples
# would depend on the processor again. At the paper's rate they don't grow.
SETTINGS: dict[str, dict[str, Any]] = {"cyclegan": {"lr": 2e-4}}
TOLERANCES = {
    "losses": {"relative": 1e-4, "absolute": 1e-5},
    "samples": {"relative": 0.0, "absolute": 1e-4},
    "fd": {"relative": 1e-4, "absolute": 1e-4},
}


def measure(name: str) -> dict[str, Any]:
    """Train and sample a family as the golden file of that name was made."""
    cls = registry.load(name)
    spec = _spec(name, cls)

    # read in single precision: in double, a scene's pixels would depend on who drew it first
    splits = {which: data.load(spec.train.dataset, which) for which in ("train", "test")}
    split = splits.__getitem__

    with TemporaryDirectory() as folder, double():
        runtime = Runtime(out=Path(folder), device="cpu")
        trained = train(cls, spec.train, split, Store(folder), runtime)
        baseline = restore(cls, spec, trained, "cpu")
        asked = tasks.asked(spec.train.task, split)
        with count_nfe(baseline) as nfe:
            images = draw(baseline, spec, torch.device("cpu"), asked, range(SAMPLES))
    curves = [
        {k: v for k, v in point.items() if k not in ("point", "images")}
        for point in trained.info["history"]
    ]
    names = sorted({name for point in curves for name in point})  # phases may log their own
    return {
        "counters": {
            "params": nfe.params,
            "params_trained": trained.info["params"],
            "nfe": nfe.rows / SAMPLES,
            "train_images": trained.info["images"],
            "train_steps": trained.info["steps"],
            "train_flops": trained.info["flops"],
        },
        "losses": {n: [point[n] for point in curves if n in point] for n in names},
        "samples": [_described(image) for image in images[:SHOWN]],
        "fd": _distance(images),
    }


class _Double(TorchFunctionMode):
    """Gives float64 wherever float32 is asked for by name."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        args = tuple(_wider(value) for value in args)
        return func(*args, **{name: _wider(value) for name, value in (kwargs or {}).items()})


def _wider(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


@contextmanager
def double() -> Iterator[None]:
    """Everything in here computes in double precision, with one thread."""
    before, threads = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        with _Double():
            yield
    finally:
        torch.set_default_dtype(before)
        torch.set_num_threads(threads)


def _spec(name: str, cls: type[Baseline[Any]]) -> SampleSpec:
    """Default settings but for the sizes; the average of the weights where there is one."""
    dataset, task = tasks.example(cls.cond)
    trains = cls.kind != "reference"
    # a warm-up that is as short as the training: else nothing is learned, and nothing is seen
    warmup = min(cls.Config().warmup, WARMUP)
    settings = {"batch": BATCH, "warmup": warmup, **SETTINGS.get(name, {})}
    config = cls.Config.model_validate(settings)
    wanted = {"steps": SAMPLER_STEPS} if "steps" in cls.Options.model_fields else {}
    train_spec = TrainSpec(
        baseline=name,
        config=config.model_dump(mode="json"),
        dataset=dataset,
        task=task,
        budget=Budget(steps=STEPS) if trains else Budget(),
        version=registry.version(name),
    )
    return SampleSpec(
        train=train_spec,
        options=cls.Options.model_validate(wanted).model_dump(mode="json"),
        weights="raw" if config.ema is None else "ema",
        n=SAMPLES,
    )


def _described(image: Tensor) -> dict[str, Any]:
    flat = image.double().flatten()
    return {
        "mean": float(flat.mean()),
        "std": float(flat.std(correction=0)),
        "pixels": [float(flat[i]) for i in PIXELS],
    }


def _distance(images: Tensor) -> float:
    made = features.load("digits-cnn")(to_uint8(images)).features.numpy()
    score = metrics.get("fd")(FeatureSet(len(made), {"features": made}), _real())
    return score.value


@lru_cache
def _real() -> FeatureSet:
    images = data.load("digits", "train").images
    found = features.load("digits-cnn")(images).features.numpy()
    return FeatureSet(len(found), {"features": found})


# --- the files -----------------------------------------------------------------------------------


def path(name: str) -> Path:
    """Where a family's golden file is."""
    return FOLDER / f"{name}.json"


def regenerate(name: str) -> str:
    """The command that makes a family's golden file."""
    return f"python tools/golden.py --write {name}"


def write(name: str) -> None:
    """Keep what a family does now."""
    content = {
        "torch": torch.__version__.partition("+")[0],
        "tolerances": TOLERANCES,
        **measure(name),
    }
    atomic_write(path(name), (json.dumps(content, indent=1) + "\n").encode())


def differences(name: str, found: dict[str, Any]) -> list[str]:
    """What a family does otherwise than its golden file says, or how to make that file."""
    if not path(name).is_file():
        return [f"{name} has no golden file; make it with: {regenerate(name)}"]
    golden = json.loads(path(name).read_text("utf-8"))
    messages = []
    for part in ("counters", "losses", "samples", "fd"):
        allowed = golden["tolerances"].get(part, {"relative": 0.0, "absolute": 0.0})
        was, now = _flat(golden[part], part), _flat(found[part], part)
        for where in {**was, **now}:
            message = _difference(was.get(where), now.get(where), allowed)
            if message:
                messages.append(f"{name}: {where}: {message}")
    if messages:
        made, here = golden["torch"], torch.__version__.partition("+")[0]
        messages.append(f"made with torch {made}, this is {here}; if meant: {regenerate(name)}")
    return messages


def _flat(value: Any, where: str) -> dict[str, float]:
    """Numbers by place: "losses g step 3", "samples 0 pixels 7"."""
    if isinstance(value, dict):
        parts = [_flat(inner, f"{where} {name}") for name, inner in value.items()]
    elif isinstance(value, list):
        step = "step " if where.startswith("losses") else ""
        parts = [_flat(inner, f"{where} {step}{i}") for i, inner in enumerate(value)]
    else:
        return {where: value}
    return {place: number for part in parts for place, number in part.items()}


def _difference(was: float | None, now: float | None, allowed: dict[str, float]) -> str:
    if was is None or now is None:
        return f"expected {was}, got {now}"
    limit = max(allowed["absolute"], allowed["relative"] * abs(was))
    if abs(now - was) <= limit:
        return ""
    relative = f", {abs(now - was) / abs(was):.2g} of it" if was else ""
    off = f"off by {abs(now - was):.2g}{relative}; allowed {limit:.2g}"
    return f"expected {was:.9g}, got {now:.9g} ({off})"


def main() -> int:
    """Compare or write; returns 1 where something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("families", nargs="*", help="default: all that genbench finds")
    parser.add_argument("--write", action="store_true", help="keep what they do now")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name in arguments.families or registry.families():
        if arguments.write:
            write(name)
            print(path(name))
        else:
            found += differences(name, measure(name))
    print("\n".join(found) if found else "all as before", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
