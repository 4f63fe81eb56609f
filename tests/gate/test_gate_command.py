"""`genbench gate` end to end: every verdict, its exit code, and what never passes."""

import json

import pytest
from gate_samples import (
    BANKED,
    FD,
    IS,
    KID,
    SAME,
    UNCLEAR,
    WORSE,
    bank,
    cell,
    failed,
    folder,
    real,
    record,
    seeds,
)

from genbench.cli import main
from genbench.spec import Budget


@pytest.fixture
def banked(tmp_path):
    """A bank of a family and a reference."""
    return bank(tmp_path, [*seeds(BANKED), *real()])


def gate(results, path, capsys, *arguments):
    """Exit code and JSON of one look."""
    capsys.readouterr()
    options = ["--bank", str(path), "--no-more-seeds", "--json"]
    code = main(["gate", str(results), *options, *arguments])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def verdicts(answer, metric=None):
    return {
        f["cell"]: f["verdict"]
        for f in answer["findings"]
        if (f["metric"] == metric if metric else "@" in f["metric"] or f["metric"] == "row")
    }


# --- quality -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "verdict", "code"),
    [(SAME, "PASS", 0), (WORSE, "REGRESSED", 1), (UNCLEAR, "INCONCLUSIVE", 4)],
)
def test_quality(values, verdict, code, banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(values), *real()])
    found, answer = gate(new, banked, capsys)
    assert (found, answer["verdict"]) == (code, verdict)
    assert verdicts(answer) == {"vae": verdict, "real": "PASS"}
    mine = answer["findings"][0]
    assert mine["metric"] == FD.id
    assert mine["change"] < mine["bound"]
    assert mine["old"] == pytest.approx(sum(BANKED) / 8)
    assert mine["margin"] < mine["detectable"]


def test_the_margin_can_be_said_for_all_rows_and_for_one(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(WORSE), *real()])
    assert gate(new, banked, capsys, "--margin", "50%")[0] == 0
    assert gate(new, banked, capsys, "--margin", "50%", "--margin", "vae=5%")[0] == 1
    assert gate(new, banked, capsys, "--margin", "vae=0.5")[0] == 0
    code = main(["gate", str(new), "--bank", str(banked), "--margin", "vea=5%"])
    assert code == 2 and "did you mean 'vae'" in capsys.readouterr().err
    for bad in ("12", "-1%", "abc", "vae=x"):
        with pytest.raises(SystemExit) as stop:
            main(["gate", str(new), "--bank", str(banked), f"--margin={bad}"])
        assert stop.value.code == 2


def test_the_bank_can_hold_margins(tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED), "--margin", "vae=50%")
    new = folder(tmp_path / "new", seeds(WORSE))
    code, answer = gate(new, path, capsys)
    assert code == 0 and answer["findings"][0]["margin"] == 0.5


def test_higher_is_better(tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED, metrics=(IS,)))
    lower = folder(tmp_path / "a", seeds([v * 0.8 for v in SAME], metrics=(IS,)))
    higher = folder(tmp_path / "b", seeds(WORSE, metrics=(IS,)))
    assert gate(lower, path, capsys)[0] == 1
    code, answer = gate(higher, path, capsys)
    assert code == 0 and answer["findings"][0]["change"] < 0


