"""What networks and whole families cost, with random weights, for one batch."""

from typing import Any

import pytest
import torch
from bare import evaluations, untrained
from torch import Tensor

from genbench import api, data, registry, tasks
from genbench.flops import flop_counter


def fast(known: type[api.Options]) -> dict[str, Any]:
    """50 steps, of DDIM where the family has it; nothing for families without steps."""
    if "steps" not in known.model_fields:
        return {}
    samplers = known.model_json_schema()["properties"].get("sampler", {}).get("enum", [])
    return {"steps": 50, "sampler": "ddim"} if "ddim" in samplers else {"steps": 50}


FORWARDS = {  # image side, batch, settings
    "mlp 8x8 batch 64": (8, 64, {"net": "mlp"}),
    "unet 32x32 batch 16": (32, 16, {"net": "unet"}),
    "unet 32x32 batch 64": (32, 64, {"net": "unet"}),
    "unet patch 4, 32x32 batch 16": (32, 16, {"net": "unet", "channels": 48, "patch": 4}),
    "unet patch 4, 32x32 batch 64": (32, 64, {"net": "unet", "channels": 48, "patch": 4}),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_forward(rivals, sized, device, case):
    """One evaluation of a denoiser, beside one product of square matrices with as many FLOPs."""
    size, batch, settings = FORWARDS[case]
    batch = sized(batch, 2)
    net = untrained("ddpm", api.DataSpec("bare", 1, size, 10), device, **settings).net
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 1, size, size, generator=generator).to(device)
    t = torch.full((batch,), 500, device=device)
    with flop_counter() as counter, torch.no_grad():
        net(x, t)
    side = round((counter.get_total_flops() / 2) ** (1 / 3))
    a = torch.randn(side, side, generator=generator).to(device)

    def ours() -> Tensor:
        return net(x, t)

    def product() -> Tensor:
        return a @ a

    rivals(ours, {"matrix product": product}, images=batch, device=device)


@pytest.mark.parametrize("name", registry.families())
def test_sampling(rivals, sized, device, name):
    """64 small images from noise to pixels, beside the family's networks alone (if any)."""
    dataset, task = tasks.example(registry.load(name).cond)
    wanted, split = tasks.task(task), data.load(dataset, "test")
    baseline = untrained(name, wanted.data_spec(split), "cpu")
    baseline.fit(data.load(dataset, baseline.fit_split).images)
    n = sized(64, 2)
    index, asked = torch.arange(n), wanted.questions(split)
    if baseline.kind == "reference" and wanted.cond is not api.Unconditional:
        baseline.fit_answers(asked.images, asked.condition(torch.arange(len(asked))))
    baseline.to(device)
    cond = asked.condition(index).to(device)
    options = fast(baseline.Options)

    def ours() -> Tensor:
        return baseline.sample(cond, api.Noise(0, index, device=device), **options)

    inputs, bare = evaluations(baseline, ours)
    rivals(ours, {"bare network": bare} if inputs else {}, images=n, device=device)
