"""Metrics of aligned pairs against torchmetrics, from the same uint8 images to the same values."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from genbench.metrics.pairs import PsnrOptions, SsimOptions, ms_ssim, psnr, ssim


def images(n: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (n, 3, size // 4, size // 4)).repeat(4, 2).repeat(4, 3)
    noisy = (clean + rng.normal(0, 20, clean.shape)).clip(0, 255)
    return torch.from_numpy(clean.astype(np.uint8)), torch.from_numpy(noisy.astype(np.uint8))


METRICS = {  # ours, its options, torchmetrics', its own settings, how far apart values may be
    "psnr": (psnr, PsnrOptions(), peak_signal_noise_ratio, {"dim": (1, 2, 3)}, 1e-4),
    "ssim": (
        ssim,
        SsimOptions(borders="reflect"),
        structural_similarity_index_measure,
        {},
        1e-5,
    ),
    # borders and the order of the mean over channels differ a little; see `ms_ssim`
    "ms_ssim": (ms_ssim, SsimOptions(), multiscale_structural_similarity_index_measure, {}, 0.02),
}
CASES = [("psnr", 256, 32), ("psnr", 4, 256), ("ssim", 256, 32), ("ssim", 4, 256)]


@pytest.mark.parametrize(("name", "n", "size"), [*CASES, ("ms_ssim", 4, 256)])
def test_pairs_against_torchmetrics(ratio, sized, name, n, size):
    metric, options, theirs, settings, apart = METRICS[name]
    n = sized(n, 2)
    made, real = images(n, size)

    def peer():
        x, y = made.float(), real.float()
        return theirs(x, y, data_range=255.0, reduction="none", **settings)

    def ours():
        return metric(made, real, options)

    assert ours() == pytest.approx(peer().numpy(), abs=apart)
    ratio(ours, peer)