def test_another_metric_is_gated_on_request(tmp_path, capsys) -> None:
    both = (FD, IS)
    path = bank(tmp_path, [record(cell(seed=i, metrics=both), v, v) for i, v in enumerate(BANKED)])
    new = folder(
        tmp_path / "new", [record(cell(seed=i, metrics=both), v, 2.0) for i, v in enumerate(SAME)]
    )
    code, answer = gate(new, path, capsys)
    assert code == 0
    assert [i["metric"] for i in answer["information"]] == [IS.id]
    code, answer = gate(new, path, capsys, "--metric", "is")
    assert code == 1 and answer["findings"][0]["metric"] == IS.id
    assert gate(new, path, capsys, "--metric", IS.id)[0] == 1
    assert main(["gate", str(new), "--bank", str(path), "--metric", "if"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_sampling_seeds_are_no_replicates(tmp_path, capsys) -> None:
    pairs = [(0, 0), (0, 1)]
    path = bank(
        tmp_path,
        [record(cell(seed=i, sample_seed=j), v) for i, v in enumerate(BANKED) for j in (0, 1)],
    )
    one = [record(cell(seed=i, sample_seed=j), v) for (i, j), v in zip(pairs, SAME, strict=False)]
    code, answer = gate(folder(tmp_path / "new", one), path, capsys)
    assert code == 4 and "one training seed" in answer["findings"][0]["reason"]
    missing = [record(cell(seed=i), v) for i, v in enumerate(SAME)]
    code, answer = gate(folder(tmp_path / "less", missing), path, capsys)
    assert code == 5 and "sampling seeds 0, 1 -> 0" in answer["findings"][0]["reason"]


def test_several_cells_share_alpha(tmp_path, capsys) -> None:
    names = ["vae", "ddpm", "dcgan", "cgan", "gan"]
    path = bank(tmp_path, [r for n in names for r in seeds(BANKED, n)], "--margin", "5%")
    slightly = (4.28, 4.41, 4.36)  # p = 0.015: below 0.05, above 0.05 / 5
    alone = bank(tmp_path / "alone", seeds(BANKED), "--margin", "5%")
    code, answer = gate(folder(tmp_path / "a", seeds(slightly)), alone, capsys)
    assert code == 1
    detect = answer["findings"][0]["detectable"]
    rows = [r for n in names for r in seeds(slightly if n == "vae" else SAME, n)]
    code, answer = gate(folder(tmp_path / "b", rows), path, capsys)
    mine = next(f for f in answer["findings"] if f["cell"] == "vae")
    assert code == 4 and mine["verdict"] == "INCONCLUSIVE"
    assert "worse alone" in mine["reason"] and "4 other cells" in mine["reason"]
    assert mine["detectable"] > detect


def test_values_without_a_logarithm_name_another_metric(tmp_path, capsys) -> None:
    both = (KID, FD)
    path = bank(tmp_path, [record(cell(seed=i, metrics=both), v, v) for i, v in enumerate(BANKED)])
    new = [record(cell(seed=i, metrics=both), -0.001, v) for i, v in enumerate(SAME)]
    code, answer = gate(folder(tmp_path / "new", new), path, capsys)
    assert code == 5 and verdicts(answer) == {"vae": "INCOMPARABLE"}
    assert "no logarithm; gate another metric: --metric fd" in answer["findings"][0]["reason"]
    assert gate(tmp_path / "new", path, capsys, "--metric", "fd")[0] == 0


def test_what_changed_is_told_and_compared(tmp_path, capsys) -> None:
    path = bank(tmp_path, seeds(BANKED, config={"lr": 0.001}))
    new = seeds(WORSE, config={"lr": 0.01}, version="f" * 16, weights="ema")
    code, answer = gate(folder(tmp_path / "new", new), path, capsys)
    assert code == 1
    reason = answer["findings"][0]["reason"]
    for words in ("version 01234567", "-> ffffffff", "lr 0.001 -> 0.01", "weights raw -> ema"):
        assert words in reason


# --- what never passes ---------------------------------------------------------------------------


def other_metric(**changes):
    return {"metrics": (FD.model_copy(update=changes),)}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"budget": Budget(images=30_000)}, "budget images 20000 -> 30000"),
        ({"dataset": "digits@16"}, "dataset digits -> digits@16"),
        ({"data": "beef"}, "data none -> beef"),
        ({"task": "class_label"}, "task unconditional -> class_label"),
        ({"sample_seed": 5}, "sampling seed"),
        ({"hashes": {"digits:train": "bb" * 32}}, "data train aaaaaaaaaaaa -> bbbbbbbbbbbb"),
        (other_metric(n=50), "n 100 -> 50"),
        (other_metric(reference="digits:test"), "reference digits:train -> digits:test"),
        (other_metric(weights="cd" * 32), "weights of digits-cnn ab12ab12ab12 -> cdcdcdcdcdcd"),
        ({"metrics": (IS,)}, "no metric fd@"),
    ],
)
def test_what_was_measured_in_another_way_is_incomparable(
    fields, word, banked, tmp_path, capsys
) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME, **fields), *real()])
    renames = {"dataset", "task"} & fields.keys()  # two of them in a table rename its rows
    if renames:
        new = folder(tmp_path / "alone", seeds(SAME, **fields))
    code, answer = gate(new, banked, capsys)
    assert code == (3 if renames else 5)
    mine = next(f for f in answer["findings"] if f["cell"] == "vae")
    assert mine["verdict"] == "INCOMPARABLE" and word in mine["reason"]


