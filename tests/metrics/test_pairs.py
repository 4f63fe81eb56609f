"""PSNR, SSIM and MS-SSIM: closed forms, torchmetrics, and SciPy's filters in float64."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import correlate1d
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from genbench import metrics
from genbench.metrics.metric import PairMetric
from genbench.metrics.pairs import (
    PsnrOptions,
    SsimOptions,
    ms_ssim,
    pair_score,
    psnr,
    ssim,
)
from genbench.spec import ConfigError, parse

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
REFLECT, VALID = SsimOptions(), SsimOptions(borders="valid")
SMALL = SsimOptions(window=3, borders="valid")  # for images of 33 pixels and more


def smooth_and_noisy(shape, noise=25.0, seed=0):
    """Pairs of a gradient with texture, one side noisy."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[2], : shape[3]] / max(shape[2:])
    clean = 128 + 90 * np.sin(4 * rows + 7 * columns + rng.uniform(0, 6, (*shape[:2], 1, 1)))
    clean = clean + rng.normal(size=shape) * 10
    both = (clean, clean + rng.normal(size=shape) * noise)
    return tuple(torch.from_numpy(x.clip(0, 255).astype(np.uint8)) for x in both)


def flat(value, size=24, channels=3):
    return torch.full((2, channels, size, size), value, dtype=torch.uint8)


def windows(x, y, window=11, sigma=1.5):
    """SSIM and contrast of each window inside the image, by SciPy in float64."""
    offset = np.arange(window) - window // 2
    weights = np.exp(-(offset**2) / (2 * sigma**2))
    weights /= weights.sum()
    margin = window // 2

    def mean(image):
        image = correlate1d(correlate1d(image, weights, axis=-1), weights, axis=-2)
        return image[..., margin:-margin, margin:-margin]

    x, y = (np.asarray(t, dtype=np.float64) for t in (x, y))
    m_x, m_y = mean(x), mean(y)
    s_xx, s_yy = mean(x * x) - m_x**2, mean(y * y) - m_y**2
    contrast = (2 * (mean(x * y) - m_x * m_y) + C2) / (s_xx + s_yy + C2)
    return (2 * m_x * m_y + C1) / (m_x**2 + m_y**2 + C1) * contrast, contrast


def halved(x):
    """2 x 2 means of float64 (B, C, H, W), edges repeated to even sizes."""
    x = np.pad(x, [(0, 0), (0, 0)] + [(0, n % 2) for n in x.shape[2:]], mode="edge")
    return (x[..., ::2, :] + x[..., 1::2, :])[..., ::2] / 4 + (x[..., ::2, :] + x[..., 1::2, :])[
        ..., 1::2
    ] / 4


def multiscale(x, y, window=11, sigma=1.5):
    x, y = (np.asarray(t, dtype=np.float64) for t in (x, y))
    product = np.ones(x.shape[:2])
    for scale, exponent in enumerate(SCALES):
        if scale:
            x, y = halved(x), halved(y)
        both = windows(x, y, window, sigma)
        product *= np.maximum(both[scale < len(SCALES) - 1].mean((2, 3)), 0) ** exponent
    return product.mean(1)


# --- PSNR ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 255])
def test_psnr_of_a_constant_difference_is_known(step):
    expected = 20 * math.log10(255 / step)
    assert psnr(flat(0), flat(step), PsnrOptions()) == pytest.approx([expected] * 2, abs=1e-12)
    one_pixel = flat(9)
    one_pixel[1, 2, 3, 4] += 1
    values = psnr(flat(9), one_pixel, PsnrOptions())
    assert values[1] == pytest.approx(10 * math.log10(255**2 * 3 * 24 * 24), abs=1e-12)


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (4, 3, 19, 30)])
def test_psnr_equals_torchmetrics(shape):
    made, real = smooth_and_noisy(shape)
    theirs = peak_signal_noise_ratio(
        made.double(), real.double(), data_range=255.0, dim=(1, 2, 3), reduction="none"
    )
    # its logarithm of the base is float32
    assert psnr(made, real, PsnrOptions()) == pytest.approx(theirs.numpy(), abs=1e-5)


def test_identical_images_count_as_the_cap():
    made, real = flat(30), flat(30)
    real[1] += 1
    assert psnr(made, real, PsnrOptions()).tolist() == pytest.approx([100, 48.1308036], abs=1e-6)
    assert psnr(made, real, PsnrOptions(cap=40)).tolist() == [40, 40]
    with pytest.raises(ConfigError, match="cap"):
        parse(PsnrOptions, {"cap": math.inf}, "options of psnr")


# --- SSIM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (3, 3, 32, 32), (2, 3, 75, 40)])
def test_ssim_with_mirrored_borders_equals_torchmetrics(shape):
    made, real = smooth_and_noisy(shape)
    theirs = structural_similarity_index_measure(
        made.double(), real.double(), data_range=255.0, reduction="none"
    )
    assert ssim(made, real, REFLECT) == pytest.approx(theirs.numpy(), abs=1e-6)


