"""The store: whole or not there, damage found by checksum, set aside and said."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from toys import environment

from genbench.record import Record
from genbench.spec import Cell, SampleSpec, TrainSpec, canonical_json
from genbench.store import Store, StoreError, atomic_write
from genbench.stored import digest, holds_results

CELL = Cell(sample=SampleSpec(train=TrainSpec(baseline="x", dataset="d", version="v"), n=4))
RECORD = Record(key=CELL.key, cell=CELL, status="ok")


@pytest.fixture
def said():
    return []


@pytest.fixture
def store(tmp_path, said):
    return Store(tmp_path, said.append, mends=True)


def test_artifacts_come_back_as_they_were(store):
    arrays = {
        "a": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "scalar": np.array(7, dtype=np.int64),
        "f": np.array([1.5, -0.0], dtype=np.float32),
    }
    store.put("train", "k", arrays, {"x": 1.5, "y": ["z", None]})
    found = store.get("train", "k")
    assert found.info == {"x": 1.5, "y": ["z", None]}
    for name, array in arrays.items():
        assert found.tensors[name].shape == array.shape
        assert found.tensors[name].dtype == array.dtype
        assert np.array_equal(found.tensors[name], array)
    assert store.get("train", "other") is None


def test_only_the_newest_of_a_key_is_kept(store):
    for value in (1, 2):
        store.put("s", "k", {"a": np.array([value])}, {})
    assert len(list((store.root / "artifacts" / "s").glob("*.safetensors"))) == 1
    assert store.get("s", "k").tensors["a"][0] == 2
    store.drop("s", "k")
    assert not store.has("s", "k")


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_artifact_is_set_aside_not_used(store, said, damage):
    store.put("train", "k", {"a": np.arange(100)}, {})
    (path,) = (store.root / "artifacts" / "train").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes({"flip": bytes(data), "truncate": data[:-9], "empty": b""}[damage])
    assert Store(store.root, said.append).get("train", "k") is None
    assert path.is_file() and "train file k." in said[0] and "is left out" in said[0]
    assert store.get("train", "k") is None
    assert "damaged" in said[1] and "train file k." in said[1]
    assert not store.has("train", "k")
    store.put("train", "k", {"a": np.arange(100)}, {})
    assert store.get("train", "k") is not None


@pytest.mark.parametrize("damage", ["edit", "truncate", "schema", "move"])
def test_a_damaged_record_is_set_aside_not_used(store, said, damage):
    path = store.put_record(RECORD)
    assert store.record(CELL.key) == RECORD
    text = path.read_text()
    if damage == "edit":
        path.write_text(text.replace('"ok"', '"skipped"'))
    elif damage == "truncate":
        path.write_text(text[: len(text) // 2])
    elif damage == "schema":
        body = {**RECORD.model_dump(mode="json"), "schema_version": 99}
        sha256 = digest(canonical_json(body).encode())
        path.write_text(json.dumps({"sha256": sha256, **body}))
    else:
        path.unlink()
        store.put_record(RECORD.model_copy(update={"key": "0" * 16}))
        path = store.record_path("0" * 16)
    before, key = path.read_bytes(), path.stem
    reader = Store(store.root, said.append)
    for _ in range(2):
        assert reader.record(key) is None and reader.records() == store.records() == []
    assert path.read_bytes() == before
    assert len(said) == 2 and said[0] == said[1] and "is left out" in said[0]
    assert store.record(key) is None
    assert len(said) == 3 and "set aside" in said[2]
    (aside,) = path.parent.iterdir()
    assert aside.read_bytes() == before
    assert aside.name == path.name + (".schema-99" if damage == "schema" else ".damaged")


def test_other_files_beside_records_are_not_looked_at(store, said):
    assert not holds_results(store.root)
    folder = store.root / "records"
    folder.mkdir()
    for name in ("annotations.json", "0123456789ABCDEF.json", "0" * 16, f"{'0' * 17}.json"):
        (folder / name).write_text("{}")
    (store.root / "plan.json").write_text('{"steps": []}')
    assert store.records() == [] and said == []
    assert not holds_results(store.root)
    store.put_plan("s", [])
    assert holds_results(store.root)
    (store.root / "plan.json").unlink()
    store.put_record(RECORD)
    assert holds_results(store.root) and store.records() == [RECORD]


def test_a_file_that_may_not_be_read_is_not_taken_for_a_damaged_one(store, said, monkeypatch):
    path = store.put_record(RECORD)

    def forbidden(path, most=None):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("genbench.files.opened", forbidden)
    assert store.records() == []
    assert said == [f"record {path.name} cannot be read (Permission denied) and is left out"]
    with pytest.raises(StoreError, match="Permission denied; make it readable, or take it away"):
        store.record(CELL.key)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_records_in_a_folder_that_may_not_be_read_are_not_passed_over(store, monkeypatch):
    def forbidden(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(pathlib.Path, "iterdir", forbidden)
    with pytest.raises(StoreError, match="cannot read .*records: Permission denied"):
        store.records()
    with pytest.raises(StoreError, match="cannot read .*records: Permission denied"):
        holds_results(store.root)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "f"
    atomic_write(path, b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device; make room or choose another"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_files_have_the_mode_that_the_umask_gives(tmp_path):
    atomic_write(tmp_path / "ours", b"")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "out")
    with pytest.raises(StoreError, match="cannot write .*Not a directory"):
        store.put_record(RECORD)
    with pytest.raises(StoreError), store.lock("train", "k"):
        pass


HOLD = """
import os, sys, time
from genbench.store import Store
with Store(sys.argv[1]).lock("train", "k"):
    if os.fork():
        print(os.getpid(), flush=True)
    time.sleep(30)
"""


def test_who_waits_for_a_lock_knows_for_whom_and_no_child_keeps_it(store):
    command = [sys.executable, "-c", HOLD, str(store.root)]
    told = []

    @contextmanager
    def waiting(pid):
        told.append(pid)
        holder.kill()  # its child lives on, with the same open file
        yield

    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment(), start_new_session=True
    ) as holder:
        try:
            assert int(holder.stdout.readline()) == holder.pid
            with store.lock("train", "k", waiting):
                assert told == [holder.pid]
            with store.lock("train", "k", waiting):
                assert told == [holder.pid]
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


def test_the_plan_keeps_its_order(store):
    assert store.plan() is None
    other = CELL.model_copy(update={"cpus": 2})
    store.put_plan("quick", [other, CELL])
    assert store.plan() == ("quick", [other, CELL])
    (store.root / "plan.json").write_text("{")
    assert store.plan() is None
