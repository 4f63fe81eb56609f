"""What captions say of a scene: every object once, and only what holds with a margin."""

from itertools import permutations

import torch
from torch import Tensor

from genbench.data.scenes.annotations import hidden
from genbench.data.scenes.language import RELATIONS, Meaning, Thing, write
from genbench.data.scenes.scene import COLOURS, GROUNDS, MOST, SIZES, Scene
from genbench.data.scenes.shapes import SHAPES
from genbench.noise import Noise

Holds = list[list[list[bool]]]

__all__ = ["caption", "meanings", "relations"]

MARGIN = 0.15  # between centres, in shares of the side
_STEEPEST = 1.25  # how many times as far along the named direction as across it
_COVERED = 0.05  # share of the object behind, from which on another one is in front of it
_SAID = {"relation": 0.75, "size": 0.75, "ground": 0.35, "count": 0.3}


def relations(scene: Scene) -> Tensor:
    """bool (N, 3, 3, 6): whether object i is, to object j, what `RELATIONS` names.

    Left, right, above and below: the centres are at least `MARGIN` apart in that direction and
    1.25 times as far as across it, so at most one of the four holds. In front of: it covers 5 % or
    more of the other object.
    """
    x, y = (v[:, None, :] - v[:, :, None] for v in (scene.x, scene.y))  # from i to j
    aside, apart = ((v.abs() * _STEEPEST).clamp(min=MARGIN) for v in (y, x))
    behind = hidden(scene) >= _COVERED
    sides = (x >= aside, -x >= aside, y >= apart, -y >= apart)
    both = scene.used[:, :, None] & scene.used[:, None, :]
    return torch.stack((*sides, behind.transpose(1, 2), behind), -1) & both[..., None]


def meanings(scene: Scene, split: str, index: Tensor, k: int) -> list[Meaning]:
    """What caption number k of each scene says."""
    return [meaning for meaning, _ in _said(scene, split, index, k)]


def caption(scene: Scene, split: str, index: Tensor, k: int) -> list[str]:
    """Caption number k of each scene."""
    return [write(meaning, pick) for meaning, pick in _said(scene, split, index, k)]


def _said(scene: Scene, split: str, index: Tensor, k: int) -> list[tuple[Meaning, int]]:
    noise = Noise(0, index, stream=f"scenes/{split}/caption/{k}")
    chance = noise.uniform(len(_SAID) + MOST).tolist()
    picks = (noise.uniform() * 2**24).long().tolist()
    holds = relations(scene).tolist()
    grounds = scene.ground.tolist()
    parts = zip(_things(scene), holds, grounds, chance, picks, strict=True)
    return [(_meaning(t, h, GROUNDS[g], u), pick) for t, h, g, u, pick in parts]


def _things(scene: Scene) -> list[list[Thing]]:
    rows = zip(scene.colour.tolist(), scene.shape.tolist(), scene.size.tolist(), strict=True)
    return [
        [Thing(COLOURS[c], SHAPES[s], SIZES[z]) for c, s, z in zip(*row, strict=True) if s >= 0]
        for row in rows
    ]


def _meaning(things: list[Thing], holds: Holds, ground: str, chance: list[float]) -> Meaning:
    relation, size, place, count, order, *which = chance
    said = ground if place < _SAID["ground"] else None
    if size >= _SAID["size"]:
        things = [Thing(t.colour, t.shape) for t in things]
    if len(set(things)) == 1:
        only = things[0]
        return Meaning((Thing(only.colour, only.shape, only.size, len(things)),), (), said)
    orders = list(permutations(range(len(things))))
    first = int(order * len(orders))
    if relation < _SAID["relation"]:
        for subject, *others in orders[first:] + orders[:first]:
            true = [_named(holds[subject][other]) for other in others]
            if all(true):
                picked = tuple(r[int(u * len(r))] for r, u in zip(true, which, strict=False))
                return Meaning(tuple(things[i] for i in (subject, *others)), picked, said)
    return Meaning(tuple(things[i] for i in orders[first]), (), said, count < _SAID["count"])


def _named(holds: list[bool]) -> list[str]:
    return [name for name, true in zip(RELATIONS, holds, strict=True) if true]
