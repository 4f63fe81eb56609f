"""Specs: one key from the plan and from the record, and mistakes told in one sentence."""

import json

import pytest
from pydantic import ValidationError

from genbench.record import Counters, Record
from genbench.spec import (
    Budget,
    Cell,
    ConfigError,
    MetricSpec,
    SampleSpec,
    TrainSpec,
    canonical_json,
    nearest,
    parse,
)
from genbench.stats import (
    Score,
    delete_group_jackknife,
    mean_interval,
    student_score,
    student_t,
)

TRAIN = TrainSpec(baseline="x", config={"b": 1, "a": 2.5}, dataset="digits", version="v")
SAMPLE = SampleSpec(train=TRAIN, options={"steps": 50}, n=10)
METRIC = MetricSpec(name="fd", extractor="e", reference="digits:train", n=10)


def test_the_key_survives_json_and_does_not_depend_on_order():
    cell = Cell(sample=SAMPLE, metrics=(METRIC,))
    record = Record(key=cell.key, cell=cell, status="ok", counters=Counters(nfe=1))
    again = Record.model_validate_json(record.model_dump_json())
    assert again.cell.key == cell.key == record.key
    other = TrainSpec.model_validate({**json.loads(TRAIN.model_dump_json())})
    assert other.key == TRAIN.key
    swapped = TRAIN.model_copy(update={"config": {"a": 2.5, "b": 1}})
    assert swapped.key == TRAIN.key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"version": "w"},
        {"budget": Budget(images=5)},
        {"config": {"b": 1, "a": 2.6}},
        {"dataset": "mnist"},
        {"data": "f"},
        {"task": "class_label"},
        {"budget": Budget(updates=5)},
        {"shares": "train"},
    ],
)
def test_everything_that_matters_changes_the_key(change):
    assert TRAIN.model_copy(update=change).key != TRAIN.key


def test_fields_that_came_later_leave_older_keys_valid():
    assert TRAIN.key == "acbfbc490d841ec3" and SAMPLE.key == "30c56142f44fd175"
    assert not {"updates", "shares"} & {*Budget().model_dump(), *SAMPLE.model_dump()}


def test_specs_are_frozen_and_refuse_unknown_keys():
    with pytest.raises(ValidationError):
        TRAIN.seed = 3
    with pytest.raises(
        ConfigError, match=r"suite 'q': unknown key 'imges'; did you mean 'images'\?"
    ):
        parse(Budget, {"imges": 3}, "suite 'q'")
    with pytest.raises(
        ConfigError, match=r"train\.budget: unknown key 'stps'; did you mean 'steps'"
    ):
        value = {"n": 3, "train": {**TRAIN.model_dump(), "budget": {"stps": 1}}}
        parse(SampleSpec, value, "cell")
    with pytest.raises(ConfigError, match="images: .*greater than or equal to 1.*given: 0"):
        parse(Budget, {"images": 0}, "budget")


def test_a_metric_scores_all_samples_or_the_cell_is_refused():
    with pytest.raises(ConfigError, match="scores 10 of 11 samples"):
        parse(
            Cell,
            {"sample": {**SAMPLE.model_dump(), "n": 11}, "metrics": [METRIC.model_dump()]},
            "cell",
        )


def test_metric_ids_name_what_changes_the_value():
    assert METRIC.id == "fd@e/digits:train/n10"
    full = MetricSpec(
        name="fid", extractor="inception", protocol="tf1", reference="cifar10:train", n=50000
    )
    assert full.id == "fid@inception/tf1/cifar10:train/n50000"
    assert MetricSpec(name="is", extractor="e", n=10).id == "is@e/n10"


@pytest.mark.parametrize(
    ("reference", "compared", "answered"),
    [
        ("digits:train", ("digits", "train"), ""),
        ("scenes@16:test[edit:recolour]", ("scenes@16", "test"), "edit:recolour"),
        ("imagefolder:run[1]@8:train", ("imagefolder:run[1]@8", "train"), ""),
        ("imagefolder:a:b[c:d]/[e]:test[f:2]", ("imagefolder:a:b[c:d]/[e]", "test"), "f:2"),
        ("", ("", ""), ""),
        ("features-1234abcd", ("", ""), ""),
    ],
)
def test_the_reference_of_a_metric_in_its_parts(reference, compared, answered):
    metric = MetricSpec(name="fd", extractor="e", reference=reference, n=10)
    assert (metric.compared, metric.answered) == (compared, answered)


def test_nearest_and_canonical_json():
    assert nearest("ddmp", ["ddpm", "vae"]) == "did you mean 'ddpm'? valid: ddpm, vae"
    assert nearest("zzz", ["ddpm"]) == "valid: ddpm"
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_intervals_against_tables_and_closed_forms():
    assert student_t(2) == pytest.approx(4.302653, abs=1e-6)
    mean, stderr, (low, high) = mean_interval([1.0, 2.0, 3.0])
    assert (mean, stderr) == (2.0, pytest.approx(3**-0.5))
    assert (low, high) == (
        pytest.approx(2 - 4.302653 / 3**0.5),
        pytest.approx(2 + 4.302653 / 3**0.5),
    )
    # the jackknife of a mean is the usual standard error, exactly
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    total = sum(values)
    without = [(total - v) / 4 for v in values]
    assert delete_group_jackknife(total / 5, without)[0] == pytest.approx(mean_interval(values)[1])
    score = student_score(7.0, 0.5, 2, 30, "m", spread=0.1)
    half = 4.302653 / 2
    assert score.ci95 == (pytest.approx(7 - half), pytest.approx(7 + half))
    assert (score.value, score.stderr, score.n, score.spread) == (7.0, 0.5, 30, 0.1)
    for few in ([], [1.0]):
        with pytest.raises(ValueError, match="at least 2"):
            mean_interval(few)
    assert Score(value=1.0, n=3).ci95 is None
