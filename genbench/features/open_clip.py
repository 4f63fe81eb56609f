"""CLIP networks of the open_clip library, for images and text.

Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, arXiv
2103.00020; Cherti et al., *Reproducible scaling laws for contrastive language-image learning*,
arXiv 2212.07143. Model, tokenizer and preparation of images are open_clip's own; features are the
projected embeddings, not normalised, which is the metrics' work.
"""

import difflib
import logging
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from genbench.features.base import Features, check_images
from genbench.features.catalog import Request
from genbench.features.clip_files import find, hub_has
from genbench.features.pillow import prepare
from genbench.features.weights_file import Weights, fill, read_state
from genbench.spec import ConfigError, nearest

__all__ = ["ClipExtractor", "load"]

_CAPTIONS = 256  # encoded at a time
_ALIKE = 0.75  # of two tags: one is taken for a slip in the other
_UNREADABLE = (
    AttributeError, EOFError, KeyError, OSError, RuntimeError, SafetensorError, StopIteration,
    UnpicklingError, ValueError,
)  # fmt: skip


class ClipExtractor(nn.Module):
    """A `TextExtractor` around one of open_clip's models; see there for the attributes.

    Attributes:
        context: Number of tokens that its text network reads; longer captions are cut off there.
    """

    def __init__(self, net: nn.Module, model: str, tag: str, weights: Weights) -> None:
        super().__init__()
        library, config = _library(), _config(model)
        self.net = net.eval().requires_grad_(False)
        self.name = f"open_clip:{model}:{tag}"
        self.protocol = ""
        self.dim = int(config["embed_dim"])
        self.classes = 0
        self.class_names: tuple[str, ...] = ()
        self.sha256 = weights.sha256
        self.official = weights.official
        self.settings: dict[str, str] = {}
        self.context = int(config["text_cfg"].get("context_length", 77))  # as the tokenizers do
        self._model = model
        self._tokenizer: Any = None
        cfg = library.transform.PreprocessCfg(**cast(Any, net).visual.preprocess_cfg)
        self._prepare = library.transform.image_transform_v2(cfg, is_train=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Embeddings of uint8 images of shape (B, C, H, W), C = 1 or 3; grey is repeated to RGB.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
        """
        check_images(images, self.name)
        self.eval()  # dropped patches would make features a matter of chance
        x = prepare(images, self._prepare).to(next(self.net.parameters()).device)
        return Features(cast(Any, self.net).encode_image(x, normalize=False).float())

    @torch.no_grad()
    def text(self, captions: Sequence[str]) -> Tensor:
        """Embeddings of captions, float32 of shape (B, D).

        Equal captions are encoded once and have equal embeddings. Captions of more than `context`
        tokens are cut off by the tokenizer; `too_long` tells which.

        Raises:
            WeightsError: For a tokenizer that must be downloaded and cannot be.
        """
        self.eval()
        device = next(self.net.parameters()).device
        place = {caption: i for i, caption in enumerate(dict.fromkeys(captions))}
        different = list(place)
        parts = [torch.empty(0, self.dim, device=device)]
        for start in range(0, len(different), _CAPTIONS):
            tokens = self.tokenizer(different[start : start + _CAPTIONS]).to(device)
            parts.append(cast(Any, self.net).encode_text(tokens, normalize=False).float())
        return torch.cat(parts)[[place[caption] for caption in captions]]

    def too_long(self, captions: Sequence[str]) -> list[int]:
        """Which of the captions, by position, have more tokens than the network reads.

        Raises:
            WeightsError: For a tokenizer that must be downloaded and cannot be.
        """
        if not captions:
            return []
        room = 4 * self.context  # longer captions are longer than the context anyway
        padding = self.tokenizer([""], context_length=self.context)[0]
        # all but the last place, where some tokenizers put a token of the class
        wide = self.tokenizer(list(captions), context_length=room)[:, :-1]
        used = (wide != padding[-2]).long() * torch.arange(1, room)
        limit = self.context - int(padding[-1] != padding[-2])
        return [i for i, length in enumerate(used.amax(1).tolist()) if length > limit]

    @property
    def tokenizer(self) -> Any:
        """open_clip's tokenizer for this model, made when text is first read.

        Raises:
            WeightsError: For one that must be downloaded and cannot be.
        """
        if self._tokenizer is None:
            repository = _config(self._model)["text_cfg"].get("hf_tokenizer_name", "")
            if repository:
                hub_has(repository, "tokenizer_config.json", f"the tokenizer of {self.name}")
            self._tokenizer = _library().get_tokenizer(self._model)
        return self._tokenizer


def load(request: Request) -> ClipExtractor:
    """A model of open_clip, `open_clip:MODEL:PRETRAINED`; see `features.load`.

    PRETRAINED is one of open_clip's tags for that model; it says how images are prepared, and
    whether the weights were trained with QuickGELU. open_clip itself only warns where a tag does
    and the model's definition does not, as for ViT-B-32 with the tag "openai", and goes on to
    compute something else with the weights; here the tag counts. With a weights file of the user's
    own the tag may be a new one: then the model's definition and open_clip's defaults count.
    """
    if request.compiled or request.dtype != "float32":
        raise ConfigError("open_clip runs in float32 only; leave out compile and dtype")
    library = _library()
    model, tag = request.arguments
    model, tag = _names(library, model, tag, own=request.weights is not None)
    name = f"open_clip:{model}:{tag}"
    about = library.get_pretrained_cfg(model, tag)
    weights = find(name, about, request.weights)
    config = _config(model)["text_cfg"]
    if "hf_model_name" in config:
        hub_has(config["hf_model_name"], "config.json", f"the definition of {name}'s text network")
    net = _build(library, model, about)
    _fill(library, net, weights, name)
    return ClipExtractor(net, model, tag, weights)


def _names(library: ModuleType, model: str, tag: str, own: bool) -> tuple[str, str]:
    """Model and tag as open_clip spells them.

    Raises:
        ConfigError: For a model or a tag that there is not.
    """
    model = model.replace("/", "-")
    models = library.list_models()
    if model not in models:
        close = difflib.get_close_matches(model, models, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ConfigError(
            f"open_clip has no model {model!r}; {hint}open_clip.list_models() names "
            f"all {len(models)}"
        )
    tags = library.list_pretrained_tags_by_model(model)
    spelt = tag.lower().replace("-", "_")
    if spelt in tags:
        return model, spelt
    if own and not difflib.get_close_matches(spelt, tags, n=1, cutoff=_ALIKE):
        return model, tag
    way = "write it so, or choose a name less like it" if own else "or name a file with --weights"
    raise ConfigError(
        f"open_clip has no weights {tag!r} for {model}; {nearest(spelt, tags)}; {way}"
    )


def _build(library: ModuleType, model: str, about: dict[str, Any]) -> nn.Module:
    """The untrained network, with the activation and the preparation that the weights need."""
    quick = bool(about.get("quick_gelu", False))
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it would say that no weights are loaded: they come next
    try:
        net: nn.Module = library.create_model(
            model, force_quick_gelu=quick, force_preprocess_cfg=about, pretrained_text=False
        )
    finally:
        logging.root.setLevel(level)
    return net


def _fill(library: ModuleType, net: nn.Module, weights: Weights, name: str) -> None:
    """Copy the weights into the network, by open_clip's conversions where names differ.

    Raises:
        WeightsError: For a file that cannot be read, or of another network.
    """
    state = _state(weights, name)
    own = net.state_dict()
    for key in ("logit_scale", "logit_bias"):  # a number, or one in a list: depends on the version
        if key in state and key in own and state[key].numel() == own[key].numel():
            state[key] = state[key].reshape(own[key].shape)
    if state.keys() != own.keys() and not _is_torchscript(weights.path):
        try:
            library.load_checkpoint(net, str(weights.path), strict=True)
            return
        except _UNREADABLE:
            pass  # nothing that open_clip can convert: what is wrong with it is said below
    fill(net, state, weights, name)  # equal names: no silent resizing, as open_clip would do


def _state(weights: Weights, name: str) -> dict[str, Tensor]:
    """Tensors by name: of any file, or of the TorchScript archives that OpenAI published."""
    if not _is_torchscript(weights.path):
        state = read_state(weights, name)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is on its way out, these files are not
            state = dict(cast(Any, torch.jit).load(str(weights.path), "cpu").state_dict())
        for number in ("input_resolution", "context_length", "vocab_size"):
            state.pop(number, None)  # in OpenAI's archives only
    return {key.removeprefix("module."): value for key, value in state.items()}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _config(model: str) -> dict[str, Any]:
    config: dict[str, Any] = _library().get_model_config(model)
    return config


def _library() -> ModuleType:
    try:
        import open_clip
    except ImportError:
        raise ConfigError(
            "extractor open_clip needs the package open_clip_torch; pip install 'genbench[clip]'"
        ) from None
    module: ModuleType = open_clip
    return module