@pytest.mark.parametrize("shape", [(5, 1, 12, 12), (3, 3, 32, 32), (2, 3, 75, 40)])
def test_ssim_equals_the_inside_of_torchmetrics_map(shape):
    made, real = smooth_and_noisy(shape)
    _, image = structural_similarity_index_measure(
        made.double(), real.double(), data_range=255.0, reduction="none", return_full_image=True
    )
    inside = image[..., 5:-5, 5:-5].mean((1, 2, 3))
    values = ssim(made, real, VALID)
    assert values == pytest.approx(inside.numpy(), abs=1e-6)
    assert np.abs(values - ssim(made, real, REFLECT)).max() > 1e-4


@pytest.mark.parametrize(("window", "sigma"), [(3, 0.5), (7, 1.5), (11, 3.0), (21, 2.0)])
def test_ssim_with_other_windows(window, sigma):
    made, real = smooth_and_noisy((3, 2, 30, 41))
    options = SsimOptions(window=window, sigma=sigma, borders="valid")
    expected = windows(made, real, window, sigma)[0].mean((1, 2, 3))
    assert ssim(made, real, options) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0, 255), (250, 255), (0, 3), (127, 128)])
def test_flat_images_differ_in_luminance_alone(a, b):
    luminance = (2 * a * b + C1) / (a * a + b * b + C1)
    for options in (VALID, REFLECT):
        assert ssim(flat(a), flat(b), options) == pytest.approx([luminance] * 2, abs=1e-6)
    expected = [luminance ** SCALES[-1]] * 2
    assert ms_ssim(flat(a, 40), flat(b, 40), SMALL) == pytest.approx(expected, abs=1e-5)


def test_rounding_stays_small_where_float32_is_worst():
    # a little noise on white and on black: large squares that cancel
    noise = np.random.default_rng(0).integers(0, 3, (4, 3, 161, 161))
    white, black = (torch.from_numpy(x.astype(np.uint8)) for x in (255 - noise, noise[::-1]))
    for made, real in ((white, black), (white, white.flip(0)), (black, black.flip(0))):
        expected = windows(made, real)[0].mean((1, 2, 3))
        assert np.abs(ssim(made, real, VALID) - expected).max() < 1e-6
        assert np.abs(ms_ssim(made, real, VALID) - multiscale(made, real)).max() < 1e-5


# --- MS-SSIM -------------------------------------------------------------------------------------


def test_ms_ssim_of_grey_images_equals_torchmetrics_but_for_its_last_border():
    made, real = smooth_and_noisy((2, 1, 176, 192))
    x, y = made.double(), real.double()
    # an exponent of 0 leaves out the coarsest scale, where torchmetrics includes mirrored borders
    contrasts = multiscale_structural_similarity_index_measure(
        x, y, data_range=255.0, reduction="none", betas=(*SCALES[:-1], 0.0)
    )
    x, y = (torch.nn.functional.avg_pool2d(t, 16) for t in (x, y))
    _, image = structural_similarity_index_measure(x, y, data_range=255.0, return_full_image=True)
    last = image[..., 5:-5, 5:-5].mean((1, 2, 3))
    expected = (contrasts * last ** SCALES[-1]).numpy()
    assert ms_ssim(made, real, VALID) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [(176, 192), (181, 203)])
def test_ms_ssim_equals_torchmetrics(size):
    made, real = smooth_and_noisy((2, 3, *size))
    expected = multiscale_structural_similarity_index_measure(
        made.double(), real.double(), data_range=255.0, reduction="none", normalize="relu"
    )
    assert ms_ssim(made, real, SsimOptions()) == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("size", [(161, 170), (33, 47)])
def test_ms_ssim_of_colour_and_odd_sizes(size):
    made, real = smooth_and_noisy((2, 3, *size))
    options = SsimOptions(window=11 if size[0] > 160 else 3, borders="valid")
    expected = multiscale(made, real, options.window)
    assert ms_ssim(made, real, options) == pytest.approx(expected, abs=1e-5)
    channels = [ms_ssim(made[:, [c]], real[:, [c]], options) for c in range(3)]
    assert ms_ssim(made, real, options) == pytest.approx(np.mean(channels, 0), abs=1e-12)


def test_a_negative_has_no_structure_in_common():
    made, _ = smooth_and_noisy((2, 1, 40, 40))
    assert ssim(made, 255 - made, VALID).max() < 0
    assert ms_ssim(made, 255 - made, SMALL).tolist() == [0, 0]


# --- all of them ---------------------------------------------------------------------------------

ALL = [
    pytest.param(psnr, PsnrOptions(), 100, id="psnr"),
    pytest.param(ssim, VALID, 1, id="ssim"),
    pytest.param(ssim, REFLECT, 1, id="ssim reflect"),
    pytest.param(ms_ssim, SMALL, 1, id="ms_ssim"),
]


