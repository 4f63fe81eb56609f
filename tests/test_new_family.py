"""Adding a family is adding one file: the one of CONTRIBUTING.md, in somebody else's package."""

import re
from pathlib import Path

from toys import genbench, package

from genbench.store import Store

ROOT = Path(__file__).resolve().parent.parent


def example() -> str:
    """The one block of Python in CONTRIBUTING.md."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    return code


def test_the_family_of_the_guide_runs_through_the_smoke_suite(tmp_path):
    extra = package(tmp_path / "path", {"gmmn": example()})
    ran = genbench(
        "run", "smoke", "baseline=gmmn,gaussian,noise", "gmmn.nz=8", "--out", "out",
        cwd=tmp_path, extra_path=extra,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    records = {r.cell.sample.train.baseline: r for r in Store(tmp_path / "out").records()}
    mine = records["gmmn"]
    assert mine.kind == "moment matching" and mine.cell.sample.train.config["nz"] == 8
    (fd, _) = (m.id for m in mine.cell.metrics)
    assert mine.scores[fd].value < 0.8 * records["noise"].scores[fd].value  # it learned something
    assert "moment matching" in ran.stdout and "gmmn" in ran.stdout


def test_the_guide_keeps_its_promise_of_size():
    assert len(example().splitlines()) < 80
