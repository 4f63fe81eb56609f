"""Families are found by their files; versions follow the code and nothing else."""

import subprocess
import sys

import pytest
from toys import environment, package, toy

from genbench import registry
from genbench.spec import ConfigError


@pytest.fixture
def fresh():
    """Forget what was found before and after a test that changes what can be found."""

    def clear():
        registry.families.cache_clear()
        registry.version.cache_clear()
        for name in [n for n in sys.modules if n == "mine" or n.startswith("mine.")]:
            del sys.modules[name]

    clear()
    yield clear
    clear()


def test_families_are_the_files_of_baselines():
    found = registry.families()
    assert {"dcgan", "vae", "ddpm", "real", "noise", "gaussian", "memoriser"} <= set(found)
    assert found["dcgan"].folder == "gan" and "DCGAN" in found["dcgan"].summary
    assert not any(name.startswith("_") or name in ("blocks", "__init__") for name in found)


def test_a_typo_names_the_nearest_family():
    with pytest.raises(ConfigError, match="unknown baseline 'dcgn'; did you mean 'dcgan'"):
        registry.load("dcgn")


def test_entry_points_add_families(tmp_path, monkeypatch, fresh):
    package(tmp_path, {"mean": toy("Mean"), "_helper": "X = 1"})
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    assert registry.families()["mean"].module == "mine.mean"
    assert "_helper" not in registry.families()
    assert registry.load("mean").__name__ == "Mean"


@pytest.mark.parametrize(
    ("value", "message"),
    [("gone.module", "names the module 'gone.module', which is not there"), (None, "rename one")],
)
def test_entry_points_that_do_not_work_are_explained(tmp_path, monkeypatch, fresh, value, message):
    package(tmp_path, {"dcgan" if value is None else "x": toy()})
    if value is not None:
        entry = tmp_path / "mine-1.0.dist-info" / "entry_points.txt"
        entry.write_text(f"[{registry.GROUP}]\nx = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    with pytest.raises(ConfigError, match=message):
        registry.families()


def test_a_file_without_a_family_is_explained(tmp_path, monkeypatch, fresh):
    package(tmp_path, {"nothing": "X = 1", "two": toy("A") + toy("B")})
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    with pytest.raises(ConfigError, match="must define one Baseline, it defines none"):
        registry.load("nothing")
    with pytest.raises(ConfigError, match="it defines A, B"):
        registry.load("two")


def test_the_version_follows_code_and_what_it_imports_not_comments(tmp_path, monkeypatch, fresh):
    code = "from mine import _blocks\n" + toy()
    package(tmp_path, {"fam": code, "_blocks": "W = 3\n", "_other": "V = 1\n"})
    monkeypatch.syspath_prepend(str(tmp_path))

    def version():
        fresh()
        return registry.version("fam")

    family, blocks = tmp_path / "mine" / "fam.py", tmp_path / "mine" / "_blocks.py"
    first = version()
    family.write_text(code.replace('"""A family for tests."""', '"""Another text."""\n    # why'))
    assert version() == first
    (tmp_path / "mine" / "_other.py").write_text("V = 2\n")
    assert version() == first
    blocks.write_text("W = 4\n")
    second = version()
    assert second != first
    family.write_text(code.replace("lr=1e-2", "lr=1e-3"))
    assert version() not in (first, second)


def test_listing_loads_no_torch():
    code = (
        "import sys\nfrom genbench import registry\n"
        "registry.families(); registry.version('ddpm')\n"
        "assert 'torch' not in sys.modules and 'baselines.diffusion.ddpm' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
