"""Answers to a class: accuracy and Frechet distances within classes."""

import math

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


def score(name, label, made, truth=None):
    """Of FeatureSets."""
    sides = {"made": made, "truth": truth}
    label = torch.as_tensor(label)
    images = IMAGES.expand(len(label), -1, -1, -1)
    return metrics.find(name)(answers(images, api.ClassLabel(label), features=sides.__getitem__))


def test_accuracy_is_the_share_of_the_right_class():
    probs = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    found = score("accuracy", [0, 1, 0, 2], FeatureSet.of(probs, probs))
    assert found.value == 0.5
    wilson = binomtest(2, 4).proportion_ci(0.95, method="wilson")
    assert found.ci95 == pytest.approx((wilson.low, wilson.high), rel=1e-6)
    assert (found.n, found.method) == (4, "Wilson, 4 samples")


def test_accuracy_needs_a_network_of_these_classes():
    probs = np.full((4, 3), 1 / 3)
    with pytest.raises(ConfigError, match="asks for class 3, and the network knows 3 classes"):
        score("accuracy", [0, 1, 2, 3], FeatureSet.of(probs, probs))
    with pytest.raises(ConfigError, match="gives no class probabilities"):
        score("accuracy", [0, 1, 2, 3], FeatureSet.of(probs))


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
    with pytest.raises(ConfigError, match=r"20 samples .* got 19 of class 1; set n=40 or more"):
        score("class_fd", label[:-1], few, few)
