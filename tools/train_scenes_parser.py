"""Train `scenes-parser`, which reads pictures of scenes, and write its weights and card.

    python tools/train_scenes_parser.py

Every scene of the train split is seen once, in one of the styles and at one of several sizes, and
there are as many as training takes: 0, 1, 2, ..., far beyond the dataset's 10,000. The last
weights are kept; the test split is looked at once a run, for the card.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from evaluator_training import initialise, one_cycle, without_biases, write
from scenes_parser_card import describe
from torch import Tensor

from genbench.data.scenes import STYLES, Scenes
from genbench.features.cards import WEIGHTS
from genbench.features.convnet import TOTAL_VARIANCE
from genbench.features.scenes_net import SIZE, Maps, SceneNet


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        images: Seen in all, each once.
        block: Scenes that are drawn at once and shuffled.
        batch: Images of a step.
        learning_rate: At the top of the cycle.
        weight_decay: Of AdamW.
        styles: Share of the scenes that are drawn in each style.
        sizes: Pixels on each side, and the share of scenes that are drawn so.
        noisy: Share of images with noise.
        noise: The largest standard deviation of that Gaussian noise, in levels of 255.
        objects: Weight of the loss on the shape of whole objects.
        seed: Of the weights, the order and the noise.
    """

    images: int = 204_800
    block: int = 8192
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    styles: tuple[tuple[str, float], ...] = (
        ("day", 0.4), ("night", 0.2), ("pastel", 0.2), ("drawing", 0.2),
    )  # fmt: skip
    sizes: tuple[tuple[int, float], ...] = ((32, 0.8), (16, 0.05), (24, 0.05), (64, 0.1))
    noisy: float = 0.25
    noise: float = 16.0
    objects: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Images as the network reads them, and what is true of each pixel."""

    x: Tensor
    shape: Tensor
    colour: Tensor
    size: Tensor
    offset: Tensor
    masks: Tensor
    kinds: Tensor  # of whole objects, -1 where there is none
    style: Tensor

    def __getitem__(self, rows: Tensor) -> "Batch":
        return Batch(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def truth(index: Tensor) -> dict[str, Tensor]:
    """What is true of each pixel, the masks and the shapes of the objects; see `Batch`."""
    scenes = Scenes("train", SIZE)
    scene, masks = scenes.describe(index), scenes.masks(index)

    def painted(values: Tensor) -> Tensor:
        total: Tensor = (masks * values[..., None, None]).sum(1)
        return total

    grid = (torch.arange(SIZE) + 0.5) / SIZE
    offset = torch.stack((painted(scene.x) - grid, painted(scene.y) - grid[:, None]), 1)
    return {
        "shape": painted(scene.shape + 1),
        "colour": painted(scene.colour),
        "size": painted(scene.size),
        "offset": offset,
        "masks": masks,
        "kinds": scene.shape,
    }


def block(net: SceneNet, recipe: Recipe, first: int) -> Batch:
    """The scenes from `first` on, drawn in turn in all styles and sizes, then in that order."""
    index = torch.arange(first, first + recipe.block)
    x = torch.empty(recipe.block, 3, SIZE, SIZE)
    style = torch.empty(recipe.block, dtype=torch.int64)
    begin = 0
    for name, share in recipe.styles:
        for size, part in recipe.sizes:
            rows = slice(begin, begin + round(share * part * recipe.block))
            begin = rows.stop
            x[rows] = net.prepare(Scenes("train", size).styled(index[rows], name))
            style[rows] = list(STYLES).index(name)
    rest = slice(begin, None)  # what rounding left
    x[rest] = net.prepare(Scenes("train", SIZE).images(index[rest]))
    style[rest] = 0
    return Batch(x=x, style=style, **truth(index))


def batches(net: SceneNet, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """All batches of the training."""
    for first in range(0, recipe.images, recipe.block):
        drawn = block(net, recipe, first)
        order = torch.randperm(recipe.block, generator=generator)
        for rows in torch.split(order, recipe.batch):
            yield drawn[rows]


def add_noise(x: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Gaussian noise in some of the images, then clipped as pixels are."""
    chance, level = torch.rand(2, len(x), 1, 1, 1, generator=generator)
    std = (chance < recipe.noisy) * level * recipe.noise / 127.5
    noise: Tensor = std * torch.randn(x.shape, generator=generator)
    return (x + noise).clamp(-1, 1)


