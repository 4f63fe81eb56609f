"""LPIPS with seeded random classifiers: against torchmetrics and the package lpips itself."""

import hashlib
import sys
from dataclasses import replace
from urllib.error import URLError

import lpips as package
import numpy as np
import pytest
import torch
import torchvision
from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

from genbench import metrics
from genbench.features import WeightsError
from genbench.metrics import lpips as module
from genbench.metrics.lpips import LpipsOptions, lpips, network
from genbench.spec import ConfigError, parse

NETS = {
    "alex": ("alexnet", "alexnet-owt-7be5be79.pth", 31),
    "vgg": ("vgg16", "vgg16-397923af.pth", 16),
    "squeeze": ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", 17),
}


def classifier_state(net, seed=0):
    """Weights by torchvision's names, the classifier's last layers left out, as He et al. draw."""
    with torch.device("meta"):
        model = getattr(torchvision.models, NETS[net][0])(weights=None)
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.features.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator)
        fan_in = value[0].numel() if value.ndim > 1 else 100
        state[f"features.{name}"] = drawn * (2 / fan_in) ** 0.5
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file for each network."""
    folder = tmp_path_factory.mktemp("weights")
    for net in NETS:
        torch.save(classifier_state(net), folder / f"{net}.pth")
    yield {net: folder / f"{net}.pth" for net in NETS}
    network.cache_clear()


def images(n, channels=3, size=40, seed=0):
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 256, (n, channels, size, size))
    real = np.clip(made + rng.normal(size=made.shape) * 60, 0, 255)
    return tuple(torch.from_numpy(x.astype(np.uint8)) for x in (made, real))


def patch_torchvision(monkeypatch, net, state):
    """torchvision's classifier comes with these weights, where it would download its own."""
    name = NETS[net][0]
    built = getattr(torchvision.models, name)
    features = {k.removeprefix("features."): v for k, v in state.items()}

    def build(pretrained=False, weights=None):
        assert pretrained or weights is not None
        with torch.device("meta"):
            model = built(weights=None)
        model.features.load_state_dict(features, assign=True)
        return model

    monkeypatch.setattr(torchvision.models, name, build)


@pytest.mark.parametrize("net", NETS)
def test_equal_to_the_package_and_to_torchmetrics(monkeypatch, weights, net):
    made, real = images(3)
    values = lpips(made, real, LpipsOptions(net=net, weights=weights[net]))
    patch_torchvision(monkeypatch, net, torch.load(weights[net]))
    x, y = (t.float() / 127.5 - 1 for t in (made, real))
    with torch.no_grad():
        theirs = package.LPIPS(net=net, verbose=False)(x, y).flatten()
        others = learned_perceptual_image_patch_similarity(x, y, net_type=net, reduction="none")
    assert values == pytest.approx(theirs.numpy(), abs=1e-6)
    assert values == pytest.approx(others.numpy(), abs=1e-4)
    assert values.min() > 1e-3 and values.dtype == np.float64


def test_symmetry_identity_and_batches(monkeypatch, weights):
    options = LpipsOptions(weights=weights["alex"])
    made, real = images(15, size=32)
    whole = lpips(made, real, options)
    assert whole == pytest.approx(lpips(real, made, options), rel=1e-6)
    assert lpips(made, made, options).tolist() == [0] * 15
    for size in (1, 7):
        parts = zip(made.split(size), real.split(size), strict=True)
        split = np.concatenate([lpips(x, y, options) for x, y in parts])
        assert split == pytest.approx(whole, rel=1e-5)
    monkeypatch.setattr(module, "_CHUNK", 4 * 32 * 32)
    assert lpips(made, real, options) == pytest.approx(whole, rel=1e-5)
    assert lpips(made[:0], real[:0], options).shape == (0,)


def test_grey_images_are_repeated_to_three_channels(weights):
    options = LpipsOptions(weights=weights["alex"])
    made, real = images(2, channels=1)
    repeated = lpips(made.repeat(1, 3, 1, 1), real.repeat(1, 3, 1, 1), options)
    assert lpips(made, real, options) == pytest.approx(repeated, rel=1e-6)


