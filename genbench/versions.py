"""The version of a family's code: a hash of its file and of every module that it imports.

Imports of every form count: `import pkg.x`, `from . import x`, `from ..blocks import *`, imports
inside functions, `importlib.import_module("pkg.x")`, and the `__init__` files of the packages on
the way, where they hold code. What an import leads to decides how it counts:

- modules of the family's own package, and others that belong to no installed distribution (a
  neighbour on the path), count by their code, and by what they import in turn;
- modules of another installed distribution count by its name and version;
- the standard library, genbench and the libraries that genbench itself stands on (`BASE`) do not
  count: every record names their versions, and an update of torch is no new family.

Code is read as a syntax tree without docstrings, so comments, layout and documentation do not
change a version. Nothing is imported and nothing runs.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from genbench.spec import ConfigError

__all__ = ["BASE", "code_version", "parsed"]

# importable names of genbench and of its dependencies, as pyproject.toml lists them
BASE = {"genbench", "torch", "torchvision", "numpy", "scipy", "pandas", "tabulate", "jinja2"}
BASE |= {"pydantic", "PIL", "matplotlib", "safetensors", "sklearn", "tqdm", "torch_fidelity"}


@dataclass(frozen=True)
class _Module:
    """A file of code, and the package that its relative imports start from."""

    path: Path
    package: tuple[str, ...]


def code_version(module: str, path: Path) -> str:
    """The version of the code in `path`, importable as `module`: 16 hex digits.

    Raises:
        ConfigError: For a file that cannot be read as Python.
    """
    walk = _Walk(module.partition(".")[0])
    digest = hashlib.sha256()
    parts = tuple(module.split("."))
    package = parts if path.name == "__init__.py" else parts[:-1]
    todo, seen = [_Module(path, package)], set[Path]()
    todo += walk.parents(parts[:-1])
    while todo:
        current = todo.pop(0)
        if current.path in seen:
            continue
        seen.add(current.path)
        tree = parsed(current.path)
        todo += sorted(walk.imported(tree, current.package), key=lambda m: m.path)
        digest.update(ast.dump(tree).encode())
    for used in sorted(walk.used):
        digest.update(f"\0{used}".encode())
    return digest.hexdigest()[:16]


def parsed(path: Path) -> ast.Module:
    """The code in a file without its docstrings.

    Raises:
        ConfigError: For a file that cannot be read as Python.
    """
    return _without_docstrings(_parse(path))


class _Walk:
    """Finds the files behind imports.

    Args:
        own: The top-level package of the family, which counts by its code wherever it came from.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self.used: set[str] = set()  # other distributions, "NAME==VERSION"

    def imported(self, tree: ast.AST, package: tuple[str, ...]) -> set[_Module]:
        """The files that a module imports."""
        found: set[_Module] = set()
        for name, explicit in _names(tree, package):
            parts = tuple(name.split("."))
            if not self._by_code(parts[0]):
                continue
            files = _files(parts)
            found |= {_Module(file, _package(parts, file)) for file in files}
            found |= set(self.parents(parts[:-1]))
            if explicit == "*":
                found |= self._listed(parts, files)
        return found

    def parents(self, package: tuple[str, ...]) -> list[_Module]:
        """The `__init__` files of a package and of those around it that hold any code."""
        around = [package[:depth] for depth in range(1, len(package) + 1)]
        inits = [(parts, root / "__init__.py") for parts in around for root in _folders(parts)]
        return [_Module(path, parts) for parts, path in inits if path.is_file() and _code(path)]

    def _listed(self, parts: tuple[str, ...], files: Sequence[Path]) -> set[_Module]:
        """Modules that a star import brings, as `__all__` names them."""
        names = [name for file in files for name in _all(_parse(file))]
        inner = [(*parts, name) for name in names]
        return {_Module(f, _package(p, f)) for p in inner for f in _files(p)}

    def _by_code(self, top: str) -> bool:
        """Whether a top-level module counts by its code; one that does not is noted."""
        if top == self.own:
            return True
        if top in BASE or top in sys.stdlib_module_names:
            return False
        others = _distributions(tuple(sys.path)).get(top, ())
        self.used |= {f"{name}=={version(name)}" for name in others}
        return not others


@lru_cache
def _distributions(path: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Installed distributions by top-level module; `path` is `sys.path`."""
    found = packages_distributions()
    return {top: names for top, names in found.items() if "genbench" not in names}


def _names(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Modules that may be imported, absolute; beside the base of a star import stands "*"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            if module:
                names = [alias.name for alias in node.names]
                yield module, "*" if names == ["*"] else ""
                yield from ((f"{module}.{name}", "") for name in names if name != "*")
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if called not in ("import_module", "__import__") or not isinstance(
                first, ast.Constant
            ):
                continue
            if isinstance(first.value, str) and first.value.strip("."):
                name = first.value.lstrip(".")
                level = len(first.value) - len(name)
                base = package[: len(package) - level + 1] if level else ()
                yield ".".join((*base, name)), ""


def _origin(top: str) -> tuple[tuple[Path, ...], Path | None]:
    """The folders of a top-level package, or the file of a top-level module."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return (), None
    if spec.submodule_search_locations is not None:
        return tuple(map(Path, spec.submodule_search_locations)), None
    path = Path(spec.origin or "")
    return (), path if path.suffix == ".py" and path.is_file() else None


def _folders(parts: tuple[str, ...]) -> list[Path]:
    """Where a package's files stand.

    Looked up as files: asking the import system would run the parents of a module.
    """
    return [root.joinpath(*parts[1:]) for root in _origin(parts[0])[0]] if parts else []


def _files(parts: tuple[str, ...]) -> list[Path]:
    """The files of a module or package; none where the name is something inside a module."""
    roots, single = _origin(parts[0])
    if single is not None:
        return [single] if len(parts) == 1 else []
    found = []
    for root in roots:
        place = root.joinpath(*parts[1:])
        candidates = [place / "__init__.py"]
        if len(parts) > 1:
            candidates.append(place.parent / f"{place.name}.py")
        found += [path for path in candidates if path.is_file()]
    return found


def _package(parts: tuple[str, ...], file: Path) -> tuple[str, ...]:
    return parts if file.name == "__init__.py" else parts[:-1]


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        said = getattr(error, "msg", None) or getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"the code in {path} cannot be read: {said}") from None


def _code(path: Path) -> bool:
    """Whether a file holds anything but a docstring."""
    body = _parse(path).body
    rest = body[1:] if body and _is_docstring(body[0]) else body
    return bool(rest)


def _all(tree: ast.Module) -> list[str]:
    """The names in `__all__`, where they are written out."""
    found: list[str] = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            strings = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            found += [value for value in strings if isinstance(value, str)]
    return found


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        holds_code = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, holds_code) and node.body and _is_docstring(node.body[0]):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
