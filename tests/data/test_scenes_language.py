"""The language of captions: sentences to meanings and back, words to numbers and back."""

from itertools import product

import pytest
import torch

from genbench.data.scenes import (
    COLOURS,
    GROUNDS,
    LENGTH,
    RELATIONS,
    SHAPES,
    SIZES,
    VOCABULARY,
    Meaning,
    Scenes,
    Thing,
    decode,
    encode,
    parse,
    write,
)
from genbench.spec import ConfigError

RED, BLUE, GREEN = Thing("red", "circle", "small"), Thing("blue", "square"), Thing("green", "star")


def every_meaning() -> list[Meaning]:
    """All things, all forms; relations in all pairs."""
    things = [
        Thing(c, s, z, n) for c, s, z, n in product(COLOURS, SHAPES, (None, *SIZES), (1, 2, 3))
    ]
    single = [Meaning((t,), (), g) for t, g in zip(things, [None, *GROUNDS] * 100, strict=False)]
    pairs = [Meaning((RED, BLUE), (r,), g) for r in RELATIONS for g in (None, *GROUNDS)]
    triples = [Meaning((RED, BLUE, GREEN), rs) for rs in product(RELATIONS, RELATIONS)]
    lists = [
        Meaning(t, (), g, c)
        for t in ((BLUE, RED), (GREEN, BLUE, RED))
        for g in (None, "plain")
        for c in (False, True)
    ]
    return single + pairs + triples + lists


def test_reading_inverts_writing_whatever_the_synonyms():
    words = set()
    for number, meaning in enumerate(every_meaning()):
        for pick in (0, number, 7 * number + 1, 2**24 - 1 - number):
            text = write(meaning, pick)
            assert parse(text) == meaning, text
            assert decode(encode([text])) == [text]
            words |= set(text.replace(",", " ,").replace(":", " :").split())
    assert words == set(VOCABULARY[1:])  # every word is of use


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("a red circle", Meaning((Thing("red", "circle"),))),
        ("an orange hoop", Meaning((Thing("orange", "ring"),))),
        ("A HUGE violet plus", Meaning((Thing("purple", "cross", "large"),))),
        ("three tiny green boxes", Meaning((Thing("green", "square", "small", 3),))),
        (
            "a small red disc to the left of a blue box",
            Meaning((RED, BLUE), ("left of",)),
        ),
        (
            "a small red circle over a blue square and behind a green star on a checked ground",
            Meaning((RED, BLUE, GREEN), ("above", "behind"), "checked"),
        ),
        (
            "three objects: a small red circle, a blue square and a green star",
            Meaning((RED, BLUE, GREEN), counted=True),
        ),
    ],
)
def test_sentences_mean_what_they_say(text, meaning):
    assert parse(text) == meaning


def test_the_first_words_are_the_plain_ones():
    meaning = Meaning((RED, BLUE, GREEN), ("left of", "above"), "striped")
    expected = "a small red circle left of a blue square and above a green star"
    assert write(meaning) == f"{expected} on a striped background"
    assert write(Meaning((Thing("orange", "cross", None, 2),))) == "two orange crosses"
    assert write(Meaning((Thing("orange", "cross"),))) == "an orange cross"
    assert write(Meaning((Thing("orange", "cross", "small"),))) == "a small orange cross"


def test_tokens_have_a_fixed_length_and_padding():
    longest = max((write(m, p) for m in every_meaning() for p in range(0, 400, 7)), key=len)
    tokens = encode(["a red circle", longest])
    assert tokens.shape == (2, LENGTH)
    assert tokens.dtype == torch.int64
    assert (tokens[0] > 0).tolist() == [True] * 3 + [False] * (LENGTH - 3)
    assert [VOCABULARY[t] for t in tokens[0, :3]] == ["a", "red", "circle"]
    assert encode([]).shape == (0, LENGTH)
    assert len(VOCABULARY) == len(set(VOCABULARY)) < 64
    assert VOCABULARY[0] == ""
    index = torch.arange(300)
    scenes = Scenes("test")
    assert decode(scenes.tokens(index, 1)) == scenes.captions(index, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a red cirle lefft of a box",
            "unknown words: 'cirle', 'lefft'; did you mean 'circle', 'left'?",
        ),
        ("a red circle.", "unknown words: 'circle.'; did you mean 'circle'?"),
        ("a xqzw", "unknown words: 'xqzw'; captions have"),
        ("a red red circle", "found 'red' after 'a red', where it takes circle, disc"),
        ("a red", "found the end after 'a red'"),
        ("", "found the end after 'the start', where it takes a, an"),
        ("a red circle and", "found the end after 'a red circle and'"),
        ("a red circle, a blue box", "found the end after 'a red circle , a blue box'"),
        ("a red circle left a blue box", "where it takes left of, to the left of"),
        ("a red circle on a red ground", "where it takes plain, shaded"),
        ("a red circle a blue box", "found 'a' after 'a red circle', where it takes the end, on"),
        ("three objects: a red circle", "says three objects and names 1"),
        ("two red circle", "where it takes circles, discs"),
    ],
)
def test_what_is_no_caption_is_refused_in_one_sentence(text, message):
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_tokens_and_long_captions_are_refused():
    with pytest.raises(ConfigError, match=f"token {len(VOCABULARY)} is no word"):
        decode(torch.tensor([[1, len(VOCABULARY)]]))
    with pytest.raises(ConfigError, match=f"has 40 words, .* {LENGTH} is the most"):
        encode(["a red " * 20])
    with pytest.raises(ConfigError, match="unknown words: 'dog'"):
        encode(["a red dog"])
