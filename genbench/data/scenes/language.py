"""The language of captions: its words, and sentences to meanings and back.

    caption  = [NUMBER "objects" ":"] body ["on" "a" GROUND "background"]
    body     = NUMBER [SIZE] COLOUR PLURAL
             | object
             | object relation object ["and" relation object]     the first object has both
             | object ["," object] "and" object
    object   = ("a" | "an") [SIZE] COLOUR SHAPE
    relation = ["to" "the"] ("left" | "right") "of"
             | "above" | "below" | "in" "front" "of" | "behind"

Every sentence has one meaning, and sentences that differ in synonyms alone have the same.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.data import words as texts
from genbench.data.scenes.scene import COLOURS, GROUNDS, SIZES
from genbench.data.scenes.shapes import SHAPES
from genbench.spec import ConfigError

__all__ = [
    "LENGTH",
    "RELATIONS",
    "VOCABULARY",
    "Meaning",
    "Thing",
    "decode",
    "encode",
    "parse",
    "write",
]

RELATIONS = ("left of", "right of", "above", "below", "in front of", "behind")
_WORDS = {
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge"),
    "purple": ("purple", "violet"),
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "ring": ("ring", "hoop"),
    "cross": ("cross", "plus"),
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "objects": ("objects", "shapes"),
    "background": ("background", "ground"),
}
_NUMBERS = {1: "one", 2: "two", 3: "three"}
LENGTH = 28


def _synonyms(word: str) -> tuple[str, ...]:
    return _WORDS.get(word, (word,))


def _plural(word: str) -> str:
    return word + ("es" if word.endswith(("s", "x")) else "s")


def _canonical(words: tuple[str, ...]) -> dict[str, str]:
    return {synonym: word for word in words for synonym in _synonyms(word)}


_SIZE, _COLOUR, _SHAPE = (_canonical(words) for words in (SIZES, COLOURS, SHAPES))
_PLURAL = {_plural(synonym): word for synonym, word in _SHAPE.items()}
_RELATION = _canonical(RELATIONS)
_COUNT = {word: n for n, word in _NUMBERS.items() if n > 1}
_ARTICLES = ("a", "an")

VOCABULARY = (
    "",  # padding
    *dict.fromkeys(
        [
            *(*_ARTICLES, *_COUNT, *_synonyms("objects"), ":", ",", "and"),
            *(*_SIZE, *_COLOUR, *_SHAPE, *_PLURAL),
            *(word for relation in _RELATION for word in relation.split()),
            *("on", *GROUNDS, *_synonyms("background")),
        ]
    ),
)
_IDS = {word: i for i, word in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class Thing:
    """What is said of an object, or of `number` equal ones; `size` is None where it is not."""

    colour: str
    shape: str
    size: str | None = None
    number: int = 1


@dataclass(frozen=True)
class Meaning:
    """What a caption says.

    Attributes:
        things: In the order in which they are named.
        relations: What the first thing is to each of those after it, or () if nothing is said.
        ground: One of `GROUNDS`, or None where it is not said.
        counted: Whether the number of objects is said first.
    """

    things: tuple[Thing, ...]
    relations: tuple[str, ...] = ()
    ground: str | None = None
    counted: bool = False


# --- meanings to sentences -----------------------------------------------------------------------


def write(meaning: Meaning, pick: int = 0) -> str:
    """The caption of a meaning; `pick` >= 0 chooses among synonyms, 0 takes the first of each."""

    def word(name: str) -> str:
        nonlocal pick
        choices = _synonyms(name)
        pick, which = divmod(pick, len(choices))
        return choices[which]

    def thing(t: Thing) -> str:
        shape = word(t.shape)
        words = [*([word(t.size)] if t.size else []), word(t.colour)]
        if t.number > 1:
            return " ".join([_NUMBERS[t.number], *words, _plural(shape)])
        return " ".join(["an" if words[0][0] in "aeiou" else "a", *words, shape])

    first, *rest = (thing(t) for t in meaning.things)
    if meaning.relations:
        parts = [f"{word(r)} {t}" for r, t in zip(meaning.relations, rest, strict=True)]
        text = f"{first} {' and '.join(parts)}"
    else:
        *listed, last = first, *rest
        text = f"{', '.join(listed)} and {last}" if listed else last
    if meaning.counted:
        text = f"{_NUMBERS[sum(t.number for t in meaning.things)]} {word('objects')}: {text}"
    return f"{text} on a {meaning.ground} {word('background')}" if meaning.ground else text


# --- sentences to meanings -----------------------------------------------------------------------


def parse(caption: str) -> Meaning:
    """The meaning of a caption: `parse(write(m, pick)) == m` for every meaning and choice.

    Raises:
        ConfigError: For words that are not in the vocabulary, with the nearest ones, and for
            sentences that are not in the grammar, with what could follow.
    """
    return _Reader(caption).caption()


class _Reader:
    """Reads a sentence from left to right; each method reads what its name says."""

    def __init__(self, caption: str) -> None:
        self.text, self.words, self.at = caption, _split(caption), 0

    def caption(self) -> Meaning:
        count = None
        if self.sees(*_COUNT) and self.sees(*_synonyms("objects"), ahead=1):
            count = _COUNT[self.one_of(_COUNT)]
            self.one_of(_synonyms("objects"))
            self.one_of([":"])
        things, relations = self.body()
        if count is not None and count != sum(t.number for t in things):
            raise ConfigError(
                f"caption {self.text!r} says {_NUMBERS[count]} objects and names "
                f"{sum(t.number for t in things)}; make the two agree"
            )
        ground = None
        if self.sees("on"):
            self.at += 1
            self.one_of(["a"])
            ground = self.one_of(GROUNDS)
            self.one_of(_synonyms("background"))
        if self.at < len(self.words):
            raise self.unexpected(["the end"] if ground else ["the end", "on"])
        return Meaning(things, relations, ground, count is not None)

    def body(self) -> tuple[tuple[Thing, ...], tuple[str, ...]]:
        if self.sees(*_COUNT):
            return (self.thing(_COUNT[self.one_of(_COUNT)], _PLURAL),), ()
        things, relations = [self.object()], []
        if self.starts_relation():
            relations, things = [self.relation()], [*things, self.object()]
            if self.sees("and"):
                self.at += 1
                relations, things = [*relations, self.relation()], [*things, self.object()]
            return tuple(things), tuple(relations)
        if self.sees(","):
            self.at += 1
            things.append(self.object())
            if not self.sees("and"):
                raise self.unexpected(["and"])
        if self.sees("and"):
            self.at += 1
            things.append(self.object())
        return tuple(things), ()

    def object(self) -> Thing:
        self.one_of(_ARTICLES)
        return self.thing(1, _SHAPE)

    def thing(self, number: int, shapes: dict[str, str]) -> Thing:
        size = _SIZE[self.one_of(_SIZE)] if self.sees(*_SIZE) else None
        colour = _COLOUR[self.one_of(_COLOUR)]
        return Thing(colour, shapes[self.one_of(shapes)], size, number)

    def starts_relation(self) -> bool:
        return self.sees(*(relation.split()[0] for relation in _RELATION))

    def relation(self) -> str:
        for words, relation in _RELATION.items():
            parts = words.split()
            if self.words[self.at : self.at + len(parts)] == parts:
                self.at += len(parts)
                return relation
        raise self.unexpected(list(_RELATION))

    def sees(self, *words: str, ahead: int = 0) -> bool:
        at = self.at + ahead
        return at < len(self.words) and self.words[at] in words

    def one_of(self, words: Iterable[str]) -> str:
        if not self.sees(*words):
            raise self.unexpected(list(words))
        self.at += 1
        return self.words[self.at - 1]

    def unexpected(self, expected: list[str]) -> ConfigError:
        found = repr(self.words[self.at]) if self.at < len(self.words) else "the end"
        before = " ".join(self.words[: self.at]) or "the start"
        return ConfigError(
            f"caption {self.text!r}: found {found} after {before!r}, where it takes "
            f"{', '.join(expected)}"
        )


# --- sentences and numbers -----------------------------------------------------------------------


def encode(captions: list[str]) -> Tensor:
    """int64 (N, `LENGTH`), the place of each word in `VOCABULARY`; 0 after the last one.

    Raises:
        ConfigError: For words that are not in the vocabulary and for captions that are too long.
    """
    rows = []
    for caption in captions:
        words = _split(caption)
        if len(words) > LENGTH:
            raise ConfigError(
                f"caption {caption!r} has {len(words)} words, commas and colons included; "
                f"{LENGTH} is the most"
            )
        rows.append([_IDS[word] for word in words] + [0] * (LENGTH - len(words)))
    return torch.tensor(rows, dtype=torch.int64).view(-1, LENGTH)


def decode(tokens: Tensor) -> list[str]:
    """The captions of int64 (N, L) tokens; inverts `encode`.

    Raises:
        ConfigError: For a token that stands for no word.
    """
    return texts.decode(tokens, VOCABULARY)


def _split(caption: str) -> list[str]:
    words = caption.lower().replace(",", " , ").replace(":", " : ").split()
    if unknown := [word for word in dict.fromkeys(words) if word not in _IDS]:
        listed = ", ".join(repr(word) for word in unknown)
        close = [difflib.get_close_matches(word, _IDS, n=1, cutoff=0.5) for word in unknown]
        hints = ", ".join(repr(found[0]) for found in close if found)
        hint = f"did you mean {hints}? " if hints else ""
        raise ConfigError(
            f"caption {caption!r} has unknown words: {listed}; {hint}"
            f"captions have {len(VOCABULARY) - 1} words, see genbench.data.scenes.VOCABULARY"
        )
    return words
