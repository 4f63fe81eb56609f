"""Pictures of samples beside what they were asked for: triples, captions, classes, strips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from genbench.report.grid import BACKGROUND, FAINT, INK, Images, fitting, font, rgb
from genbench.report.text import natural
from genbench.store import Artifact
from genbench.text import clean

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Draw

__all__ = ["Shown", "brought", "by_class", "cards", "picture", "question_strip", "read", "strips"]

_WRONG = (176, 52, 32)
_PAD = 14  # pixels between cards
_GAP = 2  # pixels between the images of a card
_LINE = 15  # pixels of a line of words
_WIDTH = 900  # pixels of a picture, about
_CARDS = 24
_TRIPLE, _WORDED, _CLASSED = 64, 128, 64  # pixels that an image is brought to, about
_CLASSES = 16  # more than these have no columns of their own
_STRIP = 12  # images in a strip
_LINES = 6  # of words below an image; what is longer ends in an ellipsis


@dataclass(frozen=True)
class Shown:
    """The first samples of a row and their questions; entry i of everything is of sample i.

    Attributes:
        made: uint8 (k, C, H, W).
        asked: A picture of each question, uint8 (k, C, h, w); None where words ask.
        truth: uint8 (k, C, H, W), the right answers; None where there is none.
        texts: Captions, names of classes, ...; () where there are none.
        reasons: By metric id, what is wrong with each sample, "" where nothing is.
        aligned: Whether `truth` is the one right answer, and not one of many.
    """

    made: Images
    asked: Images | None = None
    truth: Images | None = None
    texts: tuple[str, ...] = ()
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aligned: bool = False

    def reason(self, i: int) -> str:
        """What is wrong with a sample, in the words of the first metric that finds something."""
        return next((lines[i] for lines in self.reasons.values() if lines[i]), "")

    def of(self, index: Sequence[int]) -> "Shown":
        """Some of the samples."""
        places = list(index)
        return Shown(
            self.made[places],
            None if self.asked is None else self.asked[places],
            None if self.truth is None else self.truth[places],
            tuple(self.texts[i] for i in places) if self.texts else (),
            {name: tuple(lines[i] for i in places) for name, lines in self.reasons.items()},
            self.aligned,
        )


# --- from the store ------------------------------------------------------------------------------


def read(made: Images, artifact: Artifact) -> Shown:
    """Samples and the artifact that says what they were asked for.

    Raises:
        ValueError: If the two do not fit, in one sentence.
    """
    tensors, info = artifact.tensors, artifact.info
    texts = tuple(clean(str(text)) for text in _list(info.get("texts", [])))
    texts = texts if any(texts) else ()
    told = info.get("reasons", {})
    if not isinstance(told, dict):
        raise ValueError("reasons of failures are not given by metric")
    reasons = {
        clean(str(name)): tuple(clean(str(line)) for line in _list(lines))
        for name, lines in told.items()
    }
    sides = {name: np.array(tensors[name]) for name in ("asked", "truth") if name in tensors}
    for side in sides.values():
        rgb(side)
    counts = {len(side) for side in sides.values()}
    counts |= {len(lines) for lines in (texts, *reasons.values()) if lines}
    if len(counts) > 1 or any(count > len(made) for count in counts):
        found = ", ".join(map(str, sorted(counts)))
        raise ValueError(f"{found} questions do not fit {len(made)} samples")
    k = counts.pop() if counts else len(made)
    reasons = {name: lines for name, lines in reasons.items() if lines}
    aligned = bool(info.get("aligned", False))
    return Shown(made[:k], sides.get("asked"), sides.get("truth"), texts, reasons, aligned)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of texts, got {type(value).__name__}")
    return value


# --- one row -------------------------------------------------------------------------------------


def picture(shown: Shown, task: str) -> "Image":
    """The picture of a row: columns of classes, else cards."""
    names = len(set(shown.texts))
    if task.partition(":")[0] == "class_label" and 0 < names <= _CLASSES:
        return by_class(shown)
    return cards(shown)


def cards(shown: Shown) -> "Image":
    """Asked, made and right side by side, or a sample over the words it was asked in.

    What is wrong with a sample stands below in red. Small images are enlarged by a whole factor.

    Raises:
        ValueError: For images that `grid` refuses.
    """
    sides = _sides(shown)
    tile = _TRIPLE if len(sides) > 1 else _WORDED
    width, height = _fitted(shown.made, tile)
    tiles = [_tiles(images, width, height) for _, images in sides]
    card = len(sides) * (width + _GAP) - _GAP
    columns = max(1, min(len(shown.made), (_WIDTH - _PAD) // (card + _PAD)))
    count = min(len(shown.made), max(columns, _CARDS // columns * columns))
    words = [_words(shown, i, card) for i in range(count)]
    lines = [max(map(len, words[i : i + columns])) for i in range(0, count, columns)]
    head = 22 if len(sides) > 1 else 0
    tall = _PAD + head + sum(height + n * _LINE + bool(n) * 4 + _PAD for n in lines)
    canvas, draw = _canvas(_PAD + columns * (card + _PAD), tall)
    top = _PAD + head
    for row, n in enumerate(lines):
        for i in range(row * columns, min(count, (row + 1) * columns)):
            left = _PAD + i % columns * (card + _PAD)
            for place, (images, (name, _)) in enumerate(zip(tiles, sides, strict=True)):
                x = left + place * (width + _GAP)
                canvas.paste(_pil(images[i]), (x, top))
                if row == 0 and head:
                    draw.text((x, top - 19), name, FAINT, font(12))
            for j, (line, colour) in enumerate(words[i]):
                draw.text((left, top + height + 4 + j * _LINE), line, colour, font(12))
        top += height + n * _LINE + bool(n) * 4 + _PAD
    return canvas


def by_class(shown: Shown) -> "Image":
    """A column for each class under its name; samples that a metric finds wrong have a red frame.

    Raises:
        ValueError: For images that `grid` refuses.
    """
    width, height = _fitted(shown.made, _CLASSED)
    tiles = _tiles(shown.made, width, height)
    names = sorted(set(shown.texts), key=natural)
    beside = max(1, 10 // len(names))  # images in a line of one class
    members = [[i for i, text in enumerate(shown.texts) if text == name] for name in names]
    rows = min(8, max(-(-len(mine) // beside) for mine in members))
    step, line = width + _GAP, height + _GAP
    block = beside * step - _GAP + 10
    size = (2 * _PAD + len(names) * block - 10, 2 * _PAD + 20 + rows * line - _GAP)
    canvas, draw = _canvas(*size)
    for column, (name, mine) in enumerate(zip(names, members, strict=True)):
        left = _PAD + column * block
        draw.text((left, _PAD - 2), _cut(name, block - 10), INK, font(12))
        for place, i in enumerate(mine[: rows * beside]):
            x = left + place % beside * step
            y = _PAD + 20 + place // beside * line
            canvas.paste(_pil(tiles[i]), (x, y))
            if shown.reason(i):
                corners = (x, y, x + width - 1, y + height - 1)
                draw.rectangle(corners, outline=_WRONG, width=2)
    return canvas


def _sides(shown: Shown) -> list[tuple[str, Images]]:
    """The images of a card, each with its name."""
    if shown.asked is None:
        return [("made", shown.made)]
    sides = [("asked", shown.asked), ("made", shown.made)]
    if shown.truth is not None:
        sides.append(("truth" if shown.aligned else "real", shown.truth))
    return sides


def _words(shown: Shown, i: int, width: int) -> list[tuple[str, tuple[int, int, int]]]:
    """The lines below a card with their colours."""
    text = _wrapped(shown.texts[i], width, _LINES) if shown.texts else []
    wrong = _wrapped(shown.reason(i), width, 3)
    return [(line, INK) for line in text] + [(line, _WRONG) for line in wrong]


# --- a row among others --------------------------------------------------------------------------


def strips(shown: Shown, task: str) -> tuple[list[int], int]:
    """Which samples stand in a strip, and the size that their images are brought to, about."""
    k = len(shown.made)
    if task.partition(":")[0] == "class_label" and shown.texts:
        return _of_each_class(shown.texts), _CLASSED
    if shown.asked is None and shown.texts:
        return list(range(min(k, 8))), 96
    return list(range(min(k, _STRIP))), _TRIPLE


def _of_each_class(texts: Sequence[str]) -> list[int]:
    """As many samples of each class as there is room for, in the classes' order."""
    names = sorted(set(texts), key=natural)
    each = max(1, _STRIP // len(names))
    found = []
    for name in names[:_CLASSES]:
        found += [i for i, text in enumerate(texts) if text == name][:each]
    return found


def question_strip(shown: Shown, tile: int) -> Images | None:
    """Pictures of the questions as wide as the samples in `brought`: their own, or their words."""
    width, height = _fitted(shown.made, tile)
    if shown.asked is not None:
        return np.ascontiguousarray(_tiles(shown.asked, width, height).transpose(0, 3, 1, 2))
    if not shown.texts:
        return None
    lines = [_wrapped(text, width - 4, _LINES) for text in shown.texts]
    tall = max(map(len, lines)) * 14 + 2
    tiles = []
    for mine in lines:
        canvas, draw = _canvas(width, tall)
        for j, line in enumerate(mine):
            y = (tall - 14 * len(mine)) + 14 * j  # the last line stands on the images
            draw.text((0, y - 1), line, INK, font(11))
        tiles.append(np.asarray(canvas))
    return np.stack(tiles).transpose(0, 3, 1, 2)


def brought(images: Images, tile: int) -> Images:
    """Images in about `tile` pixels, uint8 (k, 3, h, w)."""
    width, height = _fitted(images, tile)
    return np.ascontiguousarray(_tiles(images, width, height).transpose(0, 3, 1, 2))


# --- parts ---------------------------------------------------------------------------------------


def _fitted(images: Images, tile: int) -> tuple[int, int]:
    """Width and height of the tiles: a whole multiple, or a whole part of large images."""
    height, width = rgb(images).shape[1:3]
    size = max(height, width)
    scale, part = fitting(size, tile), max(1, round(size / tile))
    return max(1, width * scale // part), max(1, height * scale // part)


def _tiles(images: Images, width: int, height: int) -> Images:
    """(k, C, h, w) to (k, height, width, 3): the nearest pixel, or the mean of many."""
    from PIL import Image

    pixels = rgb(images)
    if pixels.shape[1] <= height and pixels.shape[2] <= width:
        rows = np.arange(height) * pixels.shape[1] // height
        columns = np.arange(width) * pixels.shape[2] // width
        return pixels[:, rows][:, :, columns]
    size, box = (width, height), Image.Resampling.BOX
    return np.stack([np.asarray(_pil(picture).resize(size, box)) for picture in pixels])


def _pil(pixels: Images) -> "Image":
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(pixels))


def _canvas(width: int, height: int) -> "tuple[Image, Draw]":
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (width, height), BACKGROUND)
    return canvas, ImageDraw.Draw(canvas)


def _wrapped(text: str, width: int, most: int, size: int = 12) -> list[str]:
    """At most `most` lines of at most `width` pixels; words that are longer are broken."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        grown = f"{line} {word}".strip()
        if _fits(grown, width, size):
            line = grown
            continue
        lines += [line] if line else []
        line = word
        while not _fits(line, width, size) and len(lines) <= most:
            head = _head(line, width, size)
            lines.append(head)
            line = line[len(head) :]
        if len(lines) > most:
            break
    lines += [line] if line else []
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], _cut(f"{lines[most - 1]} …", width, size)]


def _fits(text: str, width: int, size: int) -> bool:
    # no letter that people read is narrower than a pixel: long texts need not be measured
    return len(text) <= width and font(size).getlength(text) <= width


def _head(text: str, width: int, size: int) -> str:
    """As many of the first characters as fit, at least one."""
    count = 1
    while count < len(text) and _fits(text[: count + 1], width, size):
        count += 1
    return text[:count]


def _cut(text: str, width: int, size: int = 12) -> str:
    """`text`, shortened with an ellipsis until it fits."""
    if _fits(text, width, size):
        return text
    return _head(text.rstrip(" …"), width - round(font(size).getlength("…")) - 1, size) + "…"
