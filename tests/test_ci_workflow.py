"""The workflow for users: it parses, its commands exist, and exit codes mean what it says."""

import argparse
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from genbench import cli

PATH = Path(__file__).resolve().parent.parent / "docs" / "ci" / "genbench.yml"
WORKFLOW = yaml.safe_load(PATH.read_text("utf-8"))
JOBS = WORKFLOW["jobs"]


def steps(job):
    return {step["name"].split("  #")[0]: step for step in JOBS[job]["steps"] if "name" in step}


def scripts():
    return [s["run"] for job in JOBS for s in JOBS[job]["steps"] if "run" in s]


def commands():
    """Every command of genbench, in the scripts and in the comment at the top."""
    found = []
    comment = [line.lstrip("# ") for line in PATH.read_text().splitlines() if line[:1] == "#"]
    for line in [*comment, *(line for script in scripts() for line in script.splitlines())]:
        match = re.match(r"\s*(genbench (?:(?!\|\||>).)*)", line)
        if match and "GitHub" not in line:
            found.append(match.group(1).replace('"$BANK"', WORKFLOW["env"]["BANK"]).strip())
    return found


def verbs(parser):
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


def test_it_runs_when_it_should_and_may_write_nothing():
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key "on" as true
    assert set(triggers) == {"pull_request", "push", "schedule", "workflow_dispatch"}
    assert triggers["push"]["branches"] == ["release/**"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert set(JOBS) == {"gate", "drift"}
    for job in JOBS.values():
        assert {"runs-on", "timeout-minutes", "if"} <= set(job)
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))


def test_it_has_the_commands_that_it_is_for():
    found = {tuple(shlex.split(command)[:2]) for command in commands()}
    assert found == {("genbench", v) for v in ("run", "gate", "bank", "reproduce")}


@pytest.mark.parametrize("command", commands())
def test_every_command_and_option_exists(command):
    _, verb, *arguments = shlex.split(command)
    parser = cli._parser()
    if verb not in verbs(parser):
        assert verb in ("gate", "bank")
        pytest.skip(f"this version has no `genbench {verb}`")
    parsed, rest = parser.parse_known_args([verb, *arguments])
    assert not [word for word in rest if word.startswith("-")]
    if verb == "run":
        from genbench import suite

        suite.load(parsed.suite, [*parsed.changes, *rest])


@pytest.mark.parametrize("script", scripts())
def test_scripts_are_valid_shell(script):
    assert "${{" not in script, "an expression in a script is an injection: pass it by `env`"
    subprocess.run(["bash", "-n", "-c", script], check=True)


def run(job, name, code, folder, **environment):
    """Run a step's script with a genbench that ends with `code`."""
    fake = folder / "bin" / "genbench"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps(job)[name]["run"]],
        env={
            "PATH": f"{fake.parent}:{os.environ['PATH']}",
            "BANK": "bank.json",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            **environment,
        },
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("code", range(6))
def test_the_gate_is_red_but_for_a_pass_and_for_the_inconclusive_on_a_pull_request(code, tmp_path):
    on_pull_request = run("gate", "Gate", code, tmp_path, STRICT="false")
    on_release = run("gate", "Gate", code, tmp_path, STRICT="true")
    drift = run("drift", "Gate", code, tmp_path)
    assert on_release.returncode == drift.returncode == code
    assert on_pull_request.returncode == (0 if code == 4 else code)
    assert ("::warning" in on_pull_request.stdout) == (code == 4)
    assert "::warning" not in on_release.stdout


@pytest.mark.parametrize("code", range(6))
def test_a_reproduction_with_other_families_is_a_warning(code, tmp_path):
    done = run("drift", "Reproduce", code, tmp_path)
    assert done.returncode == (0 if code == 4 else code)
    assert ("::warning" in done.stdout) == (code == 4)


@pytest.mark.parametrize(("job", "name"), [("gate", "Run"), ("drift", "Run")])
def test_failed_cells_reach_the_gate_and_mistakes_stop_at_once(job, name, tmp_path):
    ended = [run(job, name, code, tmp_path).returncode == 0 for code in (0, 2, 3, 130)]
    assert ended == [True, False, True, False]
