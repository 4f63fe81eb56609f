"""What tests of the harness share: small specs, a package with families of its own, runs."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from genbench import features, registry, suite
from genbench.record import Record
from genbench.runtime import Runtime
from genbench.spec import Budget, Cell
from genbench.store import Store

SUITE = """
description = "for tests"
dataset = "digits"
n = 32
metrics = ["fd", "is"]
extractor = "digits-cnn"
[budget]
images = {images}
{rows}
"""

TOY = '''
"""Toy: learns the mean image and adds noise."""
import torch
from torch import nn
from genbench import api

class {name}(api.Baseline[api.Unconditional]):
    """A family for tests."""
    kind = "toy"
    def __init__(self, config, data):
        super().__init__(config, data)
        self.shape = data.shape
        self.net = nn.Linear(1, data.channels * data.size**2)
    def optimizers(self):
        return {{"net": torch.optim.Adam(self.net.parameters(), lr=1e-2)}}
    def forward(self, n):
        return self.net(torch.ones(n, 1)).view(n, *self.shape)
    def step(self, x, cond, noise, update):
        loss = (self.forward(len(x)) - x).square().mean()
        {step}
        update("net", loss)
        return {{"mse": loss}}
    def sample(self, cond, noise, **options):
        x = (self.forward(len(noise)) + 0.3 * noise.normal(*self.shape)).clamp(-1, 1)
        {sample}
        return x
'''


def package(folder: Path, families: dict[str, str], name: str = "mine") -> Path:
    """A package on disk whose families an entry point of the group announces."""
    root = folder / name
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("")
    for family, code in families.items():
        (root / f"{family}.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {name}\n")
    return folder


def toy(name: str = "Toy", step: str = "pass", sample: str = "pass") -> str:
    """The code of a small family, with a line to put into `step` and one into `sample`."""
    return TOY.format(name=name, step=step, sample=sample)


def suite_file(folder: Path, rows: list[str], images: int = 640) -> Path:
    """A suite of these rows, each a TOML inline table's inside."""
    path = folder / "tiny.toml"
    body = "\n".join(f"[[rows]]\n{row}" for row in rows)
    path.write_text(SUITE.format(images=images, rows=body))
    return path


def cells(path: Path | str, *changes: str) -> list[Cell]:
    """The planned cells of a suite."""
    return suite.plan(suite.load(str(path), list(changes)))


def run_inline(out: Path, todo: list[Cell], **options) -> tuple[Store, list[Record]]:
    """Run cells in this process, with one thread also where a fixture of a module asks."""
    import torch

    from genbench.pipeline import run_cell

    torch.set_num_threads(1)
    store = Store(out)
    runtime = Runtime(out=out, device="cpu", **options)
    return store, [run_cell(cell, store, runtime) for cell in todo]


def genbench(
    *arguments: object, cwd: Path | None = None, extra_path: Path | None = None, **options
):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "genbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(extra_path),
        timeout=180,
        **options,
    )


def environment(extra_path: Path | None = None) -> dict[str, str]:
    """This environment, with this checkout and one more folder on the path."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *([str(extra_path)] if extra_path else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def content(out: Path) -> dict[str, object]:
    """What must be the same in two runs: scores, and the bytes of samples and weights."""
    records = [json.loads(p.read_text()) for p in sorted((out / "records").glob("*.json"))]
    found: dict[str, object] = {r["key"]: r["scores"] for r in records}
    for stage in ("sample", "features"):
        for path in sorted((out / "artifacts" / stage).glob("*.safetensors")):
            tensors = Store(out).get(stage, path.name.split(".")[0])
            assert tensors is not None
            found |= {
                f"{path.name.split('.')[0]}/{k}": v.tobytes() for k, v in tensors.tensors.items()
            }
    return found


def tiny_train(baseline: str = "vae", images: int = 640, **budget):
    """A TrainSpec on digits."""
    path_budget = Budget(images=images) if not budget else Budget(**budget)
    cls = registry.load(baseline)
    from genbench.spec import TrainSpec

    return TrainSpec(
        baseline=baseline,
        config=cls.Config().model_dump(mode="json"),
        dataset="digits",
        budget=path_budget,
        version=registry.version(baseline),
    )


EXTRACTOR = features.card("digits-cnn")["sha256"]
