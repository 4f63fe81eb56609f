"""Annotations of scenes: boxes, masks, label maps, outlines, and captions against all of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from genbench.data.scenes import COLOURS, GROUNDS, RELATIONS, SHAPES, SIZES, Scenes, parse
from genbench.data.scenes.annotations import masks
from genbench.data.scenes.captions import meanings, relations
from genbench.data.scenes.render import measure

INDEX = torch.arange(400)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes("train", 64)


def test_boxes_are_tight_around_the_visible_pixels():
    for size in (16, 33, 64):
        scenes = Scenes("train", size)
        boxes, classes = scenes.boxes(INDEX)
        found = scenes.masks(INDEX).numpy()
        assert boxes.dtype == torch.float32
        for i in range(len(INDEX)):
            for k in range(3):
                rows, columns = np.nonzero(found[i, k])
                if classes[i, k] < 0:
                    assert not len(rows)
                    assert boxes[i, k].tolist() == [0, 0, 0, 0]
                    continue
                ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                assert (boxes[i, k] * size).tolist() == pytest.approx(ends, abs=1e-4)


def test_masks_are_the_foreground_of_the_label_map_and_share_no_pixel(scenes):
    found, labels = scenes.masks(INDEX), scenes.label_map(INDEX)
    _, classes = scenes.boxes(INDEX)
    assert labels.dtype == torch.uint8
    assert torch.equal(found.sum(1), (labels > 0).long())
    for k in range(3):
        own = labels[found[:, k]] - 1
        assert torch.equal(own.long(), classes[:, k][found[:, k].nonzero()[:, 0]])
    assert set(labels.unique().tolist()) == set(range(7))
    scene = scenes.describe(INDEX)
    assert torch.equal(classes >= 0, scene.used)


def test_every_object_has_a_pixel_in_the_smallest_images():
    index = torch.arange(20_000)
    pixels = Scenes("train", 16).masks(index).sum((2, 3))
    used = Scenes("train", 16).describe(index).used
    assert (pixels[used] > 0).all()
    assert (pixels[~used] == 0).all()


def test_the_label_is_the_shape_of_the_object_with_the_most_room(scenes):
    label, scene = scenes.label(INDEX), scenes.describe(INDEX)
    for i in range(len(INDEX)):
        count = int(scene.count[i])
        if count == 1 or len(set(scene.colour[i, :count].tolist())) == 1:
            large = scene.shape[i, 0]
        else:
            (place,) = [k for k in range(count) if SIZES[scene.size[i, k]] == "large"]
            large = scene.shape[i, place]
        assert label[i] == large


def test_outlines_are_black_where_the_label_map_changes(scenes):
    index = torch.arange(100)
    dark = scenes.outline(index)[:, 0] < 128
    masks_ = torch.cat((scenes.masks(index), (scenes.label_map(index) == 0)[:, None]), 1)
    owner = masks_.int().argmax(1)
    edge = torch.zeros_like(dark)
    edge[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    edge[:, :-1] |= owner[:, 1:] != owner[:, :-1]
    edge[:, :, 1:] |= owner[:, :, 1:] != owner[:, :, :-1]
    edge[:, :, :-1] |= owner[:, :, 1:] != owner[:, :, :-1]

    def wide(mask, by):
        side = 2 * by + 1
        return torch.nn.functional.max_pool2d(mask[:, None].float(), side, 1, by)[:, 0] > 0

    assert wide(edge, 1)[dark].float().mean() > 0.99  # ink lies at edges only
    assert wide(dark, 1)[edge].float().mean() > 0.99  # and all along them
    assert 0.03 < dark.float().mean() < 0.2


def test_what_is_hidden_has_no_outline(scenes):
    scene = scenes.describe(INDEX)
    objects = measure(scene, 64)
    second = objects.slot == 1
    deep = objects.distance[second] < -(0.024 * 64 + 1)  # further in than its own line
    ink = scenes.outline(INDEX)[objects.image[second], 0]
    assert (ink[deep] == 255).all()
    assert deep.any()


# --- captions ------------------------------------------------------------------------------------


def test_captions_say_what_the_scene_holds(scenes):
    scene = scenes.describe(INDEX)
    for k in range(4):
        for i, text in enumerate(scenes.captions(INDEX, k)):
            meaning = parse(text)
            count = int(scene.count[i])
            things = [
                (COLOURS[scene.colour[i, j]], SHAPES[scene.shape[i, j]], SIZES[scene.size[i, j]])
                for j in range(count)
            ]
            said = Counter()
            for t in meaning.things:
                sizes = {t.size} if t.size else {size for c, s, size in things if c == t.colour}
                assert len(sizes) == 1
                said[t.colour, t.shape, sizes.pop()] += t.number
            assert said == Counter(things), text
            assert meaning.ground in (None, GROUNDS[scene.ground[i]]), text
            assert len({t.colour for t in meaning.things}) == len(meaning.things)  # no doubt


def test_relations_are_true_by_boxes_and_masks(scenes):
    scene = scenes.describe(INDEX)
    boxes, _ = scenes.boxes(INDEX)
    x, y = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
    seen = masks(scene, 64)
    alone = masks(replace(scene, count=scene.count.clamp(max=1)), 64)[:, 0]
    uncovered = seen[:, 0].sum((1, 2)) / alone.sum((1, 2))
    told = Counter()
    for k in range(4):
        for i, text in enumerate(scenes.captions(INDEX, k)):
            meaning = parse(text)
            places = [
                next(j for j in range(3) if COLOURS[scene.colour[i, j]] == t.colour)
                for t in meaning.things
            ]
            first, *others = places
            for relation, other in zip(meaning.relations, others, strict=False):
                told[relation] += 1
                dx, dy = (v[i, other] - v[i, first] for v in (x, y))
                apart = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}
                if relation in apart:
                    assert apart[relation] > 0.1, text
                    assert apart[relation] > (min(abs(dx), abs(dy)) + 0.01), text
                else:
                    front = {"in front of": (1, 0), "behind": (0, 1)}[relation]
                    assert (first, other) == front, text
                    assert uncovered[i] <= 0.95, text
    assert set(told) == set(RELATIONS)
    assert min(told.values()) > 20


def test_relations_have_opposites_and_keep_a_margin(scenes):
    scene = scenes.describe(torch.arange(2000))
    holds = relations(scene)
    for one, other in ((0, 1), (2, 3), (4, 5)):
        assert torch.equal(holds[..., one], holds[..., other].transpose(1, 2))
    assert holds[..., :4].sum(-1).max() == 1  # never two directions at once
    assert holds[..., :4].any(-1).float().mean() > 0.1
    centre = torch.stack((scene.x, scene.y), -1)
    step = centre[:, None, :, :] - centre[:, :, None, :]
    left = step[holds[..., 0]]
    assert left[:, 0].min() >= 0.15
    assert (left[:, 0] / left[:, 1].abs()).min() >= 1.25 - 1e-4
    assert not holds[~scene.used].any()


def test_captions_depend_on_index_and_number_alone(scenes):
    whole = scenes.captions(INDEX, 2)
    assert scenes.captions(INDEX[[7, 3, 7]], 2) == [whole[7], whole[3], whole[7]]
    assert Scenes("train", 16).captions(INDEX, 2) == whole  # whatever the size
    others = [scenes.captions(INDEX, k) for k in (0, 1)]
    assert 0.2 < np.mean([a != b for a, b in zip(*others, strict=True)]) <= 1
    assert Scenes("test", 64).captions(INDEX, 2) != whole


def test_meanings_are_as_frequent_as_stated():
    index = torch.arange(4000)
    scene = Scenes("test").describe(index)
    found = meanings(scene, "test", index, 0)
    assert np.mean([m.ground is not None for m in found]) == pytest.approx(0.35, abs=0.03)
    sized = [m.things[0].size is not None for m in found]
    assert np.mean(sized) == pytest.approx(0.75, abs=0.03)
    listed = [m for m in found if len(m.things) > 1 and not m.relations]
    assert np.mean([m.counted for m in listed]) == pytest.approx(0.3, abs=0.06)
    mixed = [m for m in found if len(m.things) > 1]
    assert 0.5 < np.mean([bool(m.relations) for m in mixed]) <= 0.75
    assert {t.number for m in found for t in m.things} == {1, 2, 3}
