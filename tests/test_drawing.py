"""A family that draws from torch's own generator is told, and its record says so."""

import torch
from toys import genbench, package, suite_file, toy

from genbench.drawing import Drawn
from genbench.store import Store


def test_any_draw_in_any_of_the_blocks_is_noticed():
    drawn = Drawn(torch.device("cpu"))
    with drawn:
        torch.randn(3, generator=torch.Generator().manual_seed(0))
    assert not drawn.any
    with drawn:
        torch.randperm(3)
    with drawn:
        pass
    assert drawn.any


def test_draws_of_step_and_sample_stand_in_records_tables_and_messages(tmp_path):
    dropout = toy("Dropout").replace(
        "self.net = nn.Linear", "self.drop = nn.Dropout(0.5)\n        self.net = nn.Linear"
    )
    dropout = dropout.replace("pass\n        update", "x = self.drop(x)\n        update")
    extra = package(
        tmp_path / "path",
        {
            "steps": toy("Steps", step="torch.randn(2)"),
            "samples": toy("Samples", sample="x = (x + torch.rand(1)).clamp(-1, 1)"),
            "fine": toy("Fine"),
            "dropping": dropout,
        },
    )
    rows = [f'baseline = "{name}"' for name in ("steps", "samples", "fine", "dropping")]
    out = tmp_path / "out"
    run = ("run", suite_file(tmp_path, rows), "--out", out, "--threads", 1)
    ran = genbench(*run, "--executor", "inline", extra_path=extra)
    assert ran.returncode == 0, ran.stderr
    told = {r.cell.sample.train.baseline: r.warnings for r in Store(out).records()}
    assert told["fine"] == told["dropping"] == ()
    (one,), (other,) = told["steps"], told["samples"]
    assert one.startswith("step() draws") and other.startswith("sample() draws")
    assert ran.stderr.count("warning: ") == 2 and "samples: sample() draws" in ran.stdout
