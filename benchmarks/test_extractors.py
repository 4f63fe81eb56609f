"""Inception: time against torch-fidelity's, and what bfloat16 does to features and to FD.

Both sides take uint8 images and give pool3 and logits (ours also probabilities and the spatial
features), with random weights: the time does not depend on their values.
"""

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as peer_module

from genbench import features
from genbench.features import Request
from genbench.metrics import FeatureSet, get

N = 64  # the batch that torch-fidelity takes by default
VARIANTS = {
    "eager": {},
    "compiled": {"compiled": True},
    "eager bfloat16": {"dtype": "bfloat16"},
    "compiled bfloat16": {"dtype": "bfloat16", "compiled": True},
}


def pictures(n, size, seed=0, contrast=1.0):
    """Noise of another contrast and colour in each image."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(n, 3, size, size, generator=generator)
    low, high = torch.rand(2, n, 3, 1, 1, generator=generator)
    return (255 * (low + contrast * (high - low) * noise)).clamp(0, 255).byte()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # the constructor loads weights from the network unless it is told where they are
        patch.setattr(peer_module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(peer_module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = peer_module.FeatureExtractorInceptionV3("random", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.normal_(
                0, (2 / module.weight[0].numel()) ** 0.5, generator=generator
            )
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def peer(weights):
    wanted = ["2048", "logits_unbiased"]
    return peer_module.FeatureExtractorInceptionV3(
        "peer", wanted, feature_extractor_weights_path=weights
    )


def load(weights, variant):
    return features.load(Request("inception", (), "tf1", weights, **VARIANTS[variant]))


@pytest.mark.parametrize("size", [32, 256])
@pytest.mark.parametrize("variant", VARIANTS)
def test_inception_against_torch_fidelity(benchmark, ratio, sized, weights, peer, variant, size):
    extractor, images = load(weights, variant), pictures(sized(N, 2), size)
    with torch.no_grad():
        wanted = peer(images)[0]
        found = extractor(images).features  # compiles first where asked to
        off = ((found - wanted).norm() / wanted.norm()).item()
        ratio(lambda: extractor(images), lambda: peer(images), pairs=3, warm_up=1)
    benchmark.extra_info["relative error of features"] = f"{off:.1e}"
    if not benchmark.disabled:
        benchmark.extra_info["images per second"] = round(N / benchmark.stats.stats.min, 1)
    assert off < (0.02 if "bfloat16" in variant else 1e-5)


def test_distance_in_bfloat16(benchmark, sized, weights):
    """FD of two sets of 96 images in the first 64 features, in both types of numbers."""
    n, dim = sized(96, 12), sized(64, 8)
    sets = [pictures(n, 32, seed=1), pictures(n, 32, seed=2, contrast=0.7)]

    def distance(extractor):
        made, real = (extractor(images).features[:, :dim] for images in sets)
        return get("fd")(FeatureSet.of(made), FeatureSet.of(real)).value

    exact = distance(load(weights, "eager"))
    half = load(weights, "eager bfloat16")
    near = benchmark.pedantic(lambda: distance(half), rounds=1)
    benchmark.extra_info["FD in float32"] = round(exact, 6)
    benchmark.extra_info["relative error of FD in bfloat16"] = f"{near / exact - 1:.1e}"
    assert np.isclose(near, exact, rtol=0.05)
