"""Every family does what it did when its golden file was made; small mistakes are noticed."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from genbench import registry
from genbench.loop import Loop
from genbench.stepper import Stepper

ROOT = Path(__file__).resolve().parent.parent
TRAINED = ("dcgan", "ddpm", "vae")


def tool():
    spec = importlib.util.spec_from_file_location("golden", ROOT / "tools" / "golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = tool()


def ours():
    """Families of this checkout; an installed package of somebody else has files of its own."""
    families = registry.families().values()
    return [f.name for f in families if (ROOT / "baselines") in f.path.resolve().parents]


def differences(name):
    return golden.differences(name, golden.measure(name))


@pytest.mark.parametrize("name", ours())
def test_a_family_does_what_it_did(name):
    found = differences(name)
    assert not found, "\n".join(found)


def test_no_golden_file_is_left_of_a_family_that_is_gone():
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == set(ours())


# --- what is noticed -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAINED)
def test_a_learning_rate_one_percent_too_large_is_noticed(name, monkeypatch):
    scale = Stepper.scale_learning_rate
    monkeypatch.setattr(Stepper, "scale_learning_rate", lambda self, f: scale(self, 1.01 * f))
    found = differences(name)
    assert any(": losses " in message for message in found)
    assert far(name) > 10


def test_an_average_that_does_not_move_or_does_not_lag_is_noticed(monkeypatch):
    monkeypatch.setattr(Loop, "_move_average", lambda self, images: None)
    assert far("ddpm") > 10

    def follow(self, images):
        for average, live in zip(self._average, self._live, strict=True):
            average.copy_(live)

    monkeypatch.setattr(Loop, "_move_average", follow)
    messages = differences("ddpm")
    assert messages and not any(": losses" in message for message in messages)
    assert far("ddpm") > 10


def test_noise_levels_shifted_by_one_are_noticed(monkeypatch):
    from baselines._nn import diffusion

    levels = diffusion.linear_alpha_bar

    def shifted(T):
        alpha_bar = levels(T)
        return torch.cat((alpha_bar.new_ones(1), alpha_bar[:-1]))

    monkeypatch.setattr(diffusion, "linear_alpha_bar", shifted)
    assert far("ddpm") > 10


def test_a_residual_block_that_is_left_out_is_noticed(monkeypatch):
    from baselines._nn import blocks

    monkeypatch.setattr(blocks.ResMLPBlock, "forward", lambda self, h, emb, context: h)
    found = differences("ddpm")
    assert any("counters train_flops" in message for message in found)
    assert far("ddpm") > 10


def far(name):
    """The largest deviation from the golden file, in units of what is allowed; not of counters."""
    was, now = json.loads(golden.path(name).read_text()), golden.measure(name)
    ratios = []
    for part, allowed in golden.TOLERANCES.items():
        pair = golden._flat(was[part], part), golden._flat(now[part], part)
        for place, value in pair[0].items():
            limit = max(allowed["absolute"], allowed["relative"] * abs(value))
            ratios.append(abs(pair[1][place] - value) / limit)
    return max(ratios)


# --- what is said --------------------------------------------------------------------------------


def content(name):
    return json.loads(golden.path(name).read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["losses"]["loss_g"].__setitem__(13, 0.5), "losses loss_g step 13: "
         "expected 0.9654"),
        (lambda c: c["counters"].__setitem__("nfe", 2.0), "counters nfe: expected 1, got 2"),
        (lambda c: c["samples"][3]["pixels"].__setitem__(7, 9.0), "samples 3 pixels 7: "),
        (lambda c: c["losses"].pop("loss_d"), "losses loss_d step 0: expected 1.256"),
        (lambda c: c["losses"].update(new=[1.0]), "losses new step 0: expected None, got 1"),
        (lambda c: c.__setitem__("fd", c["fd"] * 1.01), "fd: expected"),
        (lambda c: c.__setitem__("fd", float("nan")), "fd: expected"),
    ],
)  # fmt: skip
def test_a_message_names_family_place_values_and_the_command(change, message):
    found = content("dcgan")
    change(found)
    messages = golden.differences("dcgan", found)
    assert messages[0].startswith(f"dcgan: {message}"), messages
    assert messages[-1].endswith("if meant: python tools/golden.py --write dcgan")
    assert golden.differences("dcgan", content("dcgan")) == []


def test_a_family_without_a_file_is_told_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    command = "python tools/golden.py --write gmmn"
    assert golden.differences("gmmn", {}) == [f"gmmn has no golden file; make it with: {command}"]


def test_deviations_within_the_tolerance_pass():
    found = content("vae")
    for name, curve in found["losses"].items():
        found["losses"][name] = [value * (1 + 0.9e-4) for value in curve]
    assert golden.differences("vae", found) == []
    for name, curve in found["losses"].items():
        found["losses"][name] = [value * (1 + 1.2e-4) for value in curve]
    assert golden.differences("vae", found)
