"""Answers to a layout: is each object that was asked for in its box, and of its class.

Every sample counts alike, whatever the number of its objects: values are means over the objects of
a sample, then over samples, with a Student interval over samples.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.metric import NoOptions
from genbench.metrics.reading import PARSER, known, reading
from genbench.metrics.shares import mean_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError
from genbench.stats import Score

if TYPE_CHECKING:
    from genbench.api import Layout

__all__ = ["TASK_METRICS", "box_iou", "layout_class", "layout_iou"]

Floats = NDArray[np.float64]


def layout_iou(answers: Answers, options: NoOptions) -> Score:
    """The mean IoU of each box that was asked for and the box of the object that answers it.

    An object answers one box at most, of its own class; which one is chosen so that the sum is
    largest. A box that no object answers counts as 0.
    """
    from scipy.optimize import linear_sum_assignment

    seen, values = reading(answers), []
    found, shapes = seen.boxes.double().numpy(), seen.shape.numpy()
    for i, (boxes, classes) in enumerate(_asked(answers)):
        overlap = box_iou(boxes, found[i]) * (classes[:, None] == shapes[i])
        chosen = linear_sum_assignment(overlap, maximize=True)
        values.append(overlap[chosen].sum() / len(boxes))
    return mean_score(values, len(answers), "samples")


def layout_class(answers: Answers, options: NoOptions) -> Score:
    """The share of boxes in which most pixels that are no ground are of the asked class."""
    values = [np.mean(found == classes) for classes, found in _majorities(answers)]
    return mean_score(values, len(answers), "samples")


def _explain(answers: Answers, options: NoOptions) -> list[str]:
    from genbench.data.scenes import SHAPES  # loads torch

    lines = []
    for classes, found in _majorities(answers):
        wrong = [
            f"asked for a {SHAPES[asked]}; its box holds "
            + (f"a {SHAPES[there]}" if there >= 0 else "nothing")
            for asked, there in zip(classes, found, strict=True)
            if asked != there
        ]
        lines.append("; ".join(wrong))
    return lines


def _majorities(answers: Answers) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each sample the classes that were asked for, and those that most pixels have."""
    maps = reading(answers).label_map.numpy()
    size = np.array([maps.shape[2], maps.shape[1]] * 2)
    found = []
    for seen, (boxes, classes) in zip(maps, _asked(answers), strict=True):
        # pixels whose centres are inside
        corners = np.ceil(boxes * size - 0.5 - 1e-4).astype(np.int64)
        inside = [
            np.bincount(seen[y0:y1, x0:x1].ravel(), minlength=2) for x0, y0, x1, y1 in corners
        ]
        most = [counts[1:].argmax() if counts[1:].any() else -1 for counts in inside]
        found.append((classes, np.array(most)))
    return found


def _asked(answers: Answers) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Boxes (k, 4) and classes (k,) of each question.

    Raises:
        ConfigError: For classes that are not those of scenes, and questions without an object.
    """
    from genbench.data.scenes import SHAPES  # loads torch

    known(answers, "box_classes", SHAPES)
    cond: Layout = answers.cond  # type: ignore[assignment]
    boxes, classes = cond.boxes.cpu().double().numpy(), cond.classes.cpu().numpy()
    used = classes >= 0
    if not used.any(1).all():
        empty = int((~used.any(1)).argmax())
        raise ConfigError(f"question {empty} asks for no object; leave such layouts out")
    return [(b[u], c[u]) for b, c, u in zip(boxes, classes, used, strict=True)]


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of (M, 4) with every one of (N, 4) -> (M, N).

    Boxes are x0, y0, x1, y1; one without an area has 0 with all.
    """
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = (np.clip(x[:, 2:] - x[:, :2], 0, None).prod(-1) for x in (a, b))
    either = area_a[:, None] + area_b - both
    shares: Floats = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return shares


TASK_METRICS = (
    TaskMetric("layout_iou", "layout IoU", "higher", ("Layout",), layout_iou, PARSER),
    TaskMetric(
        "layout_class",
        "layout class",
        "higher",
        ("Layout",),
        layout_class,
        PARSER,
        explain=_explain,
    ),
)
