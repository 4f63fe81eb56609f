"""What a pass over images notices: images of one colour, sets that are one image many times."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["GREY", "Watch", "plain_warnings"]

_PROBES = 64  # pixels of an image that are looked at before all are


class Watch:
    """Sees all images of a set, batch after batch, and remembers next to nothing."""

    def __init__(self) -> None:
        self._seen = 0
        self._plain = 0
        self._first_plain = 0
        self._reference: NDArray[np.uint8] | None = None  # the first image while all are like it

    def see(self, images: NDArray[np.uint8]) -> None:
        """The next images, uint8 of shape (B, C, H, W)."""
        flat = images.reshape(*images.shape[:2], -1)
        probe = flat[:, :, :: max(1, flat.shape[2] // _PROBES)]
        likely = np.flatnonzero((probe == probe[:, :, :1]).all((1, 2)))
        plain = [i for i in likely if (flat[i] == flat[i, :, :1]).all()]
        if plain and not self._plain:
            self._first_plain = self._seen + int(plain[0])
        self._plain += len(plain)
        if self._seen == 0:
            self._reference = flat[0].copy()
        first = self._reference
        if first is not None and not all(np.array_equal(image, first) for image in flat):
            self._reference = None
        self._seen += len(images)

    def warnings(self, name: Callable[[int], str]) -> list[str]:
        """Sentences on what was seen; `name` tells an image by its number."""
        found = []
        if self._plain:
            all_of_them = self._plain == self._seen
            count = f"all {self._seen}" if all_of_them else f"{self._plain} of {self._seen}"
            found.append(
                f"{count} images are of one single colour (first: {name(self._first_plain)})"
            )
        if self._seen > 1 and self._reference is not None:
            found.append(f"all {self._seen} images are the same")
        return found


GREY = "the images are grey"


def plain_warnings(n: int, channels: int) -> list[str]:
    """What is to be said of a set before its pixels are seen: grey images, or only one."""
    found = []
    if channels == 1:
        found.append(
            f"{GREY}: networks for colour see them as three equal channels, and their "
            "numbers, such as those of Inception, mean little then"
        )
    if n == 1:
        found.append("there is only one image; metrics of sets need more")
    return found