def test_options_and_clocks(tmp_path, capsys) -> None:
    timed = {"budget": Budget(seconds=9)}
    path = bank(tmp_path, seeds(BANKED, **timed))
    assert gate(folder(tmp_path / "same", seeds(SAME, **timed)), path, capsys)[0] == 0
    other = seeds(SAME, machine={"processor": "Other", "cores": 64}, **timed)
    code, answer = gate(folder(tmp_path / "new", other), path, capsys)
    assert code == 5 and "the budget is in seconds" in answer["findings"][0]["reason"]
    path = bank(tmp_path / "b", seeds(BANKED, options={"order": 1}))
    code, answer = gate(folder(tmp_path / "o", seeds(SAME, options={"order": 2})), path, capsys)
    assert code == 5 and "option order 1 -> 2" in answer["findings"][0]["reason"]


def test_a_missing_row_never_passes(banked, tmp_path, capsys) -> None:
    code, answer = gate(folder(tmp_path / "new", real()), banked, capsys)
    assert code == 3 and verdicts(answer)["vae"] == "MISSING"


def test_a_renamed_row_is_missing(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME, "vqvae"), *real()])
    code, answer = gate(new, banked, capsys)
    assert code == 3
    assert "did you mean" not in answer["findings"][0]["reason"]  # the new row is not the bank's
    assert answer["not_in_bank"] == ["vqvae"]


def test_a_failed_seed_is_missing_whatever_the_others_say(banked, tmp_path, capsys) -> None:
    rows = [*seeds(SAME), failed(cell(seed=3), "loss \x1b[31mis nan"), *real()]
    code, answer = gate(folder(tmp_path / "new", rows), banked, capsys)
    mine = answer["findings"][0]
    assert code == 3 and mine["verdict"] == "MISSING"
    assert mine["reason"] == "seed 3: failed in train: NonFiniteError: loss is nan"


def test_a_seed_that_was_planned_and_not_run_is_missing(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME), *real()], [cell(seed=3)])
    code, answer = gate(new, banked, capsys)
    assert code == 3 and "seed 3 is planned" in answer["findings"][0]["reason"]


def test_a_damaged_record_is_missing(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME), *real()])
    path = new / "records" / f"{cell(seed=1).key}.json"
    path.write_text(path.read_text().replace("3.99", "3.00", 1))
    code, answer = gate(new, banked, capsys)
    assert code == 3 and "seed 1 is planned and has no record" in answer["findings"][0]["reason"]


def test_a_reference_that_moved_means_that_the_measuring_changed(banked, tmp_path, capsys) -> None:
    for value, code in ((0.35 * 1.0009, 0), (0.35 * 1.0011, 5), (0.2, 5)):
        new = folder(tmp_path / f"new{value}", [*seeds(SAME), *real(value)])
        found, answer = gate(new, banked, capsys)
        assert found == code
        if code:
            assert verdicts(answer) == {"vae": "PASS", "real": "INCOMPARABLE"}
            assert "the measuring changed" in answer["findings"][-1 - 6]["reason"]


def test_rows_that_the_bank_lacks_have_no_verdict(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME), *seeds([9.0], "dcgan"), *real()])
    code, answer = gate(new, banked, capsys)
    assert code == 0 and answer["not_in_bank"] == ["dcgan"]
    assert "dcgan" not in verdicts(answer)


