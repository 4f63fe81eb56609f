"""DINOv2: the official resizing of positions, dgm-eval's preparation, an independent network."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision.transforms as T
from pictures import check_that_images_stay_apart, pictures
from PIL import Image

from genbench import features
from genbench.features import dinov2
from genbench.features.base import WeightsError
from genbench.spec import ConfigError

TINY = dinov2.Size(depth=2, width=24, heads=3)


def official_state(seed: int, grid: int = 37) -> dict[str, torch.Tensor]:
    """Random weights of the tiny network, under the names and shapes of Meta's file."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {k: v.shape for k, v in dinov2.build(timm, TINY).state_dict().items()}
    shapes["pos_embed"] = torch.Size([1, 1 + grid**2, TINY.width])
    shapes["mask_token"] = torch.Size([1, TINY.width])
    return {k: torch.randn(s, generator=generator) * 0.3 for k, s in shapes.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dinov2") / "mine.pth"
    torch.save(official_state(0), path)
    return path


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dinov2, "LARGE", TINY)


@pytest.fixture
def extractor(file: Path) -> features.Extractor:
    return features.load("dinov2", weights=file)


def cubic(t: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.75."""
    a, t = -0.75, np.abs(t)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0.0))


def resampling(source: int, target: int, scale: float) -> np.ndarray:
    """Matrix (target, source) of bicubic interpolation without antialiasing, edges repeated."""
    matrix = np.zeros((target, source))
    for i in range(target):
        place = (i + 0.5) / scale - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, min(max(j, 0), source - 1)] += cubic(np.array(place - j))
    return matrix


def test_positions_are_resized_as_the_official_code_does():
    state = official_state(1)
    found = dinov2.resized_positions(state)["pos_embed"]
    table = state["pos_embed"][0, 1:].double().numpy().reshape(37, 37, -1)
    weights = resampling(37, 16, (16 + 0.1) / 37)
    expected = np.einsum("ia,jb,abd->ijd", weights, weights, table).reshape(256, -1)
    assert found.shape == (1, 257, TINY.width)
    np.testing.assert_allclose(found[0, 1:].numpy(), expected, atol=2e-5)
    assert torch.equal(found[:, 0], state["pos_embed"][:, 0])
    # the usual scale, 16 / 37, is far from that
    usual = resampling(37, 16, 16 / 37)
    other = np.einsum("ia,jb,abd->ijd", usual, usual, table).reshape(256, -1)
    assert np.abs(other - expected).max() > 0.05


def test_positions_that_fit_stay_as_they_are():
    state = official_state(1, grid=16)
    assert torch.equal(dinov2.resized_positions(state)["pos_embed"], state["pos_embed"])


def by_transformers(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The class token after the norm, by Hugging Face's implementation."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=TINY.width, num_hidden_layers=TINY.depth, num_attention_heads=TINY.heads,
        mlp_ratio=4, image_size=224, patch_size=14,
    )  # fmt: skip
    model = Dinov2Model(config).eval()
    layer = {
        "norm1": "norm1", "attn.proj": "attention.o_proj", "ls1.gamma": "layer_scale1.lambda1",
        "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
        "ls2.gamma": "layer_scale2.lambda1",
    }  # fmt: skip
    theirs = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.mask_token": state["mask_token"],
        "embeddings.position_embeddings": dinov2.resized_positions(state)["pos_embed"],
        "embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "layernorm.weight": state["norm.weight"],
        "layernorm.bias": state["norm.bias"],
    }
    for i in range(TINY.depth):
        ours, to = f"blocks.{i}.", f"encoder.layer.{i}."
        for kind in ("weight", "bias"):
            parts = state[f"{ours}attn.qkv.{kind}"].chunk(3)
            for part, value in zip("qkv", parts, strict=True):
                theirs[f"{to}attention.{part}_proj.{kind}"] = value
            for a, b in layer.items():
                if not a.endswith("gamma"):
                    theirs[f"{to}{b}.{kind}"] = state[f"{ours}{a}.{kind}"]
        for a in ("ls1.gamma", "ls2.gamma"):
            theirs[to + layer[a]] = state[ours + a]
    model.load_state_dict(theirs)
    with torch.no_grad():
        return model(x).last_hidden_state[:, 0]


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 40, 70), (3, 300, 260), (1, 32, 32)]
)
def test_equal_to_transformers_network_on_dgm_evals_preparation(
    extractor, channels, height, width
):
    images = pictures(3, channels, height, width)
    prepare = T.Compose(
        [
            T.Resize((224, 224), T.InterpolationMode.BICUBIC),
            T.ToTensor(),
            T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    rgb = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    x = torch.stack([prepare(Image.fromarray(np.ascontiguousarray(a))) for a in rgb])
    found = extractor(images)
    assert found.probs is None
    assert found.features.dtype == torch.float32
    assert not found.features.requires_grad
    expected = by_transformers(official_state(0), x)
    torch.testing.assert_close(found.features, expected, rtol=1e-4, atol=1e-4)
    assert expected.std(0).max() > 0.01  # images differ


def test_an_images_features_are_its_own(extractor):
    assert extractor.dim == TINY.width
    check_that_images_stay_apart(extractor, pictures(9, 3, 20, 30), rtol=1e-4, atol=1e-5)


def test_the_public_network_is_vit_large_with_metas_names_and_shapes(monkeypatch):
    monkeypatch.undo()
    with torch.device("meta"):
        net = dinov2.build(timm, dinov2.LARGE)
    # 304,368,640 parameters in Meta's file: 37x37 positions and a token for masks
    ours = sum(p.numel() for p in net.parameters())
    assert ours + (37**2 - 16**2) * 1024 + 1024 == 304_368_640
    assert net.norm.eps == 1e-6
    assert net.blocks[0].attn.num_heads == 16


def test_whose_weights_they_are_is_told(extractor, file, tmp_path, monkeypatch):
    assert (extractor.name, extractor.protocol, extractor.classes) == ("dinov2", "", 0)
    assert not extractor.official
    assert len(extractor.sha256) == 64
    monkeypatch.setattr(dinov2, "SHA256", extractor.sha256)
    assert features.load("dinov2", weights=file).official
    (tmp_path / dinov2.FILE).write_bytes(file.read_bytes())
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    assert features.load("dinov2").official
    monkeypatch.setattr(dinov2, "SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="should hold the weights of dinov2 with sha256 0000"):
        features.load("dinov2")


def test_other_files_and_settings_are_refused(extractor, file, tmp_path):
    other = tmp_path / "other.pth"
    state = official_state(0)
    torch.save({**state, "register_tokens": torch.zeros(1, 4, TINY.width)}, other)
    with pytest.raises(WeightsError, match=r"another network than dinov2 .*'register_tokens'"):
        features.load("dinov2", weights=other)
    torch.save({k: v for k, v in state.items() if k != "pos_embed"}, other)
    with pytest.raises(WeightsError, match=r"missing tensors: 1, such as 'pos_embed'"):
        features.load("dinov2", weights=other)
    with pytest.raises(ConfigError, match="dinov2 runs in float32 only"):
        features.load("dinov2", weights=file, dtype="bfloat16")
    with pytest.raises(ValueError, match="dinov2 wants uint8 images"):
        extractor(torch.zeros(2, 3, 8, 8))


def test_without_weights_and_network_the_way_on_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(dinov2, "URL", "http://127.0.0.1:9/dinov2.pth")  # nothing listens there
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match=r"weights of dinov2 are missing.*--weights FILE"):
        features.load("dinov2")
