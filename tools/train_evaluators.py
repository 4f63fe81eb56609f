"""Train the small networks of genbench.features, and write their weights and cards.

    python tools/train_evaluators.py digits-cnn
    python tools/train_evaluators.py mnist-cnn --data-root PATH

Trains on the train split alone for a fixed number of epochs and keeps the last weights; the test
split is looked at once a run, for the accuracy on the card. Runs with one version of torch on one
machine give equal files.
"""

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from evaluator_training import initialise, one_cycle, without_biases, write
from torch import Tensor

from genbench import data
from genbench.data import Dataset
from genbench.features.cards import WEIGHTS
from genbench.features.convnet import PREPROCESSING, TOTAL_VARIANCE, ConvNet


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; `shift` is the largest random translation in pixels."""

    dataset: str
    layers: tuple[tuple[int, int], ...]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    shift: int
    seed: int


RECIPES = {
    "digits-cnn": Recipe(
        dataset="digits",
        layers=((24, 1), (24, 1), (48, 2), (48, 1), (32, 1)),
        epochs=40,
        batch=64,
        learning_rate=3e-3,
        weight_decay=1e-2,
        shift=1,
        seed=0,
    ),
    "mnist-cnn": Recipe(
        dataset="mnist",
        layers=((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)),
        epochs=3,
        batch=128,
        learning_rate=4e-3,
        weight_decay=1e-2,
        shift=2,
        seed=0,
    ),
}


def translate(x: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Every image moved by up to `shift` pixels both ways, the border repeated."""
    size = x.shape[-1]
    padded = F.pad(x, (shift,) * 4, mode="replicate")
    offset = torch.randint(2 * shift + 1, (2, len(x), 1), generator=generator)
    rows, columns = offset + torch.arange(size)
    image = torch.arange(len(x))[:, None, None]
    return padded[image, 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(recipe: Recipe, dataset: Dataset) -> ConvNet:
    """A trained network, its features scaled; AdamW with a one-cycle learning rate."""
    assert dataset.labels is not None
    generator = torch.Generator().manual_seed(recipe.seed)
    net = ConvNet(dataset.size, recipe.layers, len(dataset.classes))
    initialise(net, generator)
    without_biases(net)
    pixels = dataset.images.double() / 255
    net.mean.fill_(pixels.mean())
    net.std.fill_(pixels.std())
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=recipe.weight_decay)
    per_epoch = len(dataset) // recipe.batch
    total = recipe.epochs * per_epoch
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(dataset), generator=generator)
        for i in range(per_epoch):
            progress = (epoch * per_epoch + i) / total
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(progress)
            rows = order[i * recipe.batch : (i + 1) * recipe.batch]
            x = translate(net.prepare(dataset.images[rows]), recipe.shift, generator)
            logits = net.logits(net.features(x))
            loss = F.cross_entropy(logits, dataset.labels[rows])
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
        print(
            f"epoch {epoch + 1}/{recipe.epochs}: loss {loss.item():.4f} (last batch)", flush=True
        )
    net.eval()
    variance = outputs(net, dataset)[0].double().var(0).sum()
    net.scale.fill_(math.sqrt(TOTAL_VARIANCE / variance.item()))
    return net


@torch.no_grad()
def outputs(net: ConvNet, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Features and logits of a whole split."""
    features = torch.cat([net.features(net.prepare(x)) for x in torch.split(dataset.images, 500)])
    return features, net.logits(features)


def describe(
    name: str, recipe: Recipe, net: ConvNet, test: Dataset, train_hash: str
) -> dict[str, Any]:
    """The card, but for what concerns the weights file."""
    assert test.labels is not None
    correct = int((outputs(net, test)[1].argmax(1) == test.labels).sum())
    return {
        "name": name,
        "module": "genbench.features.convnet",
        "about": f"convolutional classifier of {recipe.dataset}; features: its penultimate layer",
        "for": {
            "images": "grey handwritten digits",
            "datasets": ["digits", "mnist"],
            "grey": True,
        },
        "dim": net.head.in_features,
        "classes": net.head.out_features,
        "class_names": test.classes,
        "size": net.size,
        "layers": recipe.layers,
        "architecture": "3x3 convolutions (channels, stride) with batch norm and ReLU, mean over "
        "positions, linear",
        "preprocessing": PREPROCESSING,
        "feature_scale": f"total variance of the train split's features is {TOTAL_VARIANCE:g}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "test_accuracy": correct / len(test),
        "test_correct": correct,
        "test_count": len(test),
        "test_hash": test.hash,
        "training": {
            **{k: v for k, v in asdict(recipe).items() if k != "layers"},
            "split": "train",
            "train_hash": train_hash,
            "optimizer": "AdamW, one-cycle learning rate",
            "selection": "none of weights: the last ones; "
            "recipe settled in trials that saw test accuracy",
            "torch": torch.__version__,
        },
        "retrain": f"python tools/train_evaluators.py {name}",
        "license": "Apache-2.0",
    }


def main() -> None:
    """Train one network, then write NAME.safetensors and NAME.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--data-root", type=Path, help="folder with the dataset's files")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to write (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums do not depend on how work is shared between threads
    recipe = RECIPES[args.name]
    train_split = data.load(recipe.dataset, "train", root=args.data_root)
    net = train(recipe, train_split)
    test_split = data.load(recipe.dataset, "test", root=args.data_root)
    about = describe(args.name, recipe, net, test_split, train_split.hash)
    write(args.out, args.name, net.state_dict(), about)
    print(f"accuracy {about['test_accuracy']:.4f} on {len(test_split)} held-out images")


if __name__ == "__main__":
    main()
