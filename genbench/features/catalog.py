"""Which networks there are, by the name that a metric's id has for them; loads no torch.

NAME[:ARGUMENT...][/PROTOCOL]   inception/clean  open_clip:ViT-B-32:openai  digits-cnn
path/to/file.py:NAME            a module of the user's own
"""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from genbench.features.cards import card
from genbench.features.cards import names as shipped
from genbench.spec import ConfigError, nearest

__all__ = ["NETWORKS", "Network", "Request", "check_plain", "describe", "parse"]

ENTRY_POINTS = "genbench.extractors"


@dataclass(frozen=True)
class Network:
    """A kind of network that genbench can load.

    Attributes:
        module: Defines `load(request: Request) -> Extractor`.
        about: One line for `genbench ls`.
        protocols: Named ways to prepare images, the default first; () where there is one way only.
        arguments: What stands after colons in its name, e.g. ("MODEL", "PRETRAINED").
        files: Names that libraries give its weights file; () where that depends on the arguments.
        classes: Of how many classes it gives probabilities, which IS reads; 0 for none.
        text: Whether it reads captions too.
    """

    module: str
    about: str
    protocols: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    classes: int = 0
    text: bool = False


NETWORKS = {
    "inception": Network(
        "genbench.features.inception",
        "Inception-v3 of 2015-12-05, pool3: what FID, IS and KID are defined by",
        protocols=("tf1", "pytorch-fid", "clean"),
        files=(
            "weights-inception-2015-12-05-6726825d.pth",
            "pt_inception-2015-12-05-6726825d.pth",
        ),
        classes=1008,
    ),
    "vgg16": Network(
        "genbench.features.vgg16",
        "VGG16, fc2 after ReLU: improved precision and recall",
        files=("vgg16-397923af.pth",),
    ),
    "dinov2": Network(
        "genbench.features.dinov2",
        "DINOv2 ViT-L/14, CLS token, as in dgm-eval",
        files=("dinov2_vitl14_pretrain.pth",),
    ),
    "open_clip": Network(
        "genbench.features.open_clip",
        "any model of open_clip, for images and text",
        arguments=("MODEL", "PRETRAINED"),
        text=True,
    ),
    "pixels": Network(
        "genbench.features.pixels",
        "the pixels themselves, no network: sees noise and contrast, not what an image shows",
    ),
}


@dataclass(frozen=True)
class Request:
    """Which network is wanted, and how.

    Attributes:
        name: "inception", "digits-cnn", the path of a file for a user's own module.
        arguments: What stood after colons.
        protocol: One of the network's protocols, its default if none was named.
        weights: A file that the user names, or None for the usual places.
        dtype: "float32" or "bfloat16".
        compiled: Whether to compile the network first.
    """

    name: str
    arguments: tuple[str, ...] = ()
    protocol: str = ""
    weights: Path | None = None
    dtype: str = "float32"
    compiled: bool = False


def check_plain(request: Request) -> None:
    """Refuse options that networks shipped with genbench do not have.

    Raises:
        ConfigError: For a weights file, a compiled network or another type than float32.
    """
    if request.weights or request.compiled or request.dtype != "float32":
        raise ConfigError(
            f"{request.name} comes with its weights and runs in float32 only; leave out "
            "weights, compile and dtype, or choose another extractor"
        )


def parse(
    text: str, weights: Path | None = None, dtype: str = "float32", compiled: bool = False
) -> Request:
    """Read an extractor's name.

    Raises:
        ConfigError: For an unknown name, protocol or number of arguments.
    """
    path, colon, attribute = text.rpartition(":")
    if colon and path.endswith(".py"):
        return Request(path, (attribute,), "", weights, dtype, compiled)
    head, _, protocol = text.partition("/") if not text.startswith("open_clip") else (text, "", "")
    name, *arguments = head.split(":", 2)
    known = {*NETWORKS, *shipped(), *(e.name for e in entry_points(group=ENTRY_POINTS))}
    if name not in known:
        raise ConfigError(f"unknown extractor {name!r}; {nearest(name, known)}, or FILE.py:NAME")
    network = NETWORKS.get(name, Network("", ""))
    if len(arguments) != len(network.arguments):
        form = ":".join((name, *network.arguments))
        raise ConfigError(f"extractor {text!r} is not complete or too long; write {form}")
    if protocol and protocol not in network.protocols:
        raise ConfigError(
            f"{name} has no protocol {protocol!r}; {nearest(protocol, network.protocols)}"
        )
    chosen = protocol or next(iter(network.protocols), "")
    return Request(name, tuple(arguments), chosen, weights, dtype, compiled)


def describe() -> dict[str, str]:
    """One line about each extractor, by name."""
    lines = {name: card(name)["about"] for name in shipped()}
    for name, network in NETWORKS.items():
        form = ":".join((name, *network.arguments))
        protocols = f" (protocols {', '.join(network.protocols)})" if network.protocols else ""
        lines[form] = network.about + protocols
    for entry in entry_points(group=ENTRY_POINTS):
        lines[entry.name] = f"{entry.value}, from an installed package"
    return lines
