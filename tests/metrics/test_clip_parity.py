"""The CLIP score from images and captions to the number, equal to torchmetrics' CLIPScore.

With one of open_clip's own models, its weights drawn at random and read from a local file: ours by
way of the extractor, the peer by open_clip's own factory, transform and tokenizer.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torchmetrics.multimodal import CLIPScore

from genbench import features, metrics
from genbench.cli import main
from genbench.data.scenes import Scenes
from genbench.metrics import FeatureSet
from genbench.metrics.clip_score import ClipOptions

MODEL = "ViT-S-32-alt"  # the smallest that open_clip knows
NAME = f"open_clip:{MODEL}:mine"
INDEX = torch.arange(6)
IMAGES = Scenes("test", 64).images(INDEX)
CAPTIONS = Scenes("test").captions(INDEX)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = open_clip.create_model(MODEL).state_dict()
    path = tmp_path_factory.mktemp("clip") / "weights.safetensors"
    # cosines of both signs, with a mean above 0
    state["text_projection"] = -state["text_projection"]
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


class Peer:
    """A model of open_clip, as torchmetrics calls models and processors of transformers."""

    def __init__(self, path: Path) -> None:
        made = open_clip.create_model_and_transforms(MODEL, str(path))
        self.model, self.transform = made[0].eval(), made[2]
        self.tokenizer = open_clip.get_tokenizer(MODEL)
        self.config = SimpleNamespace()

    def to(self, device):
        return self

    def __call__(self, images=None, text=None, return_tensors="pt", padding=True):
        if images is None:
            tokens = self.tokenizer(text)
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        pictures = [Image.fromarray(i.permute(1, 2, 0).numpy()) for i in images]
        return {"pixel_values": torch.stack([self.transform(p) for p in pictures])}

    @torch.no_grad()
    def get_image_features(self, pixels):
        return self.model.encode_image(pixels)

    @torch.no_grad()
    def get_text_features(self, tokens, mask):
        return self.model.encode_text(tokens)


@pytest.fixture(scope="module")
def peer(weights) -> CLIPScore:
    net = Peer(weights)
    return CLIPScore(model_name_or_path=lambda: (net, net))


@pytest.fixture(scope="module")
def made(weights) -> FeatureSet:
    net = features.load(NAME, weights=weights)
    return FeatureSet.of(net(IMAGES).features.numpy(), text=net.text(CAPTIONS).numpy())


def test_equal_to_torchmetrics(peer, made):
    expected = float(peer(IMAGES, CAPTIONS))
    found = metrics.get("clip")(made, None, ClipOptions(clamp="mean"))
    assert expected > 0.1
    assert found.value == pytest.approx(expected, abs=1e-4)


def test_equal_sample_by_sample_where_each_is_cut_off_at_zero(peer, made):
    pairs = [peer(image, caption) for image, caption in zip(IMAGES, CAPTIONS, strict=True)]
    values = torch.stack(pairs)  # one sample at a time: the mean of one, then at least 0
    assert 0 < int((values == 0).sum()) < len(values)
    assert metrics.get("clip")(made).value == pytest.approx(float(values.mean()), abs=1e-4)
    hessel = metrics.get("clip")(made, None, ClipOptions(scale=2.5)).value
    assert hessel == pytest.approx(float(values.mean()) / 40, abs=1e-5)


def folder_of(images: torch.Tensor, folder: Path) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    return folder


def test_equal_by_the_command_line(made, weights, tmp_path, capsys):
    pictures, captions = folder_of(IMAGES, tmp_path / "made"), tmp_path / "captions.txt"
    captions.write_text("\n".join(CAPTIONS) + "\n")
    arguments = [
        "eval", str(pictures), "--metrics", "clip", "--extractor", NAME, "--weights",
        str(weights), "--json", f"captions={captions}", "clip.clamp=mean",
    ]  # fmt: skip
    code = main(arguments)
    out = capsys.readouterr()
    assert code == 0, out.err
    (score,) = json.loads(out.out)["scores"].values()
    assert score["value"] == pytest.approx(
        metrics.get("clip")(made, None, ClipOptions(clamp="mean")).value, abs=1e-4
    )


def test_without_weights_one_sentence_and_exit_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    pictures, captions = folder_of(IMAGES[:2], tmp_path / "made"), tmp_path / "captions.txt"
    captions.write_text("a\nb\n")
    extractor = "open_clip:ViT-B-32:laion2b_s34b_b79k"
    arguments = ["eval", str(pictures), "--metrics", "clip", "--extractor", extractor]
    code = main([*arguments, f"captions={captions}"])
    out = capsys.readouterr()
    assert (code, out.out) == (2, "")
    (line,) = out.err.splitlines()
    assert "weights of open_clip:ViT-B-32:laion2b_s34b_b79k are missing" in line
    assert "--weights FILE" in line
