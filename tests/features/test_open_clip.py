"""CLIP networks: equal to open_clip's own, whose weights they are, and what is refused."""

import hashlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from open_clip.pretrained import _PRETRAINED
from pictures import check_that_images_stay_apart, pictures
from PIL import Image
from safetensors.torch import save_file

from genbench import features
from genbench.features.base import WeightsError
from genbench.features.clip_files import known_sha256
from genbench.features.open_clip import ClipExtractor
from genbench.spec import ConfigError

MODEL = "genbench-tiny"
NAME = f"open_clip:{MODEL}:mine"
CAPTIONS = ["a photo of a cat", "two red apples", "a photo of a cat", "snow"]
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2
    },
}  # fmt: skip
TAG = {
    "url": "", "hf_hub": "genbench/tiny/", "quick_gelu": True, "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.3, 0.4), "interpolation": "bilinear", "resize_mode": "squash",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("configs") / f"{MODEL}.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and a hub where nothing listens."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch) -> dict:
    about = dict(TAG)
    monkeypatch.setitem(_PRETRAINED, MODEL, {"quick_s1": about})
    return about


@pytest.fixture(scope="module")
def state(tiny: None) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {k: v.shape for k, v in open_clip.create_model(MODEL).state_dict().items()}
    return {k: torch.randn(s, generator=generator) * 0.2 for k, s in shapes.items()}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save(state, path)
    return path


@pytest.fixture
def extractor(file: Path) -> ClipExtractor:
    return features.load(NAME, weights=file)


def by_open_clip(file: Path, images: torch.Tensor, **options) -> torch.Tensor:
    """Embeddings by open_clip's model and its transform of files' images."""
    model, _, transform = open_clip.create_model_and_transforms(MODEL, str(file), **options)
    rgb = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    with torch.no_grad():
        return model.eval().encode_image(torch.stack([transform(Image.fromarray(a)) for a in rgb]))


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 32, 32), (3, 50, 81), (1, 20, 20)])
def test_images_are_embedded_as_open_clip_does(extractor, file, channels, height, width):
    images = pictures(3, channels, height, width)
    found = extractor(images)
    expected = by_open_clip(file, images)
    assert found.probs is None
    assert found.features.dtype == torch.float32
    assert not found.features.requires_grad
    torch.testing.assert_close(found.features, expected, rtol=1e-5, atol=1e-5)
    assert expected.std(0).min() > 1e-3  # images differ
    assert (expected.norm(dim=1) - 1).abs().min() > 0.1  # not normalised


def test_captions_are_embedded_as_open_clip_does(extractor, file):
    model = open_clip.create_model(MODEL, str(file)).eval()
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer(MODEL)(CAPTIONS))
    found = extractor.text(CAPTIONS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[0], found[2])
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert extractor.text([]).shape == (0, 24)


def test_captions_beyond_the_context_are_told(extractor):
    word = "cat "  # one token; the context of 12 has room for 10 beside start and end
    captions = [word * 10, word * 11, "", word * 500, "!" * 3]
    assert extractor.context == 12
    assert extractor.too_long(captions) == [1, 3]
    assert extractor.too_long([]) == []
    found = extractor.text([word * 11, word * 500, word * 10])
    torch.testing.assert_close(found[0], found[1])


def test_an_images_features_are_its_own(extractor):
    assert extractor.dim == 24
    check_that_images_stay_apart(extractor, pictures(9, 3, 40, 30), rtol=1e-5, atol=1e-5)


def test_a_tag_brings_its_activation_and_its_preparation(tag, file):
    extractor = features.load(f"open_clip:{MODEL}:quick-S1", weights=file)
    assert extractor.name == f"open_clip:{MODEL}:quick_s1"
    images = pictures(3, 3, 50, 81)
    options = {
        "force_quick_gelu": True, "image_mean": TAG["mean"], "image_std": TAG["std"],
        "image_interpolation": "bilinear", "image_resize_mode": "squash",
    }  # fmt: skip
    expected = by_open_clip(file, images, **options)
    torch.testing.assert_close(extractor(images).features, expected, rtol=1e-5, atol=1e-5)
    plain = by_open_clip(file, images, **{**options, "force_quick_gelu": False})
    assert (plain - expected).abs().max() > 1e-3


