"""What a worker sets up before its cell, and what it leaves out as long as nothing asks for it."""

import subprocess
import sys

import pytest

_READY = """
import sys
from pathlib import Path

import torch
import torchvision

alone = set(sys.modules)  # what some version of torch brings is not ours
from genbench.runtime import Runtime
from genbench.worker import configure, import_for

configure(Runtime(out=Path("unused"), device="cpu", threads=1))
import_for(trains=False)
print(torch.are_deterministic_algorithms_enabled())
print(torch.is_deterministic_algorithms_warn_only_enabled())
heavy = ("torch._dynamo", "torch._inductor", "sklearn", "scipy.stats", "matplotlib", "pandas")
print([name for name in heavy if name in sys.modules and name not in alone])
import_for(trains=True)
print("torch._dynamo" in sys.modules)
"""


def test_a_worker_is_deterministic_without_the_imports_that_only_training_needs():
    """A process of its own: what this one has imported is imported for good."""
    done = subprocess.run(
        [sys.executable, "-c", _READY], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split("\n") == ["True", "True", "[]", "True", ""]


@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full", "<&- 2>&-"])
def test_the_exit_code_of_a_worker_is_its_own_whatever_its_streams_are(tmp_path, streams):
    """2: there is no such cell; 1 is what a traceback would make of a stream that fails."""
    command = [sys.executable, "-m", "genbench.worker", "none.json", "--out", str(tmp_path)]
    script = f'exec "$@" {streams}'
    done = subprocess.run(["bash", "-c", script, "bash", *command], check=False, timeout=300)
    assert done.returncode == 2
