"""How well DDIM inverts: encode real images, decode them, and compare, for several step counts.

Writes a Markdown table of mean squared errors on the scale of [0, 1] beside those of the DDIM
paper (arXiv 2010.02502, section 5.4), over the trainings of one model that a results folder holds.

    python tools/ddim_inversion.py runs/mnist#ddpm --n 200 --out results/speed-mnist/inversion.md
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from genbench import data, registry
from genbench.report.published import load
from genbench.report.text import measured
from genbench.sample import restore
from genbench.spec import SampleSpec
from genbench.speed.request import plan
from genbench.stats import mean_interval
from genbench.store import Store, atomic_write

STEPS = (10, 20, 50, 100, 200, 500, 1000)


def error(model: Any, x: torch.Tensor, steps: int, batch: int = 100) -> float:
    """Mean of (x - decode(encode(x)))^2 / 4: images in [-1, 1] count as in [0, 1]."""
    with torch.inference_mode():
        pieces = [x[start : start + batch] for start in range(0, len(x), batch)]
        parts = [model.decode(model.encode(piece, steps), steps) for piece in pieces]
    return float((torch.cat(parts) - x).square().mean() / 4)


def errors(target: str, n: int, root: Path | None) -> tuple[str, dict[int, list[float]]]:
    """The dataset, and the error of each training by step count, on the first n test images."""
    planned = plan(target, ["steps=10", "samplers=ddim", "against=none"], root)
    folder = planned.stores[0]
    found: dict[int, list[float]] = {steps: [] for steps in STEPS}
    for cell in planned.rows[0].cells:
        spec: SampleSpec = cell.sample
        trained = Store(folder).get("train", spec.train.key)
        if trained is None:
            raise SystemExit(f"{folder} has no weights of seed {spec.train.seed}")
        model = restore(registry.load(spec.train.baseline), spec, trained, "cpu")
        images = data.load(spec.train.dataset, "test", root=root).images[:n]
        x = images.float() / 127.5 - 1
        for steps in STEPS:
            found[steps].append(error(model, x, steps))
    return planned.rows[0].cells[0].sample.train.dataset, found


def table(target: str, n: int, root: Path | None) -> str:
    """The errors as Markdown."""
    dataset, found = errors(target, n, root)
    rows = load()
    rows = rows[rows["metric"] == "encode-decode mse"]
    published = dict(zip(rows["steps"].tolist(), rows["value"].tolist(), strict=True))
    seeds = len(found[STEPS[0]])
    lines = [
        f"Mean squared error of DDIM's encode and decode, pixels in [0, 1]: the first {n} test "
        f"images of {dataset}, {seeds} training{'s' if seeds > 1 else ''}, leading steps, no "
        "clipping; beside it CIFAR-10 in the DDIM paper (arXiv 2010.02502).",
        "",
        "| steps | measured | to 10 steps | published | to 10 steps |",
        "|---:|---:|---:|---:|---:|",
    ]
    first = sum(found[STEPS[0]]) / seeds
    for steps, values in found.items():
        mean, _, ci95 = mean_interval(values) if seeds > 1 else (values[0], 0.0, None)
        paper = published[steps]
        ratio, theirs = mean / first, paper / published[STEPS[0]]
        lines.append(
            f"| {steps} | {measured(mean, ci95)} | {ratio:.2g} | {paper:g} | {theirs:.2g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the arguments, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("target", help="a results folder, FOLDER#NAME")
    parser.add_argument("--n", type=int, default=200, help="images (default: 200)")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument("--data", type=Path, help="folder of the data files")
    arguments = parser.parse_args()
    text = table(arguments.target, arguments.n, arguments.data)
    if arguments.out is not None:
        atomic_write(arguments.out, text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
