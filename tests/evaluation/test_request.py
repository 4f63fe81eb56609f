"""What is asked for: names, groups, options, and what a mistake in them is answered with."""

import pytest

from genbench.evaluation import EvalSpec, jobs, read_changes
from genbench.spec import ConfigError


def names(spec: EvalSpec) -> list[str]:
    return [job.name for job in jobs(spec)]


def test_groups_expand_and_nothing_is_computed_twice():
    spec = EvalSpec(metrics=("prdc", "kid", "precision"), extractor="digits-cnn")
    assert sorted(names(spec)) == ["coverage", "density", "kid", "precision", "recall"]


def test_a_frechet_distance_is_fid_in_inceptions_features_only():
    assert names(EvalSpec(metrics=("fid",), extractor="digits-cnn")) == ["fd"]
    assert names(EvalSpec(metrics=("fd",), extractor="inception/clean")) == ["fid"]


def test_inception_takes_tf1_when_no_protocol_is_named():
    (job,) = jobs(EvalSpec(metrics=("fid",)))
    assert job.extractor.protocol == "tf1"
    (job,) = jobs(EvalSpec(metrics=("fid",), protocol="clean"))
    assert job.extractor.protocol == "clean"


def test_a_metric_may_look_through_a_network_of_its_own():
    spec = EvalSpec(metrics=("fid", "prdc@vgg16", "cmmd@open_clip:ViT-B-32:openai"))
    seen = {job.name: job.extractor.name for job in jobs(spec)}
    assert seen["fid"] == "inception" and seen["recall"] == "vgg16" and seen["cmmd"] == "open_clip"


def test_options_reach_the_metric_and_its_id():
    spec = read_changes(["kid.subset_size=50", "kid.subsets=20"], {"metrics": ("kid",)})
    (job,) = jobs(spec)
    assert (job.options.subset_size, job.options.subsets) == (50, 20)
    assert job.metric.changed(job.options) == (("subset_size", "50"), ("subsets", "20"))


def test_an_option_of_a_group_reaches_all_of_it():
    spec = read_changes(["prdc.k=4"], {"metrics": ("prdc",), "extractor": "digits-cnn"})
    assert {job.options.k for job in jobs(spec)} == {4}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("kid.subset_sise=5", "did you mean 'subset_size'"),
        ("resise=64", "did you mean 'resize'"),
        ("resize", "not of the form key=value"),
        ("alpha=pink", "alpha"),
        ("prdc.k=5", "'prdc' are set, but that metric is not asked for"),
        ("n=0", "greater than or equal to 1"),
    ],
)
def test_a_wrong_change_is_told(change, said):
    with pytest.raises(ConfigError, match=said):
        jobs(read_changes([change], {"metrics": ("kid",), "extractor": "digits-cnn"}))


@pytest.mark.parametrize(
    ("metric", "extractor", "said"),
    [
        ("fjd", "digits-cnn", "unknown metric 'fjd'; did you mean 'fd'"),
        ("fd", "incption", "unknown extractor 'incption'; did you mean 'inception'"),
        ("fd", "inception/clan", "no protocol 'clan'; did you mean 'clean'"),
        ("fd", "open_clip:ViT-B-32", "write open_clip:MODEL:PRETRAINED"),
    ],
)
def test_a_wrong_name_is_told(metric, extractor, said):
    with pytest.raises(ConfigError, match=said):
        jobs(EvalSpec(metrics=(metric,), extractor=extractor))
