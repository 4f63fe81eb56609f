"""Two lists of classes, that of a dataset and that of a network, matched by name."""

from collections.abc import Mapping, Sequence

from genbench.spec import ConfigError

__all__ = ["places", "read_map"]

_SHOWN = 12  # names of a list in a message


def read_map(text: str) -> dict[str, str]:
    """`zero:0,one:1` as `{"zero": "0", "one": "1"}`: the network's name of each class.

    Raises:
        ConfigError: For a pair that is not complete, or a class that is there twice.
    """
    pairs: dict[str, str] = {}
    for part in text.split(",") if text else ():
        own, colon, theirs = (word.strip() for word in part.rpartition(":"))
        if not (own and colon and theirs):
            raise ConfigError(
                f"accuracy.map: {part!r} is not of the form CLASS:CLASS; write the dataset's "
                "class, a colon and the network's, with commas between pairs: zero:0,one:1"
            )
        if own in pairs:
            raise ConfigError(f"accuracy.map names class {own!r} twice; keep one of the pairs")
        pairs[own] = theirs
    return pairs


def places(
    asked: Sequence[str],
    known: Sequence[str],
    count: int,
    renamed: Mapping[str, str],
    where: tuple[str, str],
) -> list[int]:
    """The number that a network has for each class of a dataset.

    Classes are matched by name. A network that does not name its classes is taken to number them
    as the dataset does, if it has as many; `renamed` then gives numbers.

    Args:
        asked: The dataset's classes, by number.
        known: The network's, by number; () where it does not name them.
        count: How many the network has.
        renamed: The network's name for classes of another name there; see `read_map`.
        where: Names of the dataset and of the network, for messages.

    Raises:
        ConfigError: For a class that the network does not know, with both lists.
    """
    dataset, network = where
    if unknown := [name for name in renamed if name not in asked]:
        raise ConfigError(
            f"accuracy.map: {dataset} has no class {unknown[0]!r}; it has {_listed(asked)}"
        )
    if not known and not renamed and len(asked) == count:
        return list(range(count))
    names = list(known or map(str, range(count)))
    wanted = [renamed.get(name, name) for name in asked] if known or renamed else []
    lacking = [name for name in wanted if name not in names]
    if wanted and not lacking:
        return [names.index(name) for name in wanted]
    mine, its = _listed(asked), _listed(names) if known else f"{count} classes without names"
    why = f"{network} knows no class {lacking[0]!r}" if lacking else "the two do not match"
    raise ConfigError(
        f"accuracy compares classes by name, and {why}: {dataset} has {mine}; {network} has "
        f"{its}; choose an extractor of these classes, or say which is which with "
        "accuracy.map=A:B,C:D"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
