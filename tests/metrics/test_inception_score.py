"""The Inception Score: closed forms, torch-fidelity, and sums that merge."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.metrics.inception_score import SplitSums, inception_score
from genbench.metrics.metric import fixed_order
from genbench.spec import ConfigError
from genbench.stats import mean_interval


def sums_of(probs: np.ndarray) -> SplitSums:
    return SplitSums.start(*probs.shape).update(probs, np.arange(len(probs)))


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_sure_and_balanced_answers_give_the_number_of_classes():
    # one of each class in every split
    n, classes = 60, 6
    labels = np.empty(n, int)
    labels[fixed_order(n)] = np.arange(n) % classes
    assert inception_score(sums_of(np.eye(classes)[labels])) == pytest.approx((6, 0), abs=1e-12)


def test_the_same_answer_everywhere_gives_one():
    for row in (np.full(7, 1 / 7), np.eye(7)[2], softmax(np.arange(7.0)[None])[0]):
        mean, std = inception_score(sums_of(np.tile(row, (33, 1))))
        assert mean == pytest.approx(1, abs=1e-12)
        assert std == pytest.approx(0, abs=1e-12)


def test_two_kinds_of_answer_have_a_closed_form():
    # half the samples of each split are [a, 1 - a], half [1 - a, a]: q = [1/2, 1/2]
    a, n = 0.9, 40
    kind = np.empty(n, int)
    kind[fixed_order(n)] = np.arange(n) % 2
    probs = np.array([[a, 1 - a], [1 - a, a]])[kind]
    expected = math.exp(math.log(2) + a * math.log(a) + (1 - a) * math.log(1 - a))
    assert inception_score(sums_of(probs)) == pytest.approx((expected, 0), abs=1e-12)


@pytest.mark.parametrize(("n", "classes"), [(10, 3), (25, 10), (105, 10), (1003, 100)])
def test_equal_to_torch_fidelity(n, classes):
    logits = np.random.default_rng(n).normal(size=(n, classes)) * 4
    theirs = isc_features_to_metric(torch.from_numpy(logits))
    mean, std = inception_score(sums_of(softmax(logits)))
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert std == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_coarse_probabilities_are_made_to_add_up():
    probs = softmax(np.random.default_rng(0).normal(size=(200, 10))).astype(np.float16)
    assert np.abs(probs.sum(1, dtype=float) - 1).max() > 1e-5
    theirs = isc_features_to_metric(torch.from_numpy(probs.astype(np.float64)).log())
    assert inception_score(sums_of(probs))[0] == pytest.approx(
        theirs["inception_score_mean"], rel=1e-9
    )


def test_shards_in_any_order_merge_to_one_pass():
    probs = np.random.default_rng(1).dirichlet(np.ones(10), 203)
    index = np.random.default_rng(2).permutation(203)
    parts = np.array_split(index, 4)
    a, b, c, d = (SplitSums.start(203, 10).update(probs[rows], rows) for rows in parts)
    for merged in (a + b + c + d, (d + b) + (c + a)):
        assert merged.scores == pytest.approx(sums_of(probs).scores, rel=1e-12)
    with pytest.raises(ValueError, match=f"saw {a.count.sum()} of 203 samples"):
        _ = a.scores
    with pytest.raises(ValueError, match="same set of samples"):
        a + SplitSums.start(204, 10)


def test_the_interval_is_over_the_splits():
    probs = np.random.default_rng(1).dirichlet(np.ones(10), 300)
    score = metrics.get("is")(FeatureSet.of(probs, probs))
    mean, std = inception_score(sums_of(probs))
    assert score.value == pytest.approx(mean, rel=1e-12)
    assert score.stderr == pytest.approx(std * math.sqrt(10 / 9) / math.sqrt(10), rel=1e-9)
    assert score.ci95 == mean_interval(sums_of(probs).scores)[2]
    assert (score.n, score.method) == (300, "Student, 10 splits")


def test_bad_input_is_told():
    with pytest.raises(ConfigError, match="at least 10 samples, one for each split, got 9"):
        sums_of(np.full((9, 2), 0.5))
    with pytest.raises(ValueError, match="must be >= 0 and add up to 1"):
        sums_of(np.full((20, 3), 0.5))
    with pytest.raises(ValueError, match="must be >= 0"):
        sums_of(np.tile([1.5, -0.5], (20, 1)))
