"""Train `scenes-clip`, the CLIP for pictures of scenes, and write its weights and card.

    python tools/train_scenes_clip.py

Every scene of the train split is seen once, with one caption, in one of the styles, and there are
as many as training takes: 0, 1, 2, ..., far beyond the dataset's 10,000. Half of the captions come
with one that differs in a single word and is false. Linear heads that only training has ask both
embeddings which objects there are, and the image's for a thumbnail and the style, so that it
keeps looks that captions do not name. The last weights are kept; the test split is looked at once
a run, for the card.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import torch
import torch.nn.functional as F
from evaluator_training import initialise, one_cycle, without_biases, write
from scenes_captions import alter
from scenes_clip_card import describe
from torch import Tensor, nn

from genbench.data.scenes import COLOURS, GROUNDS, SHAPES, STYLES, Scenes, parse
from genbench.data.scenes import write as write_caption
from genbench.features.cards import WEIGHTS
from genbench.features.convnet import TOTAL_VARIANCE
from genbench.features.scenes_clip import MODEL, SIZE, ScenesClip, build, prepare, tokens

_THUMBNAIL = 8
_PARTS = 6  # of a batch of captions, by length: short ones are not filled up to the longest


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        scenes: Seen in all, each once.
        block: Scenes that are drawn at once and shuffled.
        batch: Pairs of a step; half of them with a false caption.
        learning_rate: At the top of the cycle.
        weight_decay: Of AdamW.
        styles: Share of the scenes that are drawn in each style.
        noisy: Share of images with noise.
        noise: The largest standard deviation of that Gaussian noise, in levels of 255.
        objects: Weight of the loss on which objects there are.
        looks: Weight of the loss on thumbnail, style and ground.
        largest_scale: Of the cosines in the contrastive loss.
        seed: Of the weights, the order, the false captions and the noise.
    """

    scenes: int = 163_840
    block: int = 8192
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    styles: tuple[tuple[str, float], ...] = (
        ("day", 0.55), ("night", 0.15), ("pastel", 0.15), ("drawing", 0.15),
    )  # fmt: skip
    noisy: float = 0.3
    noise: float = 16.0
    objects: float = 5.0
    looks: float = 1.0
    largest_scale: float = 50.0
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Pictures with captions, true and false, and what is in them."""

    images: Tensor
    caption: Tensor
    false: Tensor
    objects: Tensor  # float (B, 36): whether there is a shape of a colour
    ground: Tensor
    style: Tensor

    def __getitem__(self, rows: Tensor) -> "Batch":
        return Batch(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class Heads(nn.Module):
    """What training asks of embeddings; not part of the network."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.objects = nn.Linear(dim, len(COLOURS) * len(SHAPES))
        self.ground = nn.Linear(dim, len(GROUNDS))
        self.style = nn.Linear(dim, len(STYLES))
        self.thumbnail = nn.Linear(dim, 3 * _THUMBNAIL**2)


def block(recipe: Recipe, start: int, random: Random) -> Batch:
    """The scenes from `start` on."""
    scenes, index = Scenes("train", SIZE), torch.arange(start, start + recipe.block)
    scene, captions = scenes.describe(index), scenes.captions(index)
    false = [
        write_caption(alter(parse(caption), random)[1], random.randrange(2**24))
        for caption in captions
    ]
    place = (scene.colour * len(SHAPES) + scene.shape).clamp(min=0)
    objects = torch.zeros(recipe.block, len(COLOURS) * len(SHAPES))
    objects.scatter_add_(1, place, scene.used.float()).clamp_(max=1)
    shares = torch.tensor([share for _, share in recipe.styles]).cumsum(0)
    at = (torch.arange(recipe.block) + 0.5) / recipe.block
    chosen = (at[:, None] > shares[:-1]).sum(1)
    images = torch.empty(recipe.block, 3, SIZE, SIZE, dtype=torch.uint8)
    style = torch.empty_like(index)
    for i, (name, _) in enumerate(recipe.styles):
        images[chosen == i] = scenes.styled(index[chosen == i], name)
        style[chosen == i] = list(STYLES).index(name)
    return Batch(images, tokens(captions), tokens(false), objects, scene.ground, style)


