"""More seeds where the first do not decide: what is run, what is kept, when it ends."""

import json

import pytest
from gate_samples import BANKED, SAME, UNCLEAR, WORSE, bank, cell, folder, real, record, seeds

from genbench.cli import common, main, running
from genbench.gate.bank import Bank
from genbench.gate.judge import Settings
from genbench.gate.looks import Added, gate
from genbench.gate.match import rows_of
from genbench.gate.rule import decide
from genbench.registry import version
from genbench.store import Store

MARGIN = 0.05


class Runner:
    """Stands for the executors: gives every new cell the next value of its row."""

    def __init__(self, store, **values):
        self.store, self.values, self.ran = store, {k: list(v) for k, v in values.items()}, []

    def __call__(self, todo, cells) -> bool:
        assert {c.key for c in todo} <= {c.key for c in cells}
        for each in todo:
            train = each.sample.train
            self.ran.append((train.baseline, train.seed, each.sample.seed))
            self.store.put_record(record(each, self.values[train.baseline].pop(0)))
        return True


@pytest.fixture
def banked(tmp_path):
    path = bank(tmp_path, [*seeds(BANKED), *seeds(BANKED, "ddpm"), *real()])
    return Bank.read(path)


def rows(values, **others):
    """Records of the family at hand, so that more seeds could be run."""
    found = seeds(values, "vae", version=version("vae"))
    for name, more in others.items():
        found += seeds(more, name, version=version(name))
    return [*found, *real()]


def by_cell(outcome):
    return {f.cell: f for f in outcome.findings if "@" in f.metric}


WANTED = Settings(margins={"": MARGIN})


@pytest.mark.parametrize(
    ("more", "verdict", "looks"),
    [
        ((4.0, 3.98), "PASS", 2),
        ((5.3, 5.2, 5.2, 5.1), "REGRESSED", 3),
        ((4.3, 4.2, 4.2, 4.25), "INCONCLUSIVE", 3),
    ],
)
def test_open_rows_get_two_seeds_at_most_twice(more, verdict, looks, banked, tmp_path) -> None:
    start = (4.10, 4.28, 4.00) if verdict == "PASS" else UNCLEAR
    store = Store(folder(tmp_path / "new", rows(start, ddpm=SAME)))
    runner = Runner(store, vae=more)
    outcome = gate(store, banked, WANTED, runner)
    found = by_cell(outcome)
    assert (found["vae"].verdict, found["ddpm"].verdict) == (verdict, "PASS")
    assert runner.ran == [("vae", 3 + i, 0) for i in range(2 * (looks - 1))]
    seen = [*start, *more[: 2 * (looks - 1)]]
    alone = decide(BANKED, seen, MARGIN, 0.05 / 3, tests=2)
    assert found["vae"].bound == pytest.approx(alone.bound)
    assert found["vae"].change == pytest.approx(alone.change)
    if verdict == "INCONCLUSIVE":
        assert "with 7 seeds" in found["vae"].reason and "3 looks" in found["vae"].reason
    # the same command again: the same looks, the same answer, nothing to run
    again = gate(store, banked, WANTED, Runner(store))
    assert again.findings == outcome.findings


def test_each_look_has_a_third_of_alpha(banked, tmp_path) -> None:
    values = (4.28, 4.40, 4.35)
    assert decide(BANKED, values, MARGIN, 0.05).outcome == "REGRESSED"
    assert decide(BANKED, values, MARGIN, 0.05 / 3).outcome == "INCONCLUSIVE"
    only = Bank(rows=tuple(r for r in banked.rows if r.name == "vae"))
    store = Store(folder(tmp_path / "new", rows(values)))
    assert by_cell(gate(store, only, WANTED, None))["vae"].verdict == "REGRESSED"
    runner = Runner(store, vae=(4.4, 4.4, 4.4, 4.4))
    assert by_cell(gate(store, only, WANTED, runner))["vae"].verdict == "REGRESSED"
    assert len(runner.ran) >= 2


def test_a_decision_is_not_taken_back(banked, tmp_path) -> None:
    """ddpm passes at the first look and gets no seeds while vae goes on."""
    store = Store(folder(tmp_path / "new", rows(UNCLEAR, ddpm=WORSE)))
    runner = Runner(store, vae=(4.3, 4.2, 4.2, 4.25))
    found = by_cell(gate(store, banked, WANTED, runner))
    assert found["ddpm"].verdict == "REGRESSED"
    assert found["ddpm"].bound == pytest.approx(decide(BANKED, WORSE, MARGIN, 0.05 / 3).bound)
    assert {name for name, *_ in runner.ran} == {"vae"}


def test_a_single_seed_gets_more(banked, tmp_path) -> None:
    store = Store(folder(tmp_path / "new", rows((4.0,), ddpm=SAME)))
    runner = Runner(store, vae=(4.02, 4.05))
    assert by_cell(gate(store, banked, WANTED, runner))["vae"].verdict == "PASS"
    assert [seed for _, seed, _ in runner.ran] == [1, 2]


def test_added_seeds_stay_apart_when_the_suite_is_planned_again(banked, tmp_path) -> None:
    records = rows(UNCLEAR, ddpm=SAME)
    store = Store(folder(tmp_path / "new", records))
    first = gate(store, banked, WANTED, Runner(store, vae=(4.3, 4.2, 4.2, 4.25)))
    store.put_plan("smoke", [r.cell for r in records])  # as `genbench run` does
    runner = Runner(store)
    assert gate(store, banked, WANTED, runner).findings == first.findings and not runner.ran
    assert len(store.plan()[1]) == len(records) + 4
    row = rows_of(store)[0]
    seen = [[c.sample.train.seed for c in Added(store).seen(row, k).cells] for k in range(3)]
    assert seen == [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6]]
    third = by_cell(gate(store, banked, WANTED, None))  # and nothing had to be run for it
    assert third["vae"] == by_cell(first)["vae"]


