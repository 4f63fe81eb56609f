"""How well `scenes-parser` reads: its answers against what the scenes really hold."""

from typing import Any

import torch
from torch import Tensor

from genbench.data.scenes import SHAPES, STYLES, Scenes
from genbench.features.base import Extractor
from genbench.features.convnet import TOTAL_VARIANCE
from genbench.features.scenes_net import PREPROCESSING, SIZE, WIDTHS, SceneNet
from genbench.features.scenes_parser import Reading, ScenesParser

NEAR = 0.09  # of the side, between centres: two objects are never that near
NOISE = (0, 8, 16, 32, 64, 128)
SIZES = (16, 24, 48, 64, 128)


def add_noise(images: Tensor, std: float) -> Tensor:
    """Images with Gaussian noise of this standard deviation (of 255), the same each time."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    return (images + std * noise).round().clamp(0, 255).to(torch.uint8)


def measure(
    parser: ScenesParser, index: Tensor, style: str = "day", size: int = SIZE, noise: float = 0
) -> dict[str, float]:
    """Shares of what is right of the test scenes at `index`; lengths in pixels of 32 x 32."""
    scenes = Scenes("test", size)
    images = add_noise(scenes.styled(index, style), noise)
    reading = parser.read(images)
    probs = torch.cat([parser(part).probs for part in torch.split(images, 500)])
    labels = scenes.label_map(index)
    found = {
        "pixel_labels": _share(reading.label_map == labels),
        "mean_iou": _mean_iou(reading.label_map, labels),
        **_objects(reading, scenes, index),
        "label": _share(probs.argmax(1) == scenes.label(index)),
        "style": _share(reading.style == list(STYLES).index(style)),
    }
    return {name: round(value, 5) for name, value in found.items()}


def _share(right: Tensor) -> float:
    return right.double().mean().item()


def _mean_iou(found: Tensor, true: Tensor) -> float:
    """Over the pixels of all images, mean over the ground and the six shapes."""
    both = found.long().flatten() * (1 + len(SHAPES)) + true.flatten()
    table = both.bincount(minlength=(1 + len(SHAPES)) ** 2).view(1 + len(SHAPES), -1).double()
    hit = table.diag()
    return (hit / (table.sum(0) + table.sum(1) - hit)).mean().item()


def _objects(reading: Reading, scenes: Scenes, index: Tensor) -> dict[str, float]:
    """Every true object against the found one whose centre is nearest, if it is near."""
    scene = scenes.describe(index)
    used, centre = scene.used, torch.stack((scene.x, scene.y), -1)
    apart = (centre[:, :, None] - reading.centre[:, None]).norm(dim=-1)
    apart = torch.where(reading.shape[:, None] >= 0, apart, 9.0)
    distance, nearest = apart.min(-1)
    matched = used & (distance < NEAR)
    right = {
        name: getattr(reading, name).gather(1, nearest) == getattr(scene, name)
        for name in ("shape", "colour", "size")
    }
    count = reading.count == scene.count
    whole = torch.stack((matched, *right.values())).all(0)
    boxes = reading.boxes.gather(1, nearest[..., None].expand(-1, -1, 4))
    iou = _box_iou(boxes, scenes.boxes(index)[0])
    return {
        "object_recall": _share(matched[used]),
        **{name: _share(values[matched]) for name, values in right.items()},
        "count": _share(count),
        "exact_scenes": _share(count & (whole | ~used).all(1)),
        "position_error_px": distance[matched].mean().item() * SIZE,
        "box_iou": iou[matched].mean().item(),
    }


def _box_iou(a: Tensor, b: Tensor) -> Tensor:
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    total = sum((box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b))
    return both / (total - both).clamp(min=1e-9)


def describe(net: SceneNet, count: int, training: dict[str, Any]) -> dict[str, Any]:
    """The card, but for what concerns the weights file; measured on `count` test scenes."""
    parser, index = ScenesParser(net, ""), torch.arange(count)
    clean = measure(parser, index)
    extractor: Extractor = parser
    return {
        "name": "scenes-parser",
        "module": "genbench.features.scenes_parser",
        "about": "reads scenes: shape, colour and size of every pixel, objects, style; features: "
        "means of its last and deepest maps",
        "for": {"images": "the drawn scenes of genbench", "datasets": ["scenes"], "grey": False},
        "dim": extractor.dim,
        "classes": extractor.classes,
        "class_names": extractor.class_names,
        "size": SIZE,
        "widths": WIDTHS,
        "architecture": "U-Net with added skips, 3x3 convolutions with batch norm and ReLU; "
        "linear heads for shape, colour, size and offset to the object's centre of each pixel, "
        "and for the style; class probabilities: shares of the shapes in the large objects",
        "preprocessing": PREPROCESSING,
        "feature_scale": f"total variance of the train split's features is {TOTAL_VARIANCE:g}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "test_accuracy": round(clean["label"] * count) / count,
        "test_correct": round(clean["label"] * count),
        "test_count": count,
        "test": {
            "about": f"test scenes 0 to {count - 1} at {SIZE} pixels, style day where none is "
            "named; shares that are right; shape, colour, size of the objects that are found, "
            f"within {NEAR} of the side; exact_scenes: every object and the number of them",
            "clean": clean,
            "styles": {name: measure(parser, index, style=name) for name in STYLES},
            "noise": {str(std): measure(parser, index, noise=std) for std in NOISE},
            "sizes": {str(size): measure(parser, index, size=size) for size in SIZES},
        },
        "training": training,
        "retrain": "python tools/train_scenes_parser.py",
        "license": "Apache-2.0",
    }
