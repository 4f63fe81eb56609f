"""Results folders with several tasks, made by hand: conditional rows on scenes, and digits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report_samples import FD, KINDS, pictures, record

from genbench.data.scenes import SHAPES, Scenes
from genbench.spec import Budget, Cell, MetricSpec, SampleSpec, TrainSpec
from genbench.store import Store

Images = NDArray[np.uint8]
SIZE = 32
INDEX = torch.arange(64)
TASKS = {
    "class_label": ("digits", ("fd", "is"), ("cgan", "ddpm", "real")),
    "caption": ("scenes@32", ("precision", "recall"), ("cgan", "ddpm", "real")),
    "paired:outline": ("scenes@32", ("lpips", "psnr", "fd"), ("pix2pix", "ddpm", "real")),
    "low_res:4": ("scenes@32", ("psnr", "ssim"), ("vae", "ddpm", "real")),
    "to_domain:day,night": ("scenes@32", ("fd",), ("cgan", "real")),
    "class_label:shape": ("scenes@32", ("density", "coverage"), ("cgan", "ddpm")),
}


def metric(name: str, dataset: str) -> MetricSpec:
    reference = "" if name in ("is", "psnr", "ssim", "lpips") else f"{dataset}:train"
    return FD.model_copy(update={"name": name, "reference": reference})


def cell(baseline: str, task: str, dataset: str, metrics: Sequence[str], seed: int = 0) -> Cell:
    train = TrainSpec(
        baseline=baseline, dataset=dataset, task=task, budget=Budget(images=60_000), seed=seed,
        version="0123456789abcdef",
    )  # fmt: skip
    specs = tuple(metric(name, dataset) for name in metrics)
    return Cell(sample=SampleSpec(train=train, n=360), metrics=specs)


def cells() -> list[Cell]:
    return [
        cell(name, task, dataset, metrics)
        for task, (dataset, metrics, names) in TASKS.items()
        for name in names
    ]


def blurred(images: torch.Tensor, amount: int, seed: int) -> Images:
    """Something like an answer: the picture with less detail and some noise."""
    small = torch.nn.functional.avg_pool2d(images.float(), amount)
    large = torch.nn.functional.interpolate(small, scale_factor=amount, mode="bilinear")
    noise = np.random.default_rng(seed).normal(0, 6, large.shape)
    out: Images = np.clip(large.numpy() + noise, 0, 255).astype(np.uint8)
    return out


def answers(task: str, i: int) -> tuple[Images, dict[str, Images], dict[str, Any]]:
    """Samples, tensors and facts of a row, as a run stores them."""
    scenes = Scenes("test", SIZE)
    images = scenes.images(INDEX)
    made = blurred(images, 2, i)
    info: dict[str, Any] = {"texts": [""] * 64, "reasons": {}, "aligned": False}
    tensors = {"truth": images.numpy()}
    kind = task.partition(":")[0]
    if task == "class_label":
        digits = pictures(64)
        info["texts"] = [str(k % 10) for k in range(64)]
        info["reasons"] = {"accuracy": ["read as 3" if k % 7 == 0 else "" for k in range(64)]}
        return digits, {"truth": digits}, info
    if kind == "class_label":
        info["texts"] = [SHAPES[k] for k in scenes.label(INDEX).tolist()]
        info["reasons"] = {"accuracy": ["no disc" if k % 9 == 0 else "" for k in range(64)]}
    elif kind == "caption":
        info["texts"] = scenes.captions(INDEX)
        wrong = ["the triangle is red, not blue" if k % 3 == 0 else "" for k in range(64)]
        info["reasons"] = {"tifa": wrong, "other": ["", "no star"] + [""] * 62}
    elif kind == "paired":
        tensors["asked"] = scenes.outline(INDEX).numpy()
        info["aligned"] = True
    elif kind == "low_res":
        tensors["asked"] = scenes.low_res(INDEX, 4).numpy()
        info["aligned"] = True
    elif kind == "to_domain":
        tensors = {"asked": images.numpy(), "truth": scenes.styled(INDEX, "night").numpy()}
        made = blurred(scenes.styled(INDEX, "night"), 2, i)
        info["texts"] = ["to night"] * 64
    return made, tensors, info


def folder(root: Path, tasks: Sequence[str] = tuple(TASKS), stored: bool = True) -> Store:
    """A folder with these tasks; `stored` with samples and questions."""
    store = Store(root)
    planned = [c for c in cells() if c.sample.train.task in tasks]
    store.put_plan("several", planned)
    for i, c in enumerate(planned):
        name = c.sample.train.baseline
        values = [10.0 * (j + 1) + i for j in range(len(c.metrics))]
        store.put_record(record(c, *values, kind=KINDS[name]))
        if stored:
            made, tensors, info = answers(c.sample.train.task, i)
            store.put("sample", c.sample.key, {"images": made}, {})
            store.put("shown", c.key, tensors, info)
    return store
