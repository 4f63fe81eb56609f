"""What tests of inputs share: all images of a source, and what is refused."""

import pytest
import torch

from genbench.spec import ConfigError


def everything(source, size: int = 2) -> torch.Tensor:
    """All images of a source, after checks on how they are handed out."""
    batches = list(source.batches(size))
    assert all(len(batch.images) == size for batch in batches[:-1])
    assert [i for batch in batches for i in batch.index] == list(range(source.n))
    images = torch.cat([batch.images for batch in batches])
    assert images.dtype == torch.uint8 and images.is_contiguous()
    return images


def refused(call, *parts: str) -> str:
    """The message of the one sentence that `call` is refused with, which has all of `parts`."""
    with pytest.raises(ConfigError) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    assert all(part in text for part in parts), text
    return text
