"""Answers to a class: is it the one that was asked for, and do images of each class look right.

`accuracy`, the classification accuracy score with a fixed classifier, e.g. Shmelkov et al., *How
good is my GAN?*, arXiv 1807.09499 ("GAN-test"); `class_fd`, the intra-class FID of Miyato and
Koyama, *cGANs with Projection Discriminator*, arXiv 1802.05637, in the features of any network.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genbench.metrics.frechet import GROUPS, FrechetSums, frechet_score
from genbench.metrics.gaussian import Reference
from genbench.metrics.matching import places, read_map
from genbench.metrics.metric import NoOptions
from genbench.metrics.moments import Moments
from genbench.metrics.shares import share_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError, Spec
from genbench.stats import Score, student_score

__all__ = ["TASK_METRICS", "accuracy", "class_fd"]

FEWEST = GROUPS  # images of a class: one for each group of the jackknife


class AccuracyOptions(Spec):
    """How classes are matched.

    Attributes:
        map: The network's name for each class that it calls otherwise: "zero:0,one:1"; its number
            where the network does not name its classes.
    """

    map: str = ""


def accuracy(answers: Answers, options: AccuracyOptions) -> Score:
    """The share of samples whose most probable class is the one asked for; Wilson's interval.

    The dataset's classes and the network's are matched by name; see `matching.places`. All of the
    network's classes compete, also those that are never asked for.

    Raises:
        ConfigError: For a network without classes, or that lacks one of the dataset's.
    """
    probs, label = np.asarray(answers.features("made").probs), _labels(answers)
    network, renamed = answers.network(), read_map(options.map)
    where = ("the dataset", network.name)
    known, count = network.class_names, probs.shape[1]
    place = np.array(places(answers.words("class"), known, count, renamed, where))
    return share_score(probs.argmax(1) == place[label], len(label), f"{len(label)} samples")


def class_fd(answers: Answers, options: NoOptions) -> Score:
    """The mean over classes of the Frechet distance between samples and right answers of a class.

    Classes are independent, so stderr^2 = sum_c stderr_c^2 / C^2; the interval has as many degrees
    of freedom as the smallest class may have, 19, which is never too few. The right answers count
    as exact. Distances of few images are too large: compare at equal numbers only.

    Raises:
        ConfigError: For classes of fewer than 20 samples.
    """
    label, names = _labels(answers), answers.words("class")
    classes, counts = np.arange(len(names)), np.bincount(label, minlength=len(names))
    if (fewest := int(counts.min())) < FEWEST:
        enough = -(-FEWEST * len(label) // fewest) if fewest else FEWEST * len(label)
        raise ConfigError(
            f"class_fd needs {FEWEST} samples of each class or more, got {fewest} of class "
            f"{names[counts.argmin()]!r}; set n={enough} or more, ask for each class equally "
            "often with questions=balanced, or leave it out"
        )
    made, truth = (np.asarray(answers.features(side).features) for side in ("made", "truth"))
    scores = [_distance(made[label == c], truth[label == c]) for c in classes]
    errors = [0.0 if s.stderr is None else s.stderr for s in scores]
    value = float(np.mean([s.value for s in scores]))
    stderr = float(np.linalg.norm(errors)) / len(scores)
    method = f"jackknife of each of {len(scores)} classes"
    return student_score(value, stderr, GROUPS - 1, len(label), method)


def _distance(made: NDArray[Any], truth: NDArray[Any]) -> Score:
    sums = FrechetSums.start(len(made), made.shape[1]).update(made, np.arange(len(made)))
    return frechet_score(sums, Reference.of(Moments.of(truth)))


def _labels(answers: Answers) -> NDArray[np.int64]:
    label: NDArray[np.int64] = answers.cond.label.cpu().numpy()  # type: ignore[attr-defined]
    return label


TASK_METRICS = (
    TaskMetric(
        "accuracy", "accuracy", "higher", ("ClassLabel",), accuracy, options=AccuracyOptions
    ),
    TaskMetric("class_fd", "class FD", "lower", ("ClassLabel",), class_fd),
)
