"""`genbench bank`: what it keeps, what it refuses, and that nothing in it changes unnoticed."""

import json

import numpy as np
import pytest
from gate_samples import BANKED, FD, IS, bank, cell, failed, folder, real, record, seeds

from genbench.cli import main
from genbench.gate.bank import Bank
from genbench.gate.rule import detectable
from genbench.spec import Budget, ConfigError


def add(results, path) -> int:
    return main(["bank", "add", str(results), "--bank", str(path)])


def test_a_bank_holds_values_protocol_and_counters(tmp_path, capsys) -> None:
    two = [record(cell(seed=i, metrics=(FD, IS)), v, 2 * v) for i, v in enumerate(BANKED)]
    path = bank(tmp_path, [*two, *real()])
    found = Bank.read(path)
    assert found.names == ["vae", "real"]
    row = found.row("vae")
    known = row.metrics[FD.id]
    assert known.values == dict(enumerate(BANKED)) and known.direction == "lower"
    assert row.metrics[IS.id].direction == "higher"
    assert known.spread == pytest.approx(np.log(BANKED).std(ddof=1))
    assert known.weights == "ab12" * 16
    assert row.counters["train_flops"] == 1.5e9 and len(row.counters) == 6
    assert row.record is not None and row.record.cell == two[0].cell and not row.record.scores
    assert row.record.environment == two[0].environment
    table = capsys.readouterr().out
    smallest = 100 * detectable(known.spread, 8, 3, 3 * known.spread)
    line = next(line for line in table.splitlines() if line.split()[:2] == ["vae", "fd"])
    assert line.split() == [
        "vae", "fd", "8", "4.026", f"{100 * known.spread:.1f}", "%",
        f"{300 * known.spread:.1f}", "%", f"{smallest:.1f}", "%",
    ]  # fmt: skip
    assert "exact" in table
    assert main(["bank", "show", str(path)]) == 0
    assert capsys.readouterr().out == table
    assert main(["bank", "show", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["detectable"] == pytest.approx(smallest / 100)


def test_sampling_seeds_of_a_training_are_averaged(tmp_path) -> None:
    records = [
        record(cell(seed=i, sample_seed=j), v + j) for i, v in enumerate(BANKED) for j in (0, 1)
    ]
    row = Bank.read(bank(tmp_path, records)).row("vae")
    assert list(row.metrics[FD.id].values.values()) == pytest.approx([v + 0.5 for v in BANKED])
    assert row.sample_seeds == (0, 1)


def test_counters_that_a_clock_decides_are_not_kept(tmp_path) -> None:
    records = seeds(BANKED, budget=Budget(seconds=10))
    row = Bank.read(bank(tmp_path, records)).row("vae")
    assert set(row.counters) == {"nfe", "params", "params_trained"}


def test_few_seeds_are_refused_with_the_command_that_makes_them(tmp_path, capsys) -> None:
    results = folder(tmp_path / "few", [*seeds(BANKED[:3]), *real()])
    assert add(results, tmp_path / "b.json") == 2
    said = capsys.readouterr().err
    assert "'vae' has 3 training seeds" in said
    assert f"genbench run smoke seeds=0,1,2,3,4,5,6,7 --out {results}" in said
    assert not (tmp_path / "b.json").exists()


def test_failures_are_not_left_out(tmp_path, capsys) -> None:
    results = folder(tmp_path / "a", [*seeds(BANKED), failed(cell(seed=8))])
    assert add(results, tmp_path / "b.json") == 2
    assert "seed 8: failed in train: NonFiniteError" in capsys.readouterr().err
    results = folder(tmp_path / "c", seeds(BANKED), [cell(seed=8)])
    assert add(results, tmp_path / "b.json") == 2
    assert "seed 8 is planned" in capsys.readouterr().err


def test_more_rows_and_more_seeds(tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED))
    more = [record(cell(seed=i), 9.9 + i / 10) for i in (7, 8, 9)]
    assert add(folder(tmp_path / "more", [*more, *seeds(BANKED, "ddpm")]), path) == 0
    found = Bank.read(path)
    assert sorted(found.names) == ["ddpm", "vae"]
    values = found.row("vae").metrics[FD.id].values
    assert sorted(values) == list(range(10)) and values[7] == BANKED[7]  # pinned
    assert "vae: 1 seeds are in the bank already and stay" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": "f" * 16}, "version"),
        ({"config": {"lr": 0.1}}, "lr"),
        ({"budget": Budget(images=5)}, "budget"),
        ({"sample_seed": 1}, "sampling seed"),
        ({"hashes": {"digits:train": "bb" * 32}}, "data"),
        ({"machine": {"processor": "Other", "cores": 2}}, "processor"),
        ({"metrics": (FD.model_copy(update={"weights": "cd" * 32}),)}, "weights"),
        ({"counters": {"nfe": 2.0}}, "counters"),
    ],
)  # fmt: skip
def test_one_row_has_one_protocol(changes, word, tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED))
    before = path.read_bytes()
    assert add(folder(tmp_path / "other", seeds(BANKED, **changes)), path) == 2
    assert word in capsys.readouterr().err
    assert path.read_bytes() == before


