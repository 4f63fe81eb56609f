"""Runs a network on a few images at a time: what Inception and VGG16 have in common."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from genbench.features.base import Features, check_images
from genbench.features.catalog import Request
from genbench.features.weights_file import Weights
from genbench.spec import ConfigError, nearest

__all__ = ["ChunkedExtractor"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_CHUNK = {"cpu": 8}  # images whose activations suit the cache: more are slower, image by image
_CHUNK_ELSEWHERE = 64


class ChunkedExtractor(nn.Module):
    """An `Extractor` around a network without dropout or batch statistics.

    Images are prepared and run in chunks. With bfloat16, and where the network is compiled, the
    last chunk is filled up, so that one graph is compiled and the kernels, whose choice depends
    on the number of images, round every image in one way, whatever the batch.

    A compiled network is compiled when it is first called (with inductor, its weights frozen into
    the graph): move it to its device before.

    Args:
        request: What was asked for: name, protocol, dtype, compiled.
        weights: The file that the network was filled from.
        network: Of prepared images (B, 3, S, S), channels last and in the dtype asked for; gives
            the fields of `Features` in their order, in float32.
        prepare: From uint8 (B, C, H, W), C = 1 or 3, to float32 (B, C or 3, S, S). Grey images
            are repeated to three channels after it.
        dim: Number of features.
        classes: Number of classes, 0 for none.

    Raises:
        ConfigError: For an unknown dtype.
    """

    def __init__(
        self,
        request: Request,
        weights: Weights,
        network: nn.Module,
        prepare: Callable[[Tensor], Tensor],
        dim: int,
        classes: int,
    ) -> None:
        super().__init__()
        if request.dtype not in _DTYPES:
            raise ConfigError(
                f"{request.name} has no dtype {request.dtype!r}; {nearest(request.dtype, _DTYPES)}"
            )
        self.name, self.protocol = request.name, request.protocol
        self.sha256, self.official = weights.sha256, weights.official
        self.dim, self.classes = dim, classes
        self.class_names: tuple[str, ...] = ()
        self.dtype = _DTYPES[request.dtype]
        self.settings: dict[str, str] = {}
        if request.dtype != "float32":
            self.settings["dtype"] = request.dtype
        if request.compiled:
            self.settings["compiled"] = "yes"
        self.prepare = prepare
        self.network = network.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)
        self._run: Callable[[Tensor], tuple[Tensor, ...]] = self.network
        if request.compiled:
            options: dict[str, str | int | bool | Callable[..., object]] = {"freezing": True}
            self._run = torch.compile(self.network, dynamic=False, options=options)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Features of uint8 images of shape (B, C, H, W), C = 1 or 3, B >= 1.

        Raises:
            ValueError: For images of another type or shape, such as floats in [-1, 1].
            ConfigError: When the network cannot be compiled here.
        """
        size = _CHUNK.get(images.device.type, _CHUNK_ELSEWHERE)
        check_images(images, self.name)
        chunks = torch.split(images, size)
        answers = [self._chunk(chunk, size) for chunk in chunks]
        return Features(*(torch.cat(parts) for parts in zip(*answers, strict=True)))

    def _chunk(self, images: Tensor, size: int) -> list[Tensor]:
        x = self.prepare(images)
        n = len(x)
        filled = size if self.settings else n
        x = torch.cat((x, x[-1:].expand(filled - n, *x.shape[1:]))) if n < filled else x
        x = x.expand(-1, 3, -1, -1)
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return [answer[:n] for answer in self._answers(x)]

    def _answers(self, x: Tensor) -> tuple[Tensor, ...]:
        if "compiled" not in self.settings:
            return self._run(x)
        # a compiler that is not there surfaces as one of these at the first call
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            return self._run(x)
        except (TorchDynamoException, InvalidCxxCompiler) as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"{self.name} cannot be compiled here ({first}); install a C++ compiler, or leave "
                "the network uncompiled"
            ) from error
