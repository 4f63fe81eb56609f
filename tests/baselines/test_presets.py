"""The papers' settings: every family that trains has them, and they make the papers' networks."""

from typing import Any

import pytest
import torch
from torch import nn

from genbench import api, registry, suite

FAMILIES = sorted(n for n, f in registry.families().items() if f.module.startswith("baselines."))
# What only the user has.
GIVEN: dict[str, dict[str, Any]] = {"srgan": {"vgg_weights": "vgg19.pth"}}


def trains(name: str) -> bool:
    return registry.load(name).kind != "reference"


def paper(name: str, data: api.DataSpec, **config: Any) -> api.Baseline[Any]:
    cls = registry.load(name)
    row = suite.Row(baseline=name, preset="paper", config=GIVEN.get(name, {}) | config)
    with torch.device("meta"):  # no memory, no time
        return cls(suite.chosen(row)[0], data)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_presets_are_valid_settings(name: str) -> None:
    for preset in registry.load(name).presets:
        row = suite.Row(baseline=name, preset=preset, config=GIVEN.get(name, {}))
        assert suite.chosen(row) != suite.chosen(suite.Row(baseline=name))


@pytest.mark.parametrize("name", [n for n in FAMILIES if trains(n)])
def test_every_family_that_trains_has_the_papers_settings(name: str) -> None:
    presets = registry.load(name).presets
    assert "paper" in presets
    config, _ = suite.chosen(suite.Row(baseline=name, preset="paper", config=GIVEN.get(name, {})))
    assert config.batch == presets["paper"].get("batch", config.batch)
    for key, value in presets["paper"].items():
        if key != "options":
            assert getattr(config, key) == value


@pytest.mark.parametrize(
    ("name", "network", "data", "published"),
    [
        # instance normalisation removes the biases that CycleGAN's code has before it
        ("cyclegan", "G", api.DataSpec("any", 3, 256, domains=2), 11_378_179 - 5_248),
        ("cyclegan", "D_Y", api.DataSpec("any", 3, 256, domains=2), 2_764_737 - 896),
        # the first layer and the bottleneck have biases, as nothing normalises them
        ("pix2pix", "G", api.DataSpec("any", 3, 256, source=3), 54_413_955 + 64 + 512),
        ("pix2pix", "D", api.DataSpec("any", 3, 256, source=3), 2_768_705),
        # batch normalisation removes the biases before it
        ("sr_regression", "G", api.DataSpec("any", 3, 96, factor=4), 1_549_462 - 33 * 64),
        ("dcgan", "G", api.DataSpec("any", 3, 64), 12_658_435),
        ("progressive_gan", "D", api.DataSpec("any", 3, 1024), 23_087_249),
        ("stylegan", "G", api.DataSpec("any", 3, 1024), 26_219_627),
    ],
)
def test_the_papers_settings_make_networks_of_the_papers_size(
    name: str, network: str, data: api.DataSpec, published: int
) -> None:
    assert parameters(paper(name, data).get_submodule(network)) == published


def test_srgans_preset_makes_the_papers_two_networks() -> None:
    data = api.DataSpec("any", 3, 96, factor=4)
    m = paper("srgan", data, content="mse", vgg_weights="")
    assert parameters(m.get_submodule("G")) == 1_549_462 - 33 * 64
    assert parameters(m.get_submodule("D")) == 23_565_505 - 64 - 2 * (128 + 256 + 512)