def test_weights_may_be_safetensors_or_a_training_checkpoint(state, extractor, tmp_path):
    images = pictures(2, 3, 32, 32)
    expected = extractor(images).features
    save_file(state, tmp_path / "a.safetensors")
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "b.pt"
    )
    for file in ("a.safetensors", "b.pt"):
        found = features.load(NAME, weights=tmp_path / file)
        assert torch.equal(found(images).features, expected)


class Tree(torch.nn.Module):
    """Tensors under names with dots."""

    def put(self, path: list[str], value: torch.Tensor) -> None:
        head, *rest = path
        if not rest:
            self.register_buffer(head, value)
        else:
            if head not in self._modules:
                self.add_module(head, Tree())
            self._modules[head].put(rest, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_torchscript_archives_as_openai_published_are_read(state, extractor, tmp_path):
    archive = Tree()
    for key, value in state.items():
        archive.put(key.split("."), value.half())
    for name in ("input_resolution", "context_length", "vocab_size"):
        archive.register_buffer(name, torch.tensor(32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(archive), tmp_path / "ViT.pt")
    images = pictures(2, 3, 32, 32)
    found = features.load(NAME, weights=tmp_path / "ViT.pt")(images).features
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, extractor(images).features, rtol=2e-2, atol=2e-2)


def test_a_users_file_is_official_where_its_sha256_is_known(tag, file, extractor):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (extractor.sha256, extractor.official) == (digest, False)
    name = f"open_clip:{MODEL}:quick_s1"
    assert not features.load(name, weights=file).official
    tag["url"] = f"https://github.com/mlfoundations/open_clip/releases/v1/tiny-{digest[:8]}.pt"
    assert features.load(name, weights=file).official
    tag["url"] = f"https://openaipublic.azureedge.net/clip/models/{digest}/tiny.pt"
    assert features.load(name, weights=file).official
    tag["url"] = f"https://openaipublic.azureedge.net/clip/models/{'0' * 64}/tiny.pt"
    assert not features.load(name, weights=file).official


def test_what_open_clip_knows_of_its_files():
    # as OpenAI's CLIP lists it: https://openaipublic.azureedge.net/clip/models/SHA256/ViT-B-32.pt
    openai = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    assert known_sha256(open_clip.get_pretrained_cfg("ViT-B-32", "openai")) == openai
    found = known_sha256(open_clip.get_pretrained_cfg("ViT-B-32-quickgelu", "laion400m_e32"))
    assert found == "46683a32"
    assert known_sha256(open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")) == ""


def test_weights_in_the_hugging_face_cache_are_used_and_checked(tag, file, cache, state):
    repository = cache / "models--genbench--tiny"
    for folder in ("blobs", "refs", "snapshots/r1"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs/main").write_text("r1")
    save_file(state, repository / "blobs/new")
    digest = hashlib.sha256((repository / "blobs/new").read_bytes()).hexdigest()
    blob = (repository / "blobs/new").rename(repository / "blobs" / digest)
    (repository / "snapshots/r1/open_clip_model.safetensors").symlink_to(blob)
    name = f"open_clip:{MODEL}:quick_s1"
    extractor = features.load(name)
    assert (extractor.sha256, extractor.official) == (digest, True)
    images = pictures(2, 3, 32, 32)
    expected = features.load(name, weights=file)(images).features
    assert torch.equal(extractor(images).features, expected)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsError, match=f"should have sha256 {digest} and has"):
        features.load(name)


def test_weights_in_the_folder_of_weights_are_used(tag, file, tmp_path, monkeypatch):
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    name = f"open_clip:{MODEL}:quick_s1"
    (tmp_path / f"{MODEL}-quick_s1.pt").write_bytes(file.read_bytes())
    extractor = features.load(name)
    assert extractor.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    tag["url"] = "https://github.com/mlfoundations/open_clip/releases/v1/tiny-00000000.pt"
    (tmp_path / "tiny-00000000.pt").write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match=r"should hold the weights of .* sha256 00000000"):
        features.load(name)


def test_without_weights_and_network_the_way_on_is_told_at_once(tag, monkeypatch):
    begin = time.monotonic()
    with pytest.raises(
        WeightsError,
        match=r"weights of open_clip:genbench-tiny:quick_s1 are missing: genbench/tiny is not in "
        r"the Hugging Face cache, and http://127.0.0.1:9 cannot be reached .* get "
        r"open_clip_model.safetensors of genbench/tiny and name it with --weights FILE",
    ):
        features.load(f"open_clip:{MODEL}:quick_s1")
    assert time.monotonic() - begin < 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="and HF_HUB_OFFLINE forbids downloads; get"):
        features.load(f"open_clip:{MODEL}:quick_s1")


