"""What scenes cost: images of a whole split, styles and annotations of 1,000 scenes."""

import time

import pytest
import torch

from genbench.data.scenes import COUNTS, STYLES, Scenes


@pytest.mark.parametrize(("size", "n"), [(32, COUNTS["train"]), (128, 1000)])
def test_images(benchmark, sized, size, n):
    n = sized(n, 50)
    index, spent = torch.arange(n), []

    def make():
        begin = time.process_time()
        Scenes("train", size).images(index)
        spent.append(time.process_time() - begin)

    benchmark.pedantic(make, rounds=3, warmup_rounds=1)
    # all threads together: what a busy machine disturbs least
    benchmark.extra_info["processor seconds"] = round(min(spent), 3)


@pytest.mark.parametrize("style", STYLES)
def test_style(benchmark, sized, style):
    index = torch.arange(sized(1000, 50))
    benchmark(lambda: Scenes("train", 32).styled(index, style))


@pytest.mark.parametrize("what", ["captions", "tokens", "boxes", "label_map", "masks", "outline"])
def test_annotation(benchmark, sized, what):
    index = torch.arange(sized(1000, 50))
    benchmark(lambda: getattr(Scenes("train", 32), what)(index))
