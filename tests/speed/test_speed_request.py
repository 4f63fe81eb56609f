"""What `genbench speed` plans: rows of a grid, the reference, targets, refusals."""

import pytest
from toys import suite_file

from genbench.spec import ConfigError
from genbench.speed.request import Clock, plan

SMALL = 'baseline = "ddpm"\nconfig = { T = 50, hidden = 16, depth = 1 }'


def rows(*changes, target="ddpm"):
    planned = plan(target, list(changes))
    return [
        tuple(row.options[k] for k in ("sampler", "steps", "spacing", "eta", "variance"))
        for row in planned.rows
    ]


def test_the_grid_is_the_product_of_what_fits_each_sampler():
    found = rows(
        "steps=1000,10",
        "samplers=ddpm,ddim",
        "spacing=trailing,quadratic",
        "eta=0,0.5",
        "variance=posterior,large",
    )
    assert len(found) == len(set(found)) == 16
    assert ("ddpm", 10, "quadratic", 0.0, "large") in found
    assert ("ddim", 10, "trailing", 0.5, "posterior") in found
    assert not [f for f in found if f[0] == "ddpm" and f[3] != 0]


def test_sequences_that_are_equal_at_all_steps_are_one_row():
    found = rows("steps=1000", "samplers=ddim", "spacing=trailing,leading,uniform", "against=none")
    assert found == [("ddim", 1000, "trailing", 0.0, "posterior")]


def test_ddpm_with_all_steps_is_the_reference_and_is_added_where_it_was_not_asked_for():
    planned = plan("ddpm", ["steps=20", "samplers=ddim"])
    assert [row.reference for row in planned.rows] == [True, False]
    assert planned.rows[0].options["sampler"] == "ddpm"
    assert planned.rows[0].options["steps"] == 1000
    named = plan("ddpm", ["steps=20", "samplers=ddim", "against=ddim:100"])
    assert named.rows[0].options["sampler"] == "ddim" and named.rows[0].options["steps"] == 100
    none = plan("ddpm", ["steps=20", "samplers=ddim", "against=none"])
    assert [row.reference for row in none.rows] == [False]


def test_a_model_with_fewer_levels_has_fewer_default_rows(tmp_path):
    path = suite_file(tmp_path, [SMALL])
    found = rows(f"suite={path}")
    assert {steps for _, steps, *_ in found} == {50, 20, 10}
    assert found[0] == ("ddpm", 50, "trailing", 0.0, "posterior")


def test_the_settings_are_those_of_the_suite_with_that_dataset():
    digits, mnist = plan("ddpm", ["dataset=digits"]), plan("ddpm", ["dataset=mnist"])
    (one,), (other,) = digits.trainings, mnist.trainings
    assert (one.dataset, other.dataset) == ("digits", "mnist@32")
    assert other.config["patch"] == 4 and other.budget.images == 700_000
    assert digits.name == "ddpm-digits" and mnist.name == "ddpm-mnist"


def test_seeds_and_changes_of_the_family_reach_the_cells():
    planned = plan("ddpm", ["seeds=0,1,2", "steps=10", "ddpm.hidden=32", "ddpm.clip_x0=false"])
    assert [t.seed for t in planned.trainings] == [0, 1, 2]
    assert {t.config["hidden"] for t in planned.trainings} == {32}
    assert {row.options["clip_x0"] for row in planned.rows} == {False}


def test_a_family_without_steps_is_one_row():
    planned = plan("dcgan", [])
    assert [(row.options, row.reference) for row in planned.rows] == [({}, False)]


def test_without_quality_nothing_is_scored_and_one_image_is_made():
    planned = plan("ddpm", ["steps=10", "quality=false"])
    assert {(len(c.metrics), c.sample.n) for c in planned.cells} == {(0, 1)}
    assert [c.sample.options["steps"] for c in planned.cells] == [10] and len(planned.rows) == 3


