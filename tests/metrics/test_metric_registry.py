"""Finding metrics, what they ask for, and that names come without torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from genbench import metrics
from genbench.metrics import FeatureSet
from genbench.spec import ConfigError

RNG = np.random.default_rng(0)
MADE = FeatureSet.of(RNG.normal(size=(30, 3)), RNG.dirichlet(np.ones(4), 30))


def test_metrics_are_found_by_name():
    assert {"fd", "is"} <= set(metrics.names())
    fd, inception = metrics.get("fd"), metrics.get("is")
    assert (fd.label, fd.direction) == ("FD", "lower") and fd.reference
    assert (inception.label, inception.direction) == ("IS", "higher")
    assert not inception.reference


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown metric 'fdd'; did you mean 'fd'"):
        metrics.get("fdd")


def test_what_is_missing_is_told():
    with pytest.raises(ConfigError, match="'fd' needs a reference"):
        metrics.get("fd")(MADE)
    with pytest.raises(ConfigError, match="'is' needs class probabilities"):
        metrics.get("is")(FeatureSet.of(MADE.features))


def test_both_sides_have_as_many_images_as_a_metric_needs():
    few, many = FeatureSet.of(MADE.features[:29]), FeatureSet.of(MADE.features)
    fewer = FeatureSet.of(MADE.features[:1])
    for made, real, said in ((few, many, "30 generated .* got 29"), (many, few, "30 reference")):
        with pytest.raises(ConfigError, match=f"'fd_infinity' needs {said}"):
            metrics.get("fd_infinity")(made, real)
    kid = metrics.get("kid")
    with pytest.raises(ConfigError, match="1,000 generated .* or set kid.subset_size=29$"):
        kid(many, few)  # the hint fits both sides
    with pytest.raises(ConfigError, match="1,000 generated images or more, got 30; add images$"):
        kid(many, fewer)  # no subset is that small
    assert metrics.get("is")(MADE, fewer).n == 30  # which looks at no reference


def test_a_metric_takes_tensors_and_arrays_alike():
    tensors = FeatureSet.of(torch.from_numpy(MADE.features), torch.from_numpy(MADE.probs))
    real = FeatureSet.of(MADE.features + 1)
    for name in ("fd", "is"):
        assert metrics.get(name)(tensors, real) == metrics.get(name)(MADE, real)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    features = MADE.features.copy()
    features[3, 1] = bad
    with pytest.raises(ValueError, match="features of 1 of 30 samples are not finite"):
        metrics.get("fd")(FeatureSet.of(features), MADE)


def test_names_and_cards_load_no_torch():
    code = """
import sys
import genbench.data, genbench.features, genbench.metrics
genbench.data.names(); genbench.data.describe(); genbench.data.check("mnist@32")
genbench.data.available("cifar10"); genbench.data.fingerprint("digits")
for name in genbench.features.names(): genbench.features.card(name)
for name in genbench.metrics.names(): genbench.metrics.get(name)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
