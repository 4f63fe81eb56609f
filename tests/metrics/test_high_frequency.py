"""High frequencies against closed forms: scaled, blurred and noisy images; sums; extractors."""

import numpy as np
import pytest
import torch

from genbench import metrics, suite
from genbench.evaluation.request import EvalSpec, jobs
from genbench.features import pixels
from genbench.metrics import FeatureSet
from genbench.metrics.high_frequency import EdgeSums, shape_of
from genbench.spec import ConfigError

METRIC = metrics.get("high_frequency")


def flat(images: np.ndarray) -> FeatureSet:
    return FeatureSet.of(images.reshape(len(images), -1).astype(np.float32))


def noise(n: int, c: int = 1, s: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, c, s, s))


@pytest.mark.parametrize(("c", "s"), [(1, 8), (3, 8), (1, 1), (3, 64)])
def test_square_images_are_told_from_their_numbers(c, s):
    assert shape_of(c * s * s) == (c, s, s)


@pytest.mark.parametrize("width", [2, 3 * 8 * 9, 2 * 16])
def test_other_images_are_refused(width):
    with pytest.raises(ConfigError, match="square grey or RGB"):
        METRIC(FeatureSet.of(np.zeros((4, width))), FeatureSet.of(np.zeros((4, width))))


def test_images_against_themselves_are_as_sharp_as_real():
    images = noise(50, 3, 8)
    assert METRIC(flat(images), flat(images)).value == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("contrast", [0.5, 2.0])
def test_energy_grows_with_the_square_of_contrast_and_ignores_brightness(contrast):
    images = noise(50)
    found = METRIC(flat(contrast * images + 5), flat(images))
    assert found.value == pytest.approx(contrast**2, rel=1e-4)


def test_waves_have_four_squared_sines_of_their_frequency():
    """A wave exp(2 pi i f j) along one axis: mean squared difference 4 sin^2(pi f) times that of
    the values, over whole periods; the other axis has none."""

    def wave(period: int, axis: int) -> np.ndarray:
        at = np.arange(65) * 2 * np.pi / period
        phases = 2 * np.pi * np.arange(8) / 8
        lines = np.sin(at + phases[:, None])  # 8 phases make the mean over positions exact
        images = np.repeat(lines[:, None, None, :], 65, axis=2)
        return images if axis == 3 else images.transpose(0, 1, 3, 2)

    for axis in (2, 3):
        found = METRIC(flat(wave(4, axis)), flat(wave(16, 3)))
        assert found.value == pytest.approx(
            np.sin(np.pi / 4) ** 2 / np.sin(np.pi / 16) ** 2, rel=1e-5
        )


def test_white_noise_that_is_blurred_along_one_axis():
    """Means of two neighbours: along the axis a difference has variance 1/2, across it 1, of 2."""
    sharp = noise(1000, 1, 17, seed=1)
    blurred = (sharp[..., 1:] + sharp[..., :-1])[:, :, :16] / 2
    found = METRIC(flat(blurred), flat(noise(20_000, 1, 16)))
    assert found.value == pytest.approx((0.5 + 1) / (2 + 2), rel=0.01)
    low, high = found.ci95
    assert low < (0.5 + 1) / 4 < high
    assert METRIC(flat(noise(9) * 3), flat(noise(9))).value > 5  # more noise than real
    assert METRIC(flat(noise(9) * 0), flat(noise(9))).value == 0


def test_the_interval_is_students_over_samples():
    made, real = noise(40, 3, 8), noise(60, 3, 8, seed=1)

    def energies(x):
        return sum(np.square(np.diff(x, axis=a)).sum((1, 2, 3)) for a in (2, 3))

    ratio = energies(made) / energies(real).mean()
    found = METRIC(flat(made), flat(real))
    assert found.value == pytest.approx(ratio.mean(), rel=1e-5)
    assert found.stderr == pytest.approx(ratio.std(ddof=1) / 40**0.5, rel=1e-5)
    assert found.ci95[1] - found.value == pytest.approx(2.0227 * found.stderr, rel=1e-4)
    assert found.method == "Student over 40 samples" and found.n == 40


def test_batches_shards_and_files_give_what_all_at_once_gives():
    rows = noise(103, 3, 8).reshape(103, -1)
    whole = EdgeSums.start(103, 192).update(rows, np.arange(103))
    parts = [EdgeSums.start(103, 192) for _ in range(3)]
    for k, index in enumerate(np.array_split(np.random.default_rng(2).permutation(103), 9)):
        parts[k % 3].update(rows[index], index)
    merged = sum((EdgeSums.restore(p.arrays()) for p in parts[1:]), parts[0])
    assert merged.n == 103
    assert merged.mean == pytest.approx(whole.mean, rel=1e-12)
    assert merged.scatter == pytest.approx(whole.scatter, rel=1e-12)
    with pytest.raises(ValueError, match="saw .* of 103 images"):
        parts[1].check()
    with pytest.raises(ValueError, match="same set"):
        parts[0] + EdgeSums.start(104, 192)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="all flat"):
        METRIC(flat(noise(4)), flat(noise(4) * 0))
    with pytest.raises(ConfigError, match="one size"):
        METRIC(flat(noise(4)), flat(noise(4, s=8)))
    bad = noise(4)
    bad[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        METRIC(flat(bad), flat(noise(4)))


def test_it_reads_what_the_pixel_extractor_gives():
    images = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    )
    rows = pixels.PixelExtractor()(images).features
    sums = EdgeSums.start(5, rows.shape[1]).update(rows, np.arange(5))
    x = images.double() / 127.5 - 1
    energy = x.diff(dim=2).square().sum((1, 2, 3)) + x.diff(dim=3).square().sum((1, 2, 3))
    assert sums.mean == pytest.approx(float(energy.mean()), rel=1e-6)


def test_suites_and_eval_take_pixels_whatever_the_other_metrics_read():
    planned = suite.plan(suite.load("smoke", ["metrics=fd,high_frequency", "baseline=real"]))
    ids = [spec.id for spec in planned[0].metrics]
    assert ids[0].startswith("fd@digits-cnn") and ids[1].startswith("high_frequency@pixels/digits")
    wanted = jobs(EvalSpec(metrics=("fid", "high_frequency"), dtype="bfloat16"))
    assert [job.extractor.name for job in wanted] == ["inception", "pixels"]
    assert wanted[1].extractor.dtype == "float32"
    for ask in (
        lambda: jobs(EvalSpec(metrics=("high_frequency@inception",))),
        lambda: suite.plan(suite.load("smoke", ["metrics=high_frequency@digits-cnn"])),
    ):
        with pytest.raises(ConfigError, match="is of pixels, not of"):
            ask()
