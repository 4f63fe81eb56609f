"""`scenes-parser`: what it reads against what scenes hold, and how it makes objects of pixels."""

import json
import shutil

import pytest
import torch
from pictures import pictures
from scene_tools import tool

from genbench import data, features
from genbench.data.scenes import COLOURS, SHAPES, SIZES, STYLES, Scenes
from genbench.features.cards import WEIGHTS
from genbench.features.scenes_net import SIZE, Maps, SceneNet
from genbench.features.scenes_parser import Reading, load_parser
from genbench.features.scenes_reading import MOST_FOUND, read_maps
from genbench.spec import ConfigError

INDEX = torch.arange(300)
CARD = features.card("scenes-parser")


@pytest.fixture(scope="module")
def parser():
    return features.load("scenes-parser")


@pytest.fixture(scope="module")
def images():
    return Scenes("test").images(INDEX)


@pytest.fixture(scope="module")
def clean(parser):
    return tool("scenes_parser_card").measure(parser, INDEX)


def test_the_card_says_what_the_network_is(parser):
    assert parser.name == CARD["name"] == "scenes-parser"
    assert (parser.dim, parser.classes) == (CARD["dim"], CARD["classes"]) == (120, len(SHAPES))
    assert parser.sha256 == CARD["sha256"]
    assert parser.official and parser.protocol == "" and parser.settings == {}
    path = WEIGHTS / "scenes-parser.safetensors"
    assert CARD["bytes"] == path.stat().st_size < 2_000_000
    assert CARD["parameters"] == sum(p.numel() for p in parser.parameters())
    assert CARD["test_count"] == 2000
    assert CARD["test_correct"] == round(CARD["test"]["clean"]["label"] * 2000)
    assert CARD["retrain"] == "python tools/train_scenes_parser.py"
    assert tool("train_scenes_parser").Recipe().images == CARD["training"]["images"]


AIMS = ("pixel_labels", "object_recall", "shape", "colour", "size", "count")


def test_the_card_promises_99_per_cent_on_clean_pictures():
    for name in AIMS:
        assert CARD["test"]["clean"][name] >= 0.99, name
    assert CARD["test_accuracy"] >= 0.97
    assert all(CARD["test"]["styles"][style]["style"] >= 0.97 for style in STYLES)


def test_the_cards_figures_come_out_again(clean):
    whole = CARD["test"]["clean"]
    for name in (*AIMS, "style", "label"):
        assert clean[name] >= 0.985, name
        assert clean[name] == pytest.approx(whole[name], abs=0.015), name
    assert clean["exact_scenes"] == pytest.approx(whole["exact_scenes"], abs=0.03)
    assert clean["position_error_px"] == pytest.approx(whole["position_error_px"], abs=0.1)
    assert clean["box_iou"] == pytest.approx(whole["box_iou"], abs=0.02)


def test_it_reads_the_objects_that_the_scenes_hold(parser, images):
    """The first scenes by hand, without the tool that measures the card."""
    reading, scene = parser.read(images[:8]), Scenes("test").describe(INDEX[:8])
    for i in range(8):
        found = {
            (int(reading.shape[i, k]), int(reading.colour[i, k]), int(reading.size[i, k]))
            for k in range(int(reading.count[i]))
        }
        true = {
            (int(scene.shape[i, k]), int(scene.colour[i, k]), int(scene.size[i, k]))
            for k in range(int(scene.count[i]))
        }
        assert found == true


def test_noise_makes_it_worse_and_worse(parser, clean):
    measure = tool("scenes_parser_card").measure
    curve = [clean] + [measure(parser, INDEX[:100], noise=std) for std in (16, 32, 64, 128)]
    for name in ("pixel_labels", "mean_iou", "label"):
        values = [point[name] for point in curve]
        assert values == sorted(values, reverse=True), name
    assert curve[0]["mean_iou"] - curve[-1]["mean_iou"] > 0.3
    for name in ("pixel_labels", "mean_iou"):
        told = [point[name] for point in CARD["test"]["noise"].values()]
        assert told == sorted(told, reverse=True), name