def batches(recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """All batches of the training."""
    random = Random(recipe.seed)
    for first in range(0, recipe.scenes, recipe.block):
        drawn = block(recipe, first, random)
        order = torch.randperm(recipe.block, generator=generator)
        for rows in torch.split(order, recipe.batch):
            yield drawn[rows]


def add_noise(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Gaussian noise in some of the images, rounded and clipped as pixels are."""
    chance, level = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    std = (chance < recipe.noisy) * level * recipe.noise
    noise: Tensor = std * torch.randn(images.shape, generator=generator)
    return (images + noise).round().clamp(0, 255).to(torch.uint8)


def encode_text(net: nn.Module, rows: Tensor) -> Tensor:
    """What `net.encode_text` gives, in parts of like length: the rest is not looked at anyway."""
    model: Any = net
    length, order = rows.argmax(1).sort(stable=True)
    parts: list[Tensor] = []
    for part, ends in zip(order.chunk(_PARTS), length.chunk(_PARTS), strict=True):
        most = int(ends[-1]) + 1
        x = model.token_embedding(rows[part, :most]) + model.positional_embedding[:most]
        x = model.transformer(x, attn_mask=model.attn_mask[:most, :most])
        x = model.ln_final(x)[torch.arange(len(part)), ends]
        parts.append(x @ model.text_projection)
    return torch.cat(parts)[order.argsort()]


def loss_of(
    net: nn.Module, heads: Heads, recipe: Recipe, batch: Batch, images: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss, and the contrastive part of it."""
    model: Any = net
    half, n = len(images) // 2, len(images)
    x = prepare(images).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        image = model.encode_image(x)
        text = encode_text(net, torch.cat((batch.caption, batch.false[:half])))
    image, text = image.float(), text.float()
    a, b = F.normalize(image, dim=1), F.normalize(text, dim=1)
    scale = model.logit_scale.exp().clamp(max=recipe.largest_scale)
    scores = scale * a @ b[:n].T
    without = torch.full((n - half, 1), -1e4)
    false = torch.cat((scale * (a[:half] * b[n:]).sum(1, keepdim=True), without))
    right = torch.arange(n)
    contrast = F.cross_entropy(torch.cat((scores, false), 1), right)
    contrast = (contrast + F.cross_entropy(scores.T, right)) / 2
    told = torch.cat([heads.objects(v) for v in (image, text[:n])])
    objects = F.binary_cross_entropy_with_logits(told, batch.objects.repeat(2, 1))
    small = F.adaptive_avg_pool2d(images / 127.5 - 1, _THUMBNAIL)
    looks = F.mse_loss(heads.thumbnail(image).view_as(small), small)
    looks = looks + 0.2 * F.cross_entropy(heads.style(image), batch.style)
    looks = looks + 0.2 * F.cross_entropy(heads.ground(image), batch.ground)
    return contrast + recipe.objects * objects + recipe.looks * looks, contrast


def train(recipe: Recipe) -> nn.Module:
    """A trained network, its image features scaled; AdamW with a one-cycle learning rate."""
    generator = torch.Generator().manual_seed(recipe.seed)
    net = build(MODEL).train().requires_grad_(True)
    heads = Heads(MODEL["embed_dim"])
    initialise(heads, generator)
    without_biases(heads)
    cast(Any, net).visual.to(memory_format=torch.channels_last)
    learned = [*net.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(learned, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
    total, start = recipe.scenes // recipe.batch, time.monotonic()
    for i, batch in enumerate(batches(recipe, generator)):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * one_cycle(i / total, warm=0.1)
        loss, contrast = loss_of(
            net, heads, recipe, batch, add_noise(batch.images, recipe, generator)
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        if (i + 1) % 64 == 0 or i + 1 == total:
            seconds = time.monotonic() - start
            parts = f"loss {loss.item():.4f}, contrastive {contrast.item():.4f}"
            print(f"step {i + 1}/{total}: {parts}, {seconds:.0f} s", flush=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)


@torch.no_grad()
def scaled(net: nn.Module, count: int = 10_000) -> nn.Module:
    """The same in half precision's values, features of the train split of total variance 100."""
    images = Scenes("train", SIZE).images(torch.arange(count))
    clip = ScenesClip(net, MODEL["embed_dim"], "")
    features = torch.cat([clip(part).features for part in torch.split(images, 500)])
    variance = features.double().var(0).sum().item()
    last = cast(Any, net).visual.attnpool.c_proj
    for parameter in (last.weight, last.bias):
        parameter.mul_((TOTAL_VARIANCE / variance) ** 0.5)
    return net.half().float()


def main() -> None:
    """Train the network, then write its weights and card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where to write (%(default)s)")
    parser.add_argument("--scenes", type=int, default=Recipe.scenes, help="scenes to train on")
    parser.add_argument("--test", type=int, default=2000, help="test scenes to measure on")
    args = parser.parse_args()
    torch.set_num_threads(1)  # sums do not depend on how work is shared between threads
    recipe = Recipe(scenes=args.scenes, block=min(args.scenes, Recipe.block))
    net = scaled(train(recipe))
    training = asdict(recipe) | {
        "split": "train, scenes 0 to scenes - 1: every scene once, with one caption",
        "optimizer": "AdamW, one-cycle learning rate, bfloat16 autocast",
        "selection": "none of weights: the last ones; recipe settled in trials that saw test "
        "accuracy",
        "torch": torch.__version__,
    }
    about = describe(net, args.test, training)
    write(args.out, "scenes-clip", {k: v.half() for k, v in net.state_dict().items()}, about)
    print(f"the right caption of 32 is first for {about['test_accuracy']:.2%} of test scenes")


if __name__ == "__main__":
    main()
