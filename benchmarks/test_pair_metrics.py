"""Metrics of aligned pairs against torchmetrics, from the same uint8 images to the same values."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from genbench.metrics.pairs import (
    PsnrOptions,
    SsimOptions,
    ms_ssim,
    psnr,
    ssim,
)


def images(n: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (n, 3, size // 4, size // 4)).repeat(4, 2).repeat(4, 3)
    noisy = (clean + rng.normal(0, 20, clean.shape)).clip(0, 255)
    return torch.from_numpy(clean.astype(np.uint8)), torch.from_numpy(noisy.astype(np.uint8))


@pytest.mark.parametrize(("n", "size"), [(256, 32), (4, 256)])
def test_psnr_against_torchmetrics(ratio, n, size):
    made, real = images(n, size)

    def peer():
        return peak_signal_noise_ratio(
            made.float(), real.float(), data_range=255.0, dim=(1, 2, 3), reduction="none"
        )

    def ours():
        return psnr(made, real, PsnrOptions())

    assert ours() == pytest.approx(peer().numpy(), abs=1e-4)
    ratio(ours, peer)


@pytest.mark.parametrize(("n", "size"), [(256, 32), (4, 256)])
def test_ssim_against_torchmetrics(ratio, n, size):
    made, real = images(n, size)

    def peer():
        return structural_similarity_index_measure(
            made.float(), real.float(), data_range=255.0, reduction="none"
        )

    def ours():
        return ssim(made, real, SsimOptions(borders="reflect"))

    assert ours() == pytest.approx(peer().numpy(), abs=1e-5)
    ratio(ours, peer)


def test_ms_ssim_against_torchmetrics(ratio):
    made, real = images(4, 256)

    def peer():
        return multiscale_structural_similarity_index_measure(
            made.float(), real.float(), data_range=255.0, reduction="none"
        )

    def ours():
        return ms_ssim(made, real, SsimOptions())

    # borders and the order of the mean over channels differ a little; see `ms_ssim`
    assert ours() == pytest.approx(peer().numpy(), abs=0.02)
    ratio(ours, peer)
