"""Metrics of answers: how they are found, what they ask for, and what is refused."""

import pytest
import torch
from scene_answers import answers

from genbench import api, metrics
from genbench.evaluation import request
from genbench.metrics import TaskMetric
from genbench.spec import ConfigError

CONDITIONS = {
    kind.__name__
    for kind in vars(api).values()
    if isinstance(kind, type) and issubclass(kind, api.Condition)
} - {"Condition", "Unconditional"}
FOUND = {name: m for name in metrics.describe() if isinstance(m := metrics.find(name), TaskMetric)}


def test_every_task_has_a_metric_and_every_metric_a_task():
    assert {cond for metric in FOUND.values() for cond in metric.tasks} == CONDITIONS
    for name, metric in FOUND.items():
        assert metric.name == name
        assert metrics.called(metric, metric.extractor or "") == name
        assert metric.label
        assert not metric.changed(metric.options())
        assert name in metrics.groups()
        assert name not in metrics.names()


def test_they_say_what_they_are_for():
    said = metrics.describe()
    assert said["low_res_error"] == "low-res error, for low_res"
    assert said["content_kept"] == "content kept (mIoU), for to_domain"
    assert said["attr_size"] == "sizes right, for caption, in the group attributes"


def test_a_group_stands_for_its_members():
    members = {"attr_shape", "attr_colour", "attr_size", "attr_count", "attr_position"}
    assert set(metrics.expand("attributes")) == {"attributes"} | members
    assert metrics.expand("attr_size") == ["attr_size"]


def test_sets_of_images_are_no_answers():
    with pytest.raises(ConfigError, match=r"'miou' is of answers .* leave it out, or run a suite"):
        request.jobs(request.EvalSpec(metrics=("miou",)))
    with pytest.raises(ConfigError, match="unknown metric 'miou'"):
        metrics.get("miou")


def test_another_task_is_refused():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    asked = answers(images, api.LowRes(torch.zeros(3, 1, 2, 2)))
    with pytest.raises(ConfigError, match=r"'miou' is of paired, not of low_res; leave it out"):
        metrics.find("miou")(asked)
    metrics.find("low_res_error").check_task("LowRes")


def test_what_is_missing_is_told():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    there = torch.ones(3, dtype=torch.int64)
    asked = answers(images, api.ToDomain(torch.zeros(3, 1, 4, 4), there, there))
    with pytest.raises(ConfigError, match="'diversity' needs more than one answer to a question"):
        metrics.find("diversity")(asked)
    with pytest.raises(ConfigError, match="'cycle_error' needs samples that are moved back"):
        metrics.find("cycle_error")(asked)


def test_samples_must_fit_the_right_answers():
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    asked = answers(images[:2], api.LowRes(torch.zeros(3, 1, 2, 2)), images)
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\) do not fit .* \(3, 1, 4, 4\)"):
        metrics.find("low_res_error")(asked)
