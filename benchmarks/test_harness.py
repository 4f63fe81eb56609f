"""What the harness costs: its loops against bare ones around the same work, and a whole run."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genbench import api, data, registry
from genbench.loop import Loop
from genbench.runtime import Runtime
from genbench.sample import restore, sample
from genbench.spec import Budget, SampleSpec, TrainSpec
from genbench.store import Artifact, Store
from genbench.tasks import Examples, to_float
from genbench.tasks import asked as asked_of
from genbench.train import build, to_arrays

EMA = get_ema_multi_avg_fn(0.999)


def model(name: str, dataset: data.Dataset):
    cls = registry.load(name)
    config = cls.Config()
    spec = api.DataSpec(dataset.name, dataset.channels, dataset.size, len(dataset.classes))
    return cls, config, build(cls, config, spec, 0).train(), spec


@pytest.mark.parametrize("name", ["dcgan", "vae", "ddpm"])
def test_training_loop_against_a_bare_loop(ratio, sized, name):
    steps = sized(40, 2)
    dataset = data.load("digits", "train")
    _, config, baseline, _ = model(name, dataset)
    loop = Loop(baseline, config, Budget(steps=10**9), 0, Examples(dataset.images))
    _, _, bare, _ = model(name, dataset)
    optimizers = bare.optimizers()
    params = {n: [p for g in o.param_groups for p in g["params"]] for n, o in optimizers.items()}
    average = None if config.ema is None else AveragedModel(bare, multi_avg_fn=EMA)
    position = 0

    class Update:
        progress = 0.0

        def __call__(self, name, loss):
            optimizers[name].zero_grad(set_to_none=True)
            torch.autograd.backward(loss, inputs=params[name])
            optimizers[name].step()

    update = Update()

    def ours():
        for _ in range(steps):
            loop.step()
            loop.log()

    def peer():
        nonlocal position
        for _ in range(steps):
            rows = torch.arange(position, position + config.batch) % len(dataset.images)
            noise = api.Noise(0, range(position, position + config.batch), stream="train")
            x = to_float(dataset.images[rows])
            bare.step(x, api.Unconditional(), noise, update)
            position += config.batch
            if average is not None:
                average.update_parameters(bare)

    ratio(ours, peer, pairs=24)


@pytest.mark.parametrize(
    ("name", "options", "size", "n"),
    [
        ("ddpm", {"sampler": "ddim", "steps": 50}, 8, 256),
        ("vae", {}, 32, 10_000),
        ("dcgan", {}, 32, 10_000),
        ("vae", {}, 8, 20_000),
        ("dcgan", {}, 8, 20_000),
    ],
)
def test_sampling_stage_against_the_family_alone(ratio, sized, tmp_path, name, options, size, n):
    n = sized(n, 300)
    cls = registry.load(name)
    config, described = cls.Config(), api.DataSpec("digits", 1, size, 10)
    train = TrainSpec(
        baseline=name, config=config.model_dump(mode="json"), dataset="digits", version="x"
    )
    spec = SampleSpec(train=train, options=cls.Options(**options).model_dump(), n=n)
    state = build(cls, config, described, 0).state_dict()
    weights = to_arrays({f"model/{k}": v for k, v in state.items()})
    trained = Artifact(weights, {"data": vars(described)})
    store, runtime = Store(tmp_path), Runtime(out=tmp_path, device="cpu")
    alone = restore(cls, spec, trained, "cpu")
    asked = asked_of("unconditional", lambda which: data.load("digits", which))

    def ours():
        sample(cls, spec, trained, asked, store, runtime)

    def peer():
        with torch.inference_mode():
            for start in range(0, n, runtime.batch):
                index = range(start, min(start + runtime.batch, n))
                alone.sample(api.Unconditional(), api.Noise(0, index), **spec.options)

    ratio(ours, peer, pairs=8)


def test_share_of_quick_that_is_training_sampling_and_features(benchmark, tmp_path):
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "genbench", "run", "quick", "--out", str(tmp_path), "--json"]
    if benchmark.disabled:
        command += ["baseline=vae", "n=60", "budget.images=600"]
    spent = []

    def whole():
        begin = time.perf_counter()
        ran = subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(root)}
        )
        spent.append((time.perf_counter() - begin, json.loads(ran.stdout)["records"]))

    benchmark.pedantic(whole, rounds=1)
    seconds, records = spent[0]
    trainings = {
        json.dumps(r["cell"]["sample"]["train"], sort_keys=True): r["timings"]["train"]
        for r in records
    }
    work = sum(trainings.values())
    work += sum(r["timings"]["sample"] + r["timings"]["features"] for r in records)
    benchmark.extra_info["seconds"] = round(seconds, 1)
    benchmark.extra_info["share of work"] = round(work / seconds, 4)
