"""Inception against torch-fidelity and pytorch-fid, with the same random weights."""

import pytest
import torch
from pytorch_fid import inception as pytorch_fid
from torch_fidelity import metric_fid, metric_isc, metric_kid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from genbench import features
from genbench.features import Request, WeightsError, resizing
from genbench.spec import ConfigError

SIZES = [(64, 64), (256, 256), (512, 512), (40, 300)]


def pictures(n, height, width, seed=0):
    """Noise of another contrast and colour in each image, so that features differ."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(n, 3, height, width, generator=generator)
    low, high = torch.rand(2, n, 3, 1, 1, generator=generator)
    return (255 * (low + (high - low) * noise)).byte()


def load(path, protocol="tf1", **options):
    return features.load(Request("inception", (), protocol, path, **options))


@pytest.fixture(scope="module")
def peer(inception_weights):
    """torch-fidelity's network: features, logits without bias, Mixed_6d's 1x1 branch."""
    wanted = ["2048", "logits_unbiased"]
    network = FeatureExtractorInceptionV3(
        "peer", wanted, feature_extractor_weights_path=inception_weights
    )

    def answer(images):
        kept = {}
        branch = network.Mixed_6d.branch1x1
        hook = branch.register_forward_hook(lambda *call: kept.update(maps=call[-1]))
        with torch.no_grad():
            pool3, logits = network(images)
        hook.remove()
        return pool3, logits, kept["maps"]

    return answer


@pytest.fixture(scope="module")
def ours(inception_weights):
    return load(inception_weights)


@pytest.fixture(scope="module")
def both(peer, ours):
    """Two sets of images of 32 px: (peer's answer, ours) of each."""
    sets = [pictures(8, 32, 32, seed) for seed in (0, 1)]
    return [(peer(images), ours(images)) for images in sets]


def error(found, wanted):
    """Largest difference, relative to the largest value."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def test_what_it_says_of_itself(ours, inception_weights):
    assert (ours.name, ours.protocol, ours.dim, ours.classes) == ("inception", "tf1", 2048, 1008)
    assert len(ours.sha256) == 64
    assert not ours.official  # random weights
    assert ours.settings == {}


@pytest.mark.parametrize("size", SIZES)
def test_equals_torch_fidelity_at_sizes(peer, ours, size):
    images = pictures(2, *size)
    (pool3, logits, _), found = peer(images), ours(images)
    assert error(found.features, pool3) < 1e-5
    torch.testing.assert_close(found.probs, logits.softmax(1), rtol=1e-4, atol=1e-7)


def test_equals_torch_fidelity_at_32(both):
    for (pool3, logits, maps), found in both:
        assert found.features.dtype == found.probs.dtype == torch.float32
        assert found.features.std(0).mean() > 0.05  # else equality would say little
        assert error(found.features, pool3) < 1e-5
        torch.testing.assert_close(found.probs, logits.softmax(1), rtol=1e-4, atol=1e-7)
        spatial = maps[:, :7].permute(0, 2, 3, 1).reshape(8, 2023)
        assert error(found.spatial, spatial) < 1e-5


def test_scores_equal_torch_fidelity(both):
    """FID of every 64th feature: torch-fidelity takes half a minute over 2048 x 2048 matrices."""

    def scores(made, real, logits):
        stats = [
            metric_fid.fid_features_to_statistics(each[:, ::64].contiguous())
            for each in (made, real)
        ]
        found = metric_fid.fid_statistics_to_metric(*stats, verbose=False)
        found |= metric_isc.isc_features_to_metric(logits, splits=2)
        found |= metric_kid.kid_features_to_metric(
            made, real, kid_subsets=10, kid_subset_size=6, verbose=False
        )
        return found

    (peer_made, made), (peer_real, real) = both
    wanted = scores(peer_made[0], peer_real[0], peer_made[1])
    found = scores(made.features, real.features, made.probs.log())
    assert wanted["frechet_inception_distance"] > 0.01
    for name, value in wanted.items():
        scale = abs(value) + (wanted["kernel_inception_distance_std"] if "kernel" in name else 0)
        assert abs(found[name] - value) < 1e-4 * scale, name


def test_features_do_not_depend_on_the_batch(both, ours):
    images, (_, whole) = pictures(8, 32, 32, 0), both[0]
    for batch in (1, 7):
        parts = [ours(part) for part in images.split(batch)]
        for name in ("features", "probs", "spatial"):
            found = torch.cat([getattr(part, name) for part in parts])
            assert error(found, getattr(whole, name)) < 1e-5


def test_equals_pytorch_fid(inception_weights, monkeypatch):
    state = torch.load(inception_weights, weights_only=True)
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: state)
    network = pytorch_fid.InceptionV3().eval()
    extractor = load(inception_weights, "pytorch-fid")
    for size in ((32, 32), (320, 400)):
        images = pictures(1, *size)
        with torch.no_grad():
            wanted = network(images.float() / 255)[0].flatten(1)
        assert error(extractor(images).features, wanted) < 1e-5
    network.resize_input = network.normalize_input = False
    extractor = load(inception_weights, "clean")
    with torch.no_grad():
        wanted = network((resizing.clean(images, 299) - 128) / 128)[0].flatten(1)
    assert error(extractor(images).features, wanted) < 1e-5


def test_grey_is_three_equal_channels(ours):
    grey = pictures(1, 28, 28)[:, :1]
    found, wanted = ours(grey), ours(grey.expand(-1, 3, -1, -1))
    assert torch.equal(found.features, wanted.features)


def test_bfloat16_is_near(both, inception_weights):
    (pool3, logits, _), _ = both[0]
    extractor = load(inception_weights, dtype="bfloat16")
    assert extractor.settings == {"dtype": "bfloat16"}
    found = extractor(pictures(8, 32, 32, 0))
    assert found.features.dtype == found.probs.dtype == found.spatial.dtype == torch.float32
    off = ((found.features - pool3).norm() / pool3.norm()).item()
    assert 1e-4 < off < 0.02  # 0.004 was measured; less than 1e-4 would be float32
    assert (found.probs - logits.softmax(1)).abs().max() < 0.01
    alone = extractor(pictures(8, 32, 32, 0)[2:3])
    assert error(alone.features, found.features[2:3]) < 1e-5


def test_asking_for_what_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"no weights file .*gone.pth for inception"):
        load(tmp_path / "gone.pth")
    other = tmp_path / "other.pth"
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(1)}, other)
    with pytest.raises(WeightsError, match="another network than inception"):
        load(other)
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    file = "weights-inception-2015-12-05-6726825d.pth"
    other.rename(tmp_path / file)
    with pytest.raises(WeightsError, match=f"{file} should hold .* 6726825d"):
        load(None)


def test_unknown_dtype(inception_weights):
    with pytest.raises(ConfigError, match="no dtype 'float16'; did you mean 'bfloat16'"):
        load(inception_weights, dtype="float16")


def test_floats_are_refused(ours):
    with pytest.raises(ValueError, match="inception wants uint8 images"):
        ours(torch.zeros(1, 3, 32, 32))
