"""What several metrics of answers share: a parser's reading of the samples, and pixels."""

from typing import TYPE_CHECKING

from genbench.metrics.task_metric import Answers
from genbench.spec import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.features.scenes_reading import Reading

__all__ = ["PARSER", "known", "levels", "reading"]

PARSER = "scenes-parser"


def reading(answers: Answers) -> "Reading":
    """What the parser reads in the samples, once for all metrics of these answers."""
    if "reading" not in answers.cache:
        answers.cache["reading"] = answers.network().read(answers.made)
    found: Reading = answers.cache["reading"]
    return found


def known(answers: Answers, name: str, words: tuple[str, ...]) -> "Tensor":
    """An annotation whose numbers must stand for these words, which the parser reads.

    Raises:
        ConfigError: Where they stand for others.
    """
    if answers.words(name) != words:
        raise ConfigError(
            f"{PARSER} reads {name} of scenes ({', '.join(w for w in words[:4] if w)}, ...), and "
            "this dataset's are others; choose metrics without a parser"
        )
    return answers.annotation(name)


def levels(images: "Tensor") -> "Tensor":
    """Images as float32 in [0, 1]: of uint8, or of floats in [-1, 1] that were uint8 before."""
    import torch

    whole = images.float() if images.dtype == torch.uint8 else ((images + 1) * 127.5).round()
    return whole / 255
