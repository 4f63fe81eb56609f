"""Answers that a parser looks at: closed forms, torchmetrics, and scenes in the right order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_answers import INDEX, OTHERS, SCENES, WORDS, N, Oracle, answers, floats
from scipy.stats import binomtest
from torchmetrics.classification import MulticlassJaccardIndex
from torchvision.ops import box_iou as torchvision_box_iou

from genbench import api, features, metrics
from genbench.data.scenes import SHAPES
from genbench.features.scenes_reading import Reading
from genbench.metrics import TaskMetric
from genbench.metrics.answered_layouts import box_iou
from genbench.metrics.answered_maps import iou_score
from genbench.metrics.metric import fixed_order
from genbench.spec import ConfigError
from genbench.stats import delete_group_jackknife

DAY, NIGHT = SCENES.images(INDEX), SCENES.styled(INDEX, "night")
BOXES, CLASSES = SCENES.boxes(INDEX)
NOTES = {
    "tokens": SCENES.tokens(INDEX),
    "label_map": SCENES.label_map(INDEX),
    "box_classes": CLASSES,
}
CONDITIONS = {
    "Caption": api.Caption(NOTES["tokens"]),
    "Paired": api.Paired(floats(SCENES.outline(INDEX))),
    "ToDomain": api.ToDomain(floats(DAY), INDEX * 0, INDEX * 0 + 1),
    "Layout": api.Layout(BOXES, CLASSES),
}
PARSED = [
    name
    for name in metrics.describe()
    if isinstance(m := metrics.find(name), TaskMetric) and m.extractor == "scenes-parser"
]
# the least that right answers must reach through the real parser
LEAST = dict.fromkeys(PARSED, 0.97) | {
    "attributes": 0.88, "attr_shape": 0.9, "attr_position": 0.8,
    "miou": 0.9, "content_kept": 0.85, "layout_iou": 0.9, "layout_class": 0.95,
}  # fmt: skip


@pytest.fixture(scope="module")
def oracle():
    return Oracle()


@pytest.fixture(scope="module")
def parser():
    return features.load("scenes-parser")


def asked(task, made, network, **changes):
    truth = NIGHT if task == "ToDomain" else DAY
    return answers(made, CONDITIONS[task], truth, NOTES, lambda: network, **changes)


def score(name, made, network, **changes):
    metric = metrics.find(name)
    return metric(asked(metric.tasks[0], made, network, **changes))


def in_order(network):
    """Answers to each task: right ones, other questions', and every second one right."""
    found = {}
    for task in CONDITIONS:
        truth = NIGHT if task == "ToDomain" else DAY
        other = truth[OTHERS]
        half = torch.where(INDEX[:, None, None, None] % 2 > 0, truth, other)
        found[task] = [asked(task, made, network) for made in (truth, other, half)]
    return found


@pytest.fixture(scope="module")
def by_oracle(oracle):
    return in_order(oracle)


@pytest.fixture(scope="module")
def by_parser(parser):
    return in_order(parser)


@pytest.mark.parametrize("name", [name for name in PARSED if name != "domain_accuracy"])
def test_right_answers_come_first_and_others_last(name, by_oracle):
    metric = metrics.find(name)
    right, other, half = (metric(each) for each in by_oracle[metric.tasks[0]])
    assert right.value == 1
    assert other.value < 0.4
    assert other.ci95[0] <= other.value < other.ci95[1] < 0.5
    assert other.value < half.value < 1
    assert right.n == other.n == N


@pytest.mark.parametrize("name", PARSED)
def test_through_the_parser_right_answers_come_first(name, by_parser):
    metric = metrics.find(name)
    right, other, _ = (metric(each) for each in by_parser[metric.tasks[0]])
    assert right.value >= LEAST[name]
    assert other.value < 0.5 or name == "domain_accuracy"


@pytest.mark.parametrize("name", ["attributes", "layout_class", "domain_accuracy"])
def test_reasons_are_given_for_what_is_wrong(name, by_oracle):
    metric = metrics.find(name)
    right, _, half = by_oracle[metric.tasks[0]]
    assert metric.explain(right, None) == [""] * N
    wrong = [line != "" for line in metric.explain(half, None)]
    assert not any(wrong[1::2])
    if name == "attributes":
        assert np.mean(np.logical_not(wrong)) == metric(half).value


