"""VGG16 against torch-fidelity, with the same random weights."""

import pytest
import torch
from torch import nn
from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16
from torchvision.models import vgg16

from genbench import features
from genbench.features import Request, WeightsError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the shapes of torchvision's."""
    with torch.device("meta"):
        network = vgg16(init_weights=False)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            width = (6 / layer.weight[0].numel()) ** 0.5
            layer.weight.data.uniform_(-width, width, generator=generator)
            layer.bias.data.uniform_(-0.2, 0.2, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(network.state_dict(), path)
    return path


def test_equals_torch_fidelity(weights):
    peer = FeatureExtractorVGG16("peer", ["fc2_relu"], feature_extractor_weights_path=str(weights))
    request = Request("vgg16", weights=weights)
    ours = features.load(request)
    assert (ours.name, ours.protocol, ours.dim, ours.classes) == ("vgg16", "", 4096, 0)
    assert not ours.official
    generator = torch.Generator().manual_seed(0)
    kept = []
    for size in ((2, 3, 32, 32), (1, 3, 260, 200)):
        images = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            (wanted,) = peer(images)
        found = ours(images)
        assert found.probs is None and found.spatial is None
        assert (wanted > 0).float().mean() > 0.1
        scale = wanted.abs().max().item()
        torch.testing.assert_close(found.features, wanted, rtol=1e-5, atol=1e-5 * scale)
        kept.append(wanted)
    grey = images[:, :1]
    repeated = ours(grey.expand(-1, 3, -1, -1)).features
    assert torch.equal(ours(grey).features, repeated)
    half = features.load(Request("vgg16", weights=weights, dtype="bfloat16"))
    found = half(images).features
    assert half.settings == {"dtype": "bfloat16"}
    assert 1e-4 < (found - kept[-1]).norm() / kept[-1].norm() < 0.03


def test_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match="vgg16-397923af.pth"):
        features.load(Request("vgg16", weights=tmp_path / "gone.pth"))