def test_a_text_network_or_tokenizer_of_another_library_is_asked_for(file, extractor, monkeypatch):
    text = {**CONFIG["text_cfg"], "hf_model_name": "genbench/text", "hf_tokenizer_name": "g/tok"}
    changed = {**CONFIG, "text_cfg": text}
    monkeypatch.setattr(open_clip, "get_model_config", lambda model: changed)
    with pytest.raises(WeightsError, match=r"text network is missing: genbench/text is not in"):
        features.load(NAME, weights=file)
    with pytest.raises(WeightsError, match=r"the tokenizer of .*:mine is missing: g/tok is not"):
        extractor.text(["a"])


def test_names_that_open_clip_does_not_have_are_refused(tag, file):
    with pytest.raises(ConfigError, match=r"no model 'ViT-B-23'; did you mean .*ViT-B-32"):
        features.load("open_clip:ViT-B-23:openai")
    with pytest.raises(ConfigError, match=r"no weights 'opnai' for ViT-B-32; did you mean 'opena"):
        features.load("open_clip:ViT-B/32:opnai")
    with pytest.raises(ConfigError, match=r"did you mean 'quick_s1'\? .*; write it so, or choose"):
        features.load(f"open_clip:{MODEL}:quick-s2", weights=file)
    with pytest.raises(ConfigError, match=r"no weights 'mine' .* or name a file with --weights"):
        features.load(NAME)


def test_files_of_other_networks_are_refused(state, tmp_path):
    path = tmp_path / "other.pt"
    torch.save({k: v for k, v in state.items() if k != "ln_final.weight"}, path)
    with pytest.raises(WeightsError, match=r"another network .*1, such as 'ln_final.weight'"):
        features.load(NAME, weights=path)
    # of another resolution: open_clip would resize the positions and go on
    larger = {**state, "visual.positional_embedding": torch.zeros(26, 64)}
    torch.save(larger, path)
    with pytest.raises(WeightsError, match=r"'visual.positional_embedding', \(26, 64\) for \(17"):
        features.load(NAME, weights=path)
    path.write_text("<html>")
    with pytest.raises(WeightsError, match="cannot be read as weights of open_clip:genbench-tiny"):
        features.load(NAME, weights=path)
    with pytest.raises(WeightsError, match="there is no weights file nowhere.pt"):
        features.load(NAME, weights=Path("nowhere.pt"))


def test_settings_and_images_that_it_does_not_take_are_refused(extractor, file):
    with pytest.raises(ConfigError, match="open_clip runs in float32 only"):
        features.load(NAME, weights=file, compiled=True)
    with pytest.raises(ValueError, match="wants uint8 images"):
        extractor(torch.from_numpy(np.zeros((2, 3, 8, 8), np.float32)))


def test_without_the_library_the_way_on_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ConfigError, match=r"pip install 'genbench\[clip\]'"):
        features.load(NAME)
