"""The pytest plugin, in pytest runs of its own."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from gate_samples import BANKED, SAME, WORSE, bank, folder, real, seeds

from genbench.gate.bank import Bank

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(pytester, tmp_path):
    Bank.of(BANKED, metric="fd@x/n9", cell="vae").save(pytester.path / "bank.json")

    def run(body, *options):
        pytester.makepyfile(body)
        # "no:genbench" keeps an installed one away: the plugin must not be loaded twice
        plugin = ("-p", "no:genbench", "-p", "genbench.pytest_plugin", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*plugin, "--strict-markers", *options)

    return run


def test_pass_and_fail(run) -> None:
    done = run(f"""
        from genbench.gate.bank import Bank
        BANK = Bank.of({BANKED}, metric="score", direction="higher")

        def test_good(genbench_gate):
            values = {dict(enumerate(SAME))}
            found = genbench_gate(values, bank="bank.json", cell="vae", metric="fd")
            assert found.verdict == "PASS" and found.bound < found.margin

        def test_bad(genbench_gate):
            genbench_gate({WORSE}, bank="bank.json")

        def test_margin(genbench_gate):
            genbench_gate({WORSE}, bank="bank.json", margin=0.5)

        def test_higher(genbench_gate):
            genbench_gate({WORSE}, bank=BANK)
            assert True

        def test_nan(genbench_gate):
            genbench_gate([4.0, float("nan"), 4.1], bank="bank.json")

        def test_one(genbench_gate):
            genbench_gate([4.0], bank="bank.json")

        def test_one_allowed(genbench_gate):
            genbench_gate([4.0], bank="bank.json", allow_inconclusive=True)

        def test_name(genbench_gate):
            genbench_gate([4.0], bank="bank.json", cell="vea")
    """)
    done.assert_outcomes(passed=4, failed=4)
    done.stdout.fnmatch_lines(
        [
            "REGRESSED vae, fd@x/n9 (change +2*worse by at least *",
            "MISSING vae, fd@x/n9*seed 1 has no finite value",
            "INCONCLUSIVE vae, fd@x/n9*one training seed says nothing*",
            "*did you mean 'vae'*",
        ]
    )


def test_results_folders(run, pytester) -> None:
    bank(pytester.path / "b", [*seeds(BANKED), *real()])
    folder(pytester.path / "good", [*seeds(SAME), *real()])
    folder(pytester.path / "bad", [*seeds(WORSE), *real()])
    folder(pytester.path / "none", real())
    done = run("""
        import pytest

        @pytest.mark.parametrize("name", ["good", "bad", "none"])
        def test_results(genbench_gate, name):
            genbench_gate.results(name, bank="b/bank.json")

        def test_counters(genbench_gate):
            genbench_gate.results("bad", bank="b/bank.json", counters_only=True)

        def test_margins(genbench_gate):
            genbench_gate.results("bad", bank="b/bank.json", margins={"vae": 0.5})
    """)
    done.assert_outcomes(passed=3, failed=2)
    done.stdout.fnmatch_lines(["REGRESSED vae, fd@*", "MISSING vae, row: no row of this name*"])


def test_marked_tests_can_be_chosen(run) -> None:
    body = """
        import pytest
        def test_gate(genbench_gate):
            assert callable(genbench_gate)
        @pytest.mark.genbench
        def test_by_hand():
            pass
        def test_other():
            pass
    """
    run(body, "-m", "genbench").assert_outcomes(passed=2, deselected=1)


def test_it_is_announced_and_light() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"genbench": "genbench.pytest_plugin"}
    code = (
        "import sys, genbench.pytest_plugin as p\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
