"""Finds, checks and reads the weights of networks that genbench does not ship.

A file is looked for where the user says, then in the folder that GENBENCH_WEIGHTS names, then
where torch.hub keeps what it downloads (`torch.hub.get_dir()/checkpoints`), and is downloaded to
there if it is nowhere. Its sha256 is computed every time, so that a number can name its weights.
"""

import hashlib
import os
import socket
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import PickleError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from genbench import files
from genbench.features.base import WeightsError
from genbench.text import clean

__all__ = ["FOLDER", "Weights", "at_hand", "fill", "locate", "read_state"]

FOLDER = "GENBENCH_WEIGHTS"  # environment variable: a folder of weights files
_TIMEOUT = 5.0  # seconds without an answer until a download is given up


@dataclass(frozen=True)
class Weights:
    """A weights file that was found.

    Attributes:
        path: Where it is.
        sha256: Of its content, 64 hex digits.
        official: Whether it is what its name stands for: its sha256 is the known one or, where
            none is known, it was found by its name rather than named by the user.
    """

    path: Path
    sha256: str
    official: bool


def locate(
    name: str,
    file: str,
    url: str,
    given: Path | None,
    sha256: str = "",
    also: Sequence[str] = (),
    option: str = "--weights FILE",
) -> Weights:
    """The weights file of a network; downloads it if need be.

    Args:
        name: The network, for messages.
        file: The name under which its library keeps the file.
        url: Where its library downloads it from; "" for nowhere.
        given: A file that the user names. Any content will do, but only the known one is official.
        sha256: The known sha256, or the start of it; "" if there is none to check.
        also: Names under which other libraries keep the same file.
        option: How the command line takes a file of the user's.

    Raises:
        WeightsError: No such file and no way to download it, or another content than the known.
    """
    if given is not None:
        if not given.is_file():
            raise WeightsError(
                f"there is no weights file {given} for {name}; name the file {file} with "
                f"--weights, or leave the option out to look for it in the usual places"
            )
        digest = _digest(given, name)
        return Weights(given, digest, bool(sha256) and _same(digest, sha256))
    folders = _folders()
    for path in (folder / each for folder in folders for each in (file, *also)):
        if path.is_file():
            return Weights(path, _checked(path, name, sha256), True)
    path = folders[-1] / file
    _download(url, path, name, sha256, folders, option)
    return Weights(path, _checked(path, name, sha256), True)


