"""Suites: what a TOML file and `key=value` changes become."""

import os

import pytest
from toys import cells, suite_file

from genbench import data, features, registry, suite
from genbench.spec import Budget, ConfigError


@pytest.mark.parametrize("name", suite.names())
def test_every_suite_of_the_package_can_be_planned(name):
    for part in suite.parts(name):
        planned = suite.plan(part)
        assert len({cell.key for cell in planned}) == len(planned) == len(part.rows)
        kinds = {registry.load(row.baseline).kind for row in part.rows}
        assert "reference" in kinds and len(kinds) > 1


@pytest.mark.parametrize("name", ["quick", "smoke", "mnist"])
def test_suites_across_kinds(name):
    loaded = suite.load(name)
    planned = suite.plan(loaded)
    kinds = {registry.load(row.baseline).kind for row in loaded.rows}
    assert kinds == {"gan", "autoencoder", "diffusion", "reference"}
    options = [c.sample.options for c in planned if c.sample.train.baseline == "ddpm"]
    assert [o["sampler"] for o in options] == ["ddpm", "ddim", "ddim"]
    trainings = {c.sample.train.key for c in planned if c.sample.train.baseline == "ddpm"}
    assert len(trainings) == 1  # the rows of one network share its training


def test_all_trained_rows_have_one_budget_and_references_none():
    for cell in suite.plan(suite.load("quick")):
        reference = registry.load(cell.sample.train.baseline).kind == "reference"
        expected = Budget() if reference else suite.load("quick").budget
        assert cell.sample.train.budget == expected


def test_defaults_are_written_out_so_that_the_spec_stands_alone(tmp_path):
    (cell,) = cells(suite_file(tmp_path, ['baseline = "ddpm"']))
    config = registry.load("ddpm").Config()
    assert cell.sample.train.config == config.model_dump(mode="json")
    assert cell.sample.options == {
        "sampler": "ddpm", "steps": 1000, "spacing": "trailing", "eta": 0.0,
        "variance": "posterior", "clip_x0": True,
    }  # fmt: skip
    assert cell.sample.weights == "ema" and config.ema is not None
    fd, inception = cell.metrics
    assert fd.id == "fd@digits-cnn/digits:train/n32" and inception.id == "is@digits-cnn/n32"
    assert fd.weights == features.card("digits-cnn")["sha256"]


def test_changes(tmp_path):
    path = suite_file(tmp_path, ['baseline = "vae"', 'baseline = "ddpm"'])
    changed = cells(
        path, "n=16", "budget.images=1e3", "budget.steps=7", "seeds=0,3", "ddpm.lr=1e-3",
        "ddpm.steps=20", "vae.batch=9", "baseline=ddpm,noise", "sample_seed=5", "metrics=is",
    )  # fmt: skip
    names = [(c.sample.train.baseline, c.sample.train.seed) for c in changed]
    assert names == [("ddpm", 0), ("ddpm", 3), ("noise", 0)]
    ddpm = changed[0].sample
    assert ddpm.train.budget == Budget(images=1000, steps=7)
    assert ddpm.train.config["lr"] == 1e-3 and ddpm.options["steps"] == 20
    assert (ddpm.n, ddpm.seed) == (16, 5)
    assert [m.id for m in changed[0].metrics] == ["is@digits-cnn/n16"]


def test_the_limit_of_gradients_and_the_clamp_of_samples_have_names_of_their_own(tmp_path):
    path = suite_file(tmp_path, ['baseline = "ddpm"'])
    (plain,), (limited,), (free,) = (
        cells(path, *change) for change in ([], ["ddpm.clip=1.0"], ["ddpm.clip_x0=false"])
    )
    assert limited.sample.train.config["clip"] == 1 != plain.sample.train.config["clip"]
    assert limited.sample.options == plain.sample.options
    assert free.sample.train == plain.sample.train and not free.sample.options["clip_x0"]


def test_a_limit_keeps_the_first_rows_and_changes_nothing_in_them(tmp_path):
    path = suite_file(tmp_path, [f'baseline = "{name}"' for name in ("vae", "dcgan", "noise")])
    whole = cells(path, "seeds=0,1")
    assert cells(path, "seeds=0,1", "limit=2") == whole[:4]
    assert cells(path, "limit=2", "baseline=dcgan,noise,vae") == cells(path, "baseline=vae,dcgan")
    assert cells(path, "seeds=0,1", "limit=9") == whole
    with pytest.raises(ConfigError, match="limit: .*greater than or equal to 1"):
        cells(path, "limit=0")


