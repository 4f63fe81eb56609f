from typing import Any

import pytest

from genbench import differences
from genbench.record import Environment, Record
from genbench.spec import Budget, Cell, MetricSpec, SampleSpec, TrainSpec

FD = MetricSpec(name="fd", extractor="cnn", reference="digits:train", n=64, weights="ab" * 32)
HASHES = {"digits:train": "1a2b" * 16, "digits:test": "3c4d" * 16, "cnn": "ab" * 32}


def made(
    train: dict[str, Any] | None = None,
    sample: dict[str, Any] | None = None,
    metric: MetricSpec = FD,
    **environment: Any,
) -> Record:
    fields: dict[str, Any] = {
        "baseline": "vae",
        "config": {"lr": 0.001, "net": {"width": 8}},
        "dataset": "digits",
        "budget": Budget(images=100),
        "version": "0123456789abcdef",
    }
    spec = TrainSpec(**(fields | (train or {})))
    sampling: dict[str, Any] = {"n": metric.n, "options": {"steps": 10}}
    cell = Cell(sample=SampleSpec(train=spec, **(sampling | (sample or {}))), metrics=(metric,))
    place: dict[str, Any] = {
        "packages": {"torch": "2.15.0"},
        "machine": {"processor": "A"},
        "device": "cpu",
        "threads": 1,
        "hashes": HASHES,
    }
    return Record(
        key=cell.key, cell=cell, status="ok", environment=Environment(**(place | environment))
    )


OLD = made()


def test_equal_records_differ_in_nothing() -> None:
    assert differences.protocol(OLD, OLD) == differences.changes(OLD, OLD) == []
    assert differences.metric(OLD, OLD, FD) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (made({"dataset": "mnist"}), "dataset digits -> mnist"),
        (made({"data": "f00d"}), "data none -> f00d"),
        (made({"task": "class_label"}), "task unconditional -> class_label"),
        (made({"budget": Budget(images=200)}), "budget images 100 -> 200"),
        (made(metric=FD.model_copy(update={"n": 65})), "n 64 -> 65"),
        (made(sample={"seed": 3}), "sampling seed 0 -> 3"),
        (made(sample={"options": {"steps": 20}}), "option steps 10 -> 20"),
        (made(sample={"options": {}}), "option steps 10 -> none"),
        (
            made(hashes={"digits:train": "ffff" * 16}),
            "data train 1a2b1a2b1a2b -> ffffffffffff",
        ),
    ],
)
def test_what_forbids_a_comparison(new: Record, expected: str) -> None:
    assert differences.protocol(OLD, new) == [expected]
    assert differences.protocol(new, new) == []


def test_limits_of_another_kind_are_both_told() -> None:
    new = made({"budget": Budget(steps=9)})
    assert differences.protocol(OLD, new) == [
        "budget images 100 -> none",
        "budget steps none -> 9",
    ]


def test_training_seeds_are_repetitions() -> None:
    new = made({"seed": 7})
    assert differences.protocol(OLD, new) == differences.changes(OLD, new) == []


def test_seconds_buy_more_on_another_machine() -> None:
    budget = {"budget": Budget(seconds=60)}
    other: dict[str, Any] = {"machine": {"processor": "B"}, "threads": 8}
    found = differences.protocol(made(budget), made(budget, **other))
    assert found == [
        "threads 1 -> 8 (the budget is in seconds)",
        "machine's processor A -> B (the budget is in seconds)",
    ]
    assert differences.protocol(OLD, made(**other)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"extractor": "inception"}, "metric's extractor cnn -> inception"),
        ({"reference": "digits:test"}, "metric's reference digits:train -> digits:test"),
        ({"n": 65}, "metric's n 64 -> 65"),
        ({"protocol": "tf1"}, "metric's protocol none -> tf1"),
        ({"options": (("k", 5),)}, "metric's options.k none -> 5"),
        ({"notes": ("bfloat16",)}, 'metric\'s notes [] -> ["bfloat16"]'),
        ({"weights": "cd" * 32}, "weights of cnn abababababab -> cdcdcdcdcdcd"),
    ],
)
def test_what_makes_another_metric(change: dict[str, Any], expected: str) -> None:
    now = FD.model_copy(update=change)
    assert expected in differences.metric(OLD, made(metric=now), FD, now)


def test_weights_that_only_the_records_know_count() -> None:
    silent = FD.model_copy(update={"weights": ""})
    new = made(metric=silent, hashes=HASHES | {"cnn": "ee" * 32})
    assert differences.metric(OLD, new, FD, silent) == [
        "weights of cnn abababababab -> eeeeeeeeeeee"
    ]
    assert differences.metric(OLD, made(metric=silent, hashes={}), FD, silent) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (made({"version": "f" * 16}), f"version 0123456789abcdef -> {'f' * 16}"),
        (made({"config": {"lr": 0.01, "net": {"width": 8}}}), "lr 0.001 -> 0.01"),
        (made({"config": {"lr": 0.001, "net": {"width": 9}}}), "net.width 8 -> 9"),
        (made(sample={"weights": "ema"}), "weights raw -> ema"),
        (made(packages={"torch": "2.16.0"}), "torch 2.15.0 -> 2.16.0"),
        (made(device="cuda:0"), "device cpu -> cuda:0"),
        (made(threads=2), "threads 1 -> 2"),
        (made(machine={"processor": "B"}), "machine's processor A -> B"),
        (made(commit="c" * 40, dirty=True), f"commit none -> {'c' * 12} with changes"),
        (made(batch=9), "batch none -> 9"),
        (made(world_size=2), "processes 1 -> 2"),
        (made(deterministic=True), "deterministic false -> true"),
    ],
)
def test_what_a_comparison_is_about(new: Record, expected: str) -> None:
    assert [text.removeprefix("sampling ") for text in differences.changes(OLD, new)] == [expected]
    assert differences.protocol(OLD, new) == []


def test_packages_that_one_side_has_are_no_change() -> None:
    assert differences.changes(OLD, made(packages={"numpy": "2"})) == []


def test_flat_keeps_empty_mappings() -> None:
    assert differences.flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
    assert differences.flat({}) == {}
