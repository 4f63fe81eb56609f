"""The input itself, enlarged where it is small: what doing nothing scores."""

from typing import Any

from torch import Tensor

from baselines._nn.answers import given
from baselines._nn.reference import Reference
from genbench import api


class Copy(Reference):
    """The picture that the condition shows; refuses tasks that show none."""

    cond = api.Condition  # any that is a picture

    def sample(self, cond: api.Condition, noise: api.Noise, **options: Any) -> Tensor:
        """Source images as they are; low resolutions by bicubic interpolation.

        Raises:
            ValueError: For conditions in words, classes or boxes.
        """
        self.Options(**options)
        picture = given(cond, self.data)
        if picture is None:
            name = type(cond).__name__
            raise ValueError(f"copy needs a condition that is a picture, and {name} is none")
        return picture
