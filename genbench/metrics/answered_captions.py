"""Answers to captions of `scenes`, judged by what a parser sees: is what was said there.

`attributes` is the share of captions that are obeyed in everything, the others are shares of those
captions that say something of one aspect. See `caption_judge` for what counts as obeyed.
"""

from functools import partial
from typing import TYPE_CHECKING

from genbench.metrics.caption_judge import ASPECTS, Judgement, Seen, judge
from genbench.metrics.metric import NoOptions
from genbench.metrics.reading import PARSER, known, reading
from genbench.metrics.shares import share_score
from genbench.metrics.task_metric import Answers, TaskMetric
from genbench.spec import ConfigError
from genbench.stats import Score

if TYPE_CHECKING:
    from genbench.features.scenes_reading import Reading

__all__ = ["GROUP", "TASK_METRICS", "judged", "objects"]

GROUP = "attributes"
_LABELS = {
    "shape": "shapes right",
    "colour": "colours right",
    "size": "sizes right",
    "count": "count right",
    "position": "positions right",
}


def judged(answers: Answers) -> list[Judgement]:
    """Every sample held against its caption, once for all metrics of these answers."""
    from genbench.data.scenes import VOCABULARY, decode, parse  # loads torch

    if "judged" not in answers.cache:
        captions = decode(known(answers, "tokens", VOCABULARY))
        both = zip(captions, objects(reading(answers)), strict=True)
        answers.cache["judged"] = [judge(parse(caption), seen) for caption, seen in both]
    found: list[Judgement] = answers.cache["judged"]
    return found


def objects(reading: "Reading") -> list[list[Seen]]:
    """The objects of each picture, the largest first.

    The pixels of an object are those of its colour inside its box: objects that overlap differ in
    it, and a network is surer of it than of the shape that each pixel belongs to.
    """
    from genbench.data.scenes import COLOURS, SHAPES, SIZES  # loads torch

    colours = reading.colour_map.numpy()
    height, width = colours.shape[1:]
    centres = reading.centre.tolist()
    boxes = (reading.boxes * reading.boxes.new_tensor([width, height] * 2)).round().long().tolist()
    kinds = [table.tolist() for table in (reading.colour, reading.shape, reading.size)]
    found: list[list[Seen]] = [[] for _ in colours]
    for i, k in (reading.shape >= 0).nonzero().tolist():
        colour, shape, size = (table[i][k] for table in kinds)
        mask = colours[i] == 1 + colour
        x0, y0, x1, y1 = boxes[i][k]
        mask[:y0], mask[y1:], mask[:, :x0], mask[:, x1:] = False, False, False, False
        x, y = centres[i][k]
        found[i].append(Seen(COLOURS[colour], SHAPES[shape], SIZES[size], x, y, mask))
    return found


def _whole(answers: Answers, options: NoOptions) -> Score:
    """The share of captions of which everything holds; Wilson's interval."""
    right = [judgement.right for judgement in judged(answers)]
    return share_score(right, len(right), f"{len(right)} captions")


def _aspect(name: str, answers: Answers, options: NoOptions) -> Score:
    """The share of captions of which this holds, among those that say something of it.

    Raises:
        ConfigError: Where none does.
    """
    every = [judgement.aspects[name] for judgement in judged(answers)]
    said = [right for right in every if right is not None]
    if not said:
        raise ConfigError(
            f"attr_{name}: none of the {len(every)} captions says anything of it; sample more, or "
            "leave it out"
        )
    return share_score(said, len(every), f"{len(said)} captions that speak of it")


def _explain(answers: Answers, options: NoOptions) -> list[str]:
    return [judgement.reason for judgement in judged(answers)]


TASK_METRICS = (
    TaskMetric(
        GROUP,
        "captions obeyed",
        "higher",
        ("Caption",),
        _whole,
        PARSER,
        (),
        GROUP,
        NoOptions,
        _explain,
    ),
    *(
        TaskMetric(
            f"attr_{a}", _LABELS[a], "higher", ("Caption",), partial(_aspect, a), PARSER, (), GROUP
        )
        for a in ASPECTS
    ),
)
