"""Reconstructions as samples: the latents of training images, decoded."""

from typing import Any

import pytest
import torch
from torch import Tensor

from genbench import registry
from genbench.api import Baseline, ClassLabel, DataSpec, Noise, Unconditional

SMALL = {"channels": 8, "hidden": 16}
FAMILIES = [
    ("ae", {}, {"density": "encoded"}),
    ("vae", {}, {"density": "encoded"}),
    ("vqvae", {"prior_channels": 8}, {"prior": "encoded"}),
    ("ldm", {"regularisation": "kl"}, {"latents": "encoded"}),
    ("ldm", {"regularisation": "vq"}, {"latents": "encoded"}),
]
LABELS = ClassLabel(torch.zeros(30, dtype=torch.int64))


def reconstruct(m: Any, x: Tensor) -> Tensor:
    """D(E(x)) without noise, as each family has it."""
    if hasattr(m, "prior"):
        found = m.decoder(m.quantizer.lookup(m.quantizer.indices(m.encoder(x))))
    elif hasattr(m, "tau"):
        found = m.decode(m.encoder(x) if m.quantizer is not None else m.posterior(x)[0])
    elif hasattr(m, "x_hat"):
        found = m.x_hat(m.decoder(m.encode(x)[0]))
    else:
        found = m.decoder(m.encoder(x))
    return found.clamp(-1, 1)


@pytest.mark.parametrize(("name", "config", "options"), FAMILIES)
@pytest.mark.parametrize("n", [20, 2500])
@torch.no_grad()
def test_encoded_latents_give_reconstructions(
    name: str, config: dict[str, Any], options: dict[str, Any], n: int
) -> None:
    torch.manual_seed(0)
    cls = registry.load(name)
    m: Baseline[Any] = cls(cls.Config(**SMALL | config), DataSpec("any", 1, 8, 4)).eval()
    pixels = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8)
    m.finish(pixels)
    cond = LABELS if cls.cond is ClassLabel else Unconditional()
    x = m.sample(cond, Noise(0, range(30)), **options)
    rows = torch.arange(30) * n // 1000 if n > 1000 else torch.arange(30) % n
    expected = reconstruct(m, pixels[rows].float() / 127.5 - 1)
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-5)
    other = m.sample(cond[:7] if cls.cond is ClassLabel else cond, Noise(0, range(7)), **options)
    torch.testing.assert_close(other, x[:7], atol=1e-6, rtol=0)