def read_state(weights: Weights, name: str) -> dict[str, Tensor]:
    """The tensors of a weights file by name, on the CPU: .safetensors, or torch.save's format.

    Files of torch.save are read with weights_only=True, so that they cannot run code; tensors may
    be one level down, under "state_dict".

    Raises:
        WeightsError: For a file that is neither, or holds something else.
    """
    try:
        content = _content(weights.path)
    except _DAMAGE as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        why = clean(first, 120).rstrip(". ")
        raise WeightsError(
            f"{weights.path} cannot be read as weights of {name} ({why}); it should hold tensors "
            "saved by torch.save or as .safetensors: get it again or name another"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise WeightsError(_no_tensors(weights, name, type(content).__name__))
    for key, value in content.items():
        found = _unfit(value)
        if not isinstance(key, str) or found:
            raise WeightsError(_no_tensors(weights, name, f"{clean(str(key), 80)}: {found}"))
    return dict(content)


# What readers of a damaged file have been seen to raise: torch checks little of what it unpickles.
_DAMAGE = (
    *files.MALFORMED,
    ArithmeticError,
    BufferError,
    EOFError,
    MemoryError,
    PickleError,
    RuntimeError,
    SafetensorError,
    struct.error,
)


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        files.check_safetensors(path)
        return load_file(path)
    with files.opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on old forms of the file, which are read all the same
        return torch.load(file, map_location="cpu", weights_only=True)


def _unfit(value: Any) -> str:
    """What keeps a value from being copied into a network, "" for a tensor with its numbers."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.device.type != "cpu":
        return f"a tensor on the device {value.device.type!r}, without numbers"
    if value.layout != torch.strided or value.is_nested or value.is_quantized:
        return f"a tensor that is {'quantized' if value.is_quantized else value.layout}"
    return f"a tensor of {value.dtype}" if value.is_complex() else ""


def fill(network: nn.Module, state: dict[str, Tensor], weights: Weights, name: str) -> None:
    """Copy tensors into a network that must have exactly these.

    Raises:
        WeightsError: For tensors that are missing, too many or of another shape, with the first.
    """
    own = network.state_dict()
    # batch norm's counters play no role in evaluation, and some converters leave them out
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    extra = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    wrong = [f"missing tensors: {len(missing)}, such as {missing[0]!r}"] if missing else []
    wrong += [f"unknown: {len(extra)}, such as {extra[0]!r}"] if extra else []
    if shapes:
        key = shapes[0]
        found, wanted = tuple(state[key].shape), tuple(own[key].shape)
        wrong += [f"of another shape: {len(shapes)}, such as {key!r}, {found} for {wanted}"]
    if wrong:
        raise WeightsError(
            f"{weights.path} holds the weights of another network than {name} ("
            f"{clean(', '.join(wrong), 400)}); name another file, or leave --weights out"
        )
    network.load_state_dict(state, strict=False)


def at_hand(files: Sequence[str]) -> Path | None:
    """A file of one of these names where `locate` looks before it downloads; unchecked.

    Raises:
        WeightsError: For an environment variable that names no folder.
    """
    paths = (folder / file for folder in _folders() for file in files)
    return next((path for path in paths if path.is_file()), None)


def _folders() -> list[Path]:
    """Where files are looked for by name; downloads go to the last."""
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    named = os.environ.get(FOLDER)
    if not named:
        return [hub]
    if not Path(named).is_dir():
        raise WeightsError(
            f"{FOLDER} names {named}, which is not a folder; set it to a folder of weights files "
            "or unset it"
        )
    return [Path(named), hub]


def _same(digest: str, known: str) -> bool:
    return digest.startswith(known.lower())


def _digest(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"cannot read {path}, the weights of {name}: {error.strerror}; make it readable or "
            "name another file with --weights"
        ) from None


def _checked(path: Path, name: str, sha256: str) -> str:
    digest = _digest(path, name)
    if not _same(digest, sha256):
        raise WeightsError(
            f"{path} should hold the weights of {name} with sha256 {sha256}..., but its sha256 is "
            f"{digest}; remove it to download it again, or name it with --weights to use it as "
            "it is"
        )
    return digest


def _download(
    url: str, path: Path, name: str, sha256: str, folders: list[Path], option: str
) -> None:
    """Fetch `url` to `path`, whole and checked or not at all."""
    reason = "there is no download for it"
    if url and files.homeless(path):
        reason = "there is no home folder to download it to"
    elif url:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _timeout(_TIMEOUT):
                torch.hub.download_url_to_file(
                    url, str(path), sha256.lower() or None, progress=sys.stderr.isatty()
                )
            return
        except (OSError, HTTPException, RuntimeError, ValueError) as error:
            reason = f"{url} cannot be downloaded ({error})"
    places = " and ".join(str(folder) for folder in folders)
    raise WeightsError(
        f"weights of {name} are missing: no file {path.name} in {places}, and {reason}; get the "
        f"file and name it with {option}, or set {FOLDER} to the folder that holds it"
    )


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Connections opened inside give up after so long without an answer.

    torch.hub's downloads pass no timeout of their own, and would wait for ever on a firewall.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _no_tensors(weights: Weights, name: str, found: str) -> str:
    return (
        f"{weights.path} holds no tensors by name ({found}), so it cannot be the weights of "
        f"{name}; name a file that holds a state dict"
    )