def test_every_sampling_seed_of_a_training_is_added(tmp_path) -> None:
    def pairs(values, **own):
        return [
            record(cell(seed=i, sample_seed=j, **own), v)
            for i, v in enumerate(values)
            for j in (0, 1)
        ]

    path = bank(tmp_path, pairs(BANKED))
    store = Store(folder(tmp_path / "new", pairs(UNCLEAR, version=version("vae"))))
    runner = Runner(store, vae=[3.9] * 8)
    gate(store, Bank.read(path), WANTED, runner)
    assert runner.ran[:4] == [("vae", 3, 0), ("vae", 3, 1), ("vae", 4, 0), ("vae", 4, 1)]


def test_a_seed_that_fails_is_missing(banked, tmp_path) -> None:
    store = Store(folder(tmp_path / "new", rows(UNCLEAR, ddpm=SAME)))

    def run(todo, cells) -> bool:
        for each in todo:
            store.put_record(record(each, 4.0, status="timeout"))
        return True

    outcome = gate(store, banked, WANTED, run)
    first = outcome.findings[0]
    assert first.verdict == "MISSING" and "seed 3: timeout" in first.reason
    runner = Runner(store, vae=(4.3, 4.2, 4.2, 4.25))
    again = gate(store, banked, WANTED, runner)  # a seed that failed is run again
    assert again.findings[0].verdict == "INCONCLUSIVE"
    assert [seed for _, seed, _ in runner.ran] == [3, 4, 5, 6]


def test_other_code_than_the_records_cannot_run_more(banked, tmp_path) -> None:
    other = [*seeds(UNCLEAR, version="f" * 16), *seeds(UNCLEAR, "ddpm"), *real()]
    store = Store(folder(tmp_path / "new", other))
    found = by_cell(gate(store, banked, WANTED, Runner(store)))
    assert "the code of vae at hand is another version" in found["vae"].reason
    alone = decide(BANKED, UNCLEAR, MARGIN, 0.05)  # one look has all of alpha
    assert found["vae"].bound == pytest.approx(alone.bound)


def test_a_family_that_is_not_there_cannot_run_more(tmp_path) -> None:
    path = bank(tmp_path, seeds(BANKED, "gone"))
    store = Store(folder(tmp_path / "new", seeds(UNCLEAR, "gone")))
    found = by_cell(gate(store, Bank.read(path), WANTED, Runner(store)))
    assert "'gone' is not at hand" in found["gone"].reason


def test_a_family_that_cannot_be_read_cannot_run_more(banked, tmp_path, monkeypatch) -> None:
    def broken(name) -> str:
        raise SyntaxError("line 3")

    store = Store(folder(tmp_path / "new", rows(UNCLEAR, ddpm=SAME)))
    monkeypatch.setattr("genbench.registry.version", broken)
    found = by_cell(gate(store, banked, WANTED, Runner(store)))
    assert "the code of vae at hand cannot be read" in found["vae"].reason


def test_one_look_says_so(banked, tmp_path) -> None:
    store = Store(folder(tmp_path / "new", rows(UNCLEAR, ddpm=SAME)))
    found = by_cell(gate(store, banked, WANTED, None))
    assert "no more seeds were allowed" in found["vae"].reason
    assert not (store.root / "gate.json").exists()


# --- by the command line -------------------------------------------------------------------------


def test_the_command_runs_them(banked, tmp_path, capsys, monkeypatch) -> None:
    new = folder(tmp_path / "new", rows(UNCLEAR, ddpm=SAME))
    runner = Runner(Store(new), vae=(5.3, 5.2, 5.2, 5.1))
    monkeypatch.setattr(running, "runtime", lambda *a: None)
    monkeypatch.setattr(running, "run", lambda todo, cells, *rest: runner(todo, cells))
    command = ["gate", str(new), "--bank", str(tmp_path / "bank.json"), "--margin", "5%", "--json"]
    capsys.readouterr()
    assert main(command) == common.REGRESSED
    told = capsys.readouterr()
    assert json.loads(told.out)["verdict"] == "REGRESSED"
    assert "inconclusive so far: 2 more cells are run" in told.err
    assert json.loads((new / "gate.json").read_text())["added"] == {"vae": [3, 4, 5, 6]}


def test_ctrl_c_is_no_verdict(banked, tmp_path, capsys, monkeypatch) -> None:
    new = folder(tmp_path / "new", rows(UNCLEAR, ddpm=SAME))
    monkeypatch.setattr(running, "runtime", lambda *a: None)
    monkeypatch.setattr(running, "run", lambda *a: False)
    capsys.readouterr()
    code = main(["gate", str(new), "--bank", str(tmp_path / "bank.json"), "--margin", "5%"])
    assert code == common.INTERRUPTED and not capsys.readouterr().out


def test_a_damaged_note_of_added_seeds_is_told(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", rows(SAME, ddpm=SAME))
    (new / "gate.json").write_text("[]")
    assert main(["gate", str(new), "--bank", str(tmp_path / "bank.json")]) == 2
    assert "remove it" in capsys.readouterr().err