def test_what_a_parser_reads_is_read_once(oracle):
    class Counting:
        calls = 0

        def read(self, images):
            self.calls += 1
            return oracle.read(images)

    network = Counting()
    first = asked("Caption", DAY, network)
    for name in metrics.expand("attributes"):
        assert metrics.find(name)(first).value == 1
    assert network.calls == 1
    both = asked("Layout", DAY, network)
    for name in ("layout_iou", "layout_class"):
        assert metrics.find(name)(both).value == 1
    assert network.calls == 2
    other = replace(first, made=DAY[OTHERS])  # of other samples nothing is kept
    assert metrics.find("attributes")(other).value < 0.1


# --- label maps ----------------------------------------------------------------------------------


def maps(seed, n=60, classes=4):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, (n, 5, 6)).astype(np.uint8)
    found = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, classes, true.shape))
    return found.astype(np.uint8), true


def test_miou_is_that_of_torchmetrics():
    found, true = maps(0)
    peer = MulticlassJaccardIndex(4, average="macro")
    expected = peer(torch.from_numpy(found).long(), torch.from_numpy(true).long())
    assert iou_score(found, true, 4).value == pytest.approx(float(expected), rel=1e-6)
    # classes are pooled over the set: the mean over samples is another number
    each = [iou_score(f[None], t[None], 4).value for f, t in zip(found, true, strict=True)]
    assert abs(np.mean(each) - float(expected)) > 1e-3


def test_miou_by_hand():
    true = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 0]]], np.uint8)
    found = np.array([[[0, 1, 1, 1]], [[0, 0, 0, 2]]], np.uint8)
    # ground 4 of 6, class 1 2 of 3; class 2 should be nowhere and is left out
    assert iou_score(found, true, 3).value == pytest.approx((4 / 6 + 2 / 3) / 2)
    assert iou_score(true, true, 3).value == 1
    one = iou_score(found[:1], true[:1], 3)
    assert (one.ci95, one.method) == (None, "one sample, no interval")
    with pytest.raises(ValueError, match=r"\(1, 1, 4\) do not fit \(2, 1, 4\)"):
        iou_score(found[:1], true, 3)


def test_the_interval_of_miou_is_a_jackknife_over_groups():
    found, true = maps(1)
    score_ = iou_score(found, true, 4)
    order = fixed_order(60)
    without = []
    for g in range(20):
        rest = np.setdiff1d(np.arange(60), order[g::20])
        without.append(iou_score(found[rest], true[rest], 4).value)
    stderr, ci95 = delete_group_jackknife(score_.value, without)
    assert score_.stderr == pytest.approx(stderr, rel=1e-9)
    assert score_.ci95 == pytest.approx(ci95, rel=1e-9)
    assert score_.method == "jackknife, 20 groups of samples"


def test_label_maps_of_other_classes_are_refused(oracle):
    words = {**WORDS, "label_map": ("road", "sky")}
    with pytest.raises(ConfigError, match="scenes-parser reads label_map of scenes .ground, circ"):
        score("miou", DAY, oracle, words=words)


# --- layouts -------------------------------------------------------------------------------------


class Fixed:
    """Reads the same whatever it is shown."""

    def __init__(self, **tables):
        n = len(tables["shape"])
        empty = torch.full_like(tables["shape"], -1)
        maps_ = tables.get("label_map", torch.zeros(n, 4, 4, dtype=torch.uint8))
        self.reading = Reading(
            maps_, maps_, tables["shape"], empty, empty,
            torch.zeros(*empty.shape, 2), tables["boxes"], torch.zeros(n, dtype=torch.int64),
        )  # fmt: skip

    def read(self, images):
        return self.reading


def layout(name, boxes, classes, network):
    made = torch.zeros(len(boxes), 3, 4, 4, dtype=torch.uint8)
    cond = api.Layout(torch.tensor(boxes), torch.tensor(classes))
    notes = {"box_classes": cond.classes}
    return answers(made, cond, made, notes, lambda: network), metrics.find(name)


def test_a_box_is_answered_by_one_object_of_its_class():
    left, right = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]
    low = [0.0, 0.5, 0.5, 1.0]  # the lower half of the left
    none = [0.0] * 4
    wanted = [[left, right, none], [left, left, none], [left, none, none]]
    classes = [[0, 1, -1], [2, 2, -1], [3, -1, -1]]
    network = Fixed(
        # shapes right but exchanged; one object for two boxes; another shape in the right box
        shape=torch.tensor([[1, 0, -1], [2, -1, -1], [4, 3, -1]]),
        boxes=torch.tensor([[right, low, none], [left, none, none], [left, right, none]]),
    )
    given, metric = layout("layout_iou", wanted, classes, network)
    found = metric(given)
    assert found.value == pytest.approx(((0.5 + 1) / 2 + 0.5 + 0) / 3)
    assert (found.n, found.method) == (3, "Student, 3 samples")


