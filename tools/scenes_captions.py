"""Captions of scenes that are true, and ones that are false by a single word."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from random import Random

from genbench.data.scenes import COLOURS, GROUNDS, SHAPES, SIZES, Meaning, Thing

__all__ = ["ALTERATIONS", "alter", "is_true"]

_OPPOSITE = {
    "left of": "right of", "right of": "left of", "above": "below", "below": "above",
    "in front of": "behind", "behind": "in front of",
}  # fmt: skip
Facts = tuple[tuple[Thing, ...], list[list[set[str]]], str]


def is_true(meaning: Meaning, facts: Facts) -> bool:
    """Whether a caption is true of a scene.

    Captions name every object, so it is true if its things are the scene's objects one by one, in
    some order, in all that is said of them: colour, shape, size, relations, the ground.

    Args:
        meaning: What the caption says.
        facts: The scene's objects; `RELATIONS` that hold from the first to the second; the ground.
    """
    objects, relations, ground = facts
    said = [replace(t, number=1) for t in meaning.things for _ in range(t.number)]
    if len(said) != len(objects) or meaning.ground not in (None, ground):
        return False
    if sorted((t.colour, t.shape) for t in said) != sorted((o.colour, o.shape) for o in objects):
        return False
    return any(
        all(_fits(thing, objects[i]) for thing, i in zip(said, order, strict=True))
        and all(
            relation in relations[order[0]][i]
            for relation, i in zip(meaning.relations, order[1:], strict=False)
        )
        for order in permutations(range(len(objects)))
    )


def _fits(said: Thing, true: Thing) -> bool:
    same = (said.colour, said.shape) == (true.colour, true.shape)
    return same and said.size in (None, true.size)


def alter(meaning: Meaning, random: Random) -> tuple[str, Meaning]:
    """What was changed, one of `ALTERATIONS`, and a meaning that is false where this one holds."""
    kinds = list(ALTERATIONS)
    random.shuffle(kinds)
    for kind in kinds:
        other = ALTERATIONS[kind](meaning, random)
        if other is not None:
            return kind, other
    raise AssertionError("a colour can always be changed")


def _with(meaning: Meaning, place: int, thing: Thing) -> Meaning:
    things = meaning.things
    return replace(meaning, things=(*things[:place], thing, *things[place + 1 :]))


def _colour(meaning: Meaning, random: Random) -> Meaning:
    place = random.randrange(len(meaning.things))
    used = {t.colour for t in meaning.things}
    colour = random.choice([c for c in COLOURS if c not in used])
    return _with(meaning, place, replace(meaning.things[place], colour=colour))


def _shape(meaning: Meaning, random: Random) -> Meaning:
    place = random.randrange(len(meaning.things))
    thing = meaning.things[place]
    shape = random.choice([s for s in SHAPES if s != thing.shape])
    return _with(meaning, place, replace(thing, shape=shape))


def _size(meaning: Meaning, random: Random) -> Meaning | None:
    place = random.randrange(len(meaning.things))
    thing = meaning.things[place]
    if thing.size is None:
        return None
    return _with(meaning, place, replace(thing, size=SIZES[1 - SIZES.index(thing.size)]))


def _swapped(meaning: Meaning, random: Random) -> Meaning | None:
    if len(meaning.things) == 1:
        return None
    a, b = random.sample(range(len(meaning.things)), 2)
    first, second = meaning.things[a], meaning.things[b]
    if first.shape == second.shape:
        return None
    changed = _with(meaning, a, replace(first, colour=second.colour))
    return _with(changed, b, replace(second, colour=first.colour))


def _relation(meaning: Meaning, random: Random) -> Meaning | None:
    if not meaning.relations:
        return None
    relations = list(meaning.relations)
    place = random.randrange(len(relations))
    relations[place] = _OPPOSITE[relations[place]]
    return replace(meaning, relations=tuple(relations))


def _number(meaning: Meaning, random: Random) -> Meaning | None:
    first = meaning.things[0]
    if len(meaning.things) > 1:
        return None
    number = random.choice([n for n in (1, 2, 3) if n != first.number])
    return replace(meaning, things=(replace(first, number=number),))


def _ground(meaning: Meaning, random: Random) -> Meaning | None:
    if meaning.ground is None:
        return None
    return replace(meaning, ground=random.choice([g for g in GROUNDS if g != meaning.ground]))


ALTERATIONS: dict[str, Callable[[Meaning, Random], Meaning | None]] = {
    "colour": _colour,
    "shape": _shape,
    "size": _size,
    "colours swapped": _swapped,
    "relation": _relation,
    "number": _number,
    "ground": _ground,
}
