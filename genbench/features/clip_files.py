"""Where open_clip's weights are: a user's file, the Hugging Face cache, or their download.

open_clip's own download tries again and again, for most of a minute, when nothing can be reached;
so what is needed is looked for on this machine first, and one short question goes out before any
download.
"""

import hashlib
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from genbench.features.base import WeightsError
from genbench.features.weights_file import FOLDER, Weights, locate

__all__ = ["find", "hub_has", "known_sha256"]

_TIMEOUT = 5.0  # seconds that the hub has to answer
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAFE, _PICKLED = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"  # on the hub


def known_sha256(about: dict[str, Any]) -> str:
    """sha256, or its start, of the file that a tag's URL names; "" where open_clip knows none.

    OpenAI's addresses hold it as the last folder, open_clip's releases as the end of the name.
    """
    url = str(about.get("url", ""))
    if "openaipublic" in url:
        return url.split("/")[-2]
    last = Path(url).stem.rpartition("-")[2]
    return last if "mlfoundations" in url and re.fullmatch(r"[0-9a-f]{8}", last) else ""


def find(name: str, about: dict[str, Any], given: Path | None) -> Weights:
    """The weights of a model of open_clip, downloaded if need be.

    Looked for where the user says; under the name of open_clip's release, or as
    MODEL-PRETRAINED.safetensors, .bin or .pt, in the folder that GENBENCH_WEIGHTS names; in the
    Hugging Face cache; at the Hugging Face hub.

    Args:
        name: open_clip:MODEL:PRETRAINED.
        about: What open_clip knows of the tag, {} for one of the user's own.
        given: A file that the user names.

    Raises:
        WeightsError: No such file and no way to download it, or another content than the known.
    """
    url, known = str(about.get("url", "")), known_sha256(about)
    if given is not None:
        return locate(name, _own_name(name), "", given, known)
    folder, release = os.environ.get(FOLDER), url.rpartition("/")[2]
    if folder:
        for file in (release, *(_own_name(name, s) for s in (".safetensors", ".bin", ".pt"))):
            if file and (Path(folder) / file).is_file():
                return locate(name, file, "", None, known if file == release else "")
    if not about.get("hf_hub"):
        return locate(name, release or _own_name(name), url, None, known)
    path = _cached(about["hf_hub"]) or _download(name, about["hf_hub"])
    return _checked(path, name)


def hub_has(repository: str, file: str, what: str) -> None:
    """Make sure that a file of a repository is in the Hugging Face cache or can be downloaded.

    Raises:
        WeightsError: Where it is not cached and the hub cannot be reached.
    """
    if Path(repository).is_dir():
        return
    from huggingface_hub import try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(repository, file), str):
        reason = _unreachable()
        if reason:
            raise WeightsError(
                f"{what} is missing: {repository} is not in the Hugging Face cache, and {reason}; "
                "go on with a connection, copy the cache (HF_HOME) from a machine that has it, or "
                "choose a model with open_clip's own text network"
            )


def _own_name(name: str, suffix: str = ".safetensors") -> str:
    return "-".join(name.split(":")[1:]) + suffix


def _files(hub: str) -> tuple[str, tuple[str, ...]]:
    """Repository and files, the safest first, of an entry of open_clip's list."""
    repository, _, file = hub.rpartition("/")
    if not file:
        return repository, (_SAFE, _PICKLED)
    return repository, (str(Path(file).with_suffix(".safetensors")), file)


def _cached(hub: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, files = _files(hub)
    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _download(name: str, hub: str) -> Path:
    from open_clip.pretrained import download_pretrained

    reason = _unreachable()
    if not reason:
        try:
            return Path(download_pretrained({"hf_hub": hub}))
        except (OSError, ValueError) as error:
            reason = f"the download failed ({str(error).splitlines()[0][:200]})"
    repository, files = _files(hub)
    raise WeightsError(
        f"weights of {name} are missing: {repository} is not in the Hugging Face cache, and "
        f"{reason}; get {files[0]} of {repository} and name it with --weights FILE, or "
        f"put it as {_own_name(name)} into the folder that {FOLDER} names"
    )


def _unreachable() -> str:
    """Why the Hugging Face hub cannot be asked, "" where it can."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids downloads"
    question = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        with urllib.request.urlopen(question, timeout=_TIMEOUT):
            return ""
    except urllib.error.HTTPError:
        return ""  # an answer all the same
    except OSError as error:
        reason = getattr(error, "reason", error)
        return f"{constants.ENDPOINT} cannot be reached ({reason})"


def _checked(path: Path, name: str) -> Weights:
    """A file of the Hugging Face cache, which keeps large files under their sha256."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = path.resolve().name
    if _SHA256.fullmatch(kept) and kept != digest:
        raise WeightsError(
            f"{path}, the weights of {name}, should have sha256 {kept} and has {digest}; remove "
            "it to download it again"
        )
    return Weights(path, digest, official=True)
