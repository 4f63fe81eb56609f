"""The architecture, checked on the syntax trees: who imports whom, what loads torch, how long."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    {
        "api",
        "flops",
        "hashed_file",
        "noise",
        "spec",
        "record",
        "stats",
        "task_names",
        "terminal",
        "text",
        "timing",
    },
    {
        "files",
        "store",
        "stored",
        "differences",
        "registry",
        "tasks",
        "data",
        "features",
        "metrics",
        "dist",
        "drawing",
        "environment",
        "orphans",
        "runtime",
        "versions",
        "images",
        "inputs",
        "own_code",
    },
    {"loop", "stepper", "train", "sample", "latency", "suite", "evaluation"},
    {"ahead", "scoring", "pipeline", "worker", "worker_clock", "forkserver"},
    {
        "claims",
        "compare",
        "console",
        "doctor",
        "executors",
        "gate",
        "report",
        "reproduce",
        "speed",
    },
    {"cli", "pytest_plugin", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
WITHOUT_TORCH = {
    "claims",
    "cli",
    "compare",
    "differences",
    "gate",
    "images",
    "inputs",
    "own_code",
    "record",
    "registry",
    "report",
    "reproduce",
    "spec",
    "stats",
    "store",
    "stored",
    "suite",
    "task_names",
    "terminal",
    "text",
    "timing",
}

GENBENCH = sorted((ROOT / "genbench").rglob("*.py"))
BASELINES = sorted((ROOT / "baselines").rglob("*.py"))
FAMILIES = [
    path
    for path in BASELINES
    if not any(part.startswith("_") for part in path.relative_to(ROOT).with_suffix("").parts)
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def part(path: Path) -> str:
    """The part of genbench that a file belongs to: "store", "data", ..."""
    return path.relative_to(ROOT / "genbench").with_suffix("").parts[0]


def imports(node: ast.AST) -> Iterator[str]:
    """Dotted names that a tree imports; for `from a import b` both `a` and `a.b`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            assert inner.level == 0, f"relative import in line {inner.lineno}"
            yield inner.module or ""
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


def at_import(module: ast.Module) -> Iterator[str]:
    """Like `imports`, but only what runs when the module is imported."""
    todo: list[ast.AST] = list(module.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        else:
            inner = ast.iter_child_nodes(node)
            todo += [n for n in inner if isinstance(n, ast.stmt | ast.ExceptHandler)]


def uses_torch(names: Iterator[str]) -> list[str]:
    return [n for n in names if n.partition(".")[0] in {"torch", "torchvision"}]


@pytest.mark.parametrize("path", GENBENCH, ids=name)
def test_every_part_of_genbench_imports_downward_only(path: Path) -> None:
    if part(path) == "__init__":
        assert not list(imports(tree(path)))
        return
    assert part(path) in LEVEL, f"{part(path)} has no layer: add it to LAYERS"
    for target in imports(tree(path)):
        package, _, rest = target.partition(".")
        assert package != "baselines", "genbench reaches families through registry.load only"
        if package == "genbench" and (inner := rest.partition(".")[0]) in LEVEL:
            assert LEVEL[inner] <= LEVEL[part(path)], f"{part(path)} must not import {inner}"


@pytest.mark.parametrize("path", BASELINES, ids=name)
def test_a_family_imports_the_contract_and_shared_blocks_only(path: Path) -> None:
    for target in imports(tree(path)):
        if target.partition(".")[0] == "genbench":
            assert target == "genbench" or target.startswith("genbench.api"), target
        if target.partition(".")[0] == "baselines":
            assert target.startswith("baselines._nn"), f"{target}: families do not know each other"


@pytest.mark.parametrize("path", [p for p in GENBENCH if part(p) in WITHOUT_TORCH], ids=name)
def test_these_modules_start_without_torch(path: Path) -> None:
    assert not uses_torch(at_import(tree(path)))
    if part(path) in {"report", "gate", "compare", "differences", "reproduce"}:
        assert not uses_torch(imports(tree(path))), "not even inside a function"


@pytest.mark.parametrize("path", GENBENCH, ids=name)
def test_scipy_is_imported_where_it_is_used(path: Path) -> None:
    scipy = [n for n in at_import(tree(path)) if n.partition(".")[0] == "scipy"]
    assert not scipy, "tables and lists import this module, and SciPy takes as long as they do"


def test_metrics_are_described_without_torch_and_scipy() -> None:
    code = """
import sys
from genbench import metrics
assert {"fd", "is", "lpips"} <= set(metrics.describe())
loaded = {"torch", "scipy"} & set(sys.modules)
assert not loaded, loaded
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("path", GENBENCH, ids=name)
def test_arguments_have_names(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg:
            assert node.name == "sample", f"{node.name} takes **{node.args.kwarg.arg}"


@pytest.mark.parametrize("path", [*GENBENCH, *BASELINES], ids=name)
def test_modules_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FAMILIES, ids=name)
def test_a_family_is_one_file_of_readable_length(path: Path) -> None:
    shortest = 10 if path.parent.name == "reference" else 20  # nothing to train, nothing to say
    assert shortest <= len(path.read_text("utf-8").splitlines()) <= 300


@pytest.mark.parametrize("path", GENBENCH, ids=name)
def test_the_harness_names_no_family(path: Path) -> None:
    # the published figures know methods, and a sampler is called as the family that brought it
    if path.name in {"literature.py", "published.py"}:
        return
    # "gan" is the name of a kind too
    trained = {p.stem for p in FAMILIES if p.parent.name != "reference"} - {"ddpm", "gan"}
    for node in ast.walk(tree(path)):
        said = {"value", "id", "attr"} & set(node._fields)
        assert not {v for f in said if isinstance(v := getattr(node, f), str)} & trained, (
            f"line {getattr(node, 'lineno', '?')} names a family"
        )


@pytest.mark.parametrize("path", GENBENCH, ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    if part(path) in {"cli", "__main__"}:
        return
    for node in ast.walk(tree(path)):
        called = node.func if isinstance(node, ast.Call) else None
        assert not (isinstance(called, ast.Name) and called.id == "print"), node.lineno


def test_the_walk_sees_what_it_should() -> None:
    source = "if TYPE_CHECKING:\n    import torch\nelse:\n    import a\ndef f():\n    import b\n"
    source += "try:\n    import c\nexcept ImportError:\n    import d\nclass E:\n    import e\n"
    module = ast.parse(source)
    assert sorted(at_import(module)) == ["a", "c", "d", "e"]
    assert sorted(imports(module)) == ["a", "b", "c", "d", "e", "torch"]
    assert {"spec.py", "store.py", "table.py"} <= {p.name for p in GENBENCH}
    assert FAMILIES
