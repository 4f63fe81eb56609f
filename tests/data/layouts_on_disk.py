"""Small datasets in every layout that is read from a folder, written by the tests."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 12


def picture(key: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A picture of noise that no other key has; red is `key` everywhere."""
    pixels = np.random.default_rng(key).integers(0, 256, (height, width, 3)).astype(np.uint8)
    pixels[..., 0] = key
    return pixels


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def lines(path: Path, *entries: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    return path


def pairs(folder: Path) -> None:
    for k, name in enumerate(("train/1", "train/2", "test/3", "val/4")):
        both = np.concatenate((picture(2 * k), picture(2 * k + 1)), 1)
        save(folder / f"{name}.png", both)


def two_folders(folder: Path) -> None:
    for k, name in enumerate(("train/1", "train/2", "val/3")):
        save(folder / "A" / f"{name}.png", picture(2 * k))
        save(folder / "B" / f"{name}.bmp", picture(2 * k + 1))


def domains(folder: Path) -> None:
    for k, name in enumerate(("trainA/1", "trainB/1", "trainB/2", "testA/1", "testB/1")):
        save(folder / f"{name}.png", picture(k))


def celeba(folder: Path) -> None:
    names = [f"00000{k}.jpg" for k in range(4)]
    for k, name in enumerate(names):
        save(folder / "img_align_celeba" / name, np.full((SIDE, SIDE, 3), 50 * k, np.uint8))
    rows = [f"{name}  1 -1 {'-1' if k % 2 else ' 1'}" for k, name in enumerate(names)]
    text = "\n".join(["4", "Young Bald Smiling", *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    parts = "".join(f"{name} {part}\n" for name, part in zip(names, "0021", strict=True))
    (folder / "list_eval_partition.txt").write_text(parts)


def captions(folder: Path) -> None:
    for k, name in enumerate(("train/a.png", "train/b.png", "test/a.png")):
        save(folder / name, picture(k))
    lines(
        folder / "train" / "metadata.jsonl",
        {"file_name": "b.png", "text": "It's a T-shirt, isn't it?", "more": 1},
        {"file_name": "a.png", "text": "A red Circle."},
        {"file_name": "a.png", "text": "a circle"},
    )
    lines(folder / "test" / "captions.jsonl", {"file_name": "a.png", "text": "two CATS"})


def label_maps(folder: Path) -> None:
    for k, name in enumerate(("train/a", "train/b", "test/c")):
        save(folder / "images" / f"{name}.jpg", picture(k))
        ids = np.random.default_rng(k).integers(0, 3, (SIDE, SIDE)).astype(np.uint8)
        save(folder / "labels" / f"{name}.png", ids)
    (folder / "classes.txt").write_text("sky\nroad\ncar\n")


def layouts(folder: Path) -> None:
    for k, name in enumerate(("train/a.png", "train/b.png", "test/c.png")):
        save(folder / name, picture(k))
    two = {"bbox": [[3, 0, 6, 12], [2, 3, 4, 6]], "categories": ["dog", "cat"]}
    lines(
        folder / "metadata.jsonl",
        {"file_name": "train/a.png", "objects": two},
        {"file_name": "train/b.png", "objects": {"bbox": [], "categories": []}},
        {"file_name": "test/c.png", "objects": {"bbox": [[0, 0, 12, 12]], "categories": ["cat"]}},
    )


WRITERS = {
    "captions": captions,
    "celeba": celeba,
    "domains": domains,
    "label_maps": label_maps,
    "layouts": layouts,
    "pairs": pairs,
    "pairs_reversed": two_folders,
}
