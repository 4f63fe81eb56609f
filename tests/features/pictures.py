"""What tests of extractors share: images of noise, and that an image's features are its own."""

import torch


def pictures(n: int, channels: int = 3, height: int = 16, width: int | None = None):
    """The same uint8 noise every time, of shape (n, channels, height, width or height)."""
    generator = torch.Generator().manual_seed(0)
    shape = (n, channels, height, height if width is None else width)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def check_that_images_stay_apart(extractor, images, rtol: float, atol: float) -> None:
    """Features are the same in batches of any size, and in training mode too."""
    whole = extractor(images).features
    assert whole.shape == (len(images), extractor.dim)
    for batch in (1, 7):
        found = torch.cat([extractor(part).features for part in images.split(batch)])
        torch.testing.assert_close(found, whole, rtol=rtol, atol=atol)
    extractor.train()
    torch.testing.assert_close(extractor(images).features, whole, rtol=0, atol=0)
