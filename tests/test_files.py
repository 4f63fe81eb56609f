"""Files that are not what their names say: told in a sentence, never waited for, never a crash."""

import json
import os
import threading

import numpy as np
import pytest

from genbench import files
from genbench.record import Failure, Record
from genbench.spec import Cell, SampleSpec, TrainSpec
from genbench.store import Store, StoreError, append, atomic_write, changing

CELL = Cell(sample=SampleSpec(train=TrainSpec(baseline="x", dataset="d", version="v"), n=4))
RECORD = Record(key=CELL.key, cell=CELL, status="ok")


def sparse(path):
    with path.open("wb") as file:
        file.truncate(5 << 30)


PLANTS = {
    "folder": lambda path: path.mkdir(),
    "full folder": lambda path: [path.mkdir(), (path / "x").write_text("x")],
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "circular link": lambda path: path.symlink_to(path.name),
    "pipe": os.mkfifo,
    "sparse": sparse,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "digits": lambda path: path.write_text("9" * 10_000),
    "a list": lambda path: path.write_text("[1]"),
    "latin-1": lambda path: path.write_bytes(b'{"sha256": "\xe9"}'),
}


@pytest.fixture(params=PLANTS)
def plant(request):
    return PLANTS[request.param]


def test_a_record_that_is_no_file_is_damaged_and_can_be_made_again(tmp_path, plant):
    said = []
    store = Store(tmp_path, said.append, mends=True)
    path = store.put_record(RECORD)
    path.unlink()
    for _ in range(2):  # the second finds the name of what is set aside taken
        plant(path)
        assert Store(tmp_path).records() == [] and os.path.lexists(path)
        assert store.record(RECORD.key) is None
        store.put_record(RECORD)
        assert store.record(RECORD.key) == RECORD
        path.unlink()
    assert len(said) == 2
    assert all("\n" not in text and len(text) < 500 for text in said)


def test_a_plan_that_is_no_file_is_damaged_and_can_be_made_again(tmp_path, plant):
    store = Store(tmp_path, mends=True)
    plant(tmp_path / "plan.json")
    assert Store(tmp_path).plan() is None and os.path.lexists(tmp_path / "plan.json")
    store.put_plan("s", [CELL])
    assert store.plan() == ("s", [CELL])


def test_an_artifact_that_is_no_file_is_damaged_and_can_be_made_again(tmp_path, plant):
    said = []
    store = Store(tmp_path, said.append, mends=True)
    store.put("train", "k", {"a": np.arange(3)}, {})
    (path,) = (tmp_path / "artifacts" / "train").glob("*.safetensors")
    path.unlink()
    plant(path)
    assert Store(tmp_path).get("train", "k") is None and os.path.lexists(path)
    assert store.get("train", "k") is None and len(said) == 1
    store.put("train", "k", {"a": np.arange(3)}, {})
    assert store.get("train", "k").tensors["a"].tolist() == [0, 1, 2]


def test_only_regular_files_are_opened_and_links_to_them(tmp_path):
    (tmp_path / "a").write_bytes(b"x\r\ny")
    (tmp_path / "link").symlink_to("a")
    assert files.read(tmp_path / "link") == b"x\r\ny"
    assert files.read_text(tmp_path / "link") == "x\ny"
    with pytest.raises(files.UnfitFile, match="^it has 4 bytes, and 3 are the most"):
        files.read(tmp_path / "a", 3)
    for bad in (tmp_path, "/dev/zero", "/dev/tty"):
        with pytest.raises(OSError):
            files.read(bad)
    with pytest.raises(OSError):
        files.read(tmp_path / "a\0b")


def test_deep_nesting_is_no_recursion_error():
    for read in (files.json_of, files.toml_of):
        with pytest.raises(ValueError, match="nested"):
            read(("x = " if read is files.toml_of else "") + "[" * 100_000)


def test_a_long_message_is_cut_in_its_record():
    failure = Failure(
        stage="train", type="E", message="ab" * 2_500_000, traceback="", rerun="genbench run"
    )
    assert len(failure.message) <= 4000 and "4,996" in failure.message
    assert failure.message.startswith("abab") and failure.message.endswith("abab")
    assert Failure.model_validate(failure.model_dump()) == failure, "cut once"


def count_up(path, times):
    for _ in range(times):
        with changing(path):
            number = json.loads(path.read_text())
            atomic_write(path, json.dumps(number + 1).encode())


def test_changes_of_a_file_by_two_at_once_all_count(tmp_path):
    path = tmp_path / "number.json"
    path.write_text("0")
    other = threading.Thread(target=count_up, args=(path, 20))
    other.start()
    count_up(path, 20)
    other.join()
    assert path.read_text() == "40"
    assert [p.name for p in tmp_path.iterdir()] == ["number.json"], "no lock is left beside it"


def test_text_is_appended_in_whole_pieces(tmp_path):
    path = tmp_path / "summary.md"
    pieces = [f"{i:03}\n" * 500 for i in range(20)]
    threads = [threading.Thread(target=append, args=(path, piece)) for piece in pieces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = path.read_text()
    assert len(text) == 4 * 500 * 20
    assert all(piece in text for piece in pieces)


@pytest.fixture
def no_home(monkeypatch, tmp_path):
    """A user without HOME and without an entry, as a container may have one."""

    def gone(*arguments):
        raise KeyError("no such entry")

    for name in ("HOME", "GENBENCH_CACHE", "GENBENCH_DATA", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", gone)
    monkeypatch.setattr("pwd.getpwnam", gone)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_home_nothing_is_written_below_the_current_folder(no_home):
    from genbench import data
    from genbench.evaluation.reference import cache
    from genbench.features import WeightsError, load
    from genbench.spec import ConfigError

    said = []
    store = cache(said.append)
    for _ in range(2):
        store.put("reference", "k", {"a": np.arange(3)}, {})
        assert store.get("reference", "k") is None
    assert len(said) == 1 and "no home folder" in said[0] and "set GENBENCH_CACHE" in said[0]
    with pytest.raises(ConfigError, match="no home folder to download it to"):
        data.load("mnist", "test")
    with pytest.raises(WeightsError, match="no home folder to download it to"):
        load("inception")
    assert list(no_home.iterdir()) == []


def test_a_cache_that_may_not_be_read_is_told_once_and_left_alone(tmp_path, monkeypatch):
    from genbench.evaluation.reference import Cache

    said = []
    Cache(tmp_path, said.append).put("reference", "k", {"a": np.arange(3)}, {})

    def forbidden(self, *arguments):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.glob", forbidden)
    store = Cache(tmp_path, said.append)
    for stage in ("reference", "partial"):
        assert store.get(stage, "k") is None and not store.has(stage, "k")
        store.put(stage, "k", {"a": np.arange(4)}, {})
        store.drop(stage, "k")
    assert len(said) == 1 and "cannot read" in said[0] and "no score is affected" in said[0]
    assert len(list((tmp_path / "artifacts" / "reference").iterdir())) == 1
    with pytest.raises(StoreError, match="cannot read .*Permission denied"):
        Store(tmp_path).get("reference", "k")


@pytest.mark.parametrize("name", ["~", "~/x", "~nobodyhere/x", "~\udcff"])
def test_a_path_that_begins_with_a_tilde_is_no_traceback(no_home, name):
    assert str(files.expanded(name)) == name
    (no_home / "~nobodyhere").mkdir()
    (no_home / "~nobodyhere" / "x").write_text("x")
    assert files.read(files.expanded("~nobodyhere/x")) == b"x"
