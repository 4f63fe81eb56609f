"""Which network judges images, and what it says where a suite's network is for other ones."""

from collections.abc import Sequence
from pathlib import Path

from genbench import data, features, metrics
from genbench.suite.file import Suite, parts

__all__ = ["misfit", "settled"]

_STANDARD, _PLAIN = "inception", "pixels"


def misfit(extractor: str, dataset: str, root: Path | None = None) -> str:
    """Why a network cannot judge a dataset; "" where it can. Looks at the images of a folder."""
    name = extractor.partition("/")[0]
    own = name in features.names() and data.parse_id(dataset).path is not None
    colour = data.load(dataset, "test", root=root).channels == 3 if own else None
    return features.unfit(name, dataset, colour)


def settled(
    name: str, changes: Sequence[str], root: Path | None = None
) -> tuple[list[str], list[str]]:
    """The changes with a network for another dataset, where they name a dataset and no network.

    Inception, the usual choice, where its weights are at hand, else the pixels, which need none.

    Args:
        name: The suite's.
        changes: What the user asked for.
        root: See `data.load`.

    Returns:
        The changes, and sentences that say what was chosen and left out.
    """
    keys = {change.partition("=")[0] for change in changes}
    if "dataset" not in keys or "extractor" in keys:
        return list(changes), []
    loaded = parts(name, changes)
    reasons = [why for part in loaded if (why := misfit(part.extractor, part.dataset, root))]
    if not reasons:
        told = (features.unsure(part.extractor, part.dataset) for part in loaded)
        return list(changes), [line for line in dict.fromkeys(told) if line]
    chosen = _STANDARD if _at_hand() else _PLAIN
    about = "" if chosen == _STANDARD else ", as the weights of inception are not at hand"
    said = [f"{reasons[0]}: extractor={chosen}{about}; extractor=NAME takes another"]
    added = [f"extractor={chosen}"]
    if chosen == _PLAIN and len(loaded) == 1 and "metrics" not in keys:
        kept = _without_classes(loaded[0])
        if left := [metric for metric in loaded[0].metrics if metric not in kept]:
            said.append(f"{', '.join(left)} left out: {chosen} gives no class probabilities")
            added.append(f"metrics={','.join(kept)}")
    return [*changes, *added], said


def _at_hand() -> bool:
    from genbench.features.weights_file import at_hand  # loads torch

    try:
        return at_hand(features.NETWORKS[_STANDARD].files) is not None
    except features.WeightsError:  # a file of that name which is another one
        return False


def _without_classes(suite: Suite) -> list[str]:
    """The metrics of a suite that read no class probabilities of its network."""
    return [
        name
        for name in suite.metrics
        if "@" in name
        or all("probs" not in getattr(metrics.find(m), "reads", ()) for m in metrics.expand(name))
    ]