def test_the_assignment_is_the_best_one():
    wide, half = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]
    thin = [0.0, 0.0, 0.25, 1.0]
    # in the order of boxes the first would take the object that fits it best, and leave 0.25
    network = Fixed(shape=torch.tensor([[0, 0], [0, 0]]), boxes=torch.tensor([[thin, half]] * 2))
    given, metric = layout("layout_iou", [[half, wide]] * 2, [[0, 0]] * 2, network)
    assert metric(given).value == pytest.approx(max(1 + 0.25, 0.5 + 0.5) / 2)


def test_boxes_as_torchvision():
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.random((k, 2, 2)), axis=1).reshape(k, 4) for k in (7, 5))
    expected = torchvision_box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert box_iou(a, b) == pytest.approx(expected, rel=1e-9)
    assert box_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0]]


def test_the_class_of_a_box_is_that_of_most_pixels():
    seen = torch.zeros(2, 4, 4, dtype=torch.uint8)
    seen[0, :2, :2] = torch.tensor([[1, 1], [3, 0]])
    seen[0, :, 2:] = 2
    boxes = [[[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 1.0]], [[0.0, 0.0, 0.5, 0.5], [0.0] * 4]]
    network = Fixed(shape=torch.tensor([[-1], [-1]]), boxes=torch.zeros(2, 1, 4), label_map=seen)
    given, metric = layout("layout_class", boxes, [[0, 3], [0, -1]], network)
    assert metric(given).value == pytest.approx((0.5 + 0) / 2)
    assert metric.explain(given, None) == [
        f"asked for a {SHAPES[3]}; its box holds a {SHAPES[1]}",
        "asked for a circle; its box holds nothing",
    ]


@pytest.mark.parametrize(
    ("left", "right", "holds"),
    [(0.374, 0.624, "a ring"), (0.376, 0.626, "a cross"), (0.376, 0.624, "nothing")],
)
def test_a_box_holds_the_pixels_whose_centres_it_holds(left, right, holds):
    seen = torch.zeros(1, 4, 4, dtype=torch.uint8)
    seen[0, 1, 1], seen[0, 1, 2] = 5, 6  # a ring's with its centre at 0.375, a cross's at 0.625
    network = Fixed(shape=torch.tensor([[-1]]), boxes=torch.zeros(1, 1, 4), label_map=seen)
    given, metric = layout("layout_class", [[[left, 0.0, right, 1.0]]], [[0]], network)
    assert metric.explain(given, None) == [f"asked for a circle; its box holds {holds}"]


def test_a_layout_without_objects_is_refused():
    network = Fixed(shape=torch.tensor([[0], [0]]), boxes=torch.zeros(2, 1, 4))
    given, metric = layout("layout_iou", [[[0.0] * 4]] * 2, [[0], [-1]], network)
    with pytest.raises(ConfigError, match="question 1 asks for no object"):
        metric(given)


# --- domains -------------------------------------------------------------------------------------


def test_domain_accuracy_maps_names_to_styles(oracle):
    made = torch.cat([SCENES.styled(INDEX[:2], s) for s in ("drawing", "pastel", "night")])
    target = torch.tensor([0, 0, 0, 1, 0, 1])  # in the order of the words
    cond = api.ToDomain(floats(made), target * 0, target)
    words = {"domain": ("drawing", "night")}
    given = answers(made, cond, made, {}, lambda: oracle, words=words)
    found = metrics.find("domain_accuracy")(given)
    wilson = binomtest(3, 6).proportion_ci(0.95, method="wilson")
    assert found.value == 0.5
    assert found.ci95 == pytest.approx((wilson.low, wilson.high), rel=1e-6)
    assert metrics.find("domain_accuracy").explain(given, None) == [
        "", "", "asked for drawing; it looks like pastel",
        "asked for night; it looks like pastel", "asked for drawing; it looks like night", "",
    ]  # fmt: skip


def test_domains_that_are_no_styles_are_refused(oracle):
    with pytest.raises(ConfigError, match="domain 'nigt' is none; did you mean 'night'"):
        score("domain_accuracy", NIGHT, oracle, words={"domain": ("day", "nigt")})


def test_content_is_that_of_the_source(oracle):
    assert score("content_kept", DAY, oracle).value == 1  # whatever the style
    assert score("content_kept", SCENES.styled(INDEX, "drawing"), oracle).value == 1
