"""Images that a program holds: tensors, arrays, iterables, functions; floats and their range."""

import numpy as np
import pytest
import torch
from reading import everything, refused
from torchvision.transforms.functional import to_tensor

from genbench import sample
from genbench.inputs import from_tensors, to_uint8

LEVELS = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (10, 3, 5, 6)).astype(np.uint8)
)
FLOATS = {(-1, 1): LEVELS / 127.5 - 1, (0, 1): LEVELS / 255, (0, 255): LEVELS.float()}


def test_floats_become_levels_by_one_rule():
    assert sample.to_uint8 is to_uint8
    # in [0, 1] it undoes torchvision's division, and half a level goes up
    image = LEVELS[0].permute(1, 2, 0).numpy()
    assert torch.equal(to_uint8(to_tensor(image), (0, 1)), LEVELS[0])
    halves = torch.arange(0.5, 255, dtype=torch.float64)
    for (low, high), eps in (((-1, 1), 1e-9), ((0, 1), 1e-9), ((0, 255), 0.0)):
        x = low + (high - low) * halves / 255
        assert to_uint8(x + eps, (low, high)).tolist() == list(range(1, 256))
        assert to_uint8(x - 1e-6, (low, high)).tolist() == list(range(255))
        beyond = torch.tensor([low - 0.2 * (high - low), high + 0.2 * (high - low)])
        assert to_uint8(beyond, (low, high)).tolist() == [0, 255]
    refused(lambda: to_uint8(halves, (0, 2)), "(0, 2)", "valid: (-1, 1), (0, 1), (0, 255)")


