"""Whole cells: same bits twice, stages skipped, damage redone, failures as records."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from toys import cells, content, environment, package, run_inline, suite_file, toy

from genbench import registry
from genbench.executors import make
from genbench.runtime import Runtime
from genbench.spec import ConfigError
from genbench.store import Store

ROWS = [
    'baseline = "vae"',
    'baseline = "ddpm"\noptions = { sampler = "ddim", steps = 4 }',
    'baseline = "ddpm"\noptions = { sampler = "ddpm", steps = 6 }',
    'baseline = "real"',
]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One finished run that tests read but do not change."""
    folder = tmp_path_factory.mktemp("done")
    todo = cells(suite_file(folder, ROWS))
    store, records = run_inline(folder / "out", todo)
    return todo, store, records


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Families that misbehave, found by an entry point."""
    families = {
        "good": toy("Good"),
        "phased": toy("Phased", step="if update.progress < 0.5: update('net', loss);"
        " return {'first': loss}"),
        "raises": toy("Raises", step='raise KeyError("lost")'),
        "nans": toy("Nans", step="loss = loss * float('nan')"),
        "nansample": toy("NanSample", sample="x = x * float('nan')"),
        "slow": toy("Slow", step="import time; time.sleep(60)"),
        "mine_rank": toy("Rank", step="import torch.distributed as td; assert td.get_rank() == 0,"
        " 'only here'"),
    }  # fmt: skip
    package(tmp_path / "path", families)
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setenv("PYTHONPATH", environment(tmp_path / "path")["PYTHONPATH"])
    registry.forget()
    yield
    registry.forget()
    for name in [n for n in sys.modules if n == "mine" or n.startswith("mine.")]:
        del sys.modules[name]


def test_a_record_says_everything(done):
    todo, store, records = done
    assert [r.status for r in records] == ["ok"] * 4
    for cell, record in zip(todo, records, strict=True):
        assert record.key == cell.key and store.record(cell.key) == record
        assert record.environment.batch == 32 and record.environment.threads == 1
        assert set(record.scores) == {m.id for m in cell.metrics}
        assert record.environment.packages["torch"].startswith(torch.__version__.partition("+")[0])
        assert record.environment.hashes.keys() >= {"digits-cnn", "digits:train"}
        assert record.data["split_seed"] == 0 and record.data["train_count"] == 1437
    vae, ddim, ddpm, real = records
    assert (vae.counters.nfe, ddim.counters.nfe, ddpm.counters.nfe) == (1, 4, 6)
    assert vae.counters.train_images == 640 and vae.counters.ended_by == "images"
    assert real.counters.train_images == 0 and real.counters.ended_by == "fit"
    assert vae.kind == "autoencoder" and ddim.kind == "diffusion" and real.kind == "reference"
    assert ddim.skipped == () and ddpm.skipped == ("train",)
    assert vae.timings.ms_per_image > 0 and ddim.timings.train > 0


def test_two_folders_get_the_same_bits(done, tmp_path):
    todo, store, _ = done
    other, _ = run_inline(tmp_path, todo)
    assert content(other.root) == content(store.root)
    assert len(content(store.root)) > 8


def test_a_second_run_skips_the_stages_that_are_done(done):
    todo, store, records = done
    again = run_inline(store.root, todo[:1])[1][0]
    assert again.skipped == ("train", "sample")
    assert again.scores == records[0].scores
    assert again.timings.train == records[0].timings.train


@pytest.mark.parametrize("stage", ["train", "sample", "features"])
def test_a_damaged_file_is_reported_and_redone(done, tmp_path, stage):
    todo, _, records = done
    run_inline(tmp_path, todo[:1])
    (folder,) = [tmp_path / "artifacts" / stage]
    for path in folder.glob("*.safetensors"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))
    said = []
    store = Store(tmp_path, said.append)
    from genbench.pipeline import run_cell

    record = run_cell(todo[0], store, Runtime(out=tmp_path, device="cpu"))
    assert record.scores == records[0].scores
    assert said and all(f"{stage} file" in message for message in said)


def test_a_record_has_the_last_losses_of_every_phase(tmp_path, mine):
    (cell,) = cells(suite_file(tmp_path, ['baseline = "phased"']))
    _, (record,) = run_inline(tmp_path / "out", [cell])
    assert record.losses.keys() == {"first", "mse"}
    assert record.losses["first"] > record.losses["mse"] > 0


def test_failures_are_records_and_the_others_finish(tmp_path, mine):
    names = ["raises", "nans", "nansample", "slow", "good"]
    todo = cells(suite_file(tmp_path, [f'baseline = "{name}"' for name in names]))
    store, records = run_inline(tmp_path / "out", todo, timeout=6)
    by_name = dict(zip(names, records, strict=True))
    assert by_name["good"].status == "ok"
    expected = {
        "raises": ("failed", "train", "KeyError", "'lost'"),
        "nans": ("failed", "train", "NonFiniteError", "the loss 'net' is nan"),
        "nansample": ("failed", "sample", "NonFiniteError", "samples 0 to 31 have NaN"),
        "slow": ("timeout", "train", "CellTimeoutError", "longer than its limit of 6 s"),
    }
    for name, (status, stage, kind, message) in expected.items():
        record = by_name[name]
        assert (record.status, record.error.stage, record.error.type) == (status, stage, kind)
        assert message in record.error.message
        assert "Traceback" in record.error.traceback
        assert record.error.rerun == f"genbench run --out {store.root} --cell {record.key}"
        assert store.record(record.key) == record and record.scores == {}


HOLD = """
import sys, time
from genbench.store import Store
with Store(sys.argv[1]).lock("train", sys.argv[2]):
    print("held", flush=True)
    time.sleep(5)