def test_a_readings_shapes_and_types(parser, images):
    reading = parser.read(images[:5])
    n, most = 5, MOST_FOUND
    shapes = {
        "label_map": ((n, 32, 32), torch.uint8),
        "colour_map": ((n, 32, 32), torch.uint8),
        "shape": ((n, most), torch.int64),
        "colour": ((n, most), torch.int64),
        "size": ((n, most), torch.int64),
        "centre": ((n, most, 2), torch.float32),
        "boxes": ((n, most, 4), torch.float32),
        "style": ((n,), torch.int64),
    }
    for name, (shape, dtype) in shapes.items():
        value = getattr(reading, name)
        assert (tuple(value.shape), value.dtype) == (shape, dtype), name
    unused = reading.shape < 0
    assert unused.any()
    for name in ("colour", "size", "centre"):
        assert (getattr(reading, name)[unused] == -1).all()
    assert (reading.boxes[unused] == 0).all()
    used = ~unused
    assert int(reading.shape.max()) < len(SHAPES)
    assert int(reading.colour.max()) < len(COLOURS) and int(reading.size.max()) < len(SIZES)
    assert (reading.boxes[used][:, 2:] > reading.boxes[used][:, :2]).all()
    assert ((reading.label_map > 0) == (reading.colour_map > 0)).all()
    assert len(reading) == 5 and len(reading[1:3]) == 2
    both = Reading.join([reading[:2], reading[2:]])
    assert torch.equal(both.centre, reading.centre)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 48), (20, 33)])
def test_other_sizes_are_read_at_that_size(parser, height, width):
    reading = parser.read(pictures(2, 1, 8).repeat(1, 1, 9, 9)[:, :, :height, :width])
    assert reading.label_map.shape == reading.colour_map.shape == (2, height, width)


def test_a_larger_picture_of_a_scene_says_the_same(parser):
    small, large = (parser.read(Scenes("test", size).images(INDEX[:60])) for size in (32, 64))
    same = (small.shape == large.shape).all(1) & (small.colour == large.colour).all(1)
    assert same.double().mean() > 0.9
    apart = (small.centre - large.centre)[same].abs().amax((1, 2))
    assert (apart < 0.03).double().mean() > 0.9  # equal objects may change places


def test_no_image_changes_anothers_reading(parser, images):
    whole = parser.read(images)  # more than one chunk
    again = Reading.join([parser.read(part) for part in images.split(7)])
    assert torch.equal(whole.label_map, again.label_map)
    assert torch.equal(whole.shape, again.shape)
    torch.testing.assert_close(whole.centre, again.centre, rtol=0, atol=1e-5)
    parts = [parser(part) for part in images.split(9)]
    together = parser(images)
    for name in ("features", "probs"):
        found = torch.cat([getattr(part, name) for part in parts])
        torch.testing.assert_close(found, getattr(together, name), rtol=1e-4, atol=1e-4)


def test_features_are_scaled_and_classes_are_the_datasets(parser):
    assert parser.class_names == tuple(CARD["class_names"]) == SHAPES
    assert parser.class_names == data.load("scenes@16", "test").classes
    found = parser(Scenes("train").images(torch.arange(1000)))
    assert found.features.shape == (1000, 120) and not found.features.requires_grad
    assert found.features.double().var(0).sum().item() == pytest.approx(100, rel=0.05)
    torch.testing.assert_close(found.probs.sum(1), torch.ones(1000))
    right = found.probs.argmax(1) == Scenes("train").label(torch.arange(1000))
    assert right.double().mean() >= 0.97


