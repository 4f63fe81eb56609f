"""Chunks: a small network whose batches are counted, compiled and not."""

import pytest
import torch
from torch import nn

from genbench.features.catalog import Request
from genbench.features.chunks import ChunkedExtractor
from genbench.features.weights_file import Weights
from genbench.spec import ConfigError

WEIGHTS = Weights("toy.pth", "0" * 64, True)


class Toy(nn.Module):
    """Means over positions of a convolution; remembers the shapes that it was given."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)
        self.to(dtype)
        self.seen = []

    def forward(self, x):
        if not torch.compiler.is_compiling():
            self.seen.append((x.dtype, len(x), x.is_contiguous(memory_format=torch.channels_last)))
        return (self.conv(x).float().mean((2, 3)),)


def extractor(network, dtype="float32", compiled=False):
    request = Request("toy", (), "", None, dtype, compiled)
    return ChunkedExtractor(request, WEIGHTS, network, lambda x: x.float() / 255, 4, 0)


def images(n, channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, channels, 9, 7), generator=generator, dtype=torch.uint8)


def expected(x):
    with torch.no_grad():
        return Toy().conv(x.expand(-1, 3, -1, -1).float() / 255).mean((2, 3))


@pytest.mark.parametrize(("dtype", "last"), [("float32", 3), ("bfloat16", 8)])
def test_chunks_fit_the_cache_and_are_filled_where_rounding_is_coarse(dtype, last):
    torch_dtype = getattr(torch, dtype)
    network = Toy(torch_dtype)
    x = images(19)
    found = extractor(network, dtype)(x)
    assert network.seen == [(torch_dtype, n, True) for n in (8, 8, last)]
    tolerance = 1e-5 if dtype == "float32" else 0.02
    torch.testing.assert_close(found.features, expected(x), rtol=tolerance, atol=tolerance)
    assert found.features.shape == (19, 4)
    assert found.features.dtype == torch.float32


def test_compiled_once_for_every_batch_and_size():
    from torch._dynamo.utils import counters

    network = Toy()
    network.eval()
    one = extractor(network, compiled=True)
    assert one.settings == {"compiled": "yes"}
    before = counters["stats"]["unique_graphs"]
    for n, channels in ((1, 3), (8, 3), (19, 1), (3, 3)):
        x = images(n, channels)
        torch.testing.assert_close(one(x).features, expected(x), rtol=1e-5, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == before + 1
    assert network.seen == []  # every batch went through the compiled graph


def test_no_compiler_is_said_in_one_sentence():
    from torch._inductor import config

    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Softsign())
    changes = {"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}
    with (
        config.patch(changes),
        pytest.raises(ConfigError, match="toy cannot be compiled here .*leave the network"),
    ):
        extractor(network, compiled=True)(images(2))
