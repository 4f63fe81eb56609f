"""`genbench claims` on made folders of records, and once from start to end."""

import csv
import json
from pathlib import Path

import pytest
from claim_samples import BODY, failed, filled, ok, write_file

from genbench import claims, cli, report, suite
from genbench.own_code import digest
from genbench.record import Counters, Environment
from genbench.report import claims as table
from genbench.spec import Cell, SampleSpec
from genbench.store import Store, StoreError

VALUES = {"vae": (3.0, 3.1, 3.2), "wide": (2.0, 2.15, 2.2), "gaussian": (36.0,)}


@pytest.fixture
def file(tmp_path):
    return write_file(tmp_path)


def judged(path, root, values=VALUES) -> dict[str, claims.Judged]:
    planned = claims.plan(claims.load(path))
    store = filled(root, planned, values)
    return {one.claim: one for one in claims.judge(planned, store.records(), exact=True)}


def test_verdicts_of_a_made_folder(file, tmp_path):
    found = judged(file, tmp_path / "out")
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(
        ("wider", "ratio", "beats"), "REPRODUCED"
    )
    wider = found["wider"]
    assert wider.values == {"wide": dict(enumerate(VALUES["wide"])), "vae": {0: 3, 1: 3.1, 2: 3.2}}
    assert wider.links[0].estimate == pytest.approx((1 + 0.95 + 1) / 3)
    assert wider.rows == {"wide": "vae with hidden=64", "vae": "vae"}
    assert wider.scale == "digits, 640 image updates, n = 32" and wider.published == "FID 3 and 4"
    assert found["beats"].links[0].seeds == (0, 1, 2)
    assert any("gaussian: one value" in remark for remark in found["beats"].remarks)


@pytest.mark.parametrize(
    ("wide", "said"),
    [
        ((2.0, 2.1), "wide has no run of seed 2"),
        ((), "wide has no run of seed 0, 1, 2"),
        ((2.0, None, 2.1), "wide failed, seed 1: train: loss is nan"),
    ],
)
def test_no_verdict_without_every_run(file, tmp_path, wide, said):
    found = judged(file, tmp_path / "out", VALUES | {"wide": wide})
    assert found["wider"].verdict == "INCONCLUSIVE"
    assert found["wider"].links[0].reason == said
    assert found["beats"].verdict == "REPRODUCED"


def test_a_reference_that_is_missing_is_told(file, tmp_path):
    found = judged(file, tmp_path / "out", VALUES | {"gaussian": ()})
    assert found["beats"].links[0].reason == "gaussian has no run"


def test_runs_of_a_suite_and_of_older_code_are_found_without_running(file, tmp_path):
    """Another metric beside it, settings that came later, another version: the same run."""
    planned = claims.plan(claims.load(file))
    store = Store(tmp_path / "out")
    more = suite.plan(suite.load("smoke", ["n=32", "baseline=vae"]))[0].metrics
    for row, mine in planned.cells.items():
        for cell in mine:
            train = cell.sample.train
            config = {k: v for k, v in train.config.items() if k != "decay"}  # a default
            old = train.model_copy(update={"config": config, "version": "0" * 16})
            sample = cell.sample.model_copy(update={"train": old})
            there = Cell(sample=sample, metrics=more)
            assert set(cell.metrics) < set(more) and there.key != cell.key
            store.put_record(ok(there, VALUES[row][train.seed]))
    (wider, *_), exact = (
        claims.judge(planned, store.records(), exact=exact) for exact in (False, True)
    )
    assert wider.verdict == "REPRODUCED"
    assert wider.remarks == ("Runs of wide, vae are of other code than today's.",)
    assert not any(one.values for one in exact)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", {"hidden": 65}),
        ("config", {"new": 1}),
        ("seed", 7),
        ("dataset", "mnist"),
        ("task", "class_label"),
        ("budget", {"images": 641}),
    ],
)
def test_a_run_of_another_thing_is_not_taken(file, tmp_path, field, value):
    planned = claims.plan(claims.load(file))
    records = []
    for cell in planned.cells["vae"]:
        train = cell.sample.train.model_dump()
        train[field] = {**train[field], **value} if isinstance(value, dict) else value
        sample = SampleSpec.model_validate(cell.sample.model_dump() | {"train": train})
        records.append(ok(Cell(sample=sample, metrics=cell.metrics), 1.0))
    assert not any(one.values for one in claims.judge(planned, records, exact=False))


