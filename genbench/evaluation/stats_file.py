"""Statistics of a reference in files that people share: genbench's own, and those of others.

A file of genbench says of which network, protocol, weights and images it is, and is refused for
any other. The `mu` and `sigma` of other programs say none of that: whoever uses them declares it.
"""

import hashlib
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench import features, files
from genbench.evaluation.kept import Known, Told, check_whole, damage, lacks, pack, unpack
from genbench.evaluation.reference import Origin
from genbench.evaluation.request import EvalSpec, Job
from genbench.features import Extractor
from genbench.metrics import FeatureSet
from genbench.metrics.metric import checked
from genbench.metrics.moments import Moments
from genbench.spec import ConfigError
from genbench.store import atomic_write
from genbench.text import clean

__all__ = [
    "Declared",
    "Stats",
    "check_origin",
    "check_stats",
    "declared",
    "read_stats",
    "write_stats",
]

_LARGEST = 1 << 30  # bytes of an array in another program's file; 2048 features take 34 million
_ZIP = b"PK\3\4"  # what an .npz file begins with
_WORDS = {
    "extractor": "network",
    "protocol": "protocol",
    "weights": "weights",
    "settings": "type of numbers",
    "n": "number of images",
    "digest": "images",
    "prepared": "preparation of the images",
}


@dataclass(frozen=True)
class Declared:
    """What the user says of statistics that do not say it themselves.

    Attributes:
        request: The network that is looked through.
        protocol: Whether its protocol was named, rather than taken by default.
        n: Number of images.
    """

    request: features.Request
    protocol: bool
    n: int | None


def declared(wanted: Sequence[Job], spec: EvalSpec) -> Declared:
    """What the options say of a file that does not say it itself."""
    requests = [job.extractor for job in wanted if job.extractor is not None]
    request = requests[0] if requests else features.parse(spec.extractor)
    named = bool(spec.protocol) or "/" in spec.extractor
    return Declared(request, named, spec.reference_n)


@dataclass(frozen=True)
class Stats:
    """A file of statistics.

    Attributes:
        of: What it is of.
        known: The statistics.
        declared: Whether the user, not the file, says what it is of.
    """

    of: Origin
    known: Known
    declared: bool = False


def write_stats(path: Path, of: Origin, known: Known, needs: set[Any]) -> None:
    """Save statistics of a reference, with all that they are of.

    Raises:
        StoreError: When the disk is full, the folder is read-only, ...
    """
    from safetensors.numpy import save

    metadata = {"genbench": of.model_dump_json(), "told": known.told.model_dump_json()}
    content = save(pack(known.features, needs), metadata=metadata)
    atomic_write(path, content, "make room, or name another file with --save-stats")


def read_stats(path: Path, said: Declared) -> Stats:
    """The statistics of a file.

    Raises:
        ConfigError: A file that is missing, damaged or of another program that nothing is declared
            of.
    """
    try:
        with files.opened(path) as file:
            zipped = file.read(4) == _ZIP
        return _of_others(path, said) if zipped else _own(path)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no statistics file {path}; make one with --save-stats {path}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot read {path} as a statistics file: {error.strerror}; name another file, or "
            "make one with --save-stats"
        ) from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(
            f"{path} is not a statistics file, or damaged ({clean(str(error), 200)}); make one "
            "with --save-stats, or name an .npz file with mu and sigma"
        ) from None


def _own(path: Path) -> Stats:
    """A file that `write_stats` wrote, or ValueError."""
    from safetensors.numpy import load

    with damage():
        files.check_safetensors(path)
        data = files.read(path, None)
        header = files.json_of(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get("__metadata__", {})
        if "genbench" not in metadata:
            raise ValueError("it does not say what it is of")
        of = Origin.model_validate(files.json_of(metadata["genbench"]))
        told = Told.model_validate(files.json_of(metadata.get("told", "{}")))
        known = unpack(of.n, load(data), "reference")
        check_whole(known)
    return Stats(of, Known(known, told))


def _of_others(path: Path, said: Declared) -> Stats:
    """The Gaussian of an .npz file with `mu` and `sigma`, or ValueError.

    Raises:
        ConfigError: Where it is not declared which images they are of, and how these were seen.
    """
    protocol = said.request.protocol
    if said.n is None or (protocol and not said.protocol):
        raise ConfigError(
            f"{path} does not say which protocol its statistics are of and of how many images; "
            f"if you know, declare it with reference_n=NUMBER"
            f"{f' and --protocol {protocol}' if protocol else ''}, or make your own file with "
            "--save-stats"
        )
    with damage(), zipfile.ZipFile(path) as archive:
        mean, cov = (np.asarray(_member(archive, name), np.float64) for name in ("mu", "sigma"))
        dim = len(checked({"mu": mean}, "mu", (None,)))
        checked({"sigma": cov}, "sigma", (dim, dim))
        if not np.allclose(cov, cov.T, rtol=1e-3, atol=1e-6 * float(np.abs(cov).max())):
            raise ValueError("'sigma' is not symmetric")
        moments = Moments.given(said.n, mean, cov)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    request = said.request
    name = ":".join((Path(request.name).name, *request.arguments))
    of = Origin(
        name=f"{path.name}-{digest[:8]}",
        digest=digest,
        prepared="as declared",
        n=said.n,
        extractor=name,
        protocol=protocol,
        weights="",
    )
    return Stats(of, Known(FeatureSet(said.n, {}, {Moments: moments}), Told()), declared=True)


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array of an .npz file, of which the headers are believed only where they agree."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no {name!r}") from None
    if info.file_size > _LARGEST:
        raise ValueError(f"{name!r} has {info.file_size:,} bytes")
    file = BytesIO(archive.read(info))
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name!r} has version {version} of the .npy format")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.kind not in "fiu" or any(type(length) is not int or length < 1 for length in shape):
        raise ValueError(f"{name!r} holds {dtype} of shape {shape}")
    values = file.read()
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} is cut short")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if fortran else "C")


def check_stats(path: Path, stats: Stats, extractor: Extractor, needs: set[Any]) -> None:
    """Refuse statistics of another network, protocol, weights or type of numbers.

    Raises:
        ConfigError: What differs, and what is lacking.
    """
    wanted = {
        "extractor": extractor.name,
        "protocol": extractor.protocol,
        "weights": extractor.sha256,
        "settings": extractor.settings,
    }
    known = stats.known.features
    if not stats.declared:
        check_origin(path, stats.of, wanted)
    elif extractor.dim and len(known.sums(Moments).mean) != extractor.dim:
        raise ConfigError(
            f"{path} holds statistics of {len(known.sums(Moments).mean)} features, and "
            f"{extractor.name} has {extractor.dim}; name the network that they are of with "
            "--extractor"
        )
    lacking = lacks(known, needs)
    if lacking:
        raise ConfigError(
            f"{path} lacks what these metrics need of the reference ({', '.join(lacking)}); save "
            "it again with all metrics named, or ask for fewer"
        )


def check_origin(path: Path, of: Origin, wanted: Mapping[str, Any]) -> None:
    """Refuse statistics whose origin differs from what is wanted.

    Raises:
        ConfigError: The first difference.
    """
    for field, value in wanted.items():
        found = getattr(of, field)
        if found != value:
            raise ConfigError(
                f"{path} holds statistics of another {_WORDS[field]}: {_short(found)}, wanted is "
                f"{_short(value)}; name the right file, or make one with --save-stats"
            )


def _short(value: object) -> str:
    text = clean(str(value), 80) or "(none)"
    return f"{text[:12]}..." if len(text) == 64 else text
