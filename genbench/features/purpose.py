"""What the networks that ship with genbench are for: of other images their numbers say nothing."""

from genbench.data.ids import FOLDERS
from genbench.features.cards import card, names

__all__ = ["unfit", "unsure"]


def unfit(name: str, dataset: str = "", colour: bool | None = None) -> str:
    """Why a network cannot judge images; "" where it can, or nothing speaks against it.

    Args:
        name: The network's; of one that does not ship with genbench nothing is known.
        dataset: The id of a dataset that the images are of; "" for anybody's images.
        colour: Whether the images have colours; None where that is not known.
    """
    if name not in names():
        return ""
    about = card(name)["for"]
    kind = dataset.partition("@")[0].partition(":")[0]
    if kind and kind not in FOLDERS and kind not in about["datasets"]:
        return f"{name} is for {about['images']} and says nothing of {dataset}"
    if colour is not None and colour == about["grey"]:
        what = "colour" if colour else "grey"
        return f"{name} is for {about['images']} and says nothing of {what} images"
    return ""


def unsure(name: str, dataset: str) -> str:
    """What a reader must know of a network's numbers on images of the user's own."""
    if name not in names() or dataset.partition(":")[0] not in FOLDERS:
        return ""
    return f"{name} is for {card(name)['for']['images']}: of other images its numbers say nothing"
