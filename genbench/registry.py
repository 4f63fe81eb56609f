"""Which families there are, and the class behind a name; listing imports no torch, no family.

A family is a file below `baselines/` whose name does not start with "_"; the file's stem is the
family's name. Other packages add families through the entry-point group `genbench.baselines`: the
entry's value is a module (`pkg.mine`), a class in it (`pkg.mine:Mine`) or a package whose files
are families (`pkg`).
"""

import ast
import importlib
import inspect
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.spec import ConfigError, nearest
from genbench.versions import code_version

if TYPE_CHECKING:
    from genbench.api import Baseline

__all__ = ["GROUP", "Family", "broken", "defining", "families", "forget", "load", "version"]

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


def families() -> dict[str, Family]:
    """All families that can be found by name, sorted; see `broken` for the others."""
    return _found()[0]


def broken() -> dict[str, str]:
    """Why entry points bring no family, a sentence each, by the name that they claim."""
    return _found()[1]


@lru_cache
def _found() -> tuple[dict[str, Family], dict[str, str]]:
    """Families by name, and entry points that do not work: one of them stops nobody else."""
    shipped = {family.name: family for family in _scan("baselines")}
    wanted: dict[str, list[Family]] = {name: [family] for name, family in shipped.items()}
    reasons: dict[str, str] = {}
    for entry in entry_points(group=GROUP):
        try:
            brought = _brought(entry)
        except ConfigError as error:
            reasons[entry.name] = str(error)
            continue
        for family in brought:
            wanted.setdefault(family.name, []).append(family)
    for name, claims in wanted.items():
        paths = list(dict.fromkeys(family.path.resolve() for family in claims))
        if len(paths) > 1:
            keeps = f"; {paths[0]} is taken" if name in shipped else ""
            reasons[name] = (
                f"two families are called {name!r}, in {paths[0]} and in {paths[1]}{keeps}; "
                "rename one"
            )
    found = {n: f[0] for n, f in wanted.items() if n in shipped or n not in reasons}
    return dict(sorted(found.items())), reasons


def _brought(entry: EntryPoint) -> list[Family]:
    """The families that an entry point brings.

    Raises:
        ConfigError: When it names nothing that can be found.
    """
    module, _, attribute = entry.value.partition(":")
    spec = _find(module, entry.name)
    if spec.submodule_search_locations and not attribute:
        return _scan(module)
    return [Family(entry.name, module, Path(spec.origin or ""), attribute)]


def load(name: str) -> "type[Baseline[Any]]":
    """Import the family's module and give its one subclass of `Baseline`.

    Raises:
        ConfigError: For an unknown name, with the nearest one, for a file that does not define
            exactly one family, and for a family that breaks the contract.
    """
    from genbench.api import Baseline

    family = _family(name)
    try:
        module = importlib.import_module(family.module)
    except Exception as error:  # whatever code of somebody else's raises
        raise ConfigError(
            f"baseline {name!r} in {family.path} cannot be imported ({type(error).__name__}: "
            f"{error}); mend it, or leave it out with baseline=NAMES"
        ) from error
    if family.attribute:
        named: Any = getattr(module, family.attribute, None)
        classes = [named]
        if not (inspect.isclass(named) and issubclass(named, Baseline)):
            raise ConfigError(
                f"baseline {name!r}: {family.attribute} in {family.path} is not a Baseline; mend "
                "the entry point"
            )
    else:
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Baseline)
            and value.__module__ == module.__name__
        ]
        classes = [c for c in classes if not inspect.isabstract(c)] or classes
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise ConfigError(f"{family.path} must define one Baseline, it defines {names}")
    cls: type[Baseline[Any]] = classes[0]
    if wrong := _wrong(cls):
        raise ConfigError(f"baseline {name!r}: {cls.__name__} in {family.path} {wrong}")
    return cls


def _wrong(cls: "type[Baseline[Any]]") -> str:
    """What a class lacks of the contract, or an empty string."""
    from genbench import api

    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"does not define {', '.join(missing)}"
    kind = getattr(cls, "kind", None)
    if not (isinstance(kind, str) and kind.strip()):
        return 'has no kind, by which tables group rows; add a line such as kind = "gan"'
    for attribute, base in (
        ("cond", api.Condition),
        ("Config", api.Config),
        ("Options", api.Options),
    ):
        value = getattr(cls, attribute)
        if not (inspect.isclass(value) and issubclass(value, base)):
            return f"has a {attribute} that is not a subclass of api.{base.__name__}"
    return _ambiguous(set(cls.Config.model_fields), set(cls.Options.model_fields))


def _ambiguous(settings: set[str], options: set[str]) -> str:
    """Why `FAMILY.name=value` would not say what it changes, or an empty string."""
    if both := sorted(settings & options):
        return (
            f"has {', '.join(map(repr, both))} both in Config and in Options, so that a change "
            "could mean either; rename one"
        )
    if "preset" in settings | options:
        return "calls a field 'preset', which is how named settings are chosen; rename it"
    if "options" in settings:
        return "calls a setting 'options', which a preset has for sampling options; rename it"
    return ""


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
    """Hash of the family's code and of all that it imports; see `versions`."""
    family = _family(name)
    return code_version(family.module, family.path)


def forget() -> None:
    """Look for families again at the next question, and read their code anew."""
    _found.cache_clear()
    version.cache_clear()


def _family(name: str) -> Family:
    known = families()
    if name not in known and name in broken():
        raise ConfigError(broken()[name])
    if name not in known:
        raise ConfigError(f"unknown baseline {name!r}; {nearest(name, known)}")
    return known[name]


def _find(module: str, entry: str) -> Any:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:  # noqa: BLE001 - the package around the module runs
        raise ConfigError(
            f"the entry point {entry!r} of group {GROUP} names {module!r}, which cannot be "
            f"imported ({type(error).__name__}: {error}); mend, reinstall or remove the package "
            "that declares it"
        ) from None
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
