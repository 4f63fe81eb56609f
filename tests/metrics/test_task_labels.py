"""Answers to a class: accuracy and Frechet distances within classes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scene_answers import answers
from scipy.stats import binomtest

from genbench import api, metrics
from genbench.metrics import FeatureSet
from genbench.spec import ConfigError
from genbench.stats import student_t

IMAGES = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)


def score(name, label, made, truth=None, classes=(), known=(), **options):
    """Of FeatureSets; the dataset's classes and those that the network names."""
    sides = {"made": made, "truth": truth}
    label = torch.as_tensor(label)
    classes = classes or tuple(map(str, range(int(label.max()) + 1)))
    images = IMAGES.expand(len(label), -1, -1, -1)
    found = answers(
        images,
        api.ClassLabel(label),
        features=sides.__getitem__,
        network=lambda: SimpleNamespace(name="net", class_names=known),
        words={"class": classes},
    )
    metric = metrics.find(name)
    return metric(found, metric.options(**options))


def test_accuracy_is_the_share_of_the_right_class():
    probs = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    found = score("accuracy", [0, 1, 0, 2], FeatureSet.of(probs, probs), classes=("a", "b", "c"))
    assert found.value == 0.5
    wilson = binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert found.ci95 == pytest.approx((wilson.low, wilson.high), rel=1e-6)
    assert (found.n, found.method) == (4, "Wilson, 4 samples")


TEN = tuple(str(digit) for digit in range(10))
LABEL = [0, 1, 2]


def sure(*places):
    """A network of ten classes that is sure of these."""
    probs = np.eye(10)[list(places)]
    return FeatureSet.of(probs, probs)


def test_classes_are_matched_by_name():
    three = {"classes": ("0", "2", "7"), "known": TEN}
    assert score("accuracy", LABEL, sure(0, 2, 7), **three).value == 1
    assert score("accuracy", LABEL, sure(0, 1, 2), **three).value == pytest.approx(1 / 3)
    turned = score("accuracy", LABEL, sure(9, 8, 7), classes=TEN[::-1], known=TEN)
    assert turned.value == 1


def test_classes_of_other_names_are_refused_with_both_lists():
    words, shifted = ("zero", "one", "two"), ("8", "9", "10")
    for classes, lacking in ((words, "zero"), (shifted, "10")):
        with pytest.raises(ConfigError) as told:
            score("accuracy", LABEL, sure(0, 1, 2), classes=classes, known=TEN)
        said = str(told.value)
        assert f"net knows no class {lacking!r}" in said and "accuracy.map=" in said
        assert ", ".join(classes) in said and ", ".join(TEN) in said


def test_a_map_says_which_class_is_which():
    given = {"map": "one:1, zero:0,two:2"}
    words = {"classes": ("zero", "one", "two"), "known": TEN}
    assert score("accuracy", LABEL, sure(0, 1, 2), **words, **given).value == 1
    nameless = {"classes": ("zero", "one", "two"), "known": (), **given}
    assert score("accuracy", LABEL, sure(0, 1, 2), **nameless).value == 1
    assert metrics.find("accuracy").changed(metrics.find("accuracy").options(**given)) == (
        ("map", "one:1, zero:0,two:2"),
    )
    for text, said in (
        ("zero=0", "'zero=0' is not of the form CLASS:CLASS"),
        ("zero:0,zero:1", "names class 'zero' twice"),
        ("three:3", "has no class 'three'; it has zero, one, two"),
        ("zero:ten,one:1,two:2", "net knows no class 'ten'"),
    ):
        with pytest.raises(ConfigError, match=said):
            score("accuracy", LABEL, sure(0, 1, 2), **words, map=text)


def test_a_network_that_names_no_classes_must_have_as_many():
    assert score("accuracy", [0, 1, 2], sure(0, 1, 2), classes=TEN).value == 1
    for classes in (("0", "2", "7"), (*TEN, "10")):
        with pytest.raises(ConfigError, match="net has 10 classes without names"):
            score("accuracy", LABEL, sure(0, 1, 2), classes=classes)


def test_accuracy_needs_class_probabilities():
    with pytest.raises(ConfigError, match="gives no class probabilities"):
        score("accuracy", LABEL, FeatureSet.of(np.eye(3)), classes=("a", "b", "c"))


def gaussians(shifts, n=400, dim=3, seed=0):
    """Features and labels of classes around different points, the labels in turn."""
    rng = np.random.default_rng(seed)
    label = np.arange(n * len(shifts)) % len(shifts)
    return rng.normal(size=(len(label), dim)) + np.asarray(shifts)[label][:, None], label


def test_class_fd_is_the_mean_of_the_distances_within_classes():
    truth, label = gaussians([0.0, 10.0])
    made = truth + np.where(label == 0, 2.0, -1.0)[:, None]  # moved by a constant: |shift|^2
    found = score("class_fd", label, FeatureSet.of(made), FeatureSet.of(truth))
    assert found.value == pytest.approx(3 * (4 + 1) / 2, rel=1e-9)
    assert found.method == "jackknife of each of 2 classes"
    assert found.n == 800
    same = score("class_fd", label, FeatureSet.of(truth), FeatureSet.of(truth))
    assert same.value == pytest.approx(0, abs=1e-9)


def test_class_fd_sees_what_a_distance_of_all_does_not():
    truth, label = gaussians([0.0, 10.0])
    swapped = truth[np.arange(len(label)) ^ 1]  # right images, of the other class
    both = FeatureSet.of(swapped), FeatureSet.of(truth)
    assert score("class_fd", label, *both).value == pytest.approx(300, rel=0.1)
    assert metrics.get("fd")(*both).value == pytest.approx(0, abs=1e-6)


def test_the_interval_of_class_fd_joins_those_of_the_classes():
    truth, label = gaussians([0.0, 10.0, 5.0])
    made = gaussians([0.3, 10.0, 6.0], seed=1)[0]
    found = score("class_fd", label, FeatureSet.of(made), FeatureSet.of(truth))
    parts = []
    for c in range(3):
        m, t = (FeatureSet.of(x[label == c]) for x in (made, truth))
        parts.append(metrics.get("fd")(m, t))
    stderr = math.sqrt(sum(p.stderr**2 for p in parts)) / 3
    value = sum(p.value for p in parts) / 3
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.stderr == pytest.approx(stderr, rel=1e-9)
    half = student_t(19) * stderr
    assert found.ci95 == pytest.approx((value - half, value + half), rel=1e-9)


def test_class_fd_refuses_few_images():
    truth, label = gaussians([0.0, 10.0], n=20)
    both = FeatureSet.of(truth), FeatureSet.of(truth)
    assert score("class_fd", label, *both).value < 1e-9
    few = FeatureSet.of(truth[:-1])
    with pytest.raises(ConfigError, match=r"20 samples .* got 19 of class '1'; set n=42 or more"):
        score("class_fd", label[:-1], few, few)
    with pytest.raises(ConfigError, match=r"got 0 of class 'c'; .*questions=balanced"):
        score("class_fd", label, *both, classes=("a", "b", "c"))  # one that was never asked for
