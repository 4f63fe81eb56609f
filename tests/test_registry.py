"""Families are found by their files; versions follow the code and nothing else."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from toys import environment, genbench, package, toy

from genbench import registry, versions
from genbench.spec import ConfigError


@pytest.fixture
def fresh():
    """Forget what was found before and after a test that changes what can be found."""

    def clear():
        registry.forget()
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
    [
        ("gone.module", "names the module 'gone.module', which is not there"),
        (
            "mine.raises.inner",
            r"cannot be imported \(OSError: no disk\); mend, reinstall or remove",
        ),
        (":::", "which cannot be imported"),
    ],
)
def test_a_broken_entry_point_stops_nobody_else(tmp_path, monkeypatch, fresh, value, message):
    package(tmp_path, {"good": toy()})
    (tmp_path / "mine" / "raises").mkdir()
    (tmp_path / "mine" / "raises" / "__init__.py").write_text('raise OSError("no disk")\n')
    entry = tmp_path / "mine-1.0.dist-info" / "entry_points.txt"
    entry.write_text(f"[{registry.GROUP}]\nx = {value}\ngood = mine.good\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    assert {"good", "ddpm"} <= set(registry.families())
    assert list(registry.broken()) == ["x"]
    with pytest.raises(ConfigError, match=message):
        registry.load("x")


def test_a_broken_entry_point_is_a_line_of_ls_and_not_its_end(tmp_path):
    package(tmp_path, {"good": toy()})
    entry = tmp_path / "mine-1.0.dist-info" / "entry_points.txt"
    entry.write_text(f"[{registry.GROUP}]\nx = gone\n[genbench.extractors]\ny = gone:Net\n")
    done = genbench("ls", extra_path=tmp_path)
    assert done.returncode == 0 and "ddpm" in done.stdout
    assert done.stderr.count("\n") == 1 and "the entry point 'x'" in done.stderr


def test_of_two_families_of_one_name_the_shipped_one_stays(tmp_path, monkeypatch, fresh):
    package(tmp_path, {"dcgan": toy()})
    package(tmp_path, {"twin": toy()}, name="mine_a")
    package(tmp_path, {"twin": toy()}, name="mine_b")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    assert registry.families()["dcgan"].module == "baselines.gan.dcgan"
    assert "two families are called 'dcgan'" in registry.broken()["dcgan"]
    with pytest.raises(ConfigError, match="two families are called 'twin'.*rename one"):
        registry.load("twin")  # neither is the one that was meant


def fields(settings: str, options: str) -> str:
    """A toy with a setting and a sampling option of its own."""
    lines = ('kind = "toy"', f"class Config(api.Config): {settings}")
    lines += (f"class Options(api.Options): {options}",)
    return toy().replace('    kind = "toy"', "\n".join(f"    {line}" for line in lines))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (toy().replace('kind = "toy"', "pass"), "Toy in .* has no kind, by which tables group"),
        (toy().replace('kind = "toy"', "kind = 3"), "has no kind"),
        (toy().replace("def step", "def stepp"), "Toy in .* does not define step"),
        (toy().replace('kind = "toy"', 'kind = "toy"; Config = dict'), "has a Config that is not"),
        (fields("lr: float = 1", "clip: bool = True"), "has 'clip' both in Config"),
        (fields("steps: int = 1", "steps: int = 1"), "has 'steps' both in Config and"),
        (fields("preset: int = 1", "pass"), "calls a field 'preset', which is how"),
        (fields("pass", "preset: int = 1"), "calls a field 'preset', which is how"),
        (fields("options: int = 1", "pass"), "calls a setting 'options', which a preset has for"),
        (toy() + "\nraise RuntimeError('no')", r"cannot be imported \(RuntimeError: no\)"),
    ],
)
def test_a_family_that_breaks_the_contract_is_a_sentence(
    tmp_path, monkeypatch, fresh, code, message
):
    package(tmp_path, {"fam": code})
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    with pytest.raises(ConfigError, match=message):
        registry.load("fam")


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


@pytest.mark.parametrize(
    "line",
    [
        "from . import _blocks",
        "from ._blocks import *",
        "from .. import mine",
        "from .sub import *",
        "from .sub.deep import W",
        "import mine._blocks",
        "import mine.sub.deep as d",
        "import importlib; B = importlib.import_module('mine._blocks')",
        "import importlib; B = importlib.import_module('._blocks', __package__)",
        "import neighbour",
    ],
)
def test_the_version_follows_every_kind_of_import(tmp_path, monkeypatch, fresh, line):
    package(tmp_path, {"fam": line + "\n" + toy(), "_blocks": "W = 3\n"})
    package(tmp_path / "mine", {"_deep": ""}, name="sub")
    (tmp_path / "mine" / "sub" / "__init__.py").write_text('__all__ = ["deep"]\n')
    places = {
        "_blocks": tmp_path / "mine" / "_blocks.py",
        "sub": tmp_path / "mine" / "sub" / "deep.py",
        "neighbour": tmp_path / "neighbour.py",
    }
    for place in places.values():
        place.write_text("W = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = next((n for n in places if n in line), None)
    changed = places[name] if name else tmp_path / "mine" / "__init__.py"

    def version():
        fresh()
        return registry.version("fam")

    first = version()
    for place in {*places.values(), tmp_path / "mine" / "__init__.py"} - {changed}:
        if place.name != "__init__.py":  # those of packages on the way count
            place.write_text("W = 5\n")
    assert version() == first
    changed.write_text("W = 4\n")
    assert version() != first


def test_the_version_follows_a_package_around_the_family(tmp_path, monkeypatch, fresh):
    package(tmp_path, {"fam": toy()})
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh()
    first = registry.version("fam")
    (tmp_path / "mine" / "__init__.py").write_text('"""Only words."""\n')
    fresh()
    assert registry.version("fam") == first
    (tmp_path / "mine" / "__init__.py").write_text("import torch\nSCALE = 2\n")
    fresh()
    assert registry.version("fam") != first


def test_other_distributions_count_by_version_and_base_libraries_do_not(
    tmp_path, monkeypatch, fresh
):
    package(tmp_path, {"fam": "import torch, math, theirs.part\n" + toy()})
    package(tmp_path, {"part": "W = 3\n"}, name="theirs")
    info = tmp_path / "theirs-1.0.dist-info"
    (info / "entry_points.txt").unlink()
    (info / "top_level.txt").write_text("theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def version():
        fresh()
        versions._distributions.cache_clear()
        return registry.version("fam")

    first = version()
    (tmp_path / "theirs" / "part.py").write_text("W = 4\n")
    assert version() == first  # its code is what its version says
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.1\n")
    assert version() != first


def test_base_libraries_are_those_that_genbench_depends_on():
    root = Path(__file__).resolve().parent.parent
    with (root / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    imported = {"pillow": "PIL", "scikit-learn": "sklearn", "torch-fidelity": "torch_fidelity"}
    names = {re.split("[<>=]", line)[0] for line in wanted}
    assert {"genbench", *(imported.get(name, name) for name in names)} == versions.BASE


def test_listing_loads_no_torch():
    code = (
        "import sys\nfrom genbench import registry\n"
        "registry.families(); registry.version('ddpm')\n"
        "assert 'torch' not in sys.modules and 'baselines.diffusion.ddpm' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
