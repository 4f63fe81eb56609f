"""What people and CI read of a gate, and that hostile names stay text."""

import re
from xml.etree import ElementTree

import pytest
from gate_samples import BANKED, FD, SAME, WORSE, bank, cell, failed, folder, real, seeds

from genbench.cli import main
from genbench.gate.judge import Information, Outcome
from genbench.gate.output import annotations, junit, one_line, summary, summary_path, table
from genbench.gate.verdict import WORST_FIRST, Finding, overall

HOSTILE = "\x1b[31m]]></a>&<b x='\"'>|`*_[l](u)_|\n::error title=x::boo %0A\r##[add-mask]\u202e"


def told(verdict, cell="vae", reason="because"):
    return Finding(cell, FD.id, verdict, 0.12, 0.2, 0.3, 0.05, reason, 4.0, 4.5)


EVERY = Outcome([told(v) for v in WORST_FIRST], [Information("vae", "is@x/n9", 1, 2)], ["gan"])


def test_overall_is_the_worst() -> None:
    findings = [told(v) for v in WORST_FIRST]
    for i, verdict in enumerate(WORST_FIRST):
        assert overall(findings[i:]) == overall(findings[i:][::-1]) == verdict
    assert overall([]) == "INCOMPARABLE"


def test_the_table_has_what_a_person_needs() -> None:
    text = table(EVERY)
    line = next(line for line in text.splitlines() if line.startswith("REGRESSED"))
    words = "REGRESSED vae fd 4 4.5 +12.0 % +20.0 % 5.0 % 30.0 % because"
    assert line.split() == words.split()
    assert f"fd is {FD.id}." in text
    assert "Not gated: vae, is 1 -> 2." in text
    assert "Not in the bank, no verdict: gan." in text
    assert text.splitlines()[-1].startswith("REGRESSED: 1 REGRESSED, 1 MISSING")


def test_junit_is_green_for_pass_alone() -> None:
    root = ElementTree.fromstring(junit(EVERY))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len(list(root.iter("testcase"))) == 5 and set(cases) == {FD.id}
    inside = [[(e.tag, e.get("type")) for e in case] for case in root.iter("testcase")]
    assert inside == [
        [("failure", "regressed")],
        [("failure", "missing")],
        [("error", "incomparable")],
        [("failure", "inconclusive")],
        [],
    ]
    for node in (root, root[0]):
        assert [node.get(n) for n in ("tests", "failures", "errors")] == ["5", "3", "1"]
    nothing = ElementTree.fromstring(junit(Outcome()))
    assert nothing.get("errors") == "1" and nothing.find(".//error") is not None


def test_annotations_name_what_is_not_pass() -> None:
    lines = annotations(EVERY)
    assert [line.split(" ")[0] for line in lines] == ["::error"] * 3 + ["::warning"]
    assert lines[0].startswith("::error title=genbench gate%3A vae::REGRESSED vae, fd@")
    assert "12.0 %25" in lines[0]  # a percent sign, escaped


def test_hostile_names_are_text_everywhere() -> None:
    outcome = Outcome(
        [told(v, HOSTILE, HOSTILE) for v in WORST_FIRST],
        [Information(HOSTILE, HOSTILE, 1, 2)],
        [HOSTILE],
    )
    for text in (
        table(outcome),
        summary(outcome),
        *annotations(outcome),
        one_line(told("PASS", HOSTILE)),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        assert "##[" not in text
    # GitHub reads a command where a line begins with it
    for text in (table(outcome), summary(outcome)):
        assert not any(line.strip().startswith("::") for line in text.splitlines())
    lines = [line for line in summary(outcome).splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1  # no cell is split
    assert not re.search(r"(?<!\\)[<`]", summary(outcome))
    for line in annotations(outcome):
        assert "\n" not in line and line.count("title=genbench gate%3A") == 1
        title = re.match(r"::(?:error|warning) title=([^:]*)::", line)
        assert title and "," not in title[1] and "%250A" in line
    root = ElementTree.fromstring(junit(outcome))  # well-formed
    assert "</a>&<b" in root.find(".//testcase").get("classname")


def test_files_and_annotations_of_the_command(tmp_path, capsys, monkeypatch) -> None:
    path = bank(tmp_path, [*seeds(BANKED), *real()])
    new = folder(tmp_path / "new", [*seeds(WORSE), failed(cell(seed=3), HOSTILE), *real()])
    said, step = tmp_path / "said.md", tmp_path / "step.md"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    capsys.readouterr()
    command = ["gate", str(new), "--bank", str(path), "--junit", str(tmp_path / "j.xml")]
    assert main(command) == 3
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and err[0].startswith("::error title=genbench gate%3A vae::MISSING vae")
    text = step.read_text()
    assert text.startswith("before\n### genbench gate: MISSING") and "| REGRESSED" not in text
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert main([*command, "--summary", str(said)]) == 3
    assert step.read_text() == text and said.read_text() == text.removeprefix("before\n")
    monkeypatch.delenv("GITHUB_ACTIONS")
    capsys.readouterr()
    main(command)
    assert "::error" not in capsys.readouterr().err


def test_where_the_summary_goes(tmp_path) -> None:
    assert summary_path(None, {}) is None
    assert summary_path(tmp_path, {"GITHUB_STEP_SUMMARY": "x"}) == tmp_path


def test_a_pass_says_nothing_on_stderr(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    path = bank(tmp_path, [*seeds(BANKED), *real()])
    new = folder(tmp_path / "new", [*seeds(SAME), *real()])
    capsys.readouterr()
    assert main(["gate", str(new), "--bank", str(path), "--no-more-seeds"]) == 0
    out = capsys.readouterr()
    assert not out.err and "PASS" in out.out


@pytest.mark.parametrize("value", [0, 1000, 1234567.0, 0.00012345])
def test_numbers_are_readable(value) -> None:
    text = table(Outcome([Finding("a", "nfe", "PASS", old=value, new=value)]))
    expected = {0: "0", 1000: "1,000", 1234567.0: "1,234,567", 0.00012345: "0.0001234"}[value]
    assert expected in text.split()