def test_the_newest_run_of_todays_code_is_taken(file):
    planned = claims.plan(claims.load(file))
    cell = planned.cells["vae"][0]
    train = cell.sample.train.model_copy(update={"version": "0" * 16})
    old = cell.model_copy(update={"sample": cell.sample.model_copy(update={"train": train})})
    old = Cell.model_validate(old.model_dump())
    records = [
        ok(cell, 1.0, finished="2026-01-01"),
        ok(old, 2.0, finished="2026-01-03"),
        failed(old),
    ]
    for order in (records, records[::-1]):
        assert claims.judge(planned, order, exact=False)[0].values == {"vae": {0: 1.0}}
    older = [ok(old, 2.0, finished="2026-01-03"), failed(old)]
    assert claims.judge(planned, older, exact=False)[0].values == {"vae": {0: 2.0}}


def test_counts_and_times(tmp_path):
    text = BODY.replace('measure = "fd"', 'measure = "nfe"', 1)
    text = text.replace('measure = "fd"', 'measure = "ms_per_image"', 1)
    planned = claims.plan(claims.load(write_file(tmp_path, text)))
    assert set(planned.metrics) == {"fd"}
    place = {"device": "cpu", "machine": {"processor": "X"}, "threads": 1}
    records = []
    for row, nfe in (("vae", 2), ("wide", 1)):
        for cell in planned.cells[row]:
            there = Environment(**place, batch=64)
            records.append(ok(cell, 3.0 * nfe, counters=Counters(nfe=nfe), environment=there))
    nfe, ms, _ = claims.judge(planned, records, exact=True)
    assert (nfe.verdict, nfe.links[0].ci95) == ("REPRODUCED", None)
    assert ms.verdict == "REPRODUCED" and ms.links[0].estimate == pytest.approx(0.5)
    assert any("genbench speed" in remark for remark in ms.remarks)
    elsewhere = ok(planned.cells["vae"][0], 6.0, environment=Environment(**place, batch=65))
    told = claims.judge(planned, [elsewhere, *records[1:]], exact=True)
    assert told[1].verdict == "INCONCLUSIVE"
    assert told[1].links[0].reason == "times of runs with another batch cannot be compared"


def test_what_a_family_logs_can_be_measured(tmp_path):
    text = BODY.replace('measure = "fd"', 'measure = "loss.kl"', 1)
    text = text.replace('measure = "fd"', 'measure = "loss.perplexity"', 1)
    planned = claims.plan(claims.load(write_file(tmp_path, text)))
    assert set(planned.metrics) == {"fd"}
    values = {"vae": (5.0, 5.1, 4.9), "wide": (3.0, 3.1, 2.9)}
    records = [
        ok(cell, 1.0, losses={"kl": value, "reconstruction": 9.0})
        for row, mine in values.items()
        for cell, value in zip(planned.cells[row], mine, strict=True)
    ]
    kl, perplexity, _ = claims.judge(planned, records, exact=True)
    assert kl.verdict == "REPRODUCED" and kl.values["wide"] == {0: 3.0, 1: 3.1, 2: 2.9}
    assert perplexity.verdict == "INCONCLUSIVE"
    assert perplexity.links[0].reason == (
        "wide has no loss.perplexity: its family logs kl, reconstruction; "
        "vae has no loss.perplexity: its family logs kl, reconstruction"
    )


# --- the command ---------------------------------------------------------------------------------


