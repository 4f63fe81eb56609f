"""The shipped classifiers: cards, weights, and that an image's features are its own."""

import shutil

import pytest
import torch
from pictures import pictures
from PIL import Image

from genbench import data, features
from genbench.features.base import check_images
from genbench.features.cards import WEIGHTS
from genbench.features.convnet import load_convnet
from genbench.spec import ConfigError

MODULE = "genbench.features.convnet"
NAMES = [name for name in features.names() if features.card(name)["module"] == MODULE]


@pytest.fixture(scope="module", params=NAMES)
def extractor(request):
    return features.load(request.param)


def test_the_two_networks_ship():
    assert NAMES == ["digits-cnn", "mnist-cnn"]
    assert set(NAMES) < set(features.names())
    with pytest.raises(
        ConfigError, match="unknown extractor 'digit-cnn'; did you mean 'digits-cnn'"
    ):
        features.card("digit-cnn")
    with pytest.raises(ConfigError, match="unknown extractor 'inceptoin'"):
        features.load("inceptoin")


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_the_network_is(name):
    card = features.card(name)
    extractor = features.load(name)
    assert extractor.name == card["name"] == name
    assert extractor.sha256 == card["sha256"]
    assert extractor.protocol == ""
    assert (extractor.dim, extractor.classes) == (card["dim"], card["classes"])
    assert list(extractor.class_names) == card["class_names"]
    assert len(card["class_names"]) == card["classes"]
    assert card["bytes"] == (WEIGHTS / f"{name}.safetensors").stat().st_size < 300_000
    assert card["test_accuracy"] == card["test_correct"] / card["test_count"]
    assert card["training"]["split"] == "train"
    assert name in card["retrain"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 40])
def test_features_do_not_depend_on_the_batch(extractor, channels, size):
    images = pictures(50, channels, size)
    whole = extractor(images)
    assert whole.features.shape == (50, extractor.dim)
    assert whole.probs.shape == (50, extractor.classes)
    assert whole.features.dtype == whole.probs.dtype == torch.float32
    assert not whole.features.requires_grad
    for batch in (1, 7):
        parts = [extractor(part) for part in images.split(batch)]
        found = torch.cat([p.features for p in parts])
        torch.testing.assert_close(found, whole.features, rtol=1e-5, atol=1e-5)
        found = torch.cat([p.probs for p in parts])
        torch.testing.assert_close(found, whole.probs, rtol=1e-5, atol=1e-6)


def test_training_mode_changes_nothing(extractor):
    images = pictures(4, 1, extractor.net.size)
    before = extractor(images).features
    extractor.train()
    assert torch.equal(extractor(images).features, before)
    assert torch.equal(extractor(images).features, before)


def test_probabilities_are_probabilities(extractor):
    probs = extractor(pictures(20, 3, 16)).probs
    assert (probs >= 0).all()
    torch.testing.assert_close(probs.sum(1), torch.ones(20))


def test_colour_becomes_grey_as_in_pillow(extractor):
    images = pictures(3, 3, 16)
    grey = extractor.net.prepare(images) * extractor.net.std + extractor.net.mean
    small = extractor.net.size
    by_pillow = torch.stack([as_grey(image) for image in images])
    expected = torch.nn.functional.interpolate(
        by_pillow, (small, small), mode="bilinear", antialias=True
    )
    # Pillow rounds to whole levels
    torch.testing.assert_close(grey, expected / 255, rtol=0, atol=1.01 / 255)
    same = images[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(
        extractor(same).features, extractor(images[:, :1]).features, rtol=1e-4, atol=1e-4
    )


def as_grey(image: torch.Tensor) -> torch.Tensor:
    grey = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
    return torch.tensor(list(grey.tobytes()), dtype=torch.float32).view(1, *image.shape[1:])


def test_anything_but_uint8_images_is_refused(extractor):
    for bad in (torch.zeros(2, 1, 8, 8), torch.zeros(2, 4, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="wants uint8 images of shape"):
            extractor(bad)


def test_other_weights_than_the_cards_are_refused(tmp_path):
    for suffix in ("json", "safetensors"):
        shutil.copy(WEIGHTS / f"digits-cnn.{suffix}", tmp_path)
    assert load_convnet("digits-cnn", tmp_path).dim == features.card("digits-cnn")["dim"]
    path = tmp_path / "digits-cnn.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(features.WeightsError, match=r"have sha256 .*, but the card says"):
        load_convnet("digits-cnn", tmp_path)
    path.unlink()
    with pytest.raises(features.WeightsError, match="weights of digits-cnn are missing"):
        load_convnet("digits-cnn", tmp_path)


def accuracy(name: str, dataset: data.Dataset) -> float:
    extractor = features.load(name)
    found = torch.cat([extractor(part).probs.argmax(1) for part in dataset.images.split(500)])
    return (found == dataset.labels).double().mean().item()


def test_digits_accuracy_is_the_cards():
    test = data.load("digits", "test")
    card = features.card("digits-cnn")
    assert card["test_hash"] == test.hash
    assert card["training"]["train_hash"] == data.load("digits", "train").hash
    assert accuracy("digits-cnn", test) == card["test_accuracy"] >= 0.98


def test_total_variance_of_the_training_features_is_100():
    found = features.load("digits-cnn")(data.load("digits", "train").images).features
    assert found.double().var(0).sum().item() == pytest.approx(100, rel=1e-4)


def test_the_mnist_card_says_99_per_cent():
    card = features.card("mnist-cnn")
    assert card["test_accuracy"] >= 0.99
    assert card["test_count"] == 10000


@pytest.mark.data
def test_mnist_accuracy_is_the_cards(data_root):
    if not data.available("mnist", data_root):
        pytest.skip("GENBENCH_DATA holds no MNIST")
    test = data.load("mnist", "test", root=data_root)
    card = features.card("mnist-cnn")
    assert card["test_hash"] == test.hash
    # one image on the edge may fall to the other side on another processor
    assert accuracy("mnist-cnn", test) == pytest.approx(card["test_accuracy"], abs=2e-4)


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8).byte(), torch.zeros(2, 4, 8, 8).byte()]
)
def test_what_no_network_can_read(x, extractor):
    check_images(torch.zeros(2, 1, 8, 8).byte(), "toy")
    with pytest.raises(ValueError, match=r"toy wants uint8 .*, got torch\..* of shape \("):
        check_images(x, "toy")
    with pytest.raises(ValueError, match=f"{extractor.name} wants uint8 images"):
        extractor(x)