@pytest.mark.parametrize(("values", "options", "best"), ALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_symmetry_identity_and_batches(values, options, best, channels):
    # 65 planes of 50 x 50 are more than are looked at together
    made, real = smooth_and_noisy((65, channels, 50, 50))
    whole = values(made, real, options)
    assert whole.shape == (65,) and whole.dtype == np.float64
    assert (whole == values(real, made, options)).all()
    assert whole.max() < best
    assert values(made, made, options).tolist() == [best] * 65
    for size in (1, 7):
        parts = zip(made.split(size), real.split(size), strict=True)
        split = np.concatenate([values(x, y, options) for x, y in parts])
        assert split == pytest.approx(whole, rel=1e-9)
    assert values(made[:0], real[:0], options).shape == (0,)


@pytest.mark.parametrize(("values", "options", "best"), ALL)
def test_more_noise_is_worse(values, options, best):
    levels = [values(*smooth_and_noisy((1, 3, 50, 50), n), options)[0] for n in (5, 15, 45)]
    assert best > levels[0] > levels[1] > levels[2]


@pytest.mark.parametrize(("values", "options", "best"), ALL)
def test_images_are_left_as_they_are(values, options, best):
    made, real = smooth_and_noisy((2, 1, 50, 50))
    before = made.clone(), real.clone()
    values(made, real, options)
    assert (made == before[0]).all() and (real == before[1]).all()


@pytest.mark.parametrize(("values", "options", "best"), ALL)
def test_other_shapes_and_types_are_refused(values, options, best):
    made = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    message = (
        r"uint8 images of equal shape .*got uint8 \(2, 3, 40, 40\) and uint8 \(2, 1, 40, 40\)"
    )
    with pytest.raises(ValueError, match=message):
        values(made, made[:, :1], options)
    with pytest.raises(ValueError, match=r"got float32 \(2, 3, 40, 40\) and uint8"):
        values(made.float(), made, options)
    with pytest.raises(ValueError, match=r"got uint8 \(3, 40, 40\)"):
        values(made[0], made[0], options)


def test_images_that_are_too_small_are_told_with_a_way_on():
    fitting = torch.zeros(1, 1, 161, 161, dtype=torch.uint8)
    assert ms_ssim(fitting, fitting, VALID) == [1]
    small = fitting[..., :160]
    with pytest.raises(ConfigError, match="at least 161 x 161 pixels, got 161 x 160; use a sm"):
        ms_ssim(small, small, VALID)
    assert ssim(small[..., :11, :11], small[..., :11, :11], VALID) == [1]
    small = small[..., :10, :]
    with pytest.raises(ConfigError, match="at least 11 x 11 pixels, got 10 x 160; set borders="):
        ssim(small, small, VALID)
    assert ssim(small[..., :6, :6], small[..., :6, :6], REFLECT) == [1]
    with pytest.raises(ConfigError, match="at least 6 x 6 pixels, got 5 x 160; use a smaller"):
        ssim(small[..., :5, :], small[..., :5, :], REFLECT)


def test_an_even_window_is_refused():
    with pytest.raises(ConfigError, match="options of ssim: window: must be odd, such as 13"):
        parse(SsimOptions, {"window": 12}, "options of ssim")


def test_they_are_found_by_name():
    for name, label in (("psnr", "PSNR"), ("ssim", "SSIM"), ("ms_ssim", "MS-SSIM")):
        metric = metrics.find(name)
        assert isinstance(metric, PairMetric)
        assert (metric.label, metric.direction, metric.weights) == (label, "higher", None)


# --- the mean over pairs -------------------------------------------------------------------------


def test_the_interval_is_over_pairs():
    values = np.random.default_rng(0).normal(30, 4, 50)
    score = pair_score(values)
    stderr = stats.sem(values)
    assert (score.value, score.stderr) == pytest.approx((values.mean(), stderr), rel=1e-12)
    expected = stats.t.interval(0.95, 49, values.mean(), stderr)
    assert score.ci95 == pytest.approx(expected, rel=1e-9)
    assert (score.n, score.method) == (50, "Student, 50 pairs")


def test_one_pair_has_no_interval():
    score = pair_score(np.array([0.5]))
    assert (score.value, score.stderr, score.ci95, score.n) == (0.5, None, None, 1)


def test_the_score_says_how_many_pairs_are_at_the_cap():
    score = pair_score(np.array([100.0, 30.0, 100.0]), cap=100.0)
    assert score.method == "Student, 3 pairs, 2 of them at the cap of 100"
    assert pair_score(np.array([20.0, 30.0]), cap=100.0).method == "Student, 2 pairs"


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="values of 1 of 3 pairs are not finite"):
        pair_score(np.array([1, math.inf, 2]))
    with pytest.raises(ValueError, match="no pairs"):
        pair_score(np.empty(0))
