"""What rows must beat: files that do not say, verdicts without a signal, and how they are told."""

import csv
import json

import pytest
from claim_samples import BODY, filled, ok, write_file

from genbench import claims, cli, report
from genbench.spec import ConfigError
from genbench.store import Store

MUST = 'must_beat = { none = "for tests" }'
GAUSSIAN = 'must_beat = { row = "gaussian", measure = "fd" }'
SIGNAL = BODY.replace(MUST, GAUSSIAN)
VALUES = {"vae": (3.0, 3.1, 3.2), "wide": (2.0, 2.15, 2.2), "gaussian": (36.0,)}


def judged(folder, values, text=SIGNAL, **fields):
    planned = claims.plan(claims.load(write_file(folder, text)))
    records = [
        ok(cell, value, **fields)
        for row, mine in values.items()
        for cell, value in zip(planned.cells[row], mine, strict=False)
    ]
    return {one.claim: one for one in claims.judge(planned, records, exact=True)}


@pytest.mark.parametrize(
    ("must", "said"),
    [
        ("", "claim 'wider' does not say what its rows must beat: write must_beat = .*WHY"),
        ('must_beat = { row = "gausian", measure = "fd" }', "unknown row 'gausian'; .*'gaussian'"),
        ('must_beat = { row = "gaussian", measure = "fdd" }', "unknown measure 'fdd'; .*'fd'"),
        ('must_beat = { row = "gaussian", measure = "nfe" }', "unknown measure 'nfe'"),
        ('must_beat = { row = "gaussian", measure = "prdc" }', "'prdc' are 4 metrics"),
        ('must_beat = { value = 1, measure = "high_frequency" }', "neither low nor high"),
        ('must_beat = { row = "gaussian" }', "must_beat: needs measure"),
        ('must_beat = { measure = "fd" }', "names one of row, value and none"),
        ('must_beat = { row = "vae", value = 1, measure = "fd" }', "names one of row, value"),
        ('must_beat = { none = "x", measure = "fd" }', "none stands alone"),
        (GAUSSIAN.replace(" }", ', rows = ["gaussian"] }'), "'gaussian' is not compared; .*vae"),
        (GAUSSIAN.replace("row", "rwo"), "unknown key 'rwo'"),
    ],
)
def test_a_file_that_does_not_say_what_to_beat_is_refused(tmp_path, must, said):
    with pytest.raises(ConfigError, match=said) as error:
        claims.load(write_file(tmp_path, BODY.replace(MUST, must)))
    assert "mine" in str(error.value) and "\n" not in str(error.value)


def test_the_reference_is_planned_with_its_measure_and_need_not_be_compared(tmp_path):
    text = SIGNAL[: SIGNAL.index("[claims.beats]")]  # nothing compares the Gaussian now
    text = text.replace('measure = "fd"\nexpect', 'measure = "ms_per_image"\nexpect')
    file = claims.load(write_file(tmp_path, text))
    planned = claims.plan(file)
    assert planned.references == {"gaussian"} and len(planned.cells["gaussian"]) == 1
    assert {m.name for m in planned.cells["gaussian"][0].metrics} == {"fd"}
    assert file.only("ratio").rows == ("vae", "wide", "gaussian")


def test_a_claim_may_have_a_reference_of_its_own(tmp_path):
    own = 'expect = "wide < vae"\nmust_beat = { value = 2.5, measure = "fd", rows = ["wide"] }'
    found = judged(tmp_path, VALUES, SIGNAL.replace('expect = "wide < vae"', own))
    assert found["wider"].must_beat == "wide: 2.5 in fd" and found["wider"].verdict == "REPRODUCED"
    assert [link.text for link in found["wider"].signal] == ["wide < 2.5"]
    assert found["ratio"].must_beat == "gaussian in fd"


def test_rows_without_a_signal_are_not_compared(tmp_path):
    """Clearly apart, but both worse than the Gaussian."""
    found = judged(tmp_path, VALUES | {"vae": (240, 244, 248), "wide": (150, 155, 160)})
    one = found["wider"]
    assert one.links[0].verdict == "REPRODUCED" and one.verdict == "NOT MEASURABLE"
    # Student's t with 2 degrees of freedom is 4.303: 244 +- 4.303 * 4 / sqrt(3)
    assert one.reason == (
        "wide: FD 155 [143, 167] does not beat gaussian's 36; "
        "vae: FD 244 [234, 254] does not beat gaussian's 36"
    )
    assert [link.verdict for link in one.signal] == ["NOT REPRODUCED"] * 2


