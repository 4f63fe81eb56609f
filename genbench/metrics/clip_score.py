"""How well images match their captions, by the cosine of CLIP's embeddings of both.

`clip`, the CLIP score of Hessel et al., *CLIPScore: A Reference-free Evaluation Metric for Image
Captioning*, arXiv 2104.08718:

    score = scale * mean_i max(cos(image_i, caption_i), 0)

`r_precision` (Xu et al., *AttnGAN*, arXiv 1711.10485, there with another network): the share of
images that are closer to their own caption than to each of 99 others.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genbench.metrics.metric import FeatureSet, Metric
from genbench.metrics.shares import share_score
from genbench.spec import ConfigError, Spec
from genbench.stats import Score, mean_interval

__all__ = ["METRICS", "ClipOptions", "RPrecisionOptions", "distinct", "unit_rows"]

BLOCK = 64  # images whose candidates are gathered at a time
SAME = 1e-5  # distance of two unit vectors below which they are one caption's, up to rounding


class ClipOptions(Spec):
    """Settings of the CLIP score.

    With `clamp="mean"` and scale 100 it is torchmetrics' CLIPScore, which averages first and cuts
    off below zero then; with `clamp="sample"` and scale 2.5 it is Hessel's CLIP-S, if the captions
    begin with their prompt, "A photo depicts".

    Attributes:
        scale: What the mean cosine is multiplied by.
        clamp: Where negative values become 0: in each "sample", in the "mean", or nowhere.
    """

    scale: float = Field(100.0, gt=0, allow_inf_nan=False)
    clamp: Literal["none", "sample", "mean"] = "sample"


class RPrecisionOptions(Spec):
    """Settings of R-precision.

    Attributes:
        candidates: Captions among which an image's own has to be the closest, itself included; an
            answer by chance is right in 1 of so many cases.
        seed: Of the draw of the others.
    """

    candidates: int = Field(100, ge=2, le=10**5)
    seed: int = Field(0, ge=0)


def unit_rows(rows: Any, what: str) -> NDArray[np.float32]:
    """Rows of length 1, float32 of shape (N, D); lengths are taken in float64.

    Raises:
        ValueError: For another number of dimensions, for NaN and infinities, and for a row of
            zeros, which has no direction.
    """
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ValueError(f"{what} must have shape (N, D), got {array.shape}")
    unit = np.empty(array.shape, dtype=np.float32)
    for start in range(0, len(array), 1024):  # so that no float64 copy of all is made
        block = array[start : start + 1024].astype(np.float64)
        peak = np.abs(block).max(1, initial=0)  # first, so that no square overflows
        bad = np.flatnonzero(~np.isfinite(peak) | (peak == 0))
        if len(bad):
            said = "all zero" if peak[bad[0]] == 0 else "not finite"
            raise ValueError(f"{what} of sample {start + bad[0]} are {said}")
        block /= peak[:, None]
        unit[start : start + 1024] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return unit


def _embeddings(made: FeatureSet) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit embeddings of images and of their captions, both (N, D)."""
    images = unit_rows(made.features, "features")
    captions = unit_rows(made.array("text"), "features of text")
    if images.shape != captions.shape:
        raise ValueError(
            f"{len(captions)} captions with {captions.shape[1]} features do not fit "
            f"{len(images)} images with {images.shape[1]}"
        )
    return images, captions


def clip_score(made: FeatureSet, real: FeatureSet | None, options: ClipOptions) -> Score:
    """The CLIP score, with a Student interval over samples, cut off below 0 where the score is."""
    images, captions = _embeddings(made)
    cosines = np.einsum("nd,nd->n", images, captions, dtype=np.float64)
    values = options.scale * (np.maximum(cosines, 0) if options.clamp == "sample" else cosines)
    value, stderr, (low, high) = mean_interval(values.tolist())
    if options.clamp == "mean":
        value, low, high = max(value, 0.0), max(low, 0.0), max(high, 0.0)
    n = len(values)
    return Score(value=value, stderr=stderr, ci95=(low, high), n=n, method=f"Student, {n} samples")


def distinct(rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that differ by more than rounding, and which of them each row is.

    The same caption in two batches may differ in the last digits. Rows nearer than `SAME` are
    taken for one; they are neighbours along any direction, so one sort finds them.

    Args:
        rows: Unit vectors of shape (N, D).

    Returns:
        Positions of the first of each kind, (U,), and the kind of each row, (N,), both in the
        order in which kinds first appear.
    """
    axis = np.random.default_rng(0).normal(size=rows.shape[1])
    along = rows @ (axis / np.linalg.norm(axis))
    order = np.argsort(along, kind="stable")
    first = np.arange(len(rows))
    for place, i in enumerate(order):
        for j in order[:place][::-1]:
            if along[i] - along[j] > SAME:
                break
            if np.linalg.norm(rows[i].astype(np.float64) - rows[j]) < SAME:
                first[i] = first[j]
                break
    # name each kind by its first row, then number the kinds in order
    lead = np.full(len(rows), len(rows))
    np.minimum.at(lead, first, np.arange(len(rows)))
    kinds, kind = np.unique(lead[first], return_inverse=True)
    return kinds, kind


def r_precision(made: FeatureSet, real: FeatureSet | None, options: RPrecisionOptions) -> Score:
    """The share of images whose own caption has the highest cosine among `candidates`.

    The others are drawn for each image by (seed, its position), without replacement, from the
    different captions of the set, so that a caption which several images share never stands
    against itself. A tie is a miss. The interval is Wilson's for a share, which stays within
    [0, 1] and has a width even where every image is right; it takes images as independent.

    Raises:
        ConfigError: For fewer different captions than candidates.
    """
    images, captions = _embeddings(made)
    kinds, own = distinct(captions)
    others = options.candidates - 1
    if len(kinds) < options.candidates:
        set_it = f"set r_precision.candidates={len(kinds)}"
        raise ConfigError(
            f"r_precision needs {options.candidates} different captions, got {len(kinds)} with "
            f"{len(images)} images; {set_it if len(kinds) > 1 else 'give different captions'}"
        )
    table = captions[kinds]
    hits = np.zeros(len(images), dtype=bool)
    for start in range(0, len(images), BLOCK):
        rows = range(start, min(start + BLOCK, len(images)))
        drawn = np.stack([_draw(options.seed, i, len(kinds) - 1, others) for i in rows])
        mine = own[rows.start : rows.stop, None]
        drawn += drawn >= mine  # skip one's own
        gathered = table[np.concatenate((mine, drawn), axis=1)]
        cosines = np.matmul(gathered, images[rows.start : rows.stop, :, None])[..., 0]
        hits[rows.start : rows.stop] = cosines[:, 0] > cosines[:, 1:].max(1)
    return share_score(hits, len(images), "images")


def _draw(seed: int, image: int, kinds: int, count: int) -> NDArray[np.int64]:
    drawn = np.random.default_rng((seed, image)).choice(kinds, count, replace=False)
    return drawn.astype(np.int64)


METRICS = (
    Metric(
        "clip",
        "CLIP score",
        "higher",
        needs=("features", "text"),
        score=clip_score,
        options=ClipOptions,
    ),
    Metric(
        "r_precision",
        "R-precision",
        "higher",
        needs=("features", "text"),
        score=r_precision,
        options=RPrecisionOptions,
    ),
)