def test_a_row_can_have_its_own_budget_and_weights(tmp_path):
    row = 'baseline = "ddpm"\nweights = "raw"\nbudget = { steps = 3 }'
    (cell,) = cells(suite_file(tmp_path, [row]))
    assert cell.sample.weights == "raw" and cell.sample.train.budget == Budget(steps=3)
    with pytest.raises(ConfigError, match=r"vae keeps no average: set vae\.ema=IMAGES"):
        cells(suite_file(tmp_path, ['baseline = "vae"\nweights = "ema"']))


def test_a_preset_stands_for_the_defaults_of_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.load("vae"), "presets", {"paper": {"d": 20, "hidden": 500}})
    path = suite_file(tmp_path, ['baseline = "vae"\nconfig = { hidden = 7 }'])
    (cell,) = cells(path, "vae.preset=paper")
    config = cell.sample.train.config
    assert (config["d"], config["hidden"]) == (20, 7)
    assert "preset" not in config
    with pytest.raises(ConfigError, match=r"vae has no preset 'papers'; did you mean 'paper'\?"):
        cells(path, "vae.preset=papers")


def test_a_preset_may_hold_sampling_options(tmp_path, monkeypatch):
    paper = {"T": 500, "options": {"sampler": "ddim", "steps": 50}}
    monkeypatch.setattr(registry.load("ddpm"), "presets", {"paper": paper})
    path = suite_file(tmp_path, ['baseline = "ddpm"\noptions = { steps = 20 }'])
    (cell,) = cells(path, "ddpm.preset=paper")
    assert cell.sample.train.config["T"] == 500 and "steps" not in cell.sample.train.config
    assert (cell.sample.options["sampler"], cell.sample.options["steps"]) == ("ddim", 20)


def test_the_steps_of_a_list_of_time_steps_are_its_length(tmp_path):
    (cell,) = cells(suite_file(tmp_path, ['baseline = "ddpm"\noptions.spacing = [999, 500.5, 0]']))
    assert cell.sample.options["spacing"] == [999, 500.5, 0]
    assert cell.sample.options["steps"] == 3


def test_options_that_do_not_fit_the_settings_are_refused(tmp_path):
    path = suite_file(tmp_path, ['baseline = "ddpm"'])
    with pytest.raises(ConfigError) as refusal:
        cells(path, "ddpm.T=100", "ddpm.steps=101")
    assert str(refusal.value) == (
        "ddpm options: cannot sample with 101 steps: the model has 1 to 100"
    )
    cells(path, "ddpm.T=100", "ddpm.steps=100")
    listed = suite_file(tmp_path, ['baseline = "ddpm"\noptions.spacing = [1000, 0]'])
    with pytest.raises(ConfigError, match=r"ddpm options: time steps must lie in 0\.\.999"):
        cells(listed)


def test_questions_about_classes_follow_the_reference_unless_told_otherwise(tmp_path):
    path = suite_file(tmp_path, ['baseline = "cgan"', 'baseline = "truth"'])
    trained, truth = cells(path, "task=class_label")
    assert (trained.sample.shares, truth.sample.shares) == ("train", "train")
    assert (trained.sample.train.shares, truth.sample.train.shares) == ("", "train")
    of_test = cells(path, "task=class_label", "reference=test")[0].sample
    assert of_test.shares == "test" and of_test.train == trained.sample.train
    for cell in cells(path, "task=class_label", "questions=balanced"):
        assert cell.sample.shares == cell.sample.train.shares == ""
        assert all(metric.id.endswith("/questions=balanced") for metric in cell.metrics)
    plain = suite_file(tmp_path, ['baseline = "vae"'])
    assert "shares" not in cells(plain)[0].sample.model_dump()  # older keys stay valid
    with pytest.raises(ConfigError, match="questions=balanced is of task class_label, and this"):
        cells(plain, "questions=balanced")


def test_questions_go_to_the_parts_that_ask_for_classes():
    parts = {part.name: part for part in suite.parts("tasks", ["questions=balanced"])}
    balanced = {name for name, part in parts.items() if part.questions == "balanced"}
    assert balanced == {"tasks/digits", "tasks/mnist", "tasks/classes"}


