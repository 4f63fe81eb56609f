"""What is known of images: names, errors, what every image has, and the annotations of scenes."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from genbench import data
from genbench.data import Annotation, Dataset, words
from genbench.data.boxes import check_boxes
from genbench.data.filters import grey, outline
from genbench.data.scenes import (
    COLOURS,
    LENGTH,
    SHAPES,
    STYLES,
    VOCABULARY,
    Scenes,
    decode,
    encode,
)
from genbench.spec import ConfigError


def toy(known: dict[str, Annotation] | None = None, channels: int = 3) -> Dataset:
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (7, channels, 9, 9), generator=noise, dtype=torch.uint8)
    return Dataset("toy", "train", images, None, (), "", {}, known or {})


def test_annotations_are_made_when_asked_for_and_once():
    made = []

    def boxes() -> torch.Tensor:
        made.append(1)
        return torch.zeros(7, 2, 4)

    dataset = toy({"boxes": Annotation(boxes, ("cat",))})
    assert dataset.annotations == ("boxes", "grey", "outline")
    assert dataset.words("boxes") == ("cat",)
    assert not made
    assert dataset.annotation("boxes") is dataset.annotation("boxes")
    assert len(made) == 1
    assert dataset.annotation("outline") is dataset.annotation("outline")
    assert dataset.words("outline") == ()
    assert toy().annotations == ("grey", "outline")  # nothing is shared between datasets


def test_what_is_not_there_names_the_nearest():
    digits = data.load("digits", "test")
    for ask in (digits.annotation, digits.words):
        with pytest.raises(ConfigError) as refused:
            ask("boxes")
        assert str(refused.value) == "dataset 'digits' has no boxes; it has grey, outline"
    with pytest.raises(ConfigError, match="has no gray; did you mean 'grey'[?] it has grey, out"):
        digits.annotation("gray")


# --- of every image ------------------------------------------------------------------------------


def noise_images(channels: int, n: int = 40, height: int = 33, width: int = 20) -> torch.Tensor:
    noise = torch.Generator().manual_seed(1)
    shape = (n, channels, height, width)
    return torch.randint(0, 256, shape, generator=noise, dtype=torch.uint8)


def test_grey_is_pillows():
    images = noise_images(3)
    pillow = [Image.fromarray(i.permute(1, 2, 0).numpy()).convert("L") for i in images]
    found = grey(images)
    assert found.dtype == torch.uint8
    assert np.array_equal(found[:, 0].numpy(), np.stack(pillow))
    exact = (images.double() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
    assert (found[:, 0] - exact).abs().max() < 0.501
    alone = noise_images(1)
    assert torch.equal(grey(alone), alone)
    assert torch.equal(grey(alone.expand(-1, 3, -1, -1)), alone)


@pytest.mark.parametrize("channels", [1, 3])
def test_outlines_are_sobels(channels, monkeypatch):
    images = noise_images(channels)
    images[20:] = images[20:] // 12  # so that not everything is an edge
    levels = grey(images)[:, 0].numpy().astype(int)
    sums = [
        abs(ndimage.sobel(x, 0, mode="nearest")) + abs(ndimage.sobel(x, 1, mode="nearest"))
        for x in levels
    ]
    expected = 255 - np.minimum(255, np.stack(sums) // 2)
    assert np.array_equal(outline(images)[:, 0].numpy(), expected)
    assert (expected[20:] > 100).mean() > 0.2
    monkeypatch.setattr("genbench.data.filters._PIXELS", 3 * 33 * 20)  # 13 chunks of 3 and one
    assert np.array_equal(outline(images)[:, 0].numpy(), expected)


def test_an_edge_is_black_and_a_plain_image_is_white():
    image = torch.full((1, 3, 8, 8), 90, dtype=torch.uint8)
    assert (outline(image) == 255).all()
    image[..., 4:] = 218
    assert outline(image)[0, 0, 3].tolist() == [255, 255, 255, 0, 0, 255, 255, 255]
    image[..., 4:] = 153
    assert outline(image)[0, 0, 3, 2:5].tolist() == [255, 255 - 126, 255 - 126]


def test_datasets_give_these_of_their_own_images():
    digits = data.load("digits", "test")
    assert torch.equal(digits.annotation("grey"), digits.images)
    assert torch.equal(digits.annotation("outline"), outline(digits.images))


# --- scenes --------------------------------------------------------------------------------------


def test_scenes_have_their_own_annotations():
    test, scenes = data.load("scenes@16", "test"), Scenes("test", 16)
    index = torch.arange(len(test))
    boxes, classes = scenes.boxes(index)
    wanted = {
        "boxes": boxes,
        "box_classes": classes,
        "label_map": scenes.label_map(index),
        "masks": scenes.masks(index),
        "outline": scenes.outline(index),
        "tokens": scenes.tokens(index),
        "grey": grey(scenes.images(index)),
        **{f"style/{style}": scenes.styled(index, style) for style in STYLES},
        **{f"edit/{colour}": scenes.recoloured(index, colour) for colour in COLOURS},
    }
    assert test.annotations == tuple(sorted(wanted))
    for name, expected in wanted.items():
        found = test.annotation(name)
        assert found.dtype == expected.dtype, name
        assert torch.equal(found, expected), name
    assert test.annotation("style/day") is test.images
    assert test.words("tokens") == VOCABULARY
    assert test.words("box_classes") == SHAPES
    assert test.words("label_map") == ("ground", *SHAPES)
    check_boxes(boxes, classes, len(SHAPES))


# --- words ---------------------------------------------------------------------------------------


def test_scenes_captions_are_read_and_written_alike():
    scenes = Scenes("train", 16)
    captions = scenes.captions(torch.arange(300), 1)
    tokens = encode(captions)
    assert torch.equal(words.encode(captions, VOCABULARY, LENGTH), tokens)
    assert words.decode(tokens, VOCABULARY) == captions == decode(tokens)


def test_punctuation_is_split_off_and_case_is_lost():
    assert words.split("It's a T-shirt, isn't it? (50 %)") == [
        *("it's", "a", "t-shirt", ",", "isn't", "it", "?", "(", "50", "%", ")")
    ]
    assert words.vocabulary(["b, a", "A c"]) == ("", ",", "a", "b", "c")
    assert words.decode(torch.tensor([[3, 1, 2, 0], [0, 0, 0, 0]]), ("", ",", "a", "b")) == [
        "b, a",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a bird",
            "'a bird' has unknown words: 'bird'; did you mean 'birds'? the vocabulary has 3",
        ),
        ("a xyzzy", "has unknown words: 'xyzzy'; the vocabulary has 3 words"),
        (" ", "holds no word"),
        ("a a a a a", "has 5 words, punctuation included; 4 is the most"),
    ],
)
def test_texts_that_cannot_be_numbers(text, message):
    with pytest.raises(ConfigError) as refused:
        words.encode(["a", text], ("", "a", "birds", "two"), 4)
    assert message in str(refused.value)


@pytest.mark.parametrize("token", [-1, 4])
def test_a_token_that_is_no_word(token):
    with pytest.raises(ConfigError, match=f"token {token} is no word; the last one is 3"):
        words.decode(torch.tensor([[1, token]]), ("", "a", "birds", "two"))


# --- boxes ---------------------------------------------------------------------------------------


def test_good_boxes_pass():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [9.0, 9.0, 0.0, float("nan")]]])
    check_boxes(boxes, torch.tensor([[1, -1]]), 2)
    check_boxes(torch.zeros(0, 3, 4), torch.zeros(0, 3, dtype=torch.int64), 2)


@pytest.mark.parametrize(
    "box",
    [
        *([-0.01, 0, 1, 1], [0, -0.01, 1, 1], [0, 0, 1.01, 1], [0, 0, 1, 1.01]),
        *([0.5, 0, 0.5, 1], [0, 0.5, 1, 0.4], [0, float("nan"), 1, 1]),
    ],
)
def test_boxes_outside_of_the_image(box):
    boxes = torch.tensor([[[0.0, 0, 1, 1]] * 2, [[0.0, 0, 1, 1], box]])
    with pytest.raises(ConfigError, match="image 1, object 1: box .* is outside of the image or"):
        check_boxes(boxes, torch.zeros(2, 2, dtype=torch.int64), 1)


@pytest.mark.parametrize("kind", [-2, 3])
def test_classes_that_do_not_exist(kind):
    boxes = torch.tensor([[[0.0, 0, 1, 1]] * 2])
    with pytest.raises(ConfigError, match=f"image 0, object 1: class {kind} does not .* 0 to 2"):
        check_boxes(boxes, torch.tensor([[2, kind]]), 3)


def test_boxes_of_other_shapes_and_types():
    boxes, classes = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ConfigError, match=r"float \(N, K, 4\), not torch.int64"):
        check_boxes(boxes.long(), classes, 1)
    with pytest.raises(ConfigError, match=r"float \(N, K, 4\), not torch.float32 \(2, 4\)"):
        check_boxes(boxes[:, 0], classes, 1)
    with pytest.raises(ConfigError, match=r"int64 \(2, 3\), .* not torch.int64 \(2, 2\)"):
        check_boxes(boxes, classes[:, :2], 1)
    with pytest.raises(ConfigError, match=r"not torch.int32 \(2, 3\)"):
        check_boxes(boxes, classes.int(), 1)
