"""Raw pixels as features: closed forms of a distance between images."""

import pytest
import torch
from pictures import pictures

from genbench import evaluation, features
from genbench.spec import ConfigError


def test_features_are_the_pixels_in_minus_one_to_one():
    images = pictures(3, 3, 5)
    answer = features.load("pixels")(images)
    assert answer.probs is None and answer.features.shape == (3, 75)
    torch.testing.assert_close(
        answer.features, images.double().sub(127.5).div(127.5).flatten(1).float()
    )
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert features.load("pixels")(black_and_white).features.tolist() == [[-1.0, 1.0]]


def test_a_shift_of_all_pixels_has_a_closed_form():
    """Equal covariances: the Frechet distance is the squared distance of the means."""
    images = pictures(200, 1, 6).clamp(max=200)
    found = evaluation.score(
        images + 20, images, metrics=("fd",), extractor="pixels", value_range=(0, 255)
    )
    ((name, score),) = found.scores.items()
    assert name.startswith("fd@pixels/")
    assert score.value == pytest.approx(36 * (20 / 127.5) ** 2, rel=1e-6)


def test_sides_of_different_shapes_are_refused():
    network = features.load("pixels")
    network(pictures(2, 1, 8))
    with pytest.raises(ConfigError, match="8x8 with 3 channels after 8x8 with 1 channel; bring"):
        network(pictures(2, 3, 8))


def test_metrics_of_classes_and_settings_of_networks_are_refused():
    with pytest.raises(ConfigError, match="'is' needs class probabilities, which pixels"):
        evaluation.score(
            pictures(20, 1, 8), metrics=("is",), extractor="pixels", value_range=(0, 255)
        )
    with pytest.raises(ConfigError, match="pixels have no network"):
        features.load("pixels", dtype="bfloat16")
