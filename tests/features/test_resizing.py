"""Resizing: against torch-fidelity, pytorch-fid's interpolation, clean-fid and Pillow."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from genbench.features import resizing

SIZES = [(32, 32), (64, 64), (256, 256), (512, 512), (299, 299), (37, 211), (700, 50), (1, 2)]


def images(height, width, channels=3):
    generator = torch.Generator().manual_seed(0)
    shape = (2, channels, height, width)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_tensorflow1_equals_torch_fidelity_in_every_bit(size):
    x = images(*size)
    wanted = interpolate_bilinear_2d_like_tensorflow1x(x.float(), (299, 299), align_corners=False)
    assert torch.equal(resizing.tensorflow1(x, 299), wanted)


def test_tensorflow1_by_hand():
    x = torch.tensor([0, 80], dtype=torch.uint8).view(1, 1, 1, 2)
    row = torch.tensor([0.0, 40.0, 80.0, 80.0])  # s = 0, 1/2, 1, 3/2; the last pixel repeats
    assert torch.equal(resizing.tensorflow1(x, 4), row.expand(1, 1, 4, 4))


@pytest.mark.parametrize("size", SIZES)
def test_clean_equals_pillow(size):
    x = images(*size)
    found = resizing.clean(x, 299).numpy()
    for image, answer in zip(x.numpy(), found, strict=True):
        for channel, plane in zip(image, answer, strict=True):
            picture = Image.fromarray(channel.astype(np.float32))
            assert picture.mode == "F"
            wanted = np.asarray(picture.resize((299, 299), Image.Resampling.BICUBIC))
            np.testing.assert_allclose(plane, wanted.clip(0, 255), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(32, 32), (512, 512)])
def test_clean_equals_clean_fid(size):
    x = images(*size)
    with warnings.catch_warnings():
        # clean-fid imports pkg_resources-era modules and passes Pillow's deprecated `mode`
        warnings.simplefilter("ignore")
        from cleanfid.resize import build_resizer

        resize = build_resizer("clean")
        wanted = np.stack([resize(np.asarray(image.permute(1, 2, 0))) for image in x])
    found = resizing.clean(x, 299).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3)


def test_half_pixel_by_hand():
    x = torch.tensor([0, 80], dtype=torch.uint8).view(1, 1, 1, 2)
    row = torch.tensor([0.0, 20.0, 60.0, 80.0])  # s = -1/4, 1/4, 3/4, 5/4
    assert torch.equal(resizing.half_pixel(x, 4), row.expand(1, 1, 4, 4))


def test_input_stays_as_it_was():
    x = images(40, 30).float()
    before = x.clone()
    for resize in (resizing.tensorflow1, resizing.half_pixel, resizing.clean):
        resize(x, 299)
        assert torch.equal(x, before)
