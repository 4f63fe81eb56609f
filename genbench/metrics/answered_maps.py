"""Whether samples have the right classes at the right pixels: mean intersection over union.

    IoU_k = sum_i |A_ik and B_ik| / sum_i |A_ik or B_ik|

A_ik are the pixels of sample i that a parser takes for class k, B_ik those that should be of it.
Pixels are pooled over the set, as in Everingham et al., *The Pascal Visual Object Classes (VOC)
Challenge*, 2010, and Cordts et al., *The Cityscapes Dataset*, arXiv 1604.01685; Isola et al.,
arXiv 1611.07004, and Park et al., arXiv 1903.07291, judge samples by it.
"""

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import NoOptions, fixed_order
from genbench.metrics.reading import PARSER, known, reading
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.stats import Score, delete_group_jackknife

__all__ = ["TASK_METRICS", "iou_score", "miou"]

GROUPS = 20  # of samples, for the jackknife


def miou(answers: Answers, options: NoOptions) -> Score:
    """The mean IoU of the parser's label map of each sample and the true one of its question."""
    from genbench.data.scenes import SHAPES  # loads torch

    words = ("ground", *SHAPES)
    true = known(answers, "label_map", words).numpy()
    return iou_score(reading(answers).label_map.numpy(), true, len(words))


def iou_score(found: NDArray[np.uint8], true: NDArray[np.uint8], classes: int) -> Score:
    """The mean IoU over the classes that are present in the true maps.

    The interval is from a jackknife over up to 20 groups of samples.

    Args:
        found: Class ids (N, H, W).
        true: Of the same shape.
        classes: How many ids there are.

    Raises:
        ValueError: For maps of other shapes.
    """
    if found.shape != true.shape:
        raise ValueError(f"label maps of shape {found.shape} do not fit {true.shape}")
    ids = np.arange(classes)[:, None, None]
    counts = np.array([_overlaps(f == ids, t == ids) for f, t in zip(found, true, strict=True)])
    present = counts[:, 2].sum(0) > 0
    counts, n = counts[:, :2, present], len(counts)
    value = _mean_iou(counts.sum(0))
    groups = min(GROUPS, n)
    if groups < 2:
        return Score(value=value, n=n, method="one sample, no interval")
    parts = [counts[fixed_order(n)[g::groups]].sum(0) for g in range(groups)]
    total = counts.sum(0)
    stderr, ci95 = delete_group_jackknife(value, [_mean_iou(total - part) for part in parts])
    method = f"jackknife, {groups} groups of samples"
    return Score(value=value, stderr=stderr, ci95=ci95, n=n, method=method)


def _overlaps(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels of one sample in both, in either and in the true map, (3, classes)."""
    both = [(found & true), (found | true), true]
    return np.stack([pixels.sum((1, 2)) for pixels in both])


def _mean_iou(counts: NDArray[np.int64]) -> float:
    """Of pixels in both and in either, (2, classes); a class without any is left out."""
    both, either = counts[:, counts[1] > 0]
    return float((both / either).mean())


TASK_METRICS = (
    TaskMetric("miou", "mIoU", "higher", ("Paired",), miou, PARSER),
    TaskMetric("content_kept", "content kept (mIoU)", "higher", ("ToDomain",), miou, PARSER),
)
