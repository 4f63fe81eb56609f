"""Which families there are, and the class behind a name; listing imports no torch, no family.

A family is a file below `baselines/` whose name does not start with "_"; the file's stem is the
family's name. Other packages add families through the entry-point group `genbench.baselines`: the
entry's value is a module (`pkg.mine`), a class in it (`pkg.mine:Mine`) or a package whose files
are families (`pkg`).
"""

import ast
import hashlib
import importlib
import inspect
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from genbench.api import Baseline

__all__ = ["GROUP", "Family", "defining", "families", "load", "version"]

GROUP = "genbench.baselines"


@dataclass(frozen=True)
class Family:
    """Where a family is defined.

    Attributes:
        name: What users call it.
        module: Its importable module.
        path: The module's file.
        attribute: The class inside the module, where the entry point names one.
        folder: The folder that it stands in, e.g. "gan"; for reading, nothing depends on it.
    """

    name: str
    module: str
    path: Path
    attribute: str = ""

    @property
    def folder(self) -> str:
        """The folder that the file stands in, e.g. "gan"."""
        return self.path.parent.name

    @property
    def summary(self) -> str:
        """The first line of the module's docstring."""
        try:
            doc = ast.get_docstring(ast.parse(self.path.read_text("utf-8"))) or ""
        except SyntaxError as error:
            return f"cannot be read: {error.msg} in line {error.lineno}"
        return doc.partition("\n")[0].strip()


@lru_cache
def families() -> dict[str, Family]:
    """All families by name, sorted.

    Raises:
        ConfigError: When two files claim one name, or an entry point names nothing.
    """
    found = list(_scan("baselines"))
    for entry in entry_points(group=GROUP):
        module, _, attribute = entry.value.partition(":")
        spec = _find(module, entry.name)
        if spec.submodule_search_locations and not attribute:
            found += _scan(module)
        else:
            found.append(Family(entry.name, module, Path(spec.origin or ""), attribute))
    by_name: dict[str, Family] = {}
    for family in found:
        other = by_name.setdefault(family.name, family)
        if other.path.resolve() != family.path.resolve():
            raise ConfigError(
                f"two families are called {family.name!r}, in {other.path} and in {family.path}; "
                "rename one"
            )
    return dict(sorted(by_name.items()))


def load(name: str) -> "type[Baseline[Any]]":
    """Import the family's module and give its one subclass of `Baseline`.

    Raises:
        ConfigError: For an unknown name, with the nearest one, and for a file that does not define
            exactly one family.
    """
    from genbench.api import Baseline

    family = _family(name)
    try:
        module = importlib.import_module(family.module)
    except (ImportError, SyntaxError, NameError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"baseline {name!r} in {family.path} cannot be imported ({type(error).__name__}: "
            f"{error}); mend it, or leave it out with baseline=NAMES"
        ) from error
    if family.attribute:
        classes = [getattr(module, family.attribute)]
    else:
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Baseline)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
        ]
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise ConfigError(f"{family.path} must define one Baseline, it defines {names}")
    return classes[0]  # type: ignore[no-any-return]


@lru_cache
def defining(name: str) -> tuple[str, ...]:
    """What `api.Baseline.defining` is in a family's file, read without importing it.

    Empty for a family that is not at hand, or whose file does not say.
    """
    try:
        tree = ast.parse(families()[name].path.read_text("utf-8"))
    except (KeyError, OSError, SyntaxError, ValueError):
        return ()
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for node in owner.body:
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            )
            if any(isinstance(t, ast.Name) and t.id == "defining" for t in targets):
                value = getattr(node, "value", None)
                names = value.elts if isinstance(value, ast.Tuple) else []
                return tuple(str(e.value) for e in names if isinstance(e, ast.Constant))
    return ()


@lru_cache
def version(name: str) -> str:
    """Hash of the family's code and of all that it imports from its own package.

    Taken from the syntax tree without docstrings, so comments, layout and documentation do not
    change it.
    """
    family = _family(name)
    package = family.module.partition(".")[0]
    digest = hashlib.sha256()
    todo, seen = [family.path], set[Path]()
    while todo:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        tree = ast.parse(path.read_text("utf-8"))
        todo += sorted(_imports(tree, package))
        digest.update(ast.dump(_without_docstrings(tree)).encode())
    return digest.hexdigest()[:16]


def _family(name: str) -> Family:
    known = families()
    if name not in known:
        raise ConfigError(f"unknown baseline {name!r}; {nearest(name, known)}")
    return known[name]


def _find(module: str, entry: str) -> Any:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None:
        raise ConfigError(
            f"the entry point {entry!r} of group {GROUP} names the module {module!r}, which is "
            "not there; reinstall or remove the package that declares it"
        )
    return spec


def _scan(package: str) -> list[Family]:
    spec = _find(package, package)
    found = []
    for root in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if not any(part.startswith("_") for part in parts):
                found.append(Family(path.stem, ".".join((package, *parts)), path))
    return found


def _imports(tree: ast.AST, package: str) -> set[Path]:
    """The files of `package` that the module imports (the style has no relative imports)."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    roots = [Path(root) for root in _find(package, package).submodule_search_locations or ()]
    paths = set()
    for name in names:
        first, *rest = name.split(".")
        for root in roots if first == package else ():
            # looked up as files: asking the import system would run the parents of a module
            for path in (
                root.joinpath(*rest, "__init__.py"),
                root.joinpath(*rest).with_suffix(".py"),
            ):
                if path.is_file():
                    paths.add(path)
    return paths


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return tree
