"""The simulation of the rule, with fewer draws: false alarms stay rare, power is as known."""

import importlib.util
import re
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gate_simulation.py"
SPEC = importlib.util.spec_from_file_location("gate_simulation", TOOL)
assert SPEC is not None and SPEC.loader is not None
simulation = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(simulation)
DRAWS = 10_000


@pytest.mark.parametrize("cov", simulation.SPREADS)
def test_one_look_is_as_an_independent_simulation_had_it(cov) -> None:
    for true, known in zip(simulation.TRUE, simulation.REFERENCE[cov], strict=True):
        worse, passed = simulation.one_look(cov, true, DRAWS, 1)
        assert worse == pytest.approx(known, abs=0.02)
        if true <= simulation.MARGIN:
            assert worse < 0.05 + 0.007  # three standard errors of 10,000 draws
        if true >= simulation.MARGIN:
            assert passed < 0.05 + 0.007


@pytest.mark.parametrize("cov", simulation.SPREADS)
def test_three_looks_keep_alpha(cov) -> None:
    at_margin, passed, seeds = simulation.looks(cov, simulation.MARGIN, DRAWS, 1)
    assert at_margin < 0.05 and passed < 0.05 and 3 < seeds <= 7
    worse, _, _ = simulation.looks(cov, 0.2, DRAWS, 1)
    assert worse > 0.95


def test_the_committed_page_holds_what_it_should() -> None:
    page = (TOOL.parents[1] / "results" / "gate" / "simulation.md").read_text("utf-8")
    pairs = [tuple(map(float, pair)) for pair in re.findall(r"(\d\.\d+) \((\d\.\d+)\)", page)]
    assert len(pairs) == len(simulation.SPREADS) * len(simulation.TRUE)
    assert all(abs(found - known) <= 0.02 for found, known in pairs)
    short = simulation.report(100)
    words = [re.sub(r"[\d.,]+", "", text) for text in (page, short)]
    assert words[0] == words[1]  # the same tables: run tools/gate_simulation.py again