def batches(path, *changes):
    return [c.sample.train.config.get("batch") for c in cells(path, "batch=budget", *changes)]


def test_one_rule_gives_every_family_the_batch_for_its_budget(tmp_path):
    rows = ['baseline = "ddpm"', 'baseline = "vae"', 'baseline = "dcgan"', 'baseline = "real"']
    path = suite_file(tmp_path, rows)
    own = [c.sample.train.config["batch"] for c in cells(path)]
    at = [batches(path, f"budget.images={n}") for n in (60_000, 300_000, 1_200_000)]
    ddpm, vae, dcgan = zip(*(found[:3] for found in at), strict=True)
    assert own[0] == own[1] == 128 and ddpm == vae == (16, 32, 128)
    assert dcgan == (16, 16, min(64, own[2]))  # two updates in a step
    assert batches(path, "budget.images=600_000_000") == own  # never above the family's own
    assert batches(path, "budget.updates=5")[0] == own[0]  # the number of updates is fixed
    assert batches(path, "budget.images=60_000", "ddpm.batch=64")[0] == 64  # a row's own stays
    assert batches(path, "budget.images=60_000", "ddpm.preset=paper")[0] == 128
    warm = cells(path, "batch=budget", "budget.images=60_000", "ddpm.warmup=10_000")
    assert warm[0].sample.train.config["warmup"] == 10_000
    usual = registry.load("ddpm").Config().warmup
    warm = cells(path, "batch=budget", "budget.images=600")[0].sample.train.config["warmup"]
    assert warm == min(usual, 60)


def test_a_family_of_another_task_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="vae takes Unconditional, which is not task 'class_lab"):
        cells(suite_file(tmp_path, ['baseline = "vae"']), "task=class_label")


def test_a_metric_of_classes_is_refused_for_an_extractor_without():
    with pytest.raises(ConfigError, match="'is' needs class probabilities, which 'pixels'"):
        suite.plan(suite.load("smoke", ["extractor=pixels"]))
    planned = suite.plan(suite.load("smoke", ["extractor=pixels", "metrics=fd"]))
    assert planned[0].metrics[0].id == "fd@pixels/digits:train/n100"


PARTS = """
n = 50
extractor = "digits-cnn"
metrics = ["fd"]
budget = { steps = 1 }
[[parts]]
name = "plain"
dataset = "digits"
rows = [{ baseline = "vae" }, { baseline = "noise" }]
[[parts]]
name = "sharp"
dataset = "digits"
task = "low_res:2"
metrics = ["psnr", "fd@pixels"]
rows = [{ baseline = "truth" }, { baseline = "copy" }]
"""


@pytest.fixture
def several(tmp_path):
    path = tmp_path / "several.toml"
    path.write_text(PARTS)
    return str(path)


def test_parts_are_suites_that_share_what_stands_above_them(several):
    plain, sharp = suite.parts(several)
    assert (plain.name, sharp.name) == ("several/plain", "several/sharp")
    assert plain.n == sharp.n == 50 and plain.metrics == ("fd",)
    assert [m.id for m in suite.plan(sharp)[0].metrics] == [
        "psnr@pixels/digits:test/n50", "fd@pixels/digits:train/n50",
    ]  # fmt: skip
    assert suite.parts("quick") == [suite.load("quick")]


def test_changes_go_to_the_parts_that_they_fit(several):
    plain, sharp = suite.parts(several, ["n=40", "vae.batch=9", "sharp.task=low_res:4"])
    assert plain.n == sharp.n == 40
    assert plain.rows[0].config == {"batch": 9}
    assert (plain.task, sharp.task) == ("unconditional", "low_res:4")
    (only,) = suite.parts(several, ["parts=sharp"])
    assert only.name == "several/sharp"
    (only,) = suite.parts(several, ["baseline=copy"])
    assert [row.baseline for row in only.rows] == ["copy"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("parts=shrap", "no part 'shrap'; did you mean 'sharp'"),
        ("ddpm.lr=1", "no part of suite 'several' has a row 'ddpm'"),
        ("baseline=ddpm", "has a row 'ddpm'"),
        ("sharp.nn=1", "unknown key 'nn'"),
    ],
)
def test_changes_that_fit_no_part_are_refused(several, change, said):
    with pytest.raises(ConfigError, match=said):
        suite.parts(several, [change])