@pytest.mark.parametrize(
    ("wide", "verdict"),
    [
        ((20.0, 21.0, 22.0), "REPRODUCED"),
        ((30.0, 33.0, 36.0), "NOT MEASURABLE"),  # below on average, not for certain
        ((35.9, 35.9, 35.9), "REPRODUCED"),
        ((36.0, 36.0, 36.0), "NOT MEASURABLE"),
    ],
)
def test_the_interval_must_lie_wholly_below_the_reference(tmp_path, wide, verdict):
    own = 'expect = "wide < vae"\n' + GAUSSIAN.replace(" }", ', rows = ["wide"] }')
    values = VALUES | {"wide": wide, "vae": (99.0, 99.5, 99.9)}
    found = judged(tmp_path, values, SIGNAL.replace('expect = "wide < vae"', own))
    assert found["wider"].verdict == verdict


def test_where_higher_is_better_the_reference_is_beaten_from_above(tmp_path):
    text = SIGNAL.replace(GAUSSIAN, 'must_beat = { value = 2.5, measure = "is" }')
    found = judged(tmp_path, VALUES, text)
    assert found["wider"].verdict == "NOT MEASURABLE"
    assert "wide: IS 2.117 [1.86, 2.38] does not beat 2.5" in found["wider"].reason
    assert "vae" not in found["wider"].reason
    assert found["beats"].verdict == "REPRODUCED"  # the Gaussian itself has nothing to beat


def test_speed_is_worth_comparing_only_of_rows_with_a_signal(tmp_path):
    text = SIGNAL.replace('measure = "fd"\nexpect', 'measure = "ms_per_image"\nexpect')
    assert judged(tmp_path, VALUES, text)["wider"].verdict == "REPRODUCED"
    bad = judged(tmp_path, VALUES | {"vae": (40, 41, 42)}, text)["wider"]
    assert bad.verdict == "NOT MEASURABLE" and bad.measure == "ms_per_image"
    assert bad.reason == "vae: FD 41 [38.5, 43.5] does not beat gaussian's 36"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            VALUES | {"gaussian": ()},
            "whether gaussian in fd is beaten is open: no FD: gaussian has no run",
        ),
        (VALUES | {"vae": (3.0, 3.1), "wide": (2.0, 2.1)}, ""),  # told by the comparison
    ],
)
def test_what_is_not_known_is_open(tmp_path, values, reason):
    found = judged(tmp_path, values)
    assert (found["wider"].verdict, found["wider"].reason) == ("INCONCLUSIVE", reason)


def test_every_output_knows_the_verdict(tmp_path, capsys):
    out, path = tmp_path / "out", write_file(tmp_path, SIGNAL)
    values = VALUES | {"vae": (240, 244, 248)}
    filled(out, claims.plan(claims.load(path)), values)
    said = "vae: FD 244 [234, 254] does not beat gaussian's 36"
    assert cli.main(["claims", path, "--no-run", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (
        "NOT MEASURABLE" in printed and said in printed and "must beat gaussian in fd" in printed
    )
    for ending in ("txt", "md", "tex", "csv", "json"):
        text = (out / f"claims.{ending}").read_text()
        assert "NOT MEASURABLE" in text, ending
        assert "does not beat gaussian's 36" in text.replace("\\", "").replace("{}", ""), ending
    first, *_ = csv.DictReader((out / "claims.csv").read_text().splitlines())
    row = next(r for r in csv.DictReader((out / "claims.csv").read_text().splitlines()))
    assert row == first and first["must beat"] == "gaussian in fd"
    kept = json.loads((out / "claims.json").read_text())["claims"]
    assert all(one["must_beat"] == "gaussian in fd" for one in kept)
    assert claims.read(out)[0].signal
    report.write(Store(out), out)
    page = (out / "report.html").read_text()
    assert "NOT MEASURABLE" in page and "does not beat gaussian&#39;s 36" in page


def test_a_verdict_whose_runs_are_gone_is_dropped(tmp_path, capsys, monkeypatch):
    """Of a folder that is judged as a whole."""
    out, path = tmp_path / "out", write_file(tmp_path, SIGNAL)
    monkeypatch.setattr("genbench.claims.file.names", lambda: [path])
    store = filled(out, claims.plan(claims.load(path)), VALUES)
    judge = ["claims", "--no-run", "--out", str(out)]
    assert cli.main(judge) == 0 and len(claims.read(out)) == 3
    for record in store.records():
        if record.cell.sample.train.config.get("hidden") == 64:
            (out / "records" / f"{record.key}.json").unlink()
    assert cli.main(judge) == 0
    assert [one.claim for one in claims.read(out)] == ["beats"]
    capsys.readouterr()


@pytest.mark.parametrize("name", claims.names())
def test_every_claim_of_the_package_names_what_it_must_beat(name):
    for claim in claims.load(name).claims.values():
        assert claim.must_beat is not None
        assert not claim.must_beat.none or len(claim.must_beat.none.split()) > 5
