"""Whether the objects of a picture are what a caption of `scenes` asks for, and what is not.

In the manner of Ghosh, Hajishirzi, Schmidt, *GenEval*, arXiv 2310.11513: objects are found by a
network that reads pixels, matched with what is asked for, and judged one by one.

- A thing is there if an object of its colour and shape answers it. Which object answers which
  thing is chosen so that as much as possible is right.
- Captions of scenes name every object once, so one object too many is as wrong as one too few.
- Left of, right of, above, below: the centres are at least 0.1 of the side apart in that
  direction, and no farther across it. True captions hold with 0.15, and 1.25 times as far.
- In front of, behind: the two touch, and what their outlines have lost does not speak for the
  other way round. See `occlusion`; where pixels do not tell, both hold.
- What is said of the ground is not judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.occlusion import in_front, touch

if TYPE_CHECKING:
    from genbench.data.scenes import Meaning, Thing

__all__ = ["ASPECTS", "Judgement", "Seen", "judge"]

ASPECTS = ("shape", "colour", "size", "count", "position")
APART = 0.1  # between centres, in shares of the side
DOUBT = 0.02  # of an IoU: less is no sign of who is in front


@dataclass(frozen=True)
class Seen:
    """An object of a picture.

    Attributes:
        colour: Its name, as captions say it.
        shape: The same.
        size: The same.
        x: Of its centre, from the left, in shares of the side.
        y: From above.
        mask: Its pixels, bool (H, W).
    """

    colour: str
    shape: str
    size: str
    x: float
    y: float
    mask: NDArray[np.bool_]

    def is_a(self, thing: "Thing") -> bool:
        """Whether it has the colour and the shape that are asked for."""
        return (self.colour, self.shape) == (thing.colour, thing.shape)


@dataclass(frozen=True)
class Judgement:
    """What is right of a caption; None where it does not say anything of an aspect.

    Attributes:
        aspects: By names of `ASPECTS`.
        reason: What is wrong, in words, as it stands below the caption; "" if nothing is.
    """

    aspects: dict[str, bool | None]
    reason: str

    @property
    def right(self) -> bool:
        """Whether everything that is said holds."""
        return not any(right is False for right in self.aspects.values())


Answer = list["Seen | None"]
Holds = Callable[[int, int, str], bool]


def judge(meaning: "Meaning", seen: Sequence[Seen]) -> Judgement:
    """Hold what is seen in a picture against its caption.

    Args:
        meaning: What the caption says.
        seen: The objects of the picture.
    """
    asked = [thing for thing in meaning.things for _ in range(thing.number)]

    @cache
    def holds(a: int, b: int, relation: str) -> bool:
        return _holds(seen[a], seen[b], relation)

    places = _match(asked, meaning, seen, holds)
    answers = [None if place is None else seen[place] for place in places]
    pairs = list(zip(asked, answers, strict=True))
    sized = [a is not None and a.size == t.size for t, a in pairs if t.size is not None]
    related = _related(asked, meaning, places, seen, holds)
    aspects = {
        "shape": all(a is not None and a.shape == t.shape for t, a in pairs),
        "colour": all(a is not None and a.colour == t.colour for t, a in pairs),
        "size": all(sized) if sized else None,
        "count": len(seen) == len(asked),
        "position": all(related) if related else None,
    }
    wrong = [*_missing(meaning, pairs), *_ill_sized(pairs), *_misplaced(meaning, pairs, related)]
    if not aspects["count"]:
        verb = "is" if len(seen) == 1 else "are"
        wrong.append(f"there {verb} {_number(len(seen), 'object')}, not {len(asked)}")
    return Judgement(aspects, "; ".join(wrong))


def _match(
    asked: list["Thing"], meaning: "Meaning", seen: Sequence[Seen], holds: Holds
) -> tuple[int | None, ...]:
    """The place of the object that answers each thing, None where there is none.

    Of all ways the one with the most things there, then the most colours and shapes, then sizes,
    then relations, then the largest objects: those are the first.
    """
    value = np.array([[_closeness(thing, s) for s in seen] for thing in asked])
    places: list[int | None] = [*range(len(seen)), *[None] * max(0, len(asked) - len(seen))]
    ways = list(dict.fromkeys(permutations(places, len(asked))))
    sums = [sum(value[i, p] for i, p in enumerate(way) if p is not None) for way in ways]
    best = [way for way, total in zip(ways, sums, strict=True) if total == max(sums)]
    if len(best) == 1 or not meaning.relations:
        return best[0]
    return max(best, key=lambda way: sum(_related(asked, meaning, way, seen, holds)))


def _closeness(thing: "Thing", seen: Seen) -> int:
    """Things that are there outweigh all else, then each colour and each shape, then sizes."""
    colour, shape = seen.colour == thing.colour, seen.shape == thing.shape
    return 100 * (colour and shape) + 10 * (colour + shape) + (seen.size == thing.size)


def _related(
    asked: list["Thing"],
    meaning: "Meaning",
    places: Sequence[int | None],
    seen: Sequence[Seen],
    holds: Holds,
) -> list[bool]:
    """Whether each relation holds; it does not if one of the two things is not there."""
    there = [
        p if p is not None and seen[p].is_a(t) else None
        for t, p in zip(asked, places, strict=True)
    ]
    first = there[0]
    return [
        first is not None and other is not None and holds(first, other, relation)
        for relation, other in zip(meaning.relations, there[1:], strict=False)
    ]


def _holds(a: Seen, b: Seen, relation: str) -> bool:
    right, down = b.x - a.x, b.y - a.y  # from a to b
    sides = {
        "left of": (right, down),
        "right of": (-right, down),
        "above": (down, right),
        "below": (-down, right),
    }
    if relation in sides:
        along, across = sides[relation]
        return along >= max(APART, abs(across))
    front, back = (a, b) if relation == "in front of" else (b, a)
    return (
        touch(a.mask, b.mask)
        and in_front(front.mask, back.mask, front.shape, back.shape) >= -DOUBT
    )


# --- words ---------------------------------------------------------------------------------------


def _missing(meaning: "Meaning", pairs: list[tuple["Thing", Seen | None]]) -> list[str]:
    """Which things are there and which are not, if any is not."""
    parts, some = [], False
    for thing in meaning.things:
        answers = [answer for asked, answer in pairs if asked == thing]
        there = sum(answer is not None and answer.is_a(thing) for answer in answers)
        others = [_a(f"{a.colour} {a.shape}") for a in answers if a and not a.is_a(thing)]
        instead = f" ({_listed(others)} {'is' if len(others) == 1 else 'are'})" if others else ""
        name = f"{thing.colour} {thing.shape}"
        if thing.number > 1:
            parts.append(f"{there} of {_number(thing.number, name)} are there{instead}")
        elif there:
            parts.append(f"the {name} is there")
        else:
            parts.append(f"the {name} is not{'' if some else ' there'}{instead}")
        some = some or there > 0
    right = all(answer is not None and answer.is_a(asked) for asked, answer in pairs)
    return [] if right else [", ".join(parts)]


def _ill_sized(pairs: list[tuple["Thing", Seen | None]]) -> list[str]:
    wrong = [
        f"{_a(f'{t.colour} {t.shape}')} is {a.size}, not {t.size}"
        for t, a in pairs
        if a and a.is_a(t) and t.size not in (None, a.size)
    ]
    return list(dict.fromkeys(wrong))


def _misplaced(
    meaning: "Meaning", pairs: list[tuple["Thing", Seen | None]], related: list[bool]
) -> list[str]:
    """Relations that do not hold between things that are there."""
    there = [answer is not None and answer.is_a(thing) for thing, answer in pairs]
    names = [f"the {thing.colour} {thing.shape}" for thing, _ in pairs]
    return [
        f"{names[0]} is not {relation} {names[i]}"
        for i, (relation, right) in enumerate(
            zip(meaning.relations, related, strict=True), start=1
        )
        if there[0] and there[i] and not right
    ]


def _number(n: int, name: str) -> str:
    return f"{n} {name}" if n == 1 else f"{n} {name}{'es' if name.endswith('s') else 's'}"


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
