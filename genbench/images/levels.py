"""Levels of pixels: how floats become levels, and levels that are floats cast to uint8."""

import numpy as np
from numpy.typing import NDArray

from genbench.spec import ConfigError

__all__ = ["CONVERSIONS", "Levels"]

# how floats x in each range become levels, round half up: what `inputs.to_uint8` does, as text
CONVERSIONS: dict[tuple[float, float], str] = {
    (-1.0, 1.0): "floor(127.5 * x + 128)",
    (0.0, 1.0): "floor(255 * x + 0.5)",
    (0.0, 255.0): "floor(x + 0.5)",
}


class Levels:
    """Notices images whose levels are a cast of floats.

    A cast of [0, 1] leaves 0 and 1 only; one of [-1, 1] leaves 255 for -1 as well. Images of 0 and
    255 are black and white.

    Attributes:
        plausible: Whether a level was seen that no such cast gives; more need not be looked at.
    """

    def __init__(self) -> None:
        self.plausible = False
        self._highest, self._ones = 0, False

    def see(self, images: NDArray[np.uint8]) -> None:
        """The next images, of any shape."""
        if self.plausible or not images.size:
            return
        ones, white = images == 1, images == 255
        self.plausible = not (ones | white | (images == 0)).all()
        self._ones |= bool(ones.any())
        self._highest = max(self._highest, int(images.max()))

    def check(self, where: str) -> None:
        """Refuse a cast, once all images were seen.

        Raises:
            ConfigError: With the conversion that was meant.
        """
        if self.plausible or (self._highest > 1 and not self._ones):
            return
        low, said = 0.0, f"no uint8 level is above {self._highest}"
        if self._highest > 1:
            low, said = -1.0, "every uint8 level is 0, 1 or 255"
        raise ConfigError(
            f"{where}: {said}; this looks like floats in [{low:g}, 1] that were cast to uint8; "
            f"convert them by {CONVERSIONS[low, 1.0]} first"
        )