@pytest.mark.parametrize("net", NETS)
def test_the_smallest_images(weights, net):
    options, least = LpipsOptions(net=net, weights=weights[net]), NETS[net][2]
    made, real = images(1, size=least)
    assert 0 < lpips(made, real, options)[0] < np.inf
    small = made[..., : least - 1]
    message = f"net={net} needs images of at least {least} x {least} pixels, got {least} x"
    with pytest.raises(ConfigError, match=message):
        lpips(small, small, options)
    with torch.no_grad(), pytest.raises((RuntimeError, AssertionError)):
        # nothing of it is left, and torch says so or averages over no positions
        value = network(net, weights[net]).module(small.float(), small.float())
        assert value.isfinite().all()


def test_other_shapes_and_types_are_refused():
    made, _ = images(2)
    with pytest.raises(ValueError, match=r"uint8 images of equal shape .* \(2, 1, 40, 40\)"):
        lpips(made, made[:, :1], LpipsOptions())
    with pytest.raises(ValueError, match="got float32"):
        lpips(made.float(), made.float(), LpipsOptions())
    with pytest.raises(ValueError, match=r"1 or 3 channels, got images \(2, 2, 40, 40\)"):
        lpips(made[:, :2], made[:, :2], LpipsOptions())


def test_loading_draws_no_random_numbers_and_happens_once(weights):
    network.cache_clear()
    before = torch.get_rng_state()
    first = network("alex", weights["alex"])
    assert (torch.get_rng_state() == before).all()
    assert network("alex", weights["alex"]) is first
    assert not first.module.training


# --- weights -------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch):
    """Addresses that were asked for; no download succeeds."""
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise URLError("offline")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return asked


@pytest.mark.parametrize("net", NETS)
def test_missing_weights_are_told_with_a_way_on(offline, net):
    made, real = images(1)
    file = NETS[net][1]
    with pytest.raises(WeightsError, match=rf"lpips \(net={net}\) are missing: no file {file}"):
        lpips(made, real, LpipsOptions(net=net))
    assert offline == [f"https://download.pytorch.org/models/{file}"]


def test_weights_found_by_name_must_be_torchvisions(offline, monkeypatch, tmp_path, weights):
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    (tmp_path / NETS["alex"][1]).write_bytes(weights["alex"].read_bytes())
    with pytest.raises(WeightsError, match=r"should hold the weights .* sha256 7be5be79\.\.\."):
        lpips(*images(1), LpipsOptions())
    assert not offline


def test_the_name_tells_other_weights(monkeypatch, tmp_path, weights):
    metric = metrics.find("lpips")
    assert (metric.label, metric.direction) == ("LPIPS", "lower")
    digest = hashlib.sha256(weights["squeeze"].read_bytes()).hexdigest()
    options = LpipsOptions(net="squeeze", weights=weights["squeeze"])
    assert metric.weights(options) == f"squeezenet1_1/weights={digest[:8]}"
    assert network("squeeze", weights["squeeze"]).weights.sha256 == digest
    # the same file, were it torchvision's
    expected = replace(module._CLASSIFIERS["squeeze"], file=f"squeezenet1_1-{digest[:8]}.pth")
    monkeypatch.setitem(module._CLASSIFIERS, "squeeze", expected)
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    (tmp_path / expected.file).write_bytes(weights["squeeze"].read_bytes())
    assert metric.weights(LpipsOptions(net="squeeze")) == "squeezenet1_1"
    network.cache_clear()


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(WeightsError, match=r"another network than lpips \(net=alex\)"):
        lpips(*images(1), LpipsOptions(weights=weights["vgg"]))


def test_where_weights_lie_is_no_part_of_the_options_that_are_recorded(weights):
    options = parse(LpipsOptions, {"net": "vgg", "weights": str(weights["vgg"])}, "lpips")
    assert options.weights == weights["vgg"]
    assert options.model_dump(mode="json") == {"net": "vgg"}
    with pytest.raises(ConfigError, match="net: Input should be 'alex', 'vgg' or 'squeeze'"):
        parse(LpipsOptions, {"net": "resnet"}, "lpips")


def test_without_the_package_the_way_to_install_it_is_told(monkeypatch, weights):
    network.cache_clear()
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ConfigError, match=r"pip install 'genbench\[pairs\]'"):
        lpips(*images(1), LpipsOptions(weights=weights["alex"]))
