"""Which image of one source belongs to which of another, for metrics of pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genbench.inputs.source import Source
from genbench.spec import ConfigError

__all__ = ["pairs"]

_NAMED = 3


def pairs(made: Source, real: Source) -> NDArray[np.int64]:
    """`order`, (N,): image i of `made` belongs to image `order[i]` of `real`.

    By key where both sources have keys, otherwise by position.

    Raises:
        ConfigError: When an image has no partner: the first ones of each side and the counts.
    """
    if made.keys is None or real.keys is None:
        if made.n != real.n:
            raise ConfigError(
                f"{made.name} has {made.n} images and {real.name} has {real.n}; pairs go by "
                "position here, so give both sides as many, in the same order"
            )
        return np.arange(made.n)
    place = {key: i for i, key in enumerate(real.keys)}
    known = set(made.keys)
    without = [key for key in made.keys if key not in place]
    unused = [key for key in real.keys if key not in known]
    if without or unused:
        sides = [_side(without, made, real), _side(unused, real, made)]
        raise ConfigError(
            f"pairs need the same names on both sides: {' and '.join(filter(None, sides))}; "
            "rename the files or take them out"
        )
    return np.array([place[key] for key in made.keys], np.int64)


def _side(missing: Sequence[str], here: Source, there: Source) -> str:
    if not missing:
        return ""
    more = ", ..." if len(missing) > _NAMED else ""
    return (
        f"{len(missing)} of {here.n} images of {here.name} are not in {there.name} "
        f"({', '.join(missing[:_NAMED])}{more})"
    )
