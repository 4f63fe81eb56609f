"""How well `scenes-clip` tells captions apart, and what its features see of an image's looks."""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from scenes_captions import ALTERATIONS, Facts, alter, is_true
from scenes_parser_card import add_noise
from torch import Tensor, nn

from genbench.data.filters import box_average
from genbench.data.scenes import (
    COLOURS,
    GROUNDS,
    RELATIONS,
    SHAPES,
    SIZES,
    STYLES,
    Meaning,
    Scenes,
    Thing,
    parse,
    write,
)
from genbench.data.scenes.captions import relations
from genbench.features.convnet import TOTAL_VARIANCE
from genbench.features.scenes_clip import MODEL, PREPROCESSING, SIZE, ScenesClip
from genbench.metrics import frechet
from genbench.metrics.metric import FeatureSet, NoOptions

CHOICES = 32
_TRAIN = 10_000  # images of the dataset's train split


def facts_of(scenes: Scenes, index: Tensor) -> list[Facts]:
    """Objects, relations and ground of each scene, as captions speak of them."""
    scene = scenes.describe(index)
    drawn = zip(scene.colour.tolist(), scene.shape.tolist(), scene.size.tolist(), strict=True)
    objects = [
        tuple(
            Thing(COLOURS[c], SHAPES[s], SIZES[z]) for c, s, z in zip(*row, strict=True) if s >= 0
        )
        for row in drawn
    ]
    holds = [
        [
            [{r for r, true in zip(RELATIONS, to, strict=True) if true} for to in row]
            for row in rows
        ]
        for rows in relations(scene).tolist()
    ]
    grounds = [GROUNDS[g] for g in scene.ground.tolist()]
    return list(zip(objects, holds, grounds, strict=True))


def others(count: int, fits: Callable[[int, int], bool], random: Random) -> Tensor:
    """int64 (count, 31), for each row places of others that do not fit, without repetition."""
    rows = []
    for i in range(count):
        chosen: list[int] = []
        while len(chosen) < CHOICES - 1:
            j = random.randrange(count)
            if j != i and j not in chosen and not fits(i, j):
                chosen.append(j)
        rows.append(chosen)
    return torch.tensor(rows)


def retrieval(image: Tensor, text: Tensor, meanings: list[Meaning], facts: list[Facts]) -> Any:
    """How often the right one of 32 is first, both ways, with true distractors and without."""
    cosines = F.normalize(image.double(), dim=1) @ F.normalize(text.double(), dim=1).T
    n, right = len(image), cosines.diag()[:, None]
    anything = others(n, lambda i, j: False, Random(0))
    false = others(n, lambda i, j: is_true(meanings[j], facts[i]), Random(0))
    misfit = others(n, lambda i, j: is_true(meanings[i], facts[j]), Random(0))

    def first(scores: Tensor, distractors: Tensor) -> float:
        return _share(right > scores.gather(1, distractors))

    return {
        "image_to_text": first(cosines, false),
        "text_to_image": first(cosines.T, misfit),
        "image_to_text_unfiltered": first(cosines, anything),
        "text_to_image_unfiltered": first(cosines.T, anything),
    }


def _share(right: Tensor) -> float:
    return round(right.all(1).double().mean().item(), 5)


def one_word(clip: ScenesClip, image: Tensor, text: Tensor, meanings: list[Meaning]) -> Any:
    """By what is changed: how often the caption is nearer to its image than the false one is."""
    random = Random(1)
    altered = [alter(meaning, random) for meaning in meanings]
    false = clip.text([write(meaning) for _, meaning in altered])
    nearer = F.cosine_similarity(image, text) > F.cosine_similarity(image, false)
    kinds = [kind for kind, _ in altered]
    return {
        kind: round(nearer[[k == kind for k in kinds]].double().mean().item(), 4)
        for kind in ALTERATIONS
        if kind in kinds
    }


def looks(clip: ScenesClip, index: Tensor) -> dict[str, float]:
    """Frechet distance of changed test images from the train split, as `fd@scenes-clip` has it."""
    train, test = Scenes("train", SIZE), Scenes("test", SIZE)
    real = FeatureSet.of(features(clip, train.images(torch.arange(_TRAIN))))
    clean = test.images(index)
    changed = {
        **{f"style {name}": test.styled(index, name) for name in STYLES},
        **{f"noise {std}": add_noise(clean, std) for std in (8, 16, 32, 64)},
        "blur 2x2": box_average(clean, 2).repeat_interleave(2, 2).repeat_interleave(2, 3),
        "blur 4x4": box_average(clean, 4).repeat_interleave(4, 2).repeat_interleave(4, 3),
        "grey": clean.float().mean(1, keepdim=True).round().to(torch.uint8),
        "darker by 32": (clean.int() - 32).clamp(0, 255).to(torch.uint8),
        "upside down": clean.flip(2),
        "plain grounds only": clean[test.describe(index).ground == 0],
    }
    found = {}
    for name, images in changed.items():
        made = FeatureSet.of(features(clip, images))
        found[name] = round(float(frechet.score(made, real, NoOptions()).value), 3)
    return found


def features(clip: ScenesClip, images: Tensor) -> Tensor:
    """Of many images."""
    return torch.cat([clip(part).features for part in torch.split(images, 500)])


def describe(net: nn.Module, count: int, training: dict[str, Any]) -> dict[str, Any]:
    """The card, but for what concerns the weights file; measured on `count` test scenes."""
    clip, index = ScenesClip(net, MODEL["embed_dim"], ""), torch.arange(count)
    test = Scenes("test", SIZE)
    captions, facts = test.captions(index), facts_of(test, index)
    meanings = [parse(caption) for caption in captions]
    text = clip.text(captions)
    image = features(clip, test.images(index))
    found = retrieval(image, text, meanings, facts)
    styles = {
        name: retrieval(features(clip, test.styled(index, name)), text, meanings, facts)
        for name in STYLES
        if name != "day"
    }
    correct = round(found["image_to_text"] * count)
    return {
        "name": "scenes-clip",
        "module": "genbench.features.scenes_clip",
        "about": "CLIP of scenes and their captions, an open_clip network; for FD and CLIP score",
        "for": {"images": "the drawn scenes of genbench", "datasets": ["scenes"], "grey": False},
        "dim": clip.dim,
        "classes": 0,
        "text": True,
        "size": SIZE,
        "model": MODEL,
        "architecture": "open_clip.model.CLIP: ResNet with attention pooling, causal transformer",
        "preprocessing": PREPROCESSING,
        "feature_scale": "total variance of the train split's image features is "
        f"{TOTAL_VARIANCE:g}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "weights": "half precision, computed with in float32",
        "test_accuracy": correct / count,
        "test_correct": correct,
        "test_count": count,
        "test": {
            "about": f"test scenes 0 to {count - 1} at {SIZE} pixels, style day where none is "
            f"named, caption 0; shares of the scenes of which the right one of {CHOICES} is the "
            "nearest. The 31 others are other test scenes', drawn at random among those whose "
            "caption is false of the image: a caption is true of a scene if its things are the "
            "scene's objects one by one in all that it says; unfiltered: among all",
            "retrieval": found,
            "styles": styles,
            "one_word": one_word(clip, image, text, meanings),
            "one_word_about": "share of captions that are nearer to their image than the same "
            "with one thing changed, so that it is false; 0.5 is guessing",
            "fd": looks(clip, index),
            "fd_about": "Frechet distance from the 10,000 images of the train split",
        },
        "training": training,
        "retrain": "python tools/train_scenes_clip.py",
        "license": "Apache-2.0",
    }