def run(capsys, *arguments):
    code = cli.main(["claims", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_folder_is_judged_without_running(file, tmp_path, capsys):
    out = tmp_path / "out"
    planned = claims.plan(claims.load(file))
    filled(out, planned, VALUES | {"wide": (2.0, None, 2.2)})
    code, printed, _ = run(capsys, file, "--no-run", "--out", out)
    assert code == 0
    for word in ("REPRODUCED", "INCONCLUSIVE", "mine/wider", "wide < vae", "FD (digits-cnn)",
                 "wide failed, seed 1", "A wider VAE is better (made up).", "FID 3 and 4",
                 "digits, 640 image updates, n = 32"):  # fmt: skip
        assert word in printed, word
    assert {p.name for p in out.glob("claims.*")} == {
        "claims.csv", "claims.json", "claims.md", "claims.tex", "claims.txt"
    }  # fmt: skip
    assert not (out / "plan.json").exists() and not (out / "report.html").exists()
    markdown = (out / "claims.md").read_text()
    assert "| A wider VAE is better" in markdown and r"wide \< vae" in markdown
    code, printed, _ = run(capsys, file, "--no-run", "--out", out, "--json")
    told = json.loads(printed)["claims"]
    assert [one["verdict"] for one in told] == ["INCONCLUSIVE", "INCONCLUSIVE", "REPRODUCED"]
    kept = json.loads((out / "claims.json").read_text())["claims"]
    assert sorted(told, key=lambda one: one["claim"]) == kept
    assert run(capsys, file, "--no-run", "--out", tmp_path / "none")[0] == 2


def test_runs_of_another_code_are_judged_and_told(file, tmp_path, capsys):
    """None of the records is refused, and one sentence says how many are not of today's code."""
    out = tmp_path / "out"
    store = filled(out, claims.plan(claims.load(file)), VALUES)
    code = {"train": digest(), "sample": digest()}
    for record in store.records():
        store.put_record(record.model_copy(update={"code": code}))
    status, printed, said = run(capsys, file, "--no-run", "--out", out)
    assert status == 0 and "another code" not in said
    for record in store.records():
        if record.cell.sample.train.baseline == "gaussian":
            store.put_record(record.model_copy(update={"code": dict.fromkeys(code, "0" * 16)}))
    status, again, said = run(capsys, file, "--no-run", "--out", out)
    assert status == 0 and again == printed
    assert "1 of 7 runs are of another code of genbench: gaussian; `genbench claims" in said


@pytest.mark.parametrize("fmt", ["text", "markdown", "csv", "latex"])
def test_every_format_has_the_numbers(file, tmp_path, capsys, fmt):
    filled(tmp_path / "out", claims.plan(claims.load(file)), VALUES)
    code, printed, _ = run(capsys, file, "--no-run", "--out", tmp_path / "out", "--format", fmt)
    number = "0.983" if fmt == "csv" else "0.98 ± 0.07"
    assert code == 0 and number in printed.replace(r"$\pm$", "±")
    if fmt == "csv":
        first, *_ = csv.DictReader(printed.splitlines())
        assert first["claim"] == "wider" and first["scale"] == "digits, 640 image updates, n = 32"


def test_verdicts_of_several_files_stay_together(file, tmp_path, capsys):
    other = write_file(tmp_path, name="other")
    out = tmp_path / "out"
    filled(out, claims.plan(claims.load(file)), VALUES)
    run(capsys, file, "--no-run", "--out", out)
    _, printed, _ = run(capsys, other, "--no-run", "--out", out)
    assert "mine/" not in printed
    assert [one.file for one in claims.read(out)] == ["mine"] * 3 + ["other"] * 3
    assert "mine/wider" in (out / "claims.txt").read_text()


def test_mistakes_are_one_sentence_and_exit_2(file, tmp_path, capsys):
    for arguments, said in (
        (("gan/sharpr",), "no claim 'sharpr'; did you mean 'sharper'?"),
        (("gann",), "unknown claims 'gann'; did you mean 'gan'?"),
        ((file, "vea.lr=1"), "unknown key 'vea.lr'"),
        ((file, "baseline=vae"), "name the claims that you want"),
    ):
        code, _, told = run(capsys, *arguments, "--out", tmp_path / "out")
        assert code == 2 and said in told and told.count("\n") == 1, told


def test_a_run_plans_trains_and_resumes_and_shares_with_a_suite(tmp_path, capsys):
    """A suite's run of the VAE is no cell of the claims any more; the second run does nothing."""
    out, text = tmp_path / "out", BODY.replace("640", "256")
    path = write_file(tmp_path, text)
    rows = '[[rows]]\nbaseline = "vae"\n'
    head = 'dataset = "digits"\nn = 32\nextractor = "digits-cnn"\nmetrics = ["fd", "is"]\n'
    (tmp_path / "tiny.toml").write_text(
        f"{head}budget = {{ images = 256 }}\nseeds = [0, 1]\n{rows}"
    )
    inline = ("--executor", "inline", "--threads", "1", "--out", str(out))
    assert cli.main(["run", str(tmp_path / "tiny.toml"), *inline]) == 0
    capsys.readouterr()
    trained = {
        p: p.stat().st_mtime_ns for p in (out / "artifacts" / "train").glob("*.safetensors")
    }
    code, printed, told = run(capsys, path, *inline)
    assert code == 0 and "2 of 7 cells are done already" in told and "[5/5]" in told
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    suite_name, cells = Store(out).plan()
    assert suite_name == "tiny" and len(cells) == 2 + 5  # the suite's table keeps its rows
    assert all(one.links[0].seeds == (0, 1, 2) for one in claims.read(out))
    assert "Claims" in (out / "report.html").read_text()
    code, again, told = run(capsys, path, *inline)
    assert code == 0 and "7 of 7 cells are done already" in told and again == printed
    assert code == 0 and run(capsys, f"{path}", "seeds=0", *inline)[0] == 0


def test_cells_that_fail_make_exit_code_3(tmp_path, capsys):
    text = BODY.replace('{ baseline = "vae" }', '{ baseline = "vae", config = { lr = 1e30 } }')
    path = write_file(tmp_path, text)
    inline = ("--executor", "inline", "--threads", "1", "--out", tmp_path / "out")
    code, printed, told = run(capsys, f"{path}", "seeds=0", *inline)
    assert code == 3 and "vae failed, seed 0: train: " in printed
    assert "1 of 3 cells have no result" in told


# --- the page, and text that wants to be run -----------------------------------------------------

HOSTILE = '<script>alert(1)</script> \x1b[31m|`$x$ =1+1 [a](b) \u202e\nnext "'


def test_the_page_has_the_claims_of_a_folder(file, tmp_path, capsys):
    out = tmp_path / "out"
    filled(out, claims.plan(claims.load(file)), VALUES)
    assert table.section([out]) == []
    run(capsys, file, "--no-run", "--out", out)
    assert cli.main(["report", str(out)]) == 0
    page = (out / "report.html").read_text()
    for text in (
        '<section id="claims"',
        "A wider VAE is better",
        "mine/wider",
        "What was compared",
    ):
        assert text in page, text
    (section,) = table.section([out])
    assert section.id == "claims"


def test_hostile_text_stays_text(tmp_path, capsys):
    out = tmp_path / "out"
    name = json.dumps(HOSTILE)
    text = BODY.replace('"A wider VAE is better"', name).replace('"made up"', name)
    text = text.replace('"FID 3 and 4"', name)
    path = write_file(tmp_path, text)
    planned = claims.plan(claims.load(path))
    store = filled(out, planned, VALUES)
    store.put_record(failed(planned.cells["wide"][0], HOSTILE))
    run(capsys, path, "--no-run", "--out", out)
    report.write(store, out)
    for ending in ("txt", "md", "csv", "tex"):
        written = (out / f"claims.{ending}").read_text()
        assert "\x1b" not in written and "\u202e" not in written, ending
        assert "\nnext" not in written, ending
    assert "|`$x$" not in (out / "claims.md").read_text()
    shown = [s for s in (out / "claims.tex").read_text().splitlines() if not s.startswith("%")]
    assert "$x$" not in "".join(shown)
    assert "<script>alert" not in (out / "report.html").read_text()


def test_a_damaged_file_of_claims_is_told(tmp_path, capsys):
    (tmp_path / "claims.json").write_text("{}")
    with pytest.raises(StoreError, match="claims.json cannot be read .*; remove it"):
        claims.read(tmp_path)


def test_listing_has_the_claims(capsys):
    assert cli.main(["ls", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["claims"]) == set(claims.names())


@pytest.mark.parametrize(
    ("folder", "there", "absent"),
    [("tasks", "cgan/obeyed", "pix2pix/skips"), ("claims", "edm/heun", "pix2pix/psnr")],
)
def test_the_records_of_the_repository_say_what_is_written_beside_them(
    folder, there, absent, tmp_path, capsys
):
    """claims.json of committed results comes out again from the records beside it."""
    root = Path(__file__).resolve().parents[2] / "results" / folder
    (tmp_path / "records").symlink_to(root / "records")
    _, printed, _ = run(capsys, "--no-run", "--out", tmp_path)
    assert there in printed and absent not in printed  # a row of it has no run
    kept = {one.name: (one.verdict, one.values, one.links) for one in claims.read(root)}
    assert kept == {n.name: (n.verdict, n.values, n.links) for n in claims.read(tmp_path)}
    assert len(kept) >= 6
