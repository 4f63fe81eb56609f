"""Seeded mutations of files, for tests that read what somebody damaged, cut short or made up."""

import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

from genbench.runtime import time_limit

__all__ = ["ABSURD", "COUNT", "SECONDS", "mutations", "survives", "tree_mutations"]

COUNT = int(os.environ.get("GENBENCH_FUZZ", "40"))  # mutations of a file that a test reads
SECONDS = 10  # of one file; what takes longer is a hang

# tokens that parsers have stumbled over
_TOKENS = (
    b"\x00", b"\xff\xfe", b"\x1b[31m", b"NaN", b"-Infinity", b"1e999", b"1e308", b"1e-320", b"-1",
    b"9" * 400, b"[" * 2000, b'{"a":' * 500, b"null", b"true", b'""', b"\n", b"\xe2\x80\xae", b"=",
)  # fmt: skip
ABSURD: tuple[Any, ...] = (
    0, -1, 1, 10**18, 10**30, 1e17, 1e300, 1e308, -1e308, 1e-320, 5e-324, -0.0, True, None, "",
    "x", "\x1b[2J\u202e", "a" * 5000, [], {}, [[]], [1e308, -1e308],
)  # fmt: skip


def mutations(data: bytes, seed: int, n: int) -> Iterator[bytes]:
    """`n` damaged copies of a file, the same for the same seed.

    Bits are flipped, pieces are cut out, repeated, moved, overwritten, and tokens put in.
    """
    draw = random.Random(seed)
    for _ in range(n):
        content = bytearray(data)
        for _ in range(draw.choice((1, 1, 1, 2, 5))):
            _mutate(content, draw)
        yield bytes(content)


def _mutate(content: bytearray, draw: random.Random) -> None:
    length = len(content)
    # headers decide how the rest is read: half of the damage is at the front
    end = length if draw.random() < 0.5 else min(length, 400)
    at = draw.randrange(end + 1)
    span = draw.choice((1, 2, 4, 8, 64, 512))
    kind = draw.randrange(7)
    if kind == 0 and at < length:
        content[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del content[at:]
    elif kind == 2:
        del content[at : at + span]
    elif kind == 3:
        content[at:at] = content[at : at + span]
    elif kind == 4:
        content[at : at + span] = draw.randbytes(min(span, max(0, length - at)))
    elif kind == 5:
        content[at:at] = draw.choice(_TOKENS)
    else:
        other = draw.randrange(length + 1)
        content[at : at + span] = content[other : other + span]


def tree_mutations(tree: Any, seed: int, n: int) -> Iterator[Any]:
    """`n` copies of what JSON holds with values replaced by absurd ones, left out or renamed."""
    draw = random.Random(seed)
    for _ in range(n):
        copy = json.loads(json.dumps(tree))
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            _mutate_tree(copy, draw)
        yield copy


def _mutate_tree(tree: Any, draw: random.Random) -> None:
    places = list(_places(tree))
    if not places:
        return
    holder, key = draw.choice(places)
    kind = draw.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"{key}{draw.choice(('x', ' ', chr(27)))}"] = holder.pop(key)
    elif kind == 2:
        other, its = draw.choice(places)
        holder[key] = json.loads(json.dumps(other[its]))
    else:
        holder[key] = draw.choice(ABSURD)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(inside):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def survives(read: Callable[[], Any], expected: tuple[type[Exception], ...], what: str) -> bool:
    """Whether a reader took a file; it may refuse it by one sentence, and must do either in time.

    Args:
        read: Reads a damaged file.
        expected: The errors that it may raise.
        what: Names the file, so that a failure can be made again.

    Raises:
        AssertionError: For any other error, a message of several lines, and a hang.
    """
    try:
        with time_limit(SECONDS):
            read()
    except expected as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 4000, f"{what}: {text[:500]!r}"
        return False
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    return True