def loss_of(maps: Maps, true: Batch, weight: float) -> Tensor:
    """Cross-entropies of shape, colour, size and style, and the offsets' smooth L1, in pixels.

    Objects count alike, large or small: the scores of their pixels are averaged, as when read.
    """
    inside = true.shape > 0
    shape = F.cross_entropy(maps.shape, true.shape)
    colour, size = (
        F.cross_entropy(scores.permute(0, 2, 3, 1)[inside], values[inside])
        for scores, values in ((maps.colour, true.colour), (maps.size, true.size))
    )
    apart = ((maps.offset - true.offset) * SIZE).permute(0, 2, 3, 1)[inside]
    offset = F.smooth_l1_loss(apart, torch.zeros_like(apart))
    style = F.cross_entropy(maps.style, true.style)
    masks = true.masks.flatten(2).float()
    whole = masks @ maps.shape[:, 1:].flatten(2).transpose(1, 2)
    whole = whole / masks.sum(2, keepdim=True).clamp(min=1)
    used = true.kinds >= 0
    objects = F.cross_entropy(whole[used], true.kinds[used])
    return weight * objects + 4 * shape + 0.5 * colour + 0.5 * size + 0.25 * offset + 0.1 * style


def train(recipe: Recipe) -> SceneNet:
    """A trained network, its features scaled; AdamW with a one-cycle learning rate."""
    generator = torch.Generator().manual_seed(recipe.seed)
    net = SceneNet()
    initialise(net, generator)
    without_biases(net)
    net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=recipe.weight_decay)
    total, start = recipe.images // recipe.batch, time.monotonic()
    for i, true in enumerate(batches(net, recipe, generator)):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(i / total)
        with torch.autocast("cpu", torch.bfloat16):
            maps = net(add_noise(true.x, recipe, generator)).float()
        loss = loss_of(maps, true, recipe.objects)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        if (i + 1) % 64 == 0 or i + 1 == total:
            seconds = time.monotonic() - start
            print(f"step {i + 1}/{total}: loss {loss.item():.4f}, {seconds:.0f} s", flush=True)
    net.eval()
    net.scale.fill_((TOTAL_VARIANCE / variance(net)) ** 0.5)
    return net


@torch.no_grad()
def variance(net: SceneNet, count: int = 10_000) -> float:
    """The total variance of the features of the dataset's train split."""
    images = Scenes("train", SIZE).images(torch.arange(count))
    parts = [net(net.prepare(part)).features for part in torch.split(images, 500)]
    return torch.cat(parts).double().var(0).sum().item()


def main() -> None:
    """Train the network, then write its weights and card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to write (%(default)s)")
    parser.add_argument("--images", type=int, default=Recipe.images, help="scenes to train on")
    parser.add_argument("--test", type=int, default=2000, help="test scenes to measure on")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums do not depend on how work is shared between threads
    recipe = Recipe(images=args.images, block=min(args.images, Recipe.block))
    net = train(recipe).to(memory_format=torch.contiguous_format)
    training = asdict(recipe) | {
        "split": "train, scenes 0 to images - 1: every scene once",
        "optimizer": "AdamW, one-cycle learning rate, bfloat16 autocast",
        "selection": "none of weights: the last ones; recipe settled in trials that saw test "
        "accuracy",
        "torch": torch.__version__,
    }
    about = describe(net, args.test, training)
    write(args.out, "scenes-parser", net.state_dict(), about)
    print(f"labels of {about['test_accuracy']:.2%} of {args.test} test scenes are right")


if __name__ == "__main__":
    main()
