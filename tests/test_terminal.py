"""What is printed is clean, and a stream that takes nothing changes no exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gate import gate_samples as gs
from toys import environment

from genbench import cli, terminal
from genbench.text import screened

# Runs every verb in a child of a process that has loaded torch, on the streams that `way` names.
DRIVER = """
import json, os, sys
import torch, genbench.cli, genbench.__main__ as console

def child(arguments, way):
    full = os.open("/dev/full", os.O_WRONLY)
    reader, gone = os.pipe()
    os.close(reader)
    if way == "closed":
        os.close(1), os.close(2)
        sys.stdout = sys.stderr = None
    else:
        bad = {"pipe": gone, "full": full}[way]
        os.dup2(bad, 1), os.dup2(bad, 2)
        sys.stdout = open(1, "w", encoding="ascii", closefd=False)
        sys.stderr = open(2, "w", encoding="ascii", closefd=False)
    sys.argv = ["genbench", *arguments]
    try:
        console.entry()
    except SystemExit as stop:
        os._exit(stop.code)

codes = {}
for name, arguments in json.loads(sys.argv[1]).items():
    pid = os.fork()
    if pid == 0:
        child(arguments, sys.argv[2])
    codes[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A results folder that regressed, its bank, and a suite with a row that fails."""
    folder = tmp_path_factory.mktemp("folders")
    bank = gs.bank(folder, gs.seeds(gs.BANKED))
    worse = gs.folder(folder / "worse", gs.seeds(gs.WORSE))
    other = gs.folder(folder / "other", gs.seeds([0.3], dataset="mnist"))
    suite = folder / "short.toml"
    rows = "".join(f'[[rows]]\nbaseline = "{name}"\n' for name in ("real", "gaussian"))
    suite.write_text(
        'dataset = "digits"\nn = 100\nmetrics = ["fd"]\nextractor = "pixels"\n'
        f"[budget]\nimages = 100\n{rows}"
    )
    return folder, bank, worse, other, suite


def verbs(folders, tmp_path: Path) -> dict[str, tuple[list[str], int]]:
    """Arguments of every verb, and the exit code that it has on a terminal."""
    folder, bank, worse, other, suite = map(str, folders)
    run = ["--executor", "inline", "--threads", "1", "--device", "cpu"]
    images = ["digits:test", "--reference", "digits:train", "--extractor", "pixels"]
    return {
        "help": (["--help"], 0),
        "ls": (["ls"], 0),
        "doctor": (["doctor"], 0),
        "usage": (["run", "nosuch"], 2),
        "arguments": (["run", "smoke", "--nosuch"], 2),
        "run": (["run", suite, "--out", f"{tmp_path}/run", *run], 0),
        "failed": (["run", suite, "--out", f"{tmp_path}/late", "--timeout", "0.001", *run], 3),
        "report": (["report", worse, "--out", f"{tmp_path}/report"], 0),
        "compare": (["compare", worse, other], 5),
        "show": (["bank", "show", bank], 0),
        "add": (["bank", "add", worse, "--bank", f"{tmp_path}/few.json"], 2),
        "gate": (["gate", worse, "--bank", bank, "--no-more-seeds"], 1),
        "claims": (["claims", "gan", "--no-run", "--out", worse], 0),
        "data": (["data", "digits"], 0),
        "eval": (["eval", *images, "--metrics", "fd", *run[2:]], 0),
        "reproduce": (["reproduce", f"{folder}/nosuch"], 2),
        "speed": (["speed", "nosuch"], 2),
    }


@pytest.mark.parametrize("way", ["pipe", "full", "closed"])
def test_the_exit_code_is_the_commands_own_whoever_reads(way, folders, tmp_path):
    wanted = verbs(folders, tmp_path)
    arguments = json.dumps({name: given for name, (given, _) in wanted.items()})
    kept = tmp_path / "kept"
    kept.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER, arguments, way],
        env=environment() | {"TMPDIR": str(kept)}, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {name: code for name, (_, code) in wanted.items()}
    assert len(list((tmp_path / "run" / "records").glob("*.json"))) == 2
    assert (tmp_path / "run" / "leaderboard.txt").exists()
    texts = [path.read_text("utf-8") for path in kept.glob("genbench-result-*.txt")]
    if way == "pipe":  # whoever closed it has seen enough
        assert texts == []
    else:
        assert any("REGRESSED" in text for text in texts)
        assert any("digits:test" in text or "FD" in text for text in texts)
    assert not list(kept.glob("genbench-error-*"))


def test_another_encoding_gets_what_it_can_show(folders):
    ran = subprocess.run(
        [sys.executable, "-m", "genbench", "report", str(folders[2]), "--out", str(folders[0])],
        env=environment() | {"PYTHONIOENCODING": "ascii"}, capture_output=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert b"+-" in ran.stdout and ran.stdout.isascii()


def test_a_pipe_that_does_not_wait_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ran = subprocess.Popen(
        [sys.executable, "-c", "from genbench import terminal as t\nt.settle()\n"
         "t.result('x' * 400_000)\nt.finish()"],
        env=environment(), stdout=writer,
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert len(file.read()) == 400_001
    assert ran.wait() == 0


@pytest.mark.parametrize(
    "error", [RuntimeError("odd\n::error::\x1b[31m"), SystemExit(1), MemoryError()]
)
def test_what_nobody_thought_of_is_70_and_one_sentence(error, monkeypatch, tmp_path, capsys):
    def broken(path):
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("genbench.cli.report.folder", broken)
    assert cli.main(["report", "x"]) == terminal.FAULT == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "\x1b" not in said and type(error).__name__ in said
    (path,) = tmp_path.iterdir()
    assert str(path) in said and "in broken" in path.read_text("utf-8")


def test_a_file_that_cannot_be_used_is_named(monkeypatch, capsys):
    def broken(path):
        raise PermissionError(13, "Permission denied", "/some/file")

    monkeypatch.setattr("genbench.cli.report.folder", broken)
    assert cli.main(["report", "x"]) == 2
    assert "cannot use /some/file: Permission denied" in capsys.readouterr().err


def test_screened_lines_keep_their_layout_and_lose_what_a_terminal_or_a_runner_obeys():
    assert screened("a  ±  b\n\tc") == "a  ±  b\n\tc"
    assert screened("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x00y\rz") == "red x y z"
    assert screened("ok\n  ::error::no\n##[command]rm") == "ok\n  : :error::no\n## [command]rm"
    assert screened("a::b ## [") == "a::b ## ["


def test_messages_of_megabytes_are_cut(capsys):
    terminal.say("x" * 5_000_000 + "\n::error::no")
    said = capsys.readouterr().err
    assert len(said) < 5000 and said.count("\n") == 1


def test_arguments_that_are_quoted_are_cleaned(capsys):
    for given in (["run", "--x\n::error::y\x1b[31m"], ["nosuch\n::error::y", "x"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(given)
        said = capsys.readouterr().err
        assert stop.value.code == 2 and "\x1b" not in said
        assert not any(line.lstrip().startswith("::") for line in said.splitlines())
