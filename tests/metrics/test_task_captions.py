"""What counts as obeying a caption: pictures by hand, reasons in words, who is in front."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_answers import INDEX, SCENES, WORDS, N, Oracle, answers

from genbench import api, metrics
from genbench.data.scenes import RELATIONS, SHAPES, Scenes, parse
from genbench.data.scenes.captions import relations
from genbench.metrics.answered_captions import objects
from genbench.metrics.caption_judge import DOUBT, Seen, judge
from genbench.metrics.occlusion import in_front, touch
from genbench.spec import ConfigError

SIDE = 32


def seen(name, x=0.5, y=0.5):
    """An object such as "small red circle"; its pixels are a disc, so that some may touch."""
    size, colour, shape = name.split()
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    mask = (columns - x * SIDE) ** 2 + (rows - y * SIDE) ** 2 < (3 if size == "small" else 6) ** 2
    return Seen(colour, shape, size, x, y, mask)


def aspects(caption, *picture):
    found = judge(parse(caption), picture).aspects
    return {name for name, right in found.items() if right is False}


def reason(caption, *picture):
    return judge(parse(caption), picture).reason


CIRCLE, SQUARE = seen("small red circle", 0.2), seen("large blue square", 0.7)
BOTH = "a small red circle left of a large blue square"


def test_what_is_said_and_holds_is_right():
    found = judge(parse(BOTH), [SQUARE, CIRCLE])
    assert found.right
    assert found.reason == ""
    every = {"shape": True, "colour": True, "size": True, "count": True, "position": True}
    assert found.aspects == every
    # nothing is said of sizes and positions
    plain = judge(parse("a red circle and a blue square"), [SQUARE, CIRCLE])
    assert plain.aspects == {**every, "size": None, "position": None}
    assert plain.right


@pytest.mark.parametrize(
    ("picture", "wrong", "said"),
    [
        (
            [CIRCLE, seen("large blue ring", 0.7)],
            {"shape", "position"},
            "the red circle is there, the blue square is not (a blue ring is)",
        ),
        (
            [CIRCLE, seen("large green square", 0.7)],
            {"colour", "position"},
            "the red circle is there, the blue square is not (a green square is)",
        ),
        (
            [CIRCLE],
            {"shape", "colour", "size", "count", "position"},
            "the red circle is there, the blue square is not; there is 1 object, not 2",
        ),
        (
            [],
            {"shape", "colour", "size", "count", "position"},
            "the red circle is not there, the blue square is not there; "
            "there are 0 objects, not 2",
        ),
        (
            [seen("large red circle", 0.2), SQUARE],
            {"size"},
            "a red circle is large, not small",
        ),
        (
            [CIRCLE, SQUARE, seen("small orange star", 0.4, 0.9)],
            {"count"},
            "there are 3 objects, not 2",
        ),
        (
            [seen("small red circle", 0.9), SQUARE],
            {"position"},
            "the red circle is not left of the blue square",
        ),
        (
            [seen("small blue circle", 0.2), seen("large red square", 0.7)],
            {"colour", "position"},  # by shapes, as sizes then fit too
            "the red circle is not there (a blue circle is), "
            "the blue square is not there (a red square is)",
        ),
    ],
)
def test_what_is_wrong_is_told(picture, wrong, said):
    for order in (picture, picture[::-1]):
        assert aspects(BOTH, *order) == wrong
        assert reason(BOTH, *order) == said


def test_reasons_use_one_word_for_each_thing():
    said = reason("a tiny violet hoop to the left of an orange disc on a plain ground")
    assert said == (
        "the purple ring is not there, the orange circle is not there; there are 0 objects, not 2"
    )


def test_groups_are_counted():
    caption = "three small orange crosses"
    cross = seen("small orange cross")
    assert judge(parse(caption), [cross] * 3).right
    assert aspects(caption, cross, cross) == {"shape", "colour", "size", "count"}
    assert reason(caption, cross, cross, seen("small orange star")) == (
        "2 of 3 orange crosses are there (an orange star is)"
    )
    assert reason(caption, *[cross] * 2, seen("large orange cross")) == (
        "an orange cross is large, not small"
    )
    assert aspects("three shapes: " + "a red circle, a blue square and a green star") == {
        "shape", "colour", "count"
    }  # fmt: skip


def test_things_are_matched_so_that_most_is_right():
    caption = "a red circle, a small blue circle and a red square"
    picture = [seen("large red square"), seen("small blue circle"), seen("large red circle")]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        assert judge(parse(caption), [picture[i] for i in order]).right
    # what is there outweighs halves of two others
    halves = [seen("small red circle"), seen("small blue circle")]
    for order in (halves, halves[::-1]):
        assert reason("a red circle and a red square", *order).endswith(
            "the red circle is there, the red square is not (a blue circle is)"
        )
    # two red circles: the one that is where it was asked for answers
    where = "a red circle left of a blue square"
    far, near = seen("small red circle", 0.9), seen("large red circle", 0.2)
    for order in ([far, near, SQUARE], [SQUARE, near, far]):
        assert aspects(where, *order) == {"count"}
    # and the one of the size that was asked for, wherever it is
    sized = "a small red circle left of a blue square"
    assert aspects(sized, far, near, SQUARE) == {"count", "position"}


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 1)])
def test_sides_have_a_margin(right, down):
    """Along x or along y: the second object is moved away from the first."""
    names = ("left of", "right of") if right else ("above", "below")

    def holding(along, across):
        other = 0.5 + right * along + down * across, 0.5 + down * along + right * across
        picture = seen("small red circle"), seen("small blue star", *other)
        every = RELATIONS[:4]
        said = [f"a red circle {relation} a blue star" for relation in every]
        return {r for r, s in zip(every, said, strict=True) if not aspects(s, *picture)}

    assert holding(0.11, 0.0) == {names[0]}
    assert holding(-0.11, 0.0) == {names[1]}
    assert holding(0.09, 0.0) == set()
    assert holding(0.3, 0.29) == holding(0.3, -0.29) == {names[0]}
    assert names[0] not in holding(0.3, 0.31)


def test_in_front_needs_to_touch():
    picture = seen("large red circle", 0.3), seen("small blue circle", 0.8)
    for relation in ("in front of", "behind"):
        assert aspects(f"a red circle {relation} a blue circle", *picture) == {"position"}


def covered(front, back):
    """Two discs of which one covers some of the other, as captions see them."""
    return front, replace(back, mask=back.mask & ~front.mask)


def test_who_is_whole_is_in_front():
    a, b = seen("large red circle", 0.4), seen("large blue circle", 0.7)
    for front, back in ((a, b), (b, a)):
        picture = covered(front, back)
        name, other = (f"a {s.colour} circle" for s in (front, back))
        assert not aspects(f"{name} in front of {other}", *picture)
        assert not aspects(f"{other} behind {name}", *picture)
        assert aspects(f"{name} behind {other}", *picture) == {"position"}
        assert aspects(f"{other} in front of {name}", *picture) == {"position"}


@pytest.mark.parametrize(("size", "n", "least"), [(32, 120, 0.9), (64, 40, 1.0), (128, 20, 1.0)])
def test_who_is_in_front_in_scenes(size, n, least):
    scenes, index = Scenes("train", size), torch.arange(n)
    masks, scene = scenes.masks(index).numpy(), scenes.describe(index)
    found = []
    for i, a, b in relations(scene)[..., 4].nonzero().tolist():
        front, back = masks[i, a], masks[i, b]
        shapes = SHAPES[scene.shape[i, a]], SHAPES[scene.shape[i, b]]
        assert touch(front, back)
        found.append(in_front(front, back, *shapes))
    assert in_front(back, front, *shapes[::-1]) == pytest.approx(-found[-1])
    assert len(found) > n / 12
    assert np.mean(np.array(found) > 0) >= least
    assert min(found) >= -DOUBT


@pytest.mark.parametrize(("side", "reach"), [(16, 2), (32, 2), (64, 3)])
def test_touching(side, reach):
    def dot(row, column):
        mask = np.zeros((side, side), bool)
        mask[row, column] = True
        return mask

    a = dot(8, 8)
    for row, column in ((8, 8), (8, 8 + reach), (8 - reach, 8), (8 + reach, 8 - reach)):
        assert touch(a, dot(row, column))
        assert touch(dot(row, column), a)
    assert not touch(a, dot(8, 9 + reach))
    assert not touch(a, dot(7 - reach, 8))
    assert not touch(a, np.zeros((side, side), bool))
    assert not touch(dot(8, side - 1), dot(8, 0))  # the other side of the image


# --- from readings to scores ---------------------------------------------------------------------


def test_objects_have_the_pixels_of_their_kind_in_their_box():
    reading = Oracle().reading
    truth, scene = SCENES.masks(INDEX).numpy(), SCENES.describe(INDEX)
    for i, picture in enumerate(objects(reading)):
        assert len(picture) == scene.count[i]
        areas = [int(each.mask.sum()) for each in picture]
        assert areas == sorted(areas, reverse=True)
        assert {each.mask.tobytes() for each in picture} == {
            truth[i, k].tobytes() for k in range(len(picture))
        }


def of(captions, network):
    from genbench.data.scenes import encode

    tokens = encode(captions)
    made = SCENES.images(INDEX[: len(captions)])
    return answers(made, api.Caption(tokens), made, {"tokens": tokens}, lambda: network)


def test_shares_are_over_the_captions_that_say_something():
    wrong = "a green ring and an orange ring"
    captions = SCENES.captions(INDEX)
    given = of([c if i % 4 else wrong for i, c in enumerate(captions)], Oracle())
    sized = [any(t.size for t in parse(c).things) for i, c in enumerate(captions) if i % 4]
    size = metrics.find("attr_size")(given)
    assert (size.value, size.n) == (1, N)
    assert size.method == f"Wilson, {sum(sized)} captions that speak of it"
    whole = metrics.find("attributes")(given)
    assert (whole.value, whole.method) == (0.75, f"Wilson, {N} captions")
    reasons = metrics.find("attributes").explain(given, None)
    assert [bool(line) for line in reasons] == [i % 4 == 0 for i in range(N)]


def test_an_aspect_that_no_caption_names_is_refused():
    given = of(["a green ring", "a red star"], Oracle())
    with pytest.raises(ConfigError, match="attr_position: none of the 2 captions says anything"):
        metrics.find("attr_position")(given)


def test_captions_of_another_vocabulary_are_refused():
    given = of(["a green ring"], Oracle())
    given = replace(given, words={**WORDS, "tokens": ("", "cat")}.__getitem__)
    with pytest.raises(ConfigError, match="scenes-parser reads tokens of scenes"):
        metrics.find("attributes")(given)
