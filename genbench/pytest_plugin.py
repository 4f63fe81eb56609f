"""A pytest plugin: gate your own model in your own tests.

    def test_my_model(genbench_gate):
        genbench_gate({0: 4.1, 1: 4.3, 2: 4.0}, bank="bank.json", cell="vae", metric="fd")

    def test_my_results(genbench_gate):
        genbench_gate.results("runs/mine", bank="bank.json")

Anything but PASS fails the test with the sentence that `genbench gate` prints. Tests that use the
fixture carry the marker `genbench`, so that `pytest -m genbench` runs them alone. Every run of
pytest imports this module: it is light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from genbench.gate.bank import Bank
    from genbench.gate.judge import Outcome
    from genbench.gate.verdict import Finding

__all__ = ["Gate", "genbench_gate"]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "genbench: gates a model's quality with genbench_gate")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixture, before `-m` selects by marker."""
    for item in items:
        if "genbench_gate" in getattr(item, "fixturenames", ()):
            item.add_marker("genbench")


@pytest.fixture
def genbench_gate() -> Gate:
    """A gate for plain numbers, and for results folders as `genbench_gate.results`."""
    return Gate()


class Gate:
    """Fails the test unless the gate says PASS."""

    def __call__(
        self,
        values: Mapping[int, float] | Sequence[float],
        *,
        bank: Bank | Path | str,
        cell: str | None = None,
        metric: str | None = None,
        margin: float | None = None,
        alpha: float = 0.05,
        allow_inconclusive: bool = False,
    ) -> Finding:
        """Gate one model by its values. They carry no protocol: measure as the bank did.

        Args:
            values: One for each training seed, at least 2; a mapping by seed, or in order.
            bank: The file, or a bank such as `Bank.of([4.0, 4.1, ...])`.
            cell: The bank's row; may be left out where it has one.
            metric: Short name or id; None for the first of the row.
            margin: Accepted relative loss, 0.1 for 10 %; None for the bank's.
            alpha: False alarms.
            allow_inconclusive: Pass, too, where the values do not decide.

        Returns:
            The finding, for tests that want to look closer.
        """
        from genbench.gate.judge import numbers, settings

        found, margins = _bank(bank), {} if margin is None else {"": margin}
        finding = numbers(found, values, settings(found, metric, margins, alpha), cell)
        _fail([finding], allow_inconclusive)
        return finding

    def results(
        self,
        folder: Path | str,
        *,
        bank: Bank | Path | str,
        metric: str | None = None,
        margins: Mapping[str, float] | None = None,
        alpha: float = 0.05,
        counters_only: bool = False,
        allow_inconclusive: bool = False,
    ) -> Outcome:
        """Gate a results folder, in one look, as `genbench gate FOLDER --no-more-seeds` does.

        Args:
            folder: What `genbench run` wrote.
            bank: As above.
            metric: As above.
            margins: Accepted relative losses by row; under "" for all rows.
            alpha: Family-wise false alarms.
            counters_only: Gate exact counters alone.
            allow_inconclusive: Pass, too, where the seeds do not decide.

        Returns:
            The outcome, for tests that want to look closer.
        """
        from genbench.gate.judge import settings
        from genbench.gate.looks import gate
        from genbench.store import Store

        found = _bank(bank)
        wanted = settings(found, metric, margins or {}, alpha, counters_only)
        outcome = gate(Store(folder), found, wanted, None)
        _fail(outcome.findings if outcome is not None else [], allow_inconclusive)
        if outcome is None:
            raise AssertionError("one look cannot be stopped")
        return outcome


def _bank(bank: Bank | Path | str) -> Bank:
    from genbench.gate.bank import Bank

    return bank if isinstance(bank, Bank) else Bank.read(bank)


def _fail(findings: Sequence[Finding], allow_inconclusive: bool) -> None:
    from genbench.gate.output import one_line

    fine = {"PASS", "INCONCLUSIVE"} if allow_inconclusive else {"PASS"}
    bad = [one_line(finding) for finding in findings if finding.verdict not in fine]
    if bad or not findings:
        pytest.fail("\n".join(bad) or "nothing was gated", pytrace=False)