def test_clock_settings():
    asked = ["steps=10", "batch=8", "rounds=3", "compile=true", "batches=1,2"]
    assert plan("ddpm", asked).clock == Clock(batch=8, rounds=3, compile=True, batches=(1, 2))


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("dpm", "", "'dpm' is no baseline, and no run.*did you mean 'ddpm'"),
        ("ddpm", "stepz=3", "unknown key 'stepz'; did you mean 'steps'"),
        ("ddpm", "steps=0", "steps.0: Input should be greater than 0"),
        ("ddpm", "steps=1001", "cannot sample with 1001 steps: the model has 1 to 1000"),
        ("ddpm", "samplers=ddimm", "sampler: Input should be 'ddpm', 'ddim'"),
        ("ddpm", "spacing=even", "spacing"),
        ("ddpm", "against=ddpn:5", "against=ddpn:5 is not SAMPLER:STEPS.*did you mean 'ddpm'"),
        ("ddpm", "rounds=1", "rounds: Input should be greater than or equal to 2"),
        ("ddpm", "quality=flase", "quality: Input should be a valid boolean"),
        ("ddpm", "suite=quik", "unknown suite 'quik'; did you mean 'quick'"),
        ("nowhere/run", "steps=5", "nowhere/run holds no record of a run"),
        ("nowhere/x.safetensors", "", "nowhere/x.safetensors is not a file"),
    ],
)
def test_refusals_are_one_sentence(target, change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        plan(target, [change] if change else [])
    assert "\n" not in str(caught.value)


# --- a family of one's own, and a run's own options ----------------------------------------------


def own_options(monkeypatch, **fields):
    """Give a family options of its own, as a plug-in has them."""
    from pydantic import create_model

    from genbench import api, registry

    cls = registry.load("ddpm")
    made = create_model("Options", __base__=api.Options, **fields)
    monkeypatch.setattr(cls, "Options", made)
    monkeypatch.setattr(cls, "check", classmethod(lambda cls, config, options: None))


def test_options_that_a_family_lacks_are_not_set_and_not_varied(monkeypatch, tmp_path):
    from typing import Literal

    own_options(monkeypatch, sampler=(Literal["ddpm"], "ddpm"), steps=(int, 100))
    path = suite_file(tmp_path, [SMALL])
    found = plan("ddpm", [f"suite={path}", "steps=20,10"])
    assert [row.options for row in found.rows] == [
        {"sampler": "ddpm", "steps": steps} for steps in (50, 20, 10)
    ]
    with pytest.raises(ConfigError, match="ddpm has no sampling option 'variance', so variance="):
        plan("ddpm", [f"suite={path}", "variance=large"])
    with pytest.raises(ConfigError, match="no sampling option 'eta'"):
        plan("ddpm", [f"suite={path}", "eta=0,1"])


def test_a_runs_own_options_are_kept_and_must_be_of_one_kind(tmp_path):
    from toys import cells

    from genbench.record import Record
    from genbench.store import Store

    rows = [
        'baseline = "classifier_free_guidance"\nconfig = { T = 50 }\n'
        f"options = {{ w = {w}, steps = 50 }}"
        for w in (0.0, 2.0)
    ]
    store = Store(tmp_path / "out")
    planned = cells(suite_file(tmp_path, rows), "task=class_label")
    for cell in planned:
        store.put_record(Record(key=cell.key, cell=cell, status="ok"))
    one = plan(f"{store.root}#{planned[0].key}", ["steps=5", "samplers=ddim"])
    assert {row.options["w"] for row in one.rows} == {0.0}
    assert {row.options["steps"] for row in one.rows} == {50, 5}
    with pytest.raises(ConfigError, match="differ in the option w"):
        plan(str(store.root), ["steps=5"])
    given = plan(str(store.root), ["steps=5", "classifier_free_guidance.w=1"])
    assert {row.options["w"] for row in given.rows} == {1.0}


def test_step_counts_of_one_cost_are_one_row(tmp_path):
    from toys import run_inline

    from genbench.runtime import Runtime
    from genbench.speed import measure
    from genbench.store import Store

    path = suite_file(tmp_path, [SMALL], images=64)
    planned = plan("ddpm", [f"suite={path}", "steps=50,20,10", "samplers=ddim", "against=none"])
    out = tmp_path / "out"
    run_inline(out, [planned.rows[0].cells[0]])
    runtime, store = Runtime(out=out, device="cpu"), Store(out)
    assert measure.distinct(planned, store, runtime) == (planned, [])
    costs = {50: 20.0, 20: 20.0, 10: 10.0}
    counts = {measure.row_key(r.options): costs[r.options["steps"]] for r in planned.rows}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure._Session, "count", lambda self: counts)
        kept, left = measure.distinct(planned, store, runtime)
    assert [row.options["steps"] for row in kept.rows] == [20, 10] and left == [50]