"""


def test_waiting_for_a_training_is_told_and_does_not_count(done, tmp_path):
    todo, _, records = done
    command = [sys.executable, "-c", HOLD, str(tmp_path), todo[0].sample.train.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as holder:
        holder.stdout.readline()
        holder.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        told = []

        def waits(sentence):
            told.append(sentence)
            holder.send_signal(signal.SIGCONT)

        _, (record,) = run_inline(tmp_path, todo[:1], timeout=4.0, waits=waits)
    assert record.status == "ok" and record.scores == records[0].scores
    assert told == [
        f"waiting for process {holder.pid}, which trains the same model; it is stopped: let it "
        f"go on with `kill -CONT {holder.pid}`, or end it",
        "",
    ]


def test_local_and_inline_give_the_same_bits(done, tmp_path):
    todo, store, _ = done
    other = Store(tmp_path)
    runtime = Runtime(out=tmp_path, device="cpu", threads=1)
    records = list(make("local", other, runtime, lambda cell, p: None, slots=2).run(todo))
    assert sorted(r.key for r in records) == sorted(c.key for c in todo)
    assert content(tmp_path) == content(store.root)
    trainings = list((tmp_path / "artifacts" / "train").glob("*.safetensors"))
    assert len(trainings) == 3  # both rows of ddpm share one


def torchrun(cell, out):
    """Run a cell on two ranks."""
    path = out / "cell.json"
    path.write_text(cell.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "genbench.worker", str(path), "--out", str(out), "--device", "cpu"]
    return subprocess.run(
        [*command, "--batch", "5", "--threads", "1"],
        env=dict(os.environ) if "mine" in cell.sample.train.baseline else environment(),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_two_ranks_sample_what_one_process_samples(done, tmp_path):
    todo, store, _ = done
    cell, alone = todo[1], tmp_path / "alone"
    trained = store.get("train", cell.sample.train.key)
    for out in (tmp_path, alone):
        Store(out).put("train", cell.sample.train.key, trained.tensors, trained.info)
    run_inline(alone, [cell], batch=5)
    ran = torchrun(cell, tmp_path)
    assert ran.returncode == 0, ran.stderr
    record = Store(tmp_path).record(cell.key)
    assert record.environment.world_size == 2 and record.status == "ok"
    sharded, single = (
        Store(out).get("sample", cell.sample.key).tensors["images"] for out in (tmp_path, alone)
    )
    assert sharded.tobytes() == single.tobytes()


def test_the_rank_that_fails_first_writes_the_record(tmp_path, mine):
    (cell,) = cells(suite_file(tmp_path, ['baseline = "mine_rank"']))
    ran = torchrun(cell, tmp_path)
    assert ran.returncode != 0
    record = Store(tmp_path).record(cell.key)
    assert record.status == "failed" and record.error.stage == "train"
    assert record.error.message == "only here"


def test_the_worker_runs_one_cell_and_explains_what_it_cannot_read(done, tmp_path):
    todo, _, records = done
    path = tmp_path / "cell.json"
    path.write_text(todo[3].model_dump_json())
    from genbench.worker import main

    assert main([str(path), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert Store(tmp_path / "out").record(todo[3].key).scores == records[3].scores
    path.write_text(json.dumps({"sampel": {}}))
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    assert main(["--out", str(tmp_path / "out")]) == 2


def test_code_that_changed_after_planning_is_refused(done, tmp_path):
    todo, _, _ = done
    train = todo[0].sample.train.model_copy(update={"version": "0" * 16})
    cell = todo[0].model_copy(
        update={"sample": todo[0].sample.model_copy(update={"train": train})}
    )
    (record,) = run_inline(tmp_path, [cell])[1]
    assert record.status == "failed" and record.error.stage == "load"
    assert "the code of vae changed" in record.error.message


def test_unknown_executors_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown executor 'locl'; did you mean 'local'"):
        make("locl", Store(tmp_path), Runtime(out=tmp_path), lambda cell, p: None)