@pytest.mark.parametrize("value_range", list(FLOATS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_of_every_range(value_range, dtype):
    images = FLOATS[value_range].to(dtype)
    before = images.clone()
    source = from_tensors(images, name="mine", value_range=value_range)
    assert (source.name, source.n, source.keys, source.lossy) == ("mine", 10, None, False)
    assert torch.equal(everything(source), LEVELS)
    assert torch.equal(images, before)
    assert source.warnings == []


def test_half_precision_is_rounded_as_what_it_holds():
    images = FLOATS[-1, 1].to(torch.bfloat16)
    expected = np.floor(127.5 * images.double().numpy() + 128).clip(0, 255)
    assert np.array_equal(everything(from_tensors(images, name="x")).numpy(), expected)


def parts(images):
    return iter(images.split([3, 4, 3]))


@pytest.mark.parametrize(
    "images",
    [LEVELS, LEVELS.numpy(), parts(LEVELS), list(LEVELS.split(1)), parts(FLOATS[-1, 1])],
    ids=["tensor", "array", "iterator", "list", "floats"],
)
def test_one_set_however_it_is_passed(images):
    source = from_tensors(images, name="mine")
    for size in (4, 10):
        assert torch.equal(everything(source, size), LEVELS)
    assert source.digest == from_tensors(LEVELS, name="other").digest


def test_the_callers_tensor_may_change_later():
    images = LEVELS.clone()
    source = from_tensors(images, name="x")
    images.zero_()
    assert torch.equal(everything(source), LEVELS)


def test_a_function_is_called_until_there_are_enough():
    calls = []

    def draw(count: int) -> torch.Tensor:
        calls.append(count)
        generator = torch.Generator().manual_seed(len(calls))
        return torch.rand(count, 1, 2, 2, generator=generator, requires_grad=True) * 2 - 1

    source = from_tensors(draw, name="gan", n=150)
    assert source.n == len(everything(source, 64)) == sum(calls) == 150
    called = len(calls)
    everything(source)
    assert len(calls) == called, "images were kept"
    refused(lambda: from_tensors(draw, name="gan"), "gan: a function has no end", "n=NUMBER")
    refused(
        lambda: from_tensors(lambda count: LEVELS[: count - 1], name="gan", n=4),
        "gave 3 images when asked for 4",
    )


def test_n_takes_the_first_and_must_be_there():
    for images in (LEVELS, parts(LEVELS)):
        assert torch.equal(everything(from_tensors(images, name="x", n=5)), LEVELS[:5])
    refused(lambda: from_tensors(LEVELS, name="x", n=11), "10 images, but n=11")
    refused(lambda: from_tensors(LEVELS, name="x", n=0), "n=0")


@pytest.mark.parametrize(
    ("images", "value_range", "words"),
    [
        (FLOATS[0, 1], (-1, 1), ["looks like (0, 1)", "say value_range=(0, 1)"]),
        (FLOATS[0, 255], (-1, 1), ["looks like (0, 255)", "value_range=(0, 255)"]),
        (FLOATS[-1, 1], (0, 1), ["looks like (-1, 1)", "value_range=(-1, 1)"]),
        (FLOATS[0, 255], (0, 1), ["looks like (0, 255)"]),
        (FLOATS[0, 1], (0, 255), ["looks like (0, 1)"]),
        (FLOATS[-1, 1], (0, 255), ["looks like (-1, 1)"]),
        (FLOATS[0, 255] * 9, (-1, 1), ["fits no range of images"]),
        (LEVELS / 25 - 5, (-1, 1), ["fits no range of images"]),
        (LEVELS, (0, 2), ["value_range (0, 2) is not known", "valid: (-1, 1), (0, 1), (0, 255)"]),
    ],
)
def test_a_range_that_does_not_fit(images, value_range, words):
    refused(lambda: from_tensors(images, name="mine", value_range=value_range), *words)


def test_the_range_is_judged_over_all_batches():
    images = FLOATS[-1, 1].clone()
    images[:3], images[7:] = images[:3].abs(), images[7:].abs()  # bright batches are no mistake
    assert from_tensors(parts(images), name="x").n == 10


def test_a_little_beyond_the_range_is_clamped_with_a_warning():
    source = from_tensors(FLOATS[-1, 1] * 1.2, name="x")
    assert source.warnings == [
        "x: floats reach from -1.2 to 1.2; what is beyond (-1, 1) was clamped"
    ]
    assert everything(source).min() == 0 and everything(source).max() == 255
    black = from_tensors(-torch.ones(3, 1, 4, 4), name="x")  # a collapsed model is no mistake
    everything(black)
    assert "all 3 images are of one single colour (first: image 0)" in black.warnings


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (LEVELS.permute(0, 2, 3, 1), ["looks like (N, H, W, C)", "permute(0, 3, 1, 2)"]),
        (LEVELS[:, :2], ["2 channels"]),
        (torch.cat([LEVELS, LEVELS[:, :1]], 1), ["4 channels", "images[:, :3]"]),
        (LEVELS[0], ["(3, 5, 6)", "images have (N, C, H, W)"]),
        (LEVELS[:0], ["holds no images"]),
        (LEVELS[..., :0], ["0x5 pixels"]),
        (LEVELS.long(), ["torch.int64", "uint8 levels"]),
        (LEVELS // 255, ["no uint8 level is above 1"]),
        ([], ["no images"]),
        ([LEVELS, LEVELS[..., :4]], ["(3, 5, 4) after images of (3, 5, 6)"]),
        ([LEVELS, FLOATS[-1, 1]], ["batches of uint8 and of floats"]),
        (["a.png"], ["a batch is a str"]),
        (7, ["int is no source of images"]),
    ],
)
def test_what_is_no_set_of_images(images, words):
    refused(lambda: from_tensors(images, name="mine"), "mine", *words)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_pixels_that_are_no_numbers_are_refused(bad):
    images = FLOATS[-1, 1].clone()
    images[[5, 6], 1, 2, 3] = bad
    refused(lambda: from_tensors(images, name="x"), "2 images of a batch", "first: image 5")
    refused(lambda: from_tensors(parts(images), name="x"), "first: image 5")
