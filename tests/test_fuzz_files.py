"""Files that were damaged at random: told in a sentence, never a traceback, never waited for.

`GENBENCH_FUZZ=2000` tries so many of each kind.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import mutations, tree_mutations
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent / "gate"))
import gate_samples

from genbench import cli, suite
from genbench.evaluation import EvalSpec, evaluate, jobs
from genbench.evaluation.stats_file import declared, read_stats
from genbench.features import WeightsError
from genbench.features.weights_file import Weights, fill, read_state
from genbench.gate.bank import Bank
from genbench.inputs import from_tensors
from genbench.report import leaderboard, write
from genbench.spec import ConfigError, canonical_json
from genbench.store import Store
from genbench.stored import digest

MANY = int(os.environ.get("GENBENCH_FUZZ", "0"))
SLOW = 10.0  # seconds, after which a reader hangs


def tries(n: int) -> int:
    return MANY or n


@contextlib.contextmanager
def soon():
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < SLOW


def signed(body) -> bytes:
    return json.dumps({"sha256": digest(canonical_json(body).encode()), **body}).encode()


RECORDS = [
    *gate_samples.seeds(gate_samples.BANKED),
    *gate_samples.seeds([value / 2 for value in gate_samples.BANKED], baseline="ddpm"),
    *gate_samples.real(),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder, and a bank made of it."""
    folder = tmp_path_factory.mktemp("fuzz")
    gate_samples.bank(folder, RECORDS)
    return folder / "banked"


def whole(folder: Path) -> Store:
    gate_samples.folder(folder, RECORDS)
    return Store(folder)


def test_damaged_records_are_left_out(tmp_path):
    said = []
    whole(tmp_path)
    path = Store(tmp_path).record_path(RECORDS[0].key)
    data = path.read_bytes()
    for content in mutations(data, 1, tries(100)):
        path.write_bytes(content)
        with soon():
            found = Store(tmp_path, said.append).record(RECORDS[0].key)
        assert found in (None, RECORDS[0])
    assert said and all(len(text) < 500 and text.isprintable() for text in said)


def test_absurd_records_are_left_out_or_shown(tmp_path, results):
    store = whole(tmp_path)
    paths = [store.record_path(record.key) for record in RECORDS[:9]]
    bodies = [record.model_dump(mode="json") for record in RECORDS[:9]]
    order = [record.cell for record in RECORDS]
    for i, body in enumerate(tree_mutations(bodies, 2, tries(60))):
        for path, one in zip(paths, body if isinstance(body, list) else [], strict=False):
            with contextlib.suppress(ValueError, AttributeError, TypeError):  # not even JSON
                path.write_bytes(signed(one))
        with soon():
            records = Store(tmp_path).records()
            leaderboard(records, order, "text")
        if i % 30 == 0:
            everything(tmp_path, results)


@pytest.mark.parametrize(
    ("value", "others"),
    [
        (1e100, None),
        (1e-100, None),
        (-1e100, 1e100),
        (1e100, 1e-100),
        (1e-100, 1e-100),
        (1e100, 1e100),
        (1e30, 0.0),
    ],
)
def test_absurd_numbers_crash_nothing(tmp_path, results, value, others):
    whole(tmp_path)
    for i, record in enumerate(RECORDS):
        number = value if i == 0 else others
        body = record.model_dump(mode="json")
        if number is not None:
            for score in body["scores"].values():
                score |= {"value": number, "ci95": [-abs(number), abs(number)], "stderr": number}
            amount = min(abs(number), 1e30)
            body["timings"] |= dict.fromkeys(("train", "ms_per_image", "total"), amount)
            body["counters"] |= {"nfe": amount, "train_flops": amount, "params": 2**63 - 1}
            body["losses"] = {"loss": number}
        Store(tmp_path).record_path(record.key).write_bytes(signed(body))
    assert len(Store(tmp_path).records()) == len(RECORDS)
    everything(tmp_path, results)


def everything(folder: Path, other: Path) -> None:
    """All that looks at a results folder; 70 is a fault of genbench's own."""
    write(Store(folder), folder)
    bank = other.parent / "bank.json"
    for command in (
        ("compare", other, folder),
        ("bank", "add", folder, "--bank", folder / "bank.json"),
        ("gate", folder, "--bank", bank, "--no-more-seeds", "--summary", folder / "s.md"),
        ("reproduce", folder, "--rows", "nobody"),
    ):
        assert cli.main([str(part) for part in command]) != 70, command


def test_a_damaged_plan_is_passed_over(tmp_path):
    store = whole(tmp_path)
    path = tmp_path / "plan.json"
    data = path.read_bytes()
    for content in mutations(data, 3, tries(60)):
        path.write_bytes(content)
        with soon():
            store.plan()
    for plan in tree_mutations(json.loads(data), 4, tries(60)):
        path.write_text(json.dumps(plan))
        with soon():
            store.plan()


def test_a_damaged_bank_is_refused_or_works(tmp_path, results):
    path = tmp_path / "bank.json"
    data = (results.parent / "bank.json").read_bytes()
    for content in mutations(data, 5, tries(60)):
        path.write_bytes(content)
        with soon(), contextlib.suppress(ConfigError):
            Bank.read(path)
    body = json.loads(data)
    del body["sha256"]
    for content in tree_mutations(body, 6, tries(40)):
        with contextlib.suppress(ValueError):
            path.write_bytes(signed(content))
        with soon():
            assert cli.main(["bank", "show", str(path)]) != 70
            gate = ["gate", str(results), "--bank", str(path), "--no-more-seeds", "--json"]
            assert cli.main(gate) != 70


def test_a_damaged_statistics_file_is_refused_or_scores(tmp_path):
    spec = EvalSpec(extractor="pixels", metrics=("fd", "recall", "high_frequency"))
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4)).astype(np.uint8)
    path = tmp_path / "real.stats"
    evaluate(None, from_tensors(images, name="real"), jobs(spec), spec, save_stats=path)
    np.savez(tmp_path / "others.npz", mu=images.reshape(40, -1).mean(0), sigma=np.eye(16))
    said = declared(jobs(spec), EvalSpec(extractor="pixels", reference_n=40))
    for file in (path, tmp_path / "others.npz"):
        for content in mutations(file.read_bytes(), 7, tries(100)):
            (tmp_path / "damaged").write_bytes(content)
            with soon(), contextlib.suppress(ConfigError):
                read_stats(tmp_path / "damaged", said)


def test_a_damaged_weights_file_is_refused_or_read(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    torch.save(net.state_dict(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    for name in ("w.pth", "w.pt", "w.safetensors"):
        path = tmp_path / f"damaged{Path(name).suffix}"
        for content in mutations((tmp_path / name).read_bytes(), 8, tries(100)):
            path.write_bytes(content)
            weights = Weights(path, "ab" * 32, False)
            try:
                with soon():
                    fill(net, read_state(weights, "w"), weights, "w")
            except WeightsError as error:
                assert str(error).isprintable() and len(str(error)) < 600


def test_a_damaged_suite_is_refused_or_read(tmp_path):
    path = tmp_path / "own.toml"
    text = (Path(suite.__file__).parent.parent / "suites" / "smoke.toml").read_bytes()
    for content in mutations(text, 9, tries(100)):
        path.write_bytes(content)
        with soon(), contextlib.suppress(ConfigError):
            suite.parts(str(path), [])