def test_the_worst_verdict_decides(tmp_path, capsys) -> None:
    names = ["vae", "ddpm", "dcgan", "gan", "cgan"]
    path = bank(tmp_path, [r for n in names for r in seeds(BANKED, n)])
    rows = {
        "vae": seeds(WORSE, "vae"),
        "ddpm": [],
        "dcgan": seeds(SAME, "dcgan", budget=Budget(images=7)),
        "gan": seeds(UNCLEAR, "gan"),
        "cgan": seeds(SAME, "cgan"),
    }
    order = [("vae", 1), ("ddpm", 3), ("dcgan", 5), ("gan", 4), ("cgan", 0)]
    for i, (name, code) in enumerate(order):
        new = folder(tmp_path / str(i), [r for part in rows.values() for r in part])
        assert gate(new, path, capsys)[0] == code
        rows[name] = seeds(SAME, name)


# --- counters ------------------------------------------------------------------------------------

ALL = ["nfe", "params", "params_trained", "train_images", "train_steps", "train_flops"]


@pytest.mark.parametrize("name", ALL)
def test_more_of_a_counter_is_a_regression(name, banked, tmp_path, capsys) -> None:
    plain = seeds([4.0])[0].counters.model_dump()
    for step, code in ((1, 1), (-1, 0)):
        new = folder(
            tmp_path / f"new{step}",
            [*seeds(SAME, counters={name: plain[name] + step / 2**20 * plain[name]}), *real()]
            if name in ("nfe", "train_flops")
            else [*seeds(SAME, counters={name: plain[name] + step}), *real()],
        )
        found, answer = gate(new, banked, capsys)
        assert found == code
        moved = [f for f in answer["findings"] if f["change"] and f["metric"] in ALL]
        assert [(f["cell"], f["metric"]) for f in moved] == [("vae", name)]
        assert ("make a new bank" in moved[0]["reason"]) == (step < 0)


def test_one_seed_with_more_is_enough(banked, tmp_path, capsys) -> None:
    rows = [*seeds(SAME)[:2], record(cell(seed=2), 4.0, counters={"nfe": 2.0}), *real()]
    code, answer = gate(folder(tmp_path / "new", rows), banked, capsys)
    assert code == 1 and verdicts(answer, "nfe")["vae"] == "REGRESSED"


def test_a_counter_that_is_not_counted_is_not_equal(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME, counters={"nfe": None}), *real()])
    code, answer = gate(new, banked, capsys)
    assert code == 5 and verdicts(answer, "nfe")["vae"] == "INCOMPARABLE"


def test_counters_only_needs_one_seed_and_no_quality(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(WORSE[:1]), *real(9.0)])
    code, answer = gate(new, banked, capsys, "--counters-only")
    assert code == 0 and len(answer["findings"]) == 12
    worse = folder(tmp_path / "worse", [*seeds(SAME[:1], counters={"nfe": 2}), *real()])
    assert gate(worse, banked, capsys, "--counters-only")[0] == 1


def test_equal_counters_are_counted_and_not_listed(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME), *real()])
    assert main(["gate", str(new), "--bank", str(banked), "--no-more-seeds"]) == 0
    out = capsys.readouterr().out
    assert "PASS: 14 PASS (12 equal counters, not listed)" in out
    assert "train_flops" not in out


# --- usage ---------------------------------------------------------------------------------------


def test_mistakes_are_one_sentence(banked, tmp_path, capsys) -> None:
    new = folder(tmp_path / "new", [*seeds(SAME), *real()])
    capsys.readouterr()
    for arguments, words in (
        (["gate", str(tmp_path), "--bank", str(banked)], "holds no records"),
        (["gate", str(new), "--bank", str(tmp_path / "no.json")], "there is no bank"),
        (["gate", str(new), "--bank", str(new / "plan.json")], "is not a bank"),
        (["gate", str(new), "n=3", "--bank", str(banked)], "data.root=PATH only"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1


def test_nothing_gated_is_no_pass(tmp_path, capsys) -> None:
    unknown = {"counters": dict.fromkeys(ALL)}
    path = bank(tmp_path, seeds(BANKED, **unknown))
    new = folder(tmp_path / "new", seeds(SAME, **unknown))
    code, answer = gate(new, path, capsys, "--counters-only")
    assert (code, answer["verdict"], answer["findings"]) == (5, "INCOMPARABLE", [])