def test_training_mode_changes_nothing(parser, images):
    before = parser(images[:4]).features
    parser.train()
    assert torch.equal(parser(images[:4]).features, before)
    parser.train()
    assert torch.equal(parser.read(images[:4]).label_map, parser.read(images[:4]).label_map)


@pytest.mark.parametrize("bad", [torch.zeros(2, 3, 32, 32), torch.zeros(2, 4, 32, 32).byte()])
def test_anything_but_uint8_images_is_refused(parser, bad):
    for call in (parser, parser.read):
        with pytest.raises(ValueError, match="scenes-parser wants uint8 images of shape"):
            call(bad)


def test_other_weights_than_the_cards_are_refused(tmp_path):
    for suffix in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"scenes-parser.{suffix}", tmp_path)
    path = tmp_path / "scenes-parser.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(features.WeightsError, match=r"weights of scenes-parser .* have sha256"):
        load_parser(tmp_path)
    with pytest.raises(ConfigError, match="scenes-parser comes with its weights"):
        features.load("scenes-parser", dtype="bfloat16")


# --- objects of pixels, from maps drawn by hand --------------------------------------------------


def drawn(*objects: tuple[slice, slice, int, int, int, tuple[float, float]]) -> Maps:
    """Certain maps of one image: rows, columns, shape, colour, size and centre of each object."""
    shape, colour = torch.zeros(1, 1 + len(SHAPES), SIZE, SIZE), torch.zeros(1, 6, SIZE, SIZE)
    size, offset = torch.zeros(1, 2, SIZE, SIZE), torch.zeros(1, 2, SIZE, SIZE)
    shape[:, 0] = 20
    grid = (torch.arange(SIZE) + 0.5) / SIZE
    for rows, columns, s, c, z, (x, y) in objects:
        shape[0, :, rows, columns] = 0
        shape[0, 1 + s, rows, columns] = 20
        colour[0, :, rows, columns] = 0
        colour[0, c, rows, columns] = 20
        size[0, z, rows, columns] = 20
        offset[0, 0, rows, columns] = (x - grid)[None, columns]
        offset[0, 1, rows, columns] = (y - grid)[rows, None]
    return Maps(shape, colour, size, offset, torch.zeros(1, 4), torch.zeros(1, 1))


def test_an_object_that_is_cut_in_two_stays_one():
    left = (slice(10, 20), slice(4, 8), 1, 2, 1, (0.3, 0.45))
    right = (slice(10, 20), slice(12, 16), 1, 2, 1, (0.3, 0.45))
    over = (slice(10, 20), slice(8, 12), 0, 3, 0, (0.31, 0.47))
    reading = read_maps(drawn(left, right, over))
    assert reading.count.tolist() == [2]
    assert reading.shape[0, :2].tolist() == [1, 0]
    assert reading.colour[0, :2].tolist() == [2, 3]
    assert reading.size[0, :2].tolist() == [1, 0]
    torch.testing.assert_close(reading.centre[0, 0], torch.tensor([0.3, 0.45]))
    expected = torch.tensor([[4, 10, 16, 20], [8, 10, 12, 20]]) / 32
    torch.testing.assert_close(reading.boxes[0, :2], expected)


def test_equal_objects_that_touch_in_pixels_stay_two():
    left = (slice(10, 16), slice(4, 10), 3, 5, 0, (0.22, 0.4))
    right = (slice(10, 16), slice(10, 15), 3, 5, 0, (0.39, 0.4))
    reading = read_maps(drawn(left, right))
    assert reading.count.tolist() == [2]
    torch.testing.assert_close(reading.centre[0, :2, 0], torch.tensor([0.22, 0.39]))


def test_the_blurred_rim_belongs_to_the_object():
    disc = (slice(10, 18), slice(10, 18), 0, 2, 1, (0.43, 0.43))
    rim = (slice(10, 18), slice(18, 20), 4, 2, 0, (0.54, 0.43))
    apart = (slice(20, 30), slice(10, 14), 0, 2, 1, (0.43, 0.7))
    reading = read_maps(drawn(disc, rim, apart))
    assert reading.count.tolist() == [2]
    assert reading.shape[0, :2].tolist() == [0, 0]
    torch.testing.assert_close(reading.boxes[0, 0] * 32, torch.tensor([10.0, 10, 20, 18]))


