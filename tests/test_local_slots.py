"""Which device each slot of the local executor gets."""

import pytest
import torch

from genbench.executors.local import Local
from genbench.runtime import Runtime


def devices_of_slots(monkeypatch, tmp_path, device, gpus, slots):
    """The device and the kind of start of each slot, on a machine with so many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    runtime = Runtime(out=tmp_path, device=device, threads=3)
    local = Local(None, runtime, None, None, slots)
    settings = [local._settings(number) for number in range(slots)]
    assert {s.threads for s in settings} == {3}  # whatever runs beside it
    sent = [Runtime.parse(s.settings()) for s in settings]  # as a server reads it
    return [(s.device, s.fresh) for s in sent]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_slots_take_the_gpus_in_turn(monkeypatch, tmp_path, device):
    found = devices_of_slots(monkeypatch, tmp_path, device, gpus=2, slots=3)
    assert found == [("cuda:0", True), ("cuda:1", True), ("cuda:0", True)]


def test_a_gpu_that_is_named_is_everybodys(monkeypatch, tmp_path):
    found = devices_of_slots(monkeypatch, tmp_path, "cuda:1", gpus=2, slots=2)
    assert found == [("cuda:1", True)] * 2


def test_without_gpus_slots_fork_on_the_cpu(monkeypatch, tmp_path):
    found = devices_of_slots(monkeypatch, tmp_path, "auto", gpus=0, slots=2)
    assert found == [("cpu", False)] * 2
    assert devices_of_slots(monkeypatch, tmp_path, "cpu", gpus=2, slots=1) == [("cpu", False)]
