"""Counter-based noise: the reference's known answers, independence of batches, distributions."""

import numpy as np
import pytest
import torch
from scipy import stats

from genbench.noise import Noise, philox

# Known answers of the authors' Random123 library for philox4x32-10: counter, key, output.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
@pytest.mark.parametrize("make", [torch.tensor, lambda v: np.array(v, dtype=np.uint64)])
def test_philox_gives_the_known_answers(counter, key, expected, make):
    words = philox([make([c]) for c in counter], key)
    assert tuple(int(w[0]) for w in words) == expected


def test_torch_and_numpy_make_the_same_words():
    noise = Noise(3, range(5))
    on_cpu = noise._block(range(2, 4), 6)
    column = noise.index[:, None]
    draw = torch.arange(2, 4)[:, None, None]
    counter = [torch.arange(6), draw, column & 0xFFFFFFFF, column >> 32]
    words = philox([c.expand(2, 5, 6) for c in counter], noise._key)
    assert torch.equal(torch.stack(words, -1).flatten(2), on_cpu)


def test_a_sample_does_not_depend_on_its_batch():
    shapes = [(3,), (1, 8, 8), (1, 8, 8), (1, 8, 8), (), (1, 8, 8), (5,), (1, 8, 8)]
    whole = Noise(7, range(64))
    expected = [whole.normal(*shape) for shape in shapes]
    for start, stop in ((0, 1), (1, 8), (8, 64)):
        part = Noise(7, range(start, stop))
        for shape, value in zip(shapes, expected, strict=True):
            assert torch.equal(part.normal(*shape), value[start:stop])


def test_draws_seeds_streams_and_far_indices_differ():
    def first(seed=0, index=0, stream="sample"):
        return Noise(seed, [index], stream=stream).normal(64)[0]

    noise = Noise(0, [0])
    values = [
        noise.normal(64)[0],
        noise.normal(64)[0],
        first(seed=1),
        first(index=1),
        first(index=1 << 32),
        first(index=(1 << 62) + 1),
        first(stream="train"),
    ]
    assert torch.equal(values[0], first())
    for i, a in enumerate(values):
        for b in values[i + 1 :]:
            assert abs(float(torch.corrcoef(torch.stack((a, b)))[0, 1])) < 0.5


def test_distributions():
    noise = Noise(11, range(1000))
    normal, uniform = noise.normal(101), noise.uniform(100)
    assert normal.dtype == torch.float32 and torch.isfinite(normal).all()
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-3
    assert float(uniform.min()) >= 0 and float(uniform.max()) < 1
    # neighbours share a radius in Box-Muller: they must still be uncorrelated, squares too
    a, b = normal[:, :50].flatten(), normal[:, 51:].flatten()
    for x, y in ((a, b), (a.square(), b.square())):
        assert abs(float(torch.corrcoef(torch.stack((x, y)))[0, 1])) < 5 / len(a) ** 0.5


def test_shapes_and_empty_batches():
    assert Noise(0, range(3)).uniform().shape == (3,)
    assert Noise(0, []).normal(2, 2).shape == (0, 2, 2)
    assert Noise(0, range(2)).normal(3, dtype=torch.float64).dtype == torch.float64