def test_an_objects_shape_is_that_of_most_of_its_pixels_and_crumbs_are_none():
    most = (slice(0, 8), slice(0, 8), 2, 1, 0, (0.12, 0.12))
    some = (slice(0, 8), slice(0, 3), 4, 1, 1, (0.12, 0.12))
    crumb = (slice(30, 31), slice(28, 31), 0, 3, 0, (0.95, 0.95))
    reading = read_maps(drawn(most, some, crumb))
    assert reading.count.tolist() == [1]
    assert (int(reading.shape[0, 0]), int(reading.size[0, 0])) == (2, 0)
    assert set(reading.label_map.unique().tolist()) == {0, 1, 3, 5}  # pixels stay as they are
    assert reading.colour_map[0, 30, 29] == 4


def test_an_empty_picture_has_no_objects():
    reading = read_maps(drawn())
    assert reading.count.tolist() == [0] and int(reading.label_map.max()) == 0
    assert reading.shape.shape == (1, MOST_FOUND)


def test_of_many_objects_the_largest_are_told():
    cells = [(i, j) for i in range(3) for j in range(4)]
    objects = [
        (slice(9 * i, 9 * i + 3 + i), slice(8 * j, 8 * j + 4), 0, 0, 0,
         ((8 * j + 2) / 32, (9 * i + 2) / 32))
        for i, j in cells
    ]  # fmt: skip
    reading = read_maps(drawn(*objects))
    assert reading.count.tolist() == [MOST_FOUND]
    heights = ((reading.boxes[0, :, 3] - reading.boxes[0, :, 1]) * 32).round().tolist()
    assert heights == [5] * 4 + [4] * 4


def test_the_label_is_the_large_objects_shape():
    small = (slice(0, 12), slice(0, 12), 2, 1, 0, (0.2, 0.2))
    large = (slice(20, 25), slice(20, 25), 4, 3, 1, (0.7, 0.7))
    assert drawn(small, large).probs[0, 4] > 0.9
    assert drawn(small).probs[0, 2] > 0.99
    unsure = drawn(small)  # the ground is not quite one, and there is much of it
    unsure.shape[:, 4] += 12 * (unsure.shape[:, 0] > 0)
    unsure.size[:, 1] += 5 * (unsure.shape[:, 0] > 0)
    assert unsure.probs[0, 2] > 0.99
    nothing = drawn().probs[0]
    torch.testing.assert_close(nothing, torch.full((6,), 1 / 6), rtol=0, atol=0.05)


def test_one_tiny_training_writes_weights_and_a_card(tmp_path, monkeypatch):
    module = tool("train_scenes_parser")
    card = tool("scenes_parser_card")
    monkeypatch.setattr(module, "variance", lambda net: 50.0)
    monkeypatch.setattr(card, "SIZES", (16,))
    monkeypatch.setattr(card, "NOISE", (0,))
    files = []
    for run in ("a", "b"):
        out = tmp_path / run
        monkeypatch.setattr(
            "sys.argv", ["train", "--out", str(out), "--images", "128", "--test", "4"]
        )
        module.main()
        files.append((out / "scenes-parser.safetensors").read_bytes())
    assert files[0] == files[1]
    made = load_parser(out)
    assert made.net.scale.item() == pytest.approx(2**0.5)
    about = json.loads((out / "scenes-parser.json").read_text())
    assert set(about) == set(CARD)
    assert about["training"]["images"] == 128 and about["test_count"] == 4
    fresh = SceneNet()
    assert not torch.equal(fresh.stem[0].weight, made.net.stem[0].weight)