def test_a_part_can_be_loaded_by_name():
    part = suite.load("tasks/digits", ["n=20"])
    assert part.name == "tasks/digits" and part.n == 20
    with pytest.raises(ConfigError, match="name one of them: tasks/digits"):
        suite.load("tasks")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'description = "caf\xe9"', "it is not UTF-8"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (None, "it is a pipe, not a file"),
    ],
)
def test_a_suite_file_that_cannot_be_read_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "odd.toml"
    os.mkfifo(path) if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        suite.load(str(path))


# --- what depends on data and spec alone is refused when it is planned ---------------------------


def test_more_samples_than_images_are_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="real gives every image of digits:test once, which are"):
        suite.plan(suite.load("smoke", ["n=361"]))
    assert len(suite.plan(suite.load("smoke", ["n=360"]))) == 9
    assert suite.plan(suite.load("smoke", ["n=361", "baseline=memoriser"]))
    with pytest.raises(ConfigError, match="memoriser gives every image of digits:train once"):
        suite.plan(suite.load("smoke", ["n=1438", "baseline=memoriser"]))


@pytest.mark.parametrize("name", ["digits", "scenes@16"])
def test_the_numbers_of_images_are_those_that_are_read(name):
    for split in data.SPLITS:
        assert data.count(name, split) == len(data.load(name, split))


# --- plans in one folder -------------------------------------------------------------------------


def test_plans_of_other_suites_and_datasets_add_up_and_the_same_one_is_replaced():
    def planned(*changes):
        return suite.plan(suite.load("smoke", ["baseline=gaussian,noise", "n=50", *changes]))

    digits, large = planned(), planned("dataset=digits@16")
    assert suite.beside(None, "a", digits) == ("a", digits)
    assert suite.beside(("a", digits), "a", planned("n=60")) == ("a", planned("n=60"))
    assert suite.beside(("a", digits), "a", large) == ("a", [*digits, *large])
    both = suite.beside(("a", digits), "b", [digits[0], *planned("n=60")])
    assert both == ("a + b", [*digits, *planned("n=60")])
    again = suite.beside(both, "a", digits)
    assert again[0] == "a + b" and len(again[1]) == 4


def test_more_images_than_any_set_has_are_refused():
    with pytest.raises(ConfigError, match="n: .*less than or equal to 100000000"):
        suite.load("smoke", ["n=1e12"])


# --- words ---------------------------------------------------------------------------------------


def test_weights_and_averages_can_be_chosen_on_the_command_line():
    def chosen(*changes):
        cell = suite.plan(suite.load("smoke", ["baseline=ddpm", *changes]))[0]
        return cell.sample.weights, cell.sample.train.config["ema"]

    usual = chosen()
    assert usual[0] == "ema" and usual[1] is not None
    assert chosen("weights=raw") == chosen("ddpm.weights=raw") == ("raw", usual[1])
    assert chosen("ddpm.ema=none") == ("raw", None)
    with pytest.raises(
        ConfigError, match=r"keeps no average: set ddpm.ema=IMAGES or ddpm.weights"
    ):
        chosen("ddpm.ema=none", "ddpm.weights=ema")
    with pytest.raises(ConfigError, match="weights: Input should be 'ema' or 'raw'"):
        chosen("weights=rw")


def test_the_readmes_list_of_time_steps_is_accepted():
    loaded = suite.load("smoke", ["baseline=ddpm", "ddpm.steps=3", "ddpm.spacing=[999,500,100]"])
    assert {tuple(c.sample.options["spacing"]) for c in suite.plan(loaded)} == {(999, 500, 100)}


@pytest.mark.parametrize("value", ["foo", "[a]", "3.5"])
def test_a_setting_of_several_types_is_told_once_and_without_inner_names(value):
    loaded = suite.load("smoke", ["baseline=ddpm", "ddpm.steps=3", f"ddpm.spacing={value}"])
    with pytest.raises(ConfigError) as caught:
        suite.plan(loaded)
    said = str(caught.value)
    assert said.count("spacing:") == 1 and "'trailing'" in said and value.strip("[]") in said
    assert not any(inner in said for inner in ("literal", "tuple[", "constrained", "function"))
