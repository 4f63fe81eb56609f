"""Measures the rule for the batch: every family at every batch and budget, on training data alone.

    python tools/batch_search.py digits                          # 30 minutes on two quiet cores
    python tools/batch_search.py mnist@32 --images 60000,300000 --families ddpm,vae,dcgan
    python tools/batch_search.py digits --show                   # the table of what is there

A fifth of the training images is held out, by a seeded permutation, and takes the place of the
test split: the real test images are never looked at. Each family has the same trials, one for each
batch, budget and seed, at its other settings as they are. The table has the Frechet distance to
the images that were held out, and marks the batch that `genbench.suite.batch` would take.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from genbench import data, registry
from genbench.spec import Budget
from genbench.store import Store
from genbench.suite import batch as rule

BATCHES = (16, 32, 64, 128)
FAMILIES = ("ddpm", "flow_matching", "edm", "vae", "ae", "gan", "dcgan", "stylegan")
HELD_OUT, SEED = 5, 0  # one in five; of the permutation


def write_folder(dataset: str, root: Path) -> Path:
    """The training images as folders train and test, of four fifths and of one."""
    folder = root / "data"
    if (folder / "done").exists():
        return folder
    split = data.load(dataset, "train")
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SEED)).tolist()
    for place, row in enumerate(order):
        part = folder / ("test" if place % HELD_OUT == 0 else "train") / "all"
        part.mkdir(parents=True, exist_ok=True)
        pixels = split.images[row].permute(1, 2, 0).squeeze(-1).numpy()
        Image.fromarray(pixels).save(part / f"{row}.png")
    (folder / "done").touch()
    return folder


def suite_text(folder: Path, extractor: str, arguments: argparse.Namespace) -> str:
    """The suite: equally many rows for every family."""
    held_out = len(list((folder / "test").rglob("*.png")))
    lines = [
        f'dataset = "imagefolder:{folder}"',
        f"n = {max(2, min(held_out, 1000))}",
        'metrics = ["fd"]',
        f'extractor = "{extractor}"',
        'reference = "test"',
        "threads = 1",
        f"seeds = {list(range(arguments.seeds))}",
        f"budget = {{ images = {arguments.images[0]} }}",
    ]
    for family in arguments.families:
        for images in arguments.images:
            for size in BATCHES:
                lines += [
                    "[[rows]]",
                    f'baseline = "{family}"',
                    f"config = {{ batch = {size} }}",
                    f"budget = {{ images = {images} }}",
                ]
    lines += ["[[rows]]", 'baseline = "gaussian"']
    return "\n".join(lines) + "\n"


def table(store: Store, arguments: argparse.Namespace) -> str:
    """FD by family, budget and batch, means over seeds; the rule's batch in bold."""
    found: dict[tuple[str, int, int], list[float]] = {}
    for record in store.records():
        train = record.cell.sample.train
        if record.status == "ok" and train.budget.images:
            key = (train.baseline, train.budget.images, train.config["batch"])
            found.setdefault(key, []).extend(s.value for s in record.scores.values())
    head = ["family", "images", *map(str, BATCHES)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for family in arguments.families:
        cls = registry.load(family)
        for images in arguments.images:
            config, budget = cls.Config(), Budget(images=images)
            changes = rule.for_budget(config, budget, 1 + bool(cls.sampled))
            chosen, cells = changes.get("batch", config.batch), []
            for size in BATCHES:
                values = found.get((family, images, size))
                text = f"{sum(values) / len(values):.3g}" if values else "-"
                cells.append(f"**{text}**" if size == chosen else text)
            lines.append(f"| {family} | {images:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def main() -> int:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", help="digits, mnist@32, ...")
    parser.add_argument("--families", type=lambda t: t.split(","), default=list(FAMILIES))
    parser.add_argument("--images", type=numbers, default=[60_000, 300_000])
    parser.add_argument("--seeds", type=int, default=1, help="trainings of every row")
    parser.add_argument("--extractor", help="default: digits-cnn or mnist-cnn")
    parser.add_argument("--out", type=Path, help="default: runs/batch-DATASET")
    parser.add_argument("--show", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    out = (arguments.out or Path("runs") / f"batch-{arguments.dataset}").resolve()
    code = 0
    if not arguments.show:
        folder = write_folder(arguments.dataset, out)
        extractor = arguments.extractor or f"{arguments.dataset.partition('@')[0]}-cnn"
        suite = out / "batch.toml"
        suite.write_text(suite_text(folder, extractor, arguments))
        command = [sys.executable, "-m", "genbench", "run", str(suite), "--out", str(out / "runs")]
        code = subprocess.run(command).returncode
    print(table(Store(out / "runs"), arguments))
    return code


if __name__ == "__main__":
    sys.exit(main())
