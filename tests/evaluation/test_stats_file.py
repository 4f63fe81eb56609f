"""Statistics files: of the right images through the right network, and validated when read."""

import os
from pathlib import Path

import numpy as np
import pytest
from both_sides import SETS, digits, run
from safetensors import safe_open
from safetensors.numpy import save

from genbench import data
from genbench.evaluation import EvalSpec, evaluate, jobs
from genbench.spec import ConfigError


def saved(tmp_path: Path, **flags) -> Path:
    path = tmp_path / "real.stats"
    spec = EvalSpec(**{"extractor": "digits-cnn", "metrics": SETS, **flags})
    assert evaluate(None, digits("train"), jobs(spec), spec, save_stats=path) is None
    return path


def with_stats(path: Path, real=None, **flags):
    spec = EvalSpec(**{"extractor": "digits-cnn", "metrics": ("fd", "prdc"), **flags})
    return evaluate(digits("test"), real, jobs(spec), spec, load_stats=path)


def test_a_statistics_file_stands_in_for_the_reference(tmp_path):
    found = with_stats(saved(tmp_path))
    usual = run(digits("test"), digits("train"), metrics=("fd", "prdc"))
    assert found.scores.keys() == usual.scores.keys()
    for name, score in usual.scores.items():
        assert found.scores[name].value == pytest.approx(score.value, rel=1e-9)
    assert found.reference.n == 1437


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"extractor": "mnist-cnn"}, "another network: digits-cnn, wanted is mnist-cnn"),
        ({"reference_n": 1000}, "holds 1,437 reference images, but reference_n=1,000"),
    ],
)
def test_a_statistics_file_of_something_else_is_refused(tmp_path, flags, said):
    with pytest.raises(ConfigError, match=said):
        with_stats(saved(tmp_path), **flags)


def test_a_statistics_file_of_other_images_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="another images"):
        with_stats(saved(tmp_path), real=digits("test"))


def test_a_statistics_file_that_lacks_something_is_refused(tmp_path):
    path = saved(tmp_path, metrics=("fd",))
    with pytest.raises(ConfigError, match="lacks what these metrics need"):
        with_stats(path)


def test_statistics_of_other_programs_are_refused(tmp_path):
    path = tmp_path / "cifar10.npz"
    np.savez(path, mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(ConfigError, match="^[^(]*does not say .* reference_n="):
        with_stats(path)
    with pytest.raises(ConfigError, match="there is no statistics file"):
        with_stats(tmp_path / "nothing")


def test_a_gaussian_of_another_program_is_taken_as_declared(tmp_path):
    path = tmp_path / "others.npz"
    features = data.load("digits", "train").images.flatten(1).numpy() / 127.5 - 1
    network = "pixels"
    usual = run(digits("test"), digits("train"), extractor=network, metrics=("fd",))
    mu, sigma = features.mean(0), np.cov(features, rowvar=False)
    declared = {"extractor": network, "metrics": ("fd",), "reference_n": 1437}
    np.savez(path, mu=mu, sigma=sigma, arr_0=np.zeros((2, 4, 4, 3), np.uint8))
    found = with_stats(path, **declared)
    ((name, score),) = found.scores.items()
    assert name.startswith("fd@pixels/others.npz-") and name.endswith("/n360")
    assert score.value == pytest.approx(next(iter(usual.scores.values())).value, rel=1e-5)
    assert found.reference.n == 1437 and "declared" in found.reference.notes["prepared"]
    damage = {
        "it has no 'sigma'": {"mu": mu},
        "'sigma' has shape": {"mu": mu, "sigma": sigma[:, :9]},
        "'mu' has shape": {"mu": mu[None], "sigma": sigma},
        "'mu' holds NaN": {"mu": mu * np.nan, "sigma": sigma},
        "negative variances": {"mu": mu, "sigma": -sigma},
        "not symmetric": {"mu": mu, "sigma": np.triu(sigma)},
        "above what the variances allow": {"mu": mu, "sigma": sigma + 9 - 9 * np.eye(64)},
        "holds": {"mu": mu.astype(str), "sigma": sigma},
    }
    for said, arrays in damage.items():
        np.savez(path, **arrays)
        with pytest.raises(ConfigError, match=said):
            with_stats(path, **declared)


def rewritten(path, changes, info=lambda metadata: metadata):
    """A statistics file with some arrays changed, or left out where they became None."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, change in changes.items():
        arrays[key] = change(arrays.pop(key))
    arrays = {key: np.ascontiguousarray(v) for key, v in arrays.items() if v is not None}
    path.write_bytes(save(arrays, info(dict(metadata))))


MEAN, PACKED, N = (f"sums/Moments/{name}" for name in ("mean", "packed", "n"))


@pytest.mark.parametrize(
    "changes",
    [
        {MEAN: lambda mean: None},
        {MEAN: lambda mean: mean[:0]},
        {MEAN: lambda mean: mean[:-1]},
        {MEAN: lambda mean: mean[None]},
        {MEAN: lambda mean: mean * np.nan},
        {MEAN: lambda mean: mean.astype("S1").view(np.uint8)},
        {PACKED: lambda packed: -packed},
        {PACKED: lambda packed: packed[:-3]},
        {PACKED: lambda packed: np.full_like(packed, np.inf)},
        {PACKED: lambda packed: packed[::-1]},
        {N: lambda n: -n},
        {N: lambda n: n - 1},
        {N: lambda n: n[None]},
        {N: lambda n: None},
        {"array/features": lambda rows: rows[1:]},
        {"array/features": lambda rows: rows[0]},
        {"array/features": lambda rows: rows * np.nan},
    ],
)
def test_a_damaged_statistics_file_is_told_when_it_is_read(tmp_path, changes):
    path = saved(tmp_path)
    rewritten(path, changes)
    with pytest.raises(ConfigError, match=r"real.stats is not a statistics file, or damaged \("):
        with_stats(path)


def test_a_statistics_file_with_another_description_is_told(tmp_path):
    path = saved(tmp_path, metrics=("fd",))
    for change in (
        {"genbench": "[" * 100_000},
        {"genbench": "[]"},
        {"genbench": '{"n": 1e999}'},
        {"told": '{"shape": [1, 2]}'},
        {"told": "7"},
    ):
        whole = path.read_bytes()
        rewritten(path, {}, lambda metadata, change=change: metadata | change)
        with pytest.raises(ConfigError, match="not a statistics file, or damaged"):
            with_stats(path, metrics=("fd",))
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", ["folder", "link", "circle", "pipe", "sparse", "empty", "text"])
def test_a_statistics_file_that_is_no_file_is_told(tmp_path, kind):
    path = tmp_path / "real.stats"
    make = {
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("nowhere"),
        "circle": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
        "sparse": lambda: (path.touch(), os.truncate(path, 5 << 30)),
        "empty": path.touch,
        "text": lambda: path.write_text("PK\3\4 and no more"),
    }
    make[kind]()
    with pytest.raises(ConfigError, match="real.stats"):
        with_stats(path, reference_n=9)
