"""Images with captions, with boxes and with label maps: what comes out, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts_on_disk import SIDE, captions, label_maps, layouts, lines, picture, save
from PIL import Image

from genbench import data
from genbench.data import words
from genbench.data.boxes import check_boxes
from genbench.spec import ConfigError


def load(kind: str, folder: Path, split: str = "train", size: int | None = None):
    return data.load(f"{kind}:{folder}" + (f"@{size}" if size else ""), split)


def refused(kind: str, folder: Path, *parts: object, split: str = "train", size=None) -> None:
    with pytest.raises(ConfigError) as error:
        load(kind, folder, split, size)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message


# --- captions ------------------------------------------------------------------------------------


def test_captions_share_the_vocabulary_of_both_splits(tmp_path):
    captions(tmp_path)
    train, test = load("captions", tmp_path), load("captions", tmp_path, "test")
    vocabulary = train.words("tokens")
    assert vocabulary == (
        *(
            "",
            ",",
            ".",
            "?",
            "a",
            "cats",
            "circle",
            "isn't",
            "it",
            "it's",
            "red",
            "t-shirt",
            "two",
        ),
    )
    assert test.words("tokens") == vocabulary
    tokens = train.annotation("tokens")
    assert tokens.dtype == torch.int64
    assert tokens.shape == (2, 7)
    # images are sorted by name, and of two captions the first one in the file counts
    assert train.images[:, 0, 0, 0].tolist() == [0, 1]
    assert words.decode(tokens, vocabulary) == ["a red circle.", "it's a t-shirt, isn't it?"]
    assert words.decode(test.annotation("tokens"), vocabulary) == ["two cats"]
    assert train.notes["caption_rule"].endswith("4 in all")


def test_one_folder_of_captions_is_split_by_hash(tmp_path):
    entries = []
    for k in range(20):
        save(tmp_path / "in" / f"{k}.png", picture(k))
        entries.append({"file_name": f"in/{k}.png", "text": f"number {k}"})
    path = lines(tmp_path / "captions.jsonl", *entries)
    path.write_text("\ufeff" + path.read_text().replace("\n", "\r\n\n"), "utf-8")
    for split in data.SPLITS:
        found = load("captions", tmp_path, split)
        texts = words.decode(found.annotation("tokens"), found.words("tokens"))
        assert texts == [f"number {k}" for k in found.images[:, 0, 0, 0].tolist()]
        assert found.notes["split_rule"].startswith("test if the first 8 bytes of sha256")


def test_images_in_neither_split_need_no_caption(tmp_path):
    captions(tmp_path)
    save(tmp_path / "val" / "a.png", picture(9))
    before = load("captions", tmp_path).words("tokens")
    lines(tmp_path / "val" / "metadata.jsonl", {"file_name": "a.png", "text": "unheard of"})
    assert load("captions", tmp_path).words("tokens") == before


GOOD = '{"file_name": "a.png", "text": "a circle"}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file_name": "a.png", ', "train/metadata.jsonl, line 2: this is no JSON (Expecting"),
        ("[" * 100_000, "line 2: this is no JSON"),
        ('["a.png", "a circle"]', "line 2: a list, not a JSON object with the key 'file_name'"),
        ('{"file": "a.png"}', "there is no key 'file_name'; did you mean 'file'? it has file"),
        ("{}", "line 2: there is no key 'file_name'; it has (none)"),
        ('{"file_name": 3}', "line 2: file_name is 3, not a text"),
        ('{"file_name": "a.png", "caption": "x"}', "no key 'text'; it has caption, file_name"),
        ('{"file_name": "a.png", "text": ""}', "line 2: text is ''; write a caption"),
        ('{"file_name": "a.png", "text": " "}', "line 2: text is ' '; write a caption"),
        ('{"file_name": "a.png", "text": ["x"]}', "line 2: text is ['x']; write a caption"),
        ('{"file_name": "c.png", "text": "x"}', "line 2: there is no image"),
        ('{"file_name": "bb.png", "text": "x"}', "did you mean 'b.png'? add it, or take the"),
        ('{"file_name": "/etc/passwd", "text": "x"}', "there is no image /etc/passwd"),
        ('{"file_name": "../test/a.png", "text": "x"}', "there is no image"),
    ],
)
def test_broken_lines_are_told_with_their_number(tmp_path, line, message):
    captions(tmp_path)
    (tmp_path / "train" / "metadata.jsonl").write_text(f"{GOOD}\n{line}\n")
    refused("captions", tmp_path, message)


def test_captions_that_are_missing(tmp_path):
    captions(tmp_path)
    path = tmp_path / "train" / "metadata.jsonl"
    path.write_text(f"{GOOD}\n")
    refused("captions", tmp_path, f"{tmp_path}/train/b.png has no caption (1 in all); add a line")
    lines(tmp_path / "train" / "captions.jsonl", json.loads(GOOD))
    refused("captions", tmp_path, f"{path} and", "train/captions.jsonl are both there; keep one")
    for found in tmp_path.rglob("*.jsonl"):
        found.unlink()
    refused("captions", tmp_path, "holds no metadata.jsonl or captions.jsonl; write one", '"text"')
    path.write_bytes(b"\xff\xfe\x00")
    refused("captions", tmp_path, f"{path} cannot be read")


# --- boxes ---------------------------------------------------------------------------------------


def test_boxes_are_shares_of_the_image(tmp_path):
    layouts(tmp_path)
    train, test = load("layouts", tmp_path), load("layouts", tmp_path, "test")
    assert train.words("box_classes") == ("cat", "dog")
    assert train.annotation("box_classes").tolist() == [[1, 0], [-1, -1]]
    assert train.annotation("boxes").dtype == torch.float32
    first, second = train.annotation("boxes")
    assert first.flatten().tolist() == pytest.approx([0.25, 0, 0.75, 1, 1 / 6, 0.25, 0.5, 0.75])
    assert not second.any()
    assert test.annotation("box_classes").tolist() == [[0, -1]]  # as many places in both splits
    assert test.annotation("boxes")[0, 0].tolist() == [0, 0, 1, 1]
    check_boxes(train.annotation("boxes"), train.annotation("box_classes"), 2)


def one_box(
    folder: Path, box: list[object], width=20, height=10, category: object = "dog"
) -> None:
    objects = {"bbox": [box], "categories": [category]}
    for split in data.SPLITS:
        save(folder / split / "a.png", picture(1, height, width))
        lines(folder / split / "layouts.jsonl", {"file_name": "a.png", "objects": objects})


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([5, 0, 10, 10], [0, 0, 1, 1]),  # the crop itself
        ([0, 2, 20, 4], [0, 0.2, 1, 0.6]),
        ([6, 1, 2, 3], [0.1, 0.1, 0.3, 0.4]),
        ([0, 0, 5, 10], None),  # up to the crop's border
        ([15, 0, 5, 10], None),
    ],
)
def test_boxes_are_cropped_as_the_image_is(tmp_path, box, expected):
    one_box(tmp_path, box)
    train = load("layouts", tmp_path, size=8)
    assert train.notes["objects_outside_the_crop"] == (expected is None)
    assert train.annotation("box_classes").tolist() == [[0 if expected else -1]]
    assert train.annotation("boxes")[0, 0].tolist() == pytest.approx(expected or [0] * 4)


def test_a_crop_keeps_what_is_in_a_box(tmp_path):
    one_box(tmp_path, [8, 3, 4, 4], width=21, height=13)
    pixels = np.zeros((13, 21, 3), np.uint8)
    pixels[3:7, 8:12] = 255
    for split in data.SPLITS:
        save(tmp_path / split / "a.png", pixels)
    train = load("layouts", tmp_path, size=13)
    x0, y0, x1, y1 = (train.annotation("boxes")[0, 0] * 13).round().int().tolist()
    inside = torch.zeros(13, 13, dtype=torch.bool)
    inside[y0:y1, x0:x1] = True
    assert torch.equal(train.images[0, 0] == 255, inside)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 22, 5], "box [0, 0, 22, 5] reaches outside of the image, which is 20x10 pixels"),
        ([0, 0, 5, 12], "reaches outside"),
        ([-2, 0, 5, 5], "reaches outside"),
        ([0, -1.5, 5, 5], "reaches outside"),
        ([0, 0, 0, 5], "box [0, 0, 0, 5] has no area"),
        ([3, 3, 5, -1], "has no area"),
        ([0, 0, 5], "box [0, 0, 5] is not four numbers"),
        ([0, 0, 5, "5"], "is not four numbers"),
        ([0, 0, 5, float("nan")], "is not four numbers"),
        ([0, 0, 5, 10**400], "is not four numbers"),
    ],
)
def test_boxes_that_cannot_be(tmp_path, box, message):
    one_box(tmp_path, box)
    refused("layouts", tmp_path, "layouts.jsonl, line 1: ", message, size=8)


def test_a_box_may_be_rounded_outwards(tmp_path):
    one_box(tmp_path, [-1, -1, 22, 12])
    assert load("layouts", tmp_path, size=8).annotation("boxes").tolist() == [[[0, 0, 1, 1]]]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], "objects is no JSON object"),
        ({"bbox": []}, "there is no key 'categories'"),
        ({"bbox": [], "categories": 1}, "bbox and categories are lists"),
        ({"bbox": [[1, 1, 2, 2]], "categories": []}, "1 boxes and 0 categories"),
        ({"bbox": [[1, 1, 2, 2]], "categories": [True]}, "category True is neither a name nor"),
        ({"bbox": [[1, 1, 2, 2]], "categories": [""]}, "category '' is neither a name nor"),
        ({"bbox": [[1, 1, 2, 2]], "categories": [3]}, "of both kinds, 'cat' and 3; use names"),
    ],
)
def test_objects_that_are_malformed(tmp_path, objects, message):
    layouts(tmp_path)
    path = tmp_path / "metadata.jsonl"
    _, *others = path.read_text().splitlines()
    path.write_text(
        "\n".join([json.dumps({"file_name": "train/a.png", "objects": objects}), *others])
    )
    refused("layouts", tmp_path, message)


def test_images_need_one_line_each(tmp_path):
    layouts(tmp_path)
    path = tmp_path / "metadata.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join(others))
    refused("layouts", tmp_path, "train/a.png has no line (1 in all)")
    path.write_text("\n".join([first, *others, first]))
    refused("layouts", tmp_path, "metadata.jsonl, line 4: a second line about this image")


def test_numbers_of_categories_take_their_names_from_a_file(tmp_path):
    one_box(tmp_path, [5, 0, 5, 5], category=2)
    assert load("layouts", tmp_path, size=8).words("box_classes") == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("bus\ncar\nvan\ntram\n")
    train = load("layouts", tmp_path, size=8)
    assert train.words("box_classes") == ("bus", "car", "van", "tram")
    assert train.annotation("box_classes").tolist() == [[2]]
    (tmp_path / "classes.txt").write_text("bus\ncar")
    refused("layouts", tmp_path, "category 2 is not in 0 to 1", size=8)
    one_box(tmp_path, [5, 0, 5, 5], category="cart")
    refused("layouts", tmp_path, "no category 'cart'; did you mean 'car'?", size=8)
    one_box(tmp_path, [5, 0, 5, 5], category="bus")
    assert load("layouts", tmp_path, size=8).annotation("box_classes").tolist() == [[0]]


# --- label maps ----------------------------------------------------------------------------------


def ids(key: int) -> np.ndarray:
    return np.random.default_rng(key).integers(0, 3, (SIDE, SIDE)).astype(np.uint8)


def test_label_maps_belong_to_the_image_of_their_name(tmp_path):
    label_maps(tmp_path)
    train, test = load("label_maps", tmp_path), load("label_maps", tmp_path, "test")
    assert train.words("label_map") == ("sky", "road", "car")
    found = train.annotation("label_map")
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), np.stack([ids(0), ids(1)]))
    assert np.array_equal(test.annotation("label_map").numpy(), ids(2)[None])
    assert "label_rule" not in train.notes
    assert load("label_maps", tmp_path, size=6).notes["label_rule"].startswith("nearest")


def test_without_names_classes_are_numbers_up_to_the_largest_of_both_splits(tmp_path):
    label_maps(tmp_path)
    (tmp_path / "classes.txt").unlink()
    save(tmp_path / "labels" / "test" / "c.png", np.full((SIDE, SIDE), 4, np.uint8))
    assert load("label_maps", tmp_path).words("label_map") == ("0", "1", "2", "3", "4")


def test_palettes_and_two_colours_are_ids(tmp_path):
    label_maps(tmp_path)
    image = Image.fromarray(ids(0))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "labels" / "train" / "a.png")
    Image.fromarray(ids(1) > 0).save(tmp_path / "labels" / "train" / "b.png")
    with Image.open(tmp_path / "labels" / "train" / "a.png") as saved:
        assert saved.mode == "P"
    found = load("label_maps", tmp_path).annotation("label_map").numpy()
    assert np.array_equal(found, np.stack([ids(0), ids(1) > 0]))


@pytest.mark.parametrize(("height", "width"), [(9, 20), (21, 12), (24, 24)])
def test_a_map_is_cropped_as_its_image_and_never_blended(tmp_path, height, width):
    # blocks of one id each, and an image that says the same in grey
    coarse = np.random.default_rng(0).integers(0, 2, (height // 3 + 1, width // 3 + 1))
    blocks = coarse.repeat(3, 0).repeat(3, 1)[:height, :width].astype(np.uint8)
    for name in ("train/a", "test/b"):
        save(tmp_path / "images" / f"{name}.png", (blocks * 200)[..., None].repeat(3, -1))
        save(tmp_path / "labels" / f"{name}.png", blocks * 2)
    side = min(height, width)
    train = load("label_maps", tmp_path, size=side)
    labels = train.annotation("label_map")
    assert torch.equal(labels * 100, train.images[:, 0])
    top, left = (height - side) // 2, (width - side) // 2
    assert np.array_equal(labels[0].numpy(), 2 * blocks[top : top + side, left : left + side])
    for size in (5, 8, 40):
        small = load("label_maps", tmp_path, size=size).annotation("label_map")
        assert small.shape == (1, size, size)
        assert set(small.unique().tolist()) == {0, 2}


def test_maps_and_images_that_do_not_fit(tmp_path):
    label_maps(tmp_path)
    path = tmp_path / "labels" / "train" / "a.png"
    save(path, ids(0)[:8])
    refused("label_maps", tmp_path, f"{path} and its image are 12x8 and 12x12 pixels", size=8)
    save(path, picture(0))
    refused("label_maps", tmp_path, f"{path} has mode RGB; a label map holds one class id")
    save(path, ids(0).astype(np.uint16))
    refused("label_maps", tmp_path, "labels/train/a.png (16 bits for a channel)")
    path.unlink()
    refused("label_maps", tmp_path, f"has no label map {path} (1 in all); add it")
    save(path, ids(0))
    lone = save(path.with_name("lone.png"), ids(0))
    refused("label_maps", tmp_path, f"the label map {lone} belongs to no image")
    lone.unlink()
    (tmp_path / "images").rename(tmp_path / "pictures")
    refused("label_maps", tmp_path, f"there is no folder {tmp_path / 'images'}")


@pytest.mark.parametrize(
    ("value", "way"),
    [
        (3, "correct the map, or name the class in line 4"),
        (255, "give these the id 3 and add the"),
    ],
)
def test_ids_out_of_range_are_told_with_the_largest_valid_one(tmp_path, value, way):
    label_maps(tmp_path)
    path = save(tmp_path / "labels" / "train" / "b.png", np.full((SIDE, SIDE), value, np.uint8))
    told = f"{path} holds the id {value}, but classes.txt names 3 classes, so 2 is the largest; "
    refused("label_maps", tmp_path, told + way if value == 3 else told, way)


def test_pixels_to_ignore_are_no_class(tmp_path):
    label_maps(tmp_path)
    (tmp_path / "classes.txt").unlink()
    path = tmp_path / "labels" / "test" / "c.png"
    values = ids(2)
    values[0, 0] = 255
    save(path, values)
    told = f"{path} holds the id 255, where 3 classes would do; 255 often marks pixels"
    refused("label_maps", tmp_path, told, "give these the id 3, or name 256 classes")
    values[0, 1] = 254
    save(path, values)
    assert len(load("label_maps", tmp_path).words("label_map")) == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sky\n\ncar\n", "classes.txt, line 2 is empty"),
        ("sky\nroad\nsky\n", "classes.txt, line 3: 'sky' is there twice"),
        ("", "classes.txt, line 1 is empty"),
    ],
)
def test_names_of_classes_that_are_no_names(tmp_path, text, message):
    label_maps(tmp_path)
    (tmp_path / "classes.txt").write_text(text)
    refused("label_maps", tmp_path, message)
