"""One pass over both sides: the same numbers as the metrics alone, each image seen once."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from both_sides import digits, run

from genbench import data, evaluation, features, metrics
from genbench.evaluation import EvalSpec, evaluate, jobs, partial
from genbench.evaluation.describe import reference_name
from genbench.inputs import from_tensors, open_source
from genbench.metrics import FeatureSet
from genbench.spec import ConfigError
from genbench.store import Store, StoreError


def test_scores_are_those_of_the_metrics_alone():
    found = run(digits("test"), digits("train"), ["kid.subset_size=100", "kid.subsets=5"])
    network = features.load("digits-cnn")
    sets = []
    for split in ("test", "train"):
        out = network(data.load("digits", split).images)
        sets.append(FeatureSet.of(out.features.numpy(), out.probs.numpy()))
    for name in ("fd", "is", "precision", "recall", "density", "coverage"):
        (score,) = [s for i, s in found.scores.items() if i.startswith(f"{name}@")]
        alone = metrics.get(name)(*sets)
        assert score.value == pytest.approx(alone.value, rel=1e-5)
        assert score.n == 360 and score.ci95[0] <= score.value <= score.ci95[1]


def test_ids_name_network_reference_number_and_changed_options():
    found = run(digits("test"), digits("train"), ["kid.subset_size=100", "kid.subsets=5"])
    real = reference_name(digits("train"))
    assert f"fd@digits-cnn/{real}/n360" in found.scores
    assert "is@digits-cnn/n360" in found.scores
    assert f"kid@digits-cnn/{real}/n360/subset_size=100/subsets=5" in found.scores


def test_a_dataset_keeps_its_name_and_a_folder_gets_a_hash(folder):
    assert reference_name(open_source("digits:train")) == "digits:train"
    path = folder("photos", "test", 3)
    name = reference_name(open_source(str(path)))
    assert name.startswith("photos-") and str(path.parent) not in name


@pytest.mark.parametrize("batch", [1, 7, 64, 360])
def test_the_batch_changes_no_number(batch):
    changes = ["kid.subset_size=100", "kid.subsets=5"]
    usual = run(digits("test"), digits("train"), changes)
    found = run(digits("test"), digits("train"), [*changes, f"batch={batch}"])
    for name, score in usual.scores.items():
        assert found.scores[name].value == pytest.approx(score.value, rel=2e-5, abs=1e-7)


def test_every_network_sees_every_image_once(network):
    spec = {"extractor": network, "metrics": ("fd", "kid", "prdc", "auth_pct")}
    found = run(digits("test", 50), digits("train", 80), ["kid.subset_size=20"], **spec)
    assert len(found.scores) == 7
    seen = [int(n) for n in Path(network[: -len(".py:Net")] + ".seen").read_text().split()]
    # a probe of 2 at first, and one image again, to see whether its answer depends on the batch
    assert sorted(seen) == [1, 2, 16, 50, 64]


def test_a_reference_that_is_known_is_not_looked_at_again(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    first = run(digits("test"), digits("train"), store=store, metrics=("fd",))
    real = digits("train")
    monkeypatch.setattr(type(real), "batches", _refuse(real, type(real).batches))
    again = run(digits("test"), real, store=store, metrics=("fd",))
    assert again.scores == first.scores


def _refuse(source, batches):
    def read(self, size):
        assert self is not source, "the reference was read although it is known"
        return batches(self, size)

    return read


def test_other_images_of_the_same_name_are_no_hit(tmp_path):
    store = Store(tmp_path / "store")
    images = data.load("digits", "train").images
    run(digits("test"), from_tensors(images, name="x"), store=store, metrics=("fd",))
    other = run(digits("test"), from_tensors(images[:700], name="x"), store=store, metrics=("fd",))
    fresh = run(digits("test"), from_tensors(images[:700], name="x"), metrics=("fd",))
    assert list(other.scores.values()) == list(fresh.scores.values())


BOTH = ("fd", "sfid")  # of other arrays, so that what one needs does not serve the other


def test_the_cache_holds_what_all_metrics_needed(tmp_path, monkeypatch):
    net = tmp_path / "spatial.py"
    net.write_text(
        "import torch\n"
        "from genbench.features import Features\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, images):\n"
        "        x = images.float().flatten(1)\n"
        "        return Features(x[:, 20:24], spatial=x[:, 10:13])\n"
    )
    store, spec = Store(tmp_path / "store"), {"extractor": f"{net}:Net"}
    first = [run(digits("test"), digits("train"), (), store, **spec, metrics=(m,)) for m in BOTH]
    real = digits("train")
    monkeypatch.setattr(type(real), "batches", _refuse(real, type(real).batches))
    for metric, before in zip(BOTH, first, strict=True):
        again = run(digits("test"), real, (), store, **spec, metrics=(metric,))
        assert again.scores == before.scores


def test_a_cache_that_cannot_be_written_costs_a_warning_and_no_score(tmp_path, monkeypatch):
    usual = run(digits("test"), digits("train"), metrics=("fd",))
    assert not any("GENBENCH_CACHE" in warning for warning in usual.warnings)
    for name, value in (("_EVERY", 100), ("_SECONDS", 0.0), ("_SHARE", 0)):
        monkeypatch.setattr(partial, name, value)  # so that the pass itself is kept too
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENBENCH_CACHE", str(tmp_path / "file" / "cache"))
    found = run(digits("test"), digits("train"), metrics=("fd",))
    (score,), (expected,) = found.scores.values(), usual.scores.values()
    assert score.value == pytest.approx(expected.value, rel=1e-9)
    (said,) = [warning for warning in found.warnings if "cannot write" in warning]
    assert "Not a directory" in said and "set GENBENCH_CACHE" in said and "--out" not in said


def test_a_damaged_reference_is_reported_and_made_again(tmp_path):
    first = run(digits("test"), digits("train"), metrics=("fd",))
    (file,) = (tmp_path / "cache" / "artifacts" / "reference").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    again = run(digits("test"), digits("train"), metrics=("fd",))
    assert again.scores == first.scores
    assert [w for w in again.warnings if "reference file" in w and "is damaged" in w]
    assert file.exists()


def test_statistics_that_cannot_be_written_name_their_option(tmp_path):
    (tmp_path / "file").write_text("")
    spec = EvalSpec(extractor="digits-cnn", metrics=("fd",))
    path = tmp_path / "file" / "real.stats"
    with pytest.raises(StoreError, match=r"cannot write .*another file with --save-stats$"):
        evaluate(None, digits("train"), jobs(spec), spec, save_stats=path)


class Stopped(Exception):
    pass


class Stopping:
    """A source that stops the pass after some batches."""

    def __init__(self, source, after):
        vars(self).update({k: getattr(source, k) for k in _SOURCE})
        self._source, self._after = source, after

    def batches(self, size):
        for i, batch in enumerate(self._source.batches(size)):
            if i == self._after:
                raise Stopped
            yield batch


_SOURCE = ("name", "n", "digest", "dataset", "keys", "lossy", "notes", "warnings")


@pytest.mark.parametrize("side", ["made", "real"])
def test_a_pass_that_was_stopped_goes_on_and_ends_in_the_same_bits(
    network, tmp_path, monkeypatch, side
):
    monkeypatch.setattr(partial, "_EVERY", 100)
    monkeypatch.setattr(partial, "_SECONDS", 0.0)
    monkeypatch.setattr(partial, "_SHARE", 0)
    spec = {"extractor": network, "metrics": ("fd", "kid", "recall")}
    changes, seen = ["kid.subset_size=20", "batch=30"], Path(network[: -len(".py:Net")] + ".seen")
    undisturbed = run(digits("test"), digits("train"), changes, Store(tmp_path / "a"), **spec)
    whole = sum(int(n) for n in seen.read_text().split())
    seen.unlink()
    store = Store(tmp_path / "b")
    sides = {"made": digits("test"), "real": digits("train")}
    sides[side] = Stopping(sides[side], after=9)
    with pytest.raises(Stopped):
        run(*sides.values(), changes, store, **spec)
    found = run(digits("test"), digits("train"), changes, store, **spec)
    assert found.scores == undisturbed.scores
    twice = sum(int(n) for n in seen.read_text().split()) - whole
    assert twice < 100 + 30 + 10  # since the last point that was saved, and the probes again
    assert not list((tmp_path / "b" / "artifacts" / "partial").glob("*.safetensors"))


# --- pairs, text ---------------------------------------------------------------------------------


def test_pairs_match_by_name_whatever_the_order(folder):
    made, real = folder("made", "test", 20, noise=20.0), folder("real", "test", 20)
    for i, file in enumerate(sorted(made.iterdir())):
        file.rename(made / f"{i:04d}.x.png")
    for i, file in enumerate(sorted(real.iterdir())):
        file.rename(real / f"{i:04d}.x.bmp")
    spec = EvalSpec(metrics=("psnr",), batch=7)
    found = evaluate(open_source(str(made)), open_source(str(real)), jobs(spec), spec)
    a = data.load("digits", "test").images[:20].double()
    b = torch.from_numpy(
        np.stack([np.asarray(_open(p)) for p in sorted(made.iterdir())])
    ).double()[:, None]
    psnr = 10 * torch.log10(255**2 / ((a - b) ** 2).mean((1, 2, 3)))
    (score,) = found.scores.values()
    assert score.value == pytest.approx(float(psnr.mean()), rel=1e-6)


def _open(path):
    from PIL import Image

    return Image.open(path)


def test_pairs_of_other_sizes_are_told(folder):
    spec = EvalSpec(metrics=("psnr",))
    made = open_source(str(folder("made", "test", 4)))
    real = open_source(str(folder("real", "test", 4)), resize=16)
    with pytest.raises(ConfigError, match=r"pairs need images of one shape.*resize=SIZE"):
        evaluate(made, real, jobs(spec), spec)


class Reader(torch.nn.Module):
    """A network that reads text too and counts the images that it sees."""

    name, protocol, dim, classes = "reader", "", 2, 0
    sha256, official, settings = "0" * 64, True, {}

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        x = images.double().flatten(1)
        return features.Features(torch.stack([x.mean(1) + 1, x.std(1)], 1).float())

    def text(self, captions):
        return torch.tensor([[len(c), 1.0] for c in captions])

    def too_long(self, captions):
        return [i for i, c in enumerate(captions) if len(c) > 9]


def test_captions_are_read_before_any_image_is_looked_at(tmp_path, monkeypatch):
    net, file = Reader(), tmp_path / "captions.txt"
    monkeypatch.setattr(features, "load", lambda request: net)
    made, changes = digits("test", 40), [f"captions={file}", "metrics=clip@scenes-clip"]
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        run(made, None, changes)
    file.write_text("a digit\n" * 39)
    with pytest.raises(ConfigError, match="39 captions for 40 images"):
        run(made, None, changes)
    assert net.seen == 0
    file.write_text("a digit\n" * 39 + "a long caption\n")
    found = run(made, None, changes)
    assert net.seen == 40 and found.generated.n == 40
    assert [w for w in found.warnings if "1 captions are longer than reader reads" in w]
    images = net(data.load("digits", "test").images[:40]).features
    cosines = torch.cosine_similarity(images, net.text(file.read_text().splitlines()))
    (score,) = found.scores.values()
    assert score.value == pytest.approx(100 * float(cosines.clamp(min=0).mean()), rel=1e-5)


def test_scores_against_other_captions_have_other_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "load", lambda request: Reader())
    made, file, ids = digits("test", 40), tmp_path / "captions.txt", []
    for text in ("a digit\n", "a digit\r\n", "a cat\n"):  # the second are the same captions
        file.write_text(text * 40, newline="")
        found = run(made, None, [f"captions={file}", "metrics=clip@scenes-clip"])
        ids += found.scores
        assert found.metrics[ids[-1]].id == ids[-1]
    assert ids[0] == ids[1] != ids[2]
    assert all("/captions=" in one for one in ids)


@pytest.mark.parametrize("network", ["inception", "digits-cnn", "dinov2"])
def test_a_metric_of_captions_asks_for_a_network_that_reads_them(network):
    with pytest.raises(ConfigError, match=f"captions, which {network} does not read.*open_clip"):
        jobs(EvalSpec(metrics=("clip",), extractor=network))


def test_every_stage_is_told_while_it_works():
    told = []
    wanted = EvalSpec(metrics=("fd", "is"), extractor="digits-cnn")
    sides = (digits("test", 120), digits("train", 120))
    evaluate(*sides, jobs(wanted), wanted, device="cpu", progress=told.append)
    assert [p.stage for p in told if p.stage == "features"]
    assert [p.detail for p in told if p.stage == "score"] == ["", "score fd", "score is"]


def test_a_network_that_reads_no_text_is_told_before_it_runs(network, tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("a digit\n" * 40)
    with pytest.raises(ConfigError, match="own:Net does not read text, which metric 'clip' needs"):
        run(digits("test", 40), None, [f"captions={file}"], extractor=network, metrics=("clip",))
    assert not Path(network[: -len(".py:Net")] + ".seen").exists()


# --- guards --------------------------------------------------------------------------------------


def test_what_cannot_be_scored_is_told_before_any_network_runs(network):
    made, real = digits("test", 40), digits("train", 40)
    cases = [
        ((made, None, ()), "compares with real images"),
        ((made, real, ["metrics=psnr", "n=41"]), "n=41 was promised"),
        ((made, real, ["metrics=kid"]), r"needs 1,000 generated images.*kid.subset_size=40"),
        ((made, real, ["metrics=clip@scenes-clip"]), "captions=FILE"),
        ((made, None, ["metrics=psnr"]), "name them with --reference"),
    ]
    for (a, b, changes), said in cases:
        with pytest.raises(ConfigError, match=said):
            run(a, b, changes, extractor=network, metrics=("fd",))


def test_a_network_without_classes_gives_no_inception_score(network):
    with pytest.raises(ConfigError, match="'is' needs class probabilities"):
        run(digits("test", 40), None, extractor=network, metrics=("is",))


def test_a_comparison_that_is_unfair_is_warned_of(folder):
    png, jpeg = folder("png", "test", 100), folder("jpeg", "test", 100, ".jpg")
    found = run(open_source(str(jpeg)), open_source(str(png)), metrics=("fd",))
    assert any("jpeg holds lossy files" in warning for warning in found.warnings)
    found = run(digits("test"), digits("test"), metrics=("fd",))
    assert any("both sides are the same images" in warning for warning in found.warnings)
    assert next(iter(found.scores.values())).value == 0


def test_too_few_images_for_a_frechet_distance_are_told_with_the_bias():
    train = data.load("digits", "train").images
    few = run(from_tensors(train[:60], name="few"), digits("train"), metrics=("fd",))
    (said,) = [w for w in few.warnings if "too high" in w]
    assert "fd_infinity and kid" in said
    bias = float(said.split("about ")[1].split()[0])
    # a sample of the reference itself: all of its distance is bias
    (score,) = few.scores.values()
    assert 0.3 * score.value < bias < 3 * score.value
    enough = run(digits("test"), digits("train"), metrics=("fd",))
    assert not [w for w in enough.warnings if "too high" in w]


def test_python_takes_tensors_and_callables():
    images = data.load("digits", "test").images
    found = evaluation.score(images, "digits:train", ("fd",), "digits-cnn")
    assert list(found.scores) == ["fd@digits-cnn/digits:train/n360"]
    drawn = evaluation.score(
        lambda count: -torch.ones(count, 1, 8, 8), "digits:train", ("fd",), "digits-cnn", n=40
    )
    assert drawn.generated.n == 40 and any("single colour" in w for w in drawn.warnings)
    changes = ["kid.subset_size=20", "kid.subsets=5", "resize=6"]
    small = evaluation.score(images, "digits:train", ["kid"], "digits-cnn", changes=changes)
    (name,) = small.scores
    assert name.startswith("kid@digits-cnn/") and name.endswith("/subset_size=20/subsets=5")
    assert "to 6" in small.reference.notes["resize"]
    with pytest.raises(ConfigError, match="unknown key 'resise'; did you mean 'resize'"):
        evaluation.score(images, "digits:train", ("fd",), "digits-cnn", changes=["resise=6"])


def test_the_result_is_json_without_paths(folder, tmp_path):
    found = run(open_source(str(folder("made", "test", 100))), digits("train"), metrics=("fd",))
    text = found.model_dump_json()
    assert str(tmp_path) not in text
    content = json.loads(text)
    (score,) = content["scores"].values()
    assert {"value", "stderr", "ci95", "n"} <= score.keys()
    assert content["extractors"]["digits-cnn"]["sha256"] and content["environment"]["packages"]
