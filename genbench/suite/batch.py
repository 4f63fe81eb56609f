"""The batch for a budget: one rule for every family that trains.

    batch = the power of two nearest to D / 8,000, not below 16, not above the family's own
    warm-up = the family's own, at most a tenth of the budget

D is how many images of data the budget holds: `budget.images` over the updates of a step, so that
a GAN's two share it. A budget in images is a race that the batch decides: after as many images a
batch of 16 has made eight times the updates of one of 128, for the same operations. What a row
sets by itself, and the settings of a preset, stay. Budgets in updates or steps fix the number of
updates, those in operations or seconds do not tell it: there every family keeps its own batch.

The average follows by itself: its half-life is a share of the images that were seen.
"""

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from genbench.spec import Budget

if TYPE_CHECKING:
    from genbench.api import Config

__all__ = ["LEAST", "UPDATES", "for_budget"]

UPDATES = 8_000  # that a budget is to give
LEAST = 16
_WARMUP = 10  # a warm-up is at most this part of a budget


def for_budget(
    config: "Config", budget: Budget, updates: int, given: Collection[str] = ()
) -> dict[str, Any]:
    """The settings that the rule changes.

    Args:
        config: A family's settings.
        budget: When its training ends.
        updates: Of a step: how many optimizers it has.
        given: Names of the settings that a row sets by itself.
    """
    if budget.images is None or budget.updates is not None or budget.steps is not None:
        return {}
    wanted = 2 ** round(math.log2(max(budget.images / updates / UPDATES, 1)))
    changes = {
        "batch": min(config.batch, max(LEAST, wanted)),
        "warmup": min(config.warmup, budget.images // _WARMUP),
    }
    return {k: v for k, v in changes.items() if k not in given and v != getattr(config, k)}
