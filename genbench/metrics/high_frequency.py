"""High frequencies: how sharp samples are, as energy of differences between neighbouring pixels.

    high_frequency = mean_i e(y_i) / mean_j e(x_j),
    e(x) = sum_cij (x_c,i,j+1 - x_c,i,j)^2 + (x_c,i+1,j - x_c,i,j)^2

over samples y and real images x. 1 is as sharp as real images, below 1 is blurry, above 1 is
noisy: no direction is better. It sees that energy and nothing else: images of noise can have as
much of it as real ones. The interval is over samples, with the reference as exact.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import FeatureSet, Metric, NoOptions, checked
from genbench.metrics.moments import blocks
from genbench.spec import ConfigError
from genbench.stats import Score, student_score

__all__ = ["METRIC", "EdgeSums", "shape_of"]

_BLOCK = 512  # images that are float64 at a time


def shape_of(width: int) -> tuple[int, int, int]:
    """Channels, height and width of square images with so many numbers; 3 S^2 is no square.

    Raises:
        ConfigError: For a number that is neither S^2 nor 3 S^2.
    """
    for channels in (1, 3):
        side = math.isqrt(width // channels)
        if channels * side * side == width:
            return channels, side, side
    raise ConfigError(
        f"metric 'high_frequency' is of square grey or RGB images, and these have {width:,} "
        "numbers each; leave it out, or bring them to one square size"
    )


class EdgeSums:
    """Count, mean and scatter of the images' energies; a `Sums`.

    Attributes:
        total: Number of images that will come.
        shape: Channels, height and width.
        n: Images seen.
        mean: Of their energies.
        scatter: Sum of squared deviations from the mean.
    """

    reads: ClassVar[str] = "features"

    def __init__(
        self, total: int, width: int, n: int = 0, mean: float = 0.0, scatter: float = 0.0
    ) -> None:
        self.total, self.width, self.shape = total, width, shape_of(width)
        self.n, self.mean, self.scatter = n, mean, scatter

    @classmethod
    def start(cls, total: int, width: int) -> Self:
        """No images yet, of `total` that will come, each with `width` pixels times channels.

        Raises:
            ConfigError: For images that are not square.
        """
        return cls(total, width)

    def update(self, rows: Any, index: NDArray[np.int64]) -> Self:
        """These images too, flattened, of shape (B, width); changes and returns itself.

        Raises:
            ValueError: For numbers that are not finite.
        """
        for block in blocks(rows, _BLOCK, "pixels"):
            x = block.reshape(-1, *self.shape)
            energy = np.square(np.diff(x, axis=3)).sum((1, 2, 3))
            energy += np.square(np.diff(x, axis=2)).sum((1, 2, 3))
            mean = float(energy.mean())
            self._merge(len(energy), mean, float(np.square(energy - mean).sum()))
        return self

    def _merge(self, n: int, mean: float, scatter: float) -> None:
        """Chan, Golub and LeVeque's rule, as for `Moments`."""
        total = self.n + n
        if total == 0:
            return
        delta = mean - self.mean
        self.scatter += scatter + delta * delta * self.n * n / total
        self.mean += delta * n / total
        self.n = total

    def __add__(self, other: Self) -> Self:
        if (self.total, self.width) != (other.total, other.width):
            raise ValueError("only sums over parts of the same set of images merge")
        merged = type(self)(self.total, self.width, self.n, self.mean, self.scatter)
        merged._merge(other.n, other.mean, other.scatter)
        return merged

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays, for files."""
        names = ("total", "width", "n", "mean", "scatter")
        return {name: np.asarray(getattr(self, name)) for name in names}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The sums that `arrays` gave these; for errors see `Sums.restore`."""
        total, width, n = (int(checked(arrays, name, ())) for name in ("total", "width", "n"))
        mean, scatter = (float(checked(arrays, name, ())) for name in ("mean", "scatter"))
        if not 0 <= n <= total or min(mean, scatter) < 0:
            raise ValueError(f"energies of {n} of {total} images: {mean:g}, scatter {scatter:g}")
        return cls(total, width, n, mean, scatter)

    def check(self) -> None:
        """Raise ValueError while images are missing."""
        if self.n != self.total:
            raise ValueError(f"saw {self.n} of {self.total} images")


def score(made: FeatureSet, real: FeatureSet | None, options: NoOptions) -> Score:
    """The ratio of the means, with Student's interval over samples.

    Raises:
        ConfigError: For images of another size than the reference's.
        ValueError: For a reference without any differences.
    """
    assert real is not None
    ours, theirs = made.sums(EdgeSums), real.sums(EdgeSums)
    ours.check()
    theirs.check()
    if ours.shape != theirs.shape:
        raise ConfigError(
            f"metric 'high_frequency' compares images of one size, not {ours.shape} with "
            f"{theirs.shape} (channels, height, width); bring both to one size"
        )
    if theirs.mean == 0:
        raise ValueError("the real images are all flat: they have no energy to compare with")
    stderr = math.sqrt(ours.scatter / (ours.n - 1) / ours.n) / theirs.mean
    method = f"Student over {ours.n} samples"
    return student_score(ours.mean / theirs.mean, stderr, ours.n - 1, ours.n, method)


METRIC = Metric(
    "high_frequency",
    "high frequency",
    "none",
    needs=(EdgeSums,),
    reference=(EdgeSums,),
    score=score,
    extractor="pixels",
)
