"""A network of the user's own as an extractor: any torch module that turns images into features.

Named by a file, `path/to/file.py:NAME`, where NAME is a subclass of `torch.nn.Module` (called
without arguments), a module, or a function without arguments that returns one; or by the name of
an entry point of the group `genbench.extractors` in an installed package, which points to one of
these. The module is called with uint8 images (B, C, H, W), C = 1 or 3, and does its own resizing
and scaling. It returns features (B, D), a tuple of features and class probabilities (B, K), or
`genbench.features.Features`. An attribute `class_names`, one text for each class, says what the
probabilities are of: accuracy matches them with the names of a dataset's classes.
"""

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from genbench.features.base import Features, check_images
from genbench.features.catalog import ENTRY_POINTS, Request
from genbench.features.weights_file import fill, locate, read_state
from genbench.spec import ConfigError, nearest

__all__ = ["UserExtractor", "load"]

_PROBE = 64  # height and width of the images by which D is found before there are others
_ALONE = 1e-3  # of the largest feature: what rounding may change when other images join the batch
_SUM = 1e-3  # how far probabilities may be from adding up to 1


class UserExtractor(nn.Module):
    """An `Extractor` around a module of the user's; see there for the attributes.

    What the module returns is checked in every call: shapes, NaN, probabilities that add up to 1.
    The first call with several images also asks for one of them alone: its features must not
    depend on the others.

    Args:
        net: The module.
        name: In ids: "FILE:NAME" without the path and the suffix, or the entry point's name.
        file: The file that it comes from, for messages.
        sha256: Of its code and its state.
    """

    def __init__(self, net: nn.Module, name: str, file: Path, sha256: str) -> None:
        super().__init__()
        self.net = net
        self.net.eval()
        self.net.requires_grad_(False)
        self.name = name
        self.protocol = ""
        self.sha256 = sha256
        self.official = False  # the name stands for no weights: ids say which these are
        self.settings: dict[str, str] = {}
        self._file = file
        self._widths: tuple[int, int] | None = None
        self._alone = False  # whether an image was seen alone

    @property
    def dim(self) -> int:
        """Number of features D; before the first call, of images of noise."""
        return self._width()[0]

    @property
    def classes(self) -> int:
        """Number of classes K, 0 for a network without."""
        return self._width()[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The module's attribute of that name; () for a module without."""
        names = getattr(self.net, "class_names", ())
        texts = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
        if not texts or len(set(names)) != len(names) or len(names) not in (0, self.classes):
            raise self._wrong(
                f"has class_names {names!r}; list {self.classes} different texts, one for each "
                "class"
            )
        return tuple(names)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Features of uint8 images of shape (B, C, H, W), C = 1 or 3.

        Raises:
            ConfigError: For an error in the module, or an answer that cannot be used.
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()
        answer = self._answer(images)
        if not self._alone and len(images) > 1:
            self._check_alone(answer, self._answer(images[:1]))
            self._alone = True
        widths = (answer.features.shape[1], 0 if answer.probs is None else answer.probs.shape[1])
        if self._widths not in (None, widths):
            raise self._wrong(f"gave {self._widths} features and classes before, now {widths}")
        self._widths = widths
        return answer

    def _width(self) -> tuple[int, int]:
        if self._widths is None:
            generator = torch.Generator().manual_seed(0)
            shape = (2, 3, _PROBE, _PROBE)
            probe = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
            device = next((t.device for t in self.net.state_dict().values()), torch.device("cpu"))
            self(probe.to(device))
            assert self._widths is not None
        return self._widths

    def _answer(self, images: Tensor) -> Features:
        """The module's answer in one form, checked."""
        try:
            given = self.net(images)
        except Exception as error:
            shape = tuple(images.shape)
            raise self._wrong(
                f"failed on uint8 images of shape {shape}: {_said(error, self._file)}"
            ) from error
        if isinstance(given, Tensor):
            given = Features(given)
        elif isinstance(given, tuple) and len(given) == 2:
            given = Features(*given)
        if not isinstance(given, Features):
            raise self._wrong(
                f"returned {type(given).__name__}; return features (B, D), or (features, probs)"
            )
        rest = (given.probs, given.spatial)
        names = ("probs", "spatial")
        checked = (
            None if value is None else self._checked(value, len(images), name)
            for value, name in zip(rest, names, strict=True)
        )
        answer = Features(self._checked(given.features, len(images), "features"), *checked)
        if answer.probs is not None:
            self._check_probs(answer.probs)
        return answer

    def _checked(self, value: Any, n: int, what: str) -> Tensor:
        """float32 of shape (n, width), finite."""
        if not isinstance(value, Tensor):
            raise self._wrong(f"returned {type(value).__name__} as {what}; return a tensor")
        if value.ndim != 2 or len(value) != n or value.shape[1] == 0:
            raise self._wrong(
                f"returned {what} of shape {tuple(value.shape)} for {n} images; return "
                f"({n}, D), one row for each image (x.flatten(1), or x.mean((2, 3)) of maps)"
            )
        if not value.is_floating_point():
            raise self._wrong(f"returned {what} of {value.dtype}; return floating-point numbers")
        rows = value.detach().float()
        bad = (~rows.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            raise self._wrong(
                f"returned {what} with NaN or infinities for {len(bad)} of {n} images, the first "
                f"being image {bad[0]} of its batch"
            )
        return rows

    def _check_probs(self, probs: Tensor) -> None:
        off = float((probs.sum(1) - 1).abs().max())
        if float(probs.min()) < 0 or off > _SUM:
            raise self._wrong(
                f"returned probs between {float(probs.min()):.3g} and {float(probs.max()):.3g} "
                f"whose sums are off 1 by up to {off:.3g}; return logits.softmax(1)"
            )

    def _check_alone(self, together: Features, alone: Features) -> None:
        first = together.features[:1]
        change = float((first - alone.features).abs().max())
        if change > _ALONE * max(float(first.abs().max()), float(alone.features.abs().max())):
            raise self._wrong(
                f"gives an image other features (by up to {change:.3g}) when others join its "
                "batch, or at a second look; batch norm must use running statistics "
                "(track_running_stats=True, no train() in forward), and nothing may be random"
            )

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(f"extractor {self.name} in {self._file} {what}")


def load(request: Request) -> UserExtractor:
    """A module of the user's, on the CPU; see the module's docstring and `features.load`.

    With weights, their tensors are loaded into it, which must have exactly these. sha256 covers
    the file that the module's class (or function) stands in and all its tensors, but no other
    file that it imports.
    """
    if request.compiled or request.dtype != "float32":
        raise ConfigError(
            f"{request.name} runs as its author wrote it; leave out compile and dtype"
        )
    found, name, file = _from_file(request) if request.arguments else _entry_point(request)
    net = _module(found, name, file)
    if request.weights is not None:
        weights = locate(name, f"of {name}", "", request.weights)
        fill(net, read_state(weights, name), weights, name)
    return UserExtractor(net, name, file, _sha256(net, file))


def _from_file(request: Request) -> tuple[Any, str, Path]:
    """What NAME stands for in FILE.py, its name in ids and the file."""
    path, attribute = Path(request.name), request.arguments[0]
    if not path.is_file():
        others = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = f"in {path.parent}, {nearest(path.name, others)}" if others else "check the path"
        raise ConfigError(f"there is no file {path} for extractor {path.name}:{attribute}; {hint}")
    module = _run(path)
    if not hasattr(module, attribute):
        raise ConfigError(
            f"{path} has no {attribute!r}; {nearest(attribute, _candidates(module))}"
        )
    return getattr(module, attribute), f"{path.stem}:{attribute}", path


def _entry_point(request: Request) -> tuple[Any, str, Path]:
    entry = next(iter(entry_points(group=ENTRY_POINTS, name=request.name)))
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigError(
            f"extractor {request.name} ({entry.value}) cannot be loaded: {_said(error)}"
        ) from error
    return found, request.name, Path(str(sys.modules[entry.module].__file__))


def _run(path: Path) -> ModuleType:
    """The file as a module; it may import its neighbours while it is being run."""
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"_genbench_user_{path.stem}_{key}", path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look it up
    try:
        with _at_home(path):
            spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path} cannot be run: {_said(error, path)}") from error
    return module


@contextmanager
def _at_home(path: Path) -> Iterator[None]:
    """What runs inside finds the file's neighbours, and draws its weights from one seed.

    So a network that is used untrained is the same in every run, and the state of the global
    generator is none of its business.
    """
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            yield
    finally:
        sys.path.remove(folder)


def _candidates(module: ModuleType) -> list[str]:
    """Names of what could be an extractor: a module, or a class or function of the file's own."""

    def fits(value: Any) -> bool:
        own = getattr(value, "__module__", "") == module.__name__
        return isinstance(value, nn.Module) or (own and _makes(value))

    return [name for name, value in vars(module).items() if fits(value)]


def _makes(value: Any) -> bool:
    """Whether it is to be called for a module: a subclass of `nn.Module`, or a function."""
    is_class = isinstance(value, type) and issubclass(value, nn.Module)
    return is_class or inspect.isfunction(value)


def _module(found: Any, name: str, file: Path) -> nn.Module:
    """The torch module that NAME stands for."""
    made = found
    if _makes(found):
        try:
            with _at_home(file):
                made = found()
        except Exception as error:
            raise ConfigError(
                f"extractor {name} in {file} cannot be made by {found.__name__}(): "
                f"{_said(error, file)}"
            ) from error
    if not isinstance(made, nn.Module):
        kind = f"the class {made.__name__}" if isinstance(made, type) else type(made).__name__
        by = f"{found.__name__}() returns" if made is not found else "it is"
        raise ConfigError(
            f"extractor {name} in {file} is no torch.nn.Module: {by} {kind}; name a module, its "
            "class or a function that returns one"
        )
    return made


def _said(error: Exception, file: Path | None = None) -> str:
    """Type and first line of an error, and the line of the user's file that it came by."""
    frames = traceback.extract_tb(error.__traceback__)
    own = file.resolve() if file else None
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == own]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    first = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    return f"{type(error).__name__}: {first}" + (f", line {lines[-1]}" if lines else "")


def _sha256(net: nn.Module, file: Path) -> str:
    """Of the file's bytes and of all tensors, with their names, types and shapes."""
    digest = hashlib.sha256(file.read_bytes())
    for key, value in sorted(net.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"\0{key} {value.dtype} {tuple(value.shape)}\0".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(f"\0{key} {value!r}\0".encode())
    return digest.hexdigest()
