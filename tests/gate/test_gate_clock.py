"""The wall-clock gate: its rule, the order of its processes, and one process for real."""

import json
import math
import subprocess
from contextlib import nullcontext

import numpy as np
import pytest
from gate_samples import BANKED, bank, folder, real, seeds
from scipy import stats

from genbench.cli import gate as command
from genbench.cli import main
from genbench.gate import clock as gate_clock
from genbench.gate.bank import Bank
from genbench.gate.clock import ClockError, clock, head, visits
from genbench.gate.match import rows_of
from genbench.gate.rule import decide_paired
from genbench.registry import version
from genbench.spec import ConfigError
from genbench.store import Store

DIGITS = {"name": "digits", "channels": 1, "size": 8, "classes": 10}


def times(rng, factor, sd=0.02):
    """Processes of a machine that drifts: each slower than the one before."""
    state = {"now": 1.0}

    def visit() -> float:
        state["now"] *= 1.001
        return float(state["now"] * factor * math.exp(abs(rng.normal(0, sd))))

    return visit


@pytest.mark.parametrize("mean", [0.0, 0.049, 0.12])
def test_pairs_are_decided_by_the_one_sided_paired_t_test(mean) -> None:
    x = np.random.default_rng(1).normal(mean, 0.02, 10)
    found = decide_paired(x, 0.05, 0.01)
    oracle = stats.ttest_1samp(x, math.log(1.05), alternative="greater")
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.change == pytest.approx(math.expm1(x.mean()))
    high = stats.ttest_1samp(x, 0).confidence_interval(0.98).high
    assert math.log1p(found.bound) == pytest.approx(high)
    expected = "REGRESSED" if oracle.pvalue < 0.01 else "INCONCLUSIVE"
    assert found.outcome == ("PASS" if high < math.log(1.05) else expected)
    assert found.detectable > 0.05
    with pytest.raises(ValueError, match="2 pairs"):
        decide_paired([0.1], 0.05, 0.01)


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "PASS"), (0.5, "PASS"), (1.15, "REGRESSED")]
)
def test_slower_is_found_and_equal_passes(factor, verdict) -> None:
    rng = np.random.default_rng(3)
    found = clock("vae", times(rng, 1.0), times(rng, factor))
    assert found.verdict == verdict and found.metric == "sampling_time"
    assert "10 pairs" in found.reason
    assert found.change == pytest.approx(factor - 1, abs=0.03)


def test_processes_alternate_and_an_open_question_is_asked_once_more() -> None:
    order: list[str] = []
    noise = iter(np.random.default_rng(0).normal(0, 0.2, 100))

    def visit(name):
        def call() -> float:
            order.append(name)
            return math.exp(next(noise)) * (1.05 if name == "b" else 1.0)

        return call

    found = clock("vae", visit("a"), visit("b"))
    assert found.verdict == "INCONCLUSIVE" and "20 pairs" in found.reason
    assert "".join(order[:20]) == "abba" * 5 and len(order) == 20 + 40


def test_a_process_that_fails_never_passes() -> None:
    def broken() -> float:
        raise ClockError("no time")

    found = clock("vae", broken, lambda: 1.0)
    assert (found.verdict, found.reason) == ("MISSING", "no time")


@pytest.fixture
def both(tmp_path):
    """A bank and a results folder of the family at hand, without a configuration."""
    mine = {"version": version("vae")}
    path = bank(tmp_path, [*seeds(BANKED, **mine), *real()])
    new = folder(tmp_path / "new", [*seeds(BANKED[:3], **mine), *real()])
    return path, new


def test_a_fresh_process_times_this_checkout(both, tmp_path) -> None:
    path, new = both
    old, row = Bank.read(path).row("vae"), rows_of(Store(new))[0]
    _, at_hand = visits(head(), old, row, DIGITS)
    assert 0 < at_hand() < 60
    with pytest.raises(ConfigError, match="no checkout"):
        visits(tmp_path, old, row, DIGITS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"version": "f" * 16}, "is version ffffffff, the records are of"),
        ({"folder": "/elsewhere"}, "imported from /elsewhere"),
        (None, "failed: ValueError: no such thing"),
    ],
)
def test_a_time_of_something_else_is_refused(answer, words, both, monkeypatch) -> None:
    path, new = both
    base, _ = visits(head(), Bank.read(path).row("vae"), rows_of(Store(new))[0], DIGITS)
    right = {"seconds": 1.0, "version": version("vae"), "folder": str(head())}

    def run(said):
        text = "" if said is None else "noise\n" + json.dumps(right | said) + "\n"
        done = subprocess.CompletedProcess(
            [], int(said is None), text, "a\nValueError: no such thing"
        )
        monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
        return base()

    assert run({}) == 1.0
    with pytest.raises(ClockError, match=words):
        run(answer)


def test_the_command_adds_a_finding(both, capsys, monkeypatch) -> None:
    path, new = both
    seen = []

    def fake(base, old, row, data):
        seen.append((base, old.name, data))
        return (lambda: 1.0), (lambda: 1.2)

    monkeypatch.setattr(gate_clock, "visits", fake)
    # a measurement elsewhere on this machine would be waited for
    monkeypatch.setattr("genbench.latency.machine_lock", lambda warn: nullcontext())
    options = ["--bank", str(path), "--no-more-seeds", "--clock", str(head())]
    capsys.readouterr()
    assert main(["gate", str(new), *options]) == 1
    assert "sampling_time" in capsys.readouterr().out
    assert seen == [(head(), "vae", DIGITS)]
    assert main(["gate", str(new), *options, "--clock-cells", "vea"]) == 2
    assert "did you mean 'vae'" in capsys.readouterr().err
    monkeypatch.setattr(gate_clock, "visits", lambda *a: ((lambda: 1.0), (lambda: 1.0)))
    assert main(["gate", str(new), *options, "--clock-cells", "vae,real"]) == 0


def test_names_with_commas_are_found() -> None:
    found = Bank.of(BANKED, cell="ddpm (ddim-50, eta=0.5)")
    assert command._clocked(found, ["ddpm (ddim-50, eta=0.5)"]) == list(found.rows)
    assert command._clocked(found, []) == list(found.rows)
