"""Numbers that would mislead, and metrics that cannot be computed beside those that can."""

import shutil

import numpy as np
import pytest
from both_sides import digits, run

from genbench import data, evaluation
from genbench.evaluation import EvalSpec, evaluate, jobs
from genbench.evaluation.describe import reference_name
from genbench.inputs import from_tensors, open_source
from genbench.spec import ConfigError


def test_n_is_how_many_a_callable_is_asked_for_and_leaves_the_reference_whole():
    made, real = (data.load("digits", split).images for split in ("test", "train"))
    flags = {"metrics": ("fd",), "extractor": "pixels"}
    whole = evaluation.score(made[:20], real[:50], **flags)
    found = evaluation.score(lambda count: made[:count], real[:50], n=20, **flags)
    assert (found.generated.n, found.reference.n) == (20, 50)
    assert [s.value for s in found.scores.values()] == [s.value for s in whole.scores.values()]
    with pytest.raises(ConfigError, match="holds 20 generated images, but n=30 was promised"):
        evaluation.score(made[:20], real[:50], n=30, **flags)


@pytest.mark.parametrize("made", [None, 3, object()])
def test_no_images_is_one_sentence(made):
    with pytest.raises(ConfigError, match="pass"):
        evaluation.score(made, "digits:test", ("fd",), "pixels")


@pytest.mark.parametrize("name", ["digits:train", "digits@16:test"])
def test_a_folder_is_never_named_as_a_dataset(folder, tmp_path, name):
    path = folder("images", "test", 4)
    own = path.rename(tmp_path / name)
    assert reference_name(open_source(f"{own}")).startswith(f"{name}-")
    (tmp_path / "digits").mkdir()
    for split in ("train", "test"):
        shutil.copytree(own, tmp_path / "digits" / split)
    dataset = open_source(f"imagefolder:{tmp_path / 'digits'}:train")
    assert dataset.name == "digits:train" and reference_name(dataset).startswith("digits:train-")
    assert reference_name(open_source("digits@16:test")) == "digits@16:test"


def test_a_known_reference_warns_as_at_first(tmp_path):
    grey = np.full((40, 1, 8, 8), 90, np.uint8)
    found = [run(digits("test"), from_tensors(grey, name="c"), metrics=("fd",)) for _ in "ab"]
    assert found[0].warnings == found[1].warnings
    assert any(w.startswith("reference c: all 40 images are of one") for w in found[0].warnings)
    spec = EvalSpec(extractor="digits-cnn", metrics=("fd",))
    path = tmp_path / "c.stats"
    evaluate(None, from_tensors(grey, name="c"), jobs(spec), spec, save_stats=path)
    loaded = evaluate(digits("test"), None, jobs(spec), spec, load_stats=path)
    assert any("all 40 images are of one single colour" in w for w in loaded.warnings)


def test_a_known_reference_of_another_shape_is_told_as_at_first(tmp_path):
    large = from_tensors(data.load("digits@16", "train").images[:30], name="large")
    flat = from_tensors(np.full((9, 1, 4, 16), 9, np.uint8), name="flat")
    spec = EvalSpec(extractor="pixels", metrics=("fd",))
    path = tmp_path / "large.stats"
    evaluate(None, large, jobs(spec), spec, save_stats=path)
    for real in (large, large, flat, flat):
        with pytest.raises(ConfigError, match="pixels compare only between images of one shape"):
            run(digits("test"), real, extractor="pixels", metrics=("fd",))
    with pytest.raises(ConfigError, match="pixels compare only between images of one shape"):
        evaluate(digits("test"), None, jobs(spec), spec, load_stats=path)


# --- one metric that fails -----------------------------------------------------------------------


def test_a_metric_that_cannot_be_computed_costs_no_other():
    flat = from_tensors(np.full((360, 1, 8, 8), 90, np.uint8), name="flat")
    found = run(digits("test"), flat, metrics=("high_frequency", "fd", "psnr"))
    assert [name.split("@")[0] for name in found.scores] == ["fd", "psnr"]
    ((name, why),) = found.failed.items()
    assert name.startswith("high_frequency@pixels/") and "all flat" in why
    with pytest.raises(ConfigError, match="all flat"):
        run(digits("test"), flat, metrics=("high_frequency",))


def test_a_network_or_a_pair_that_fails_costs_no_other_metric(tmp_path):
    large = from_tensors(data.load("digits@16", "test").images, name="large")
    found = run(digits("test"), large, metrics=("fd@pixels", "psnr", "fd", "high_frequency"))
    assert [name.split("/")[0] for name in found.scores] == ["fd@digits-cnn"]
    pixels, pairs, frequency = found.failed.values()
    assert "one shape" in pixels and "one shape" in frequency
    assert "pairs need images of one shape" in pairs


def test_features_that_are_not_numbers_are_told(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        x = images.float().flatten(1)[:, :4]\n"
        "        return x * 1e38\n"
    )
    with pytest.raises(ConfigError, match="own:Net"):
        run(digits("test"), digits("train"), extractor=f"{path}:Net", metrics=("fd",))


def test_statistics_beside_images_are_told(tmp_path):
    path = tmp_path / "adm.npz"
    images = data.load("digits", "train").images[:40].permute(0, 2, 3, 1).numpy()
    np.savez(path, arr_0=images, mu=np.zeros(2048), sigma=np.eye(2048))
    found = run(digits("test"), open_source(path), metrics=("fd",))
    (said,) = [w for w in found.warnings if "mu and sigma" in w]
    assert said.startswith("reference adm.npz: it also holds") and "reference_n=NUMBER" in said


@pytest.mark.parametrize("change", ["kid.subsets=1e12", "kid.degree=1e9", "kid.gamma=inf"])
def test_options_that_no_machine_could_compute_are_refused(change):
    with pytest.raises(ConfigError, match="options of kid"):
        run(digits("test"), digits("train"), [change], metrics=("kid",))