def test_seeds_of_two_machines_make_no_row(tmp_path, capsys) -> None:
    records = seeds(BANKED)[:4] + seeds(BANKED, machine={"processor": "Other", "cores": 2})[4:]
    assert add(folder(tmp_path / "mixed", records), tmp_path / "b.json") == 2
    assert "Test CPU -> Other" in capsys.readouterr().err


def test_a_bank_that_was_changed_is_refused(tmp_path) -> None:
    path = bank(tmp_path, seeds(BANKED))
    path.write_text(path.read_text().replace("4.12", "9.12", 1))
    with pytest.raises(ConfigError, match="checksum"):
        Bank.read(path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="not a bank"):
        Bank.read(path)
    with pytest.raises(ConfigError, match="genbench bank add"):
        Bank.read(tmp_path / "none.json")
    other = Bank.of(BANKED).model_copy(update={"schema_version": 99})
    other.save(path)
    with pytest.raises(ConfigError, match="schema 99, this is 1"):
        Bank.read(path)


def test_a_bank_of_plain_numbers() -> None:
    found = Bank.of(BANKED, metric="score", direction="higher", cell="mine", margin=0.2)
    row = found.row("mine")
    assert row.accepted(row.metrics["score"]) == 0.2
    with pytest.raises(ConfigError, match="needs 8"):
        Bank.of(BANKED[:7])
    with pytest.raises(ConfigError, match="finite"):
        Bank.of([*BANKED, float("nan")])
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        found.row("mime")


def test_margins_of_the_command_line_stay_in_the_bank(tmp_path, capsys) -> None:
    path = bank(tmp_path, [*seeds(BANKED), *seeds(BANKED, "ddpm")], "--margin", "vae=12%")
    found = Bank.read(path)
    assert found.row("vae").margin == 0.12 and found.row("ddpm").margin is None
    code = main(
        ["bank", "add", str(tmp_path / "banked"), "--bank", str(path), "--margin", "vea=1%"]
    )
    assert code == 2 and "did you mean 'vae'" in capsys.readouterr().err


def test_hostile_texts_of_records_are_inert(tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED))
    other = seeds(BANKED, config={"\x1b[31mlr\n::error::x": "\x1b[0m"})
    assert add(folder(tmp_path / "other", other), path) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count("\n") == 1
    results = folder(tmp_path / "failed", [*seeds(BANKED), failed(cell(seed=8), "\x1b[31m\nx")])
    assert add(results, tmp_path / "b.json") == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count("\n") == 1


def test_a_metric_without_a_better_direction_is_not_banked(tmp_path) -> None:
    sharp = FD.model_copy(update={"name": "high_frequency", "extractor": "pixels", "weights": ""})
    both = [record(cell(seed=i, metrics=(sharp, FD)), 0.9, v) for i, v in enumerate(BANKED)]
    row = Bank.read(bank(tmp_path, both)).row("vae")
    assert list(row.metrics) == [FD.id]
