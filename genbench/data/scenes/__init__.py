"""Scenes: pictures drawn from counter-based noise, with every annotation and without any file.

One to three shapes on a patterned ground, in 16 to 128 pixels, with classes, captions, boxes,
label maps, masks, outlines, smaller versions, and the same scene in several styles.
"""

from genbench.data.scenes.language import (
    LENGTH,
    RELATIONS,
    VOCABULARY,
    Meaning,
    Thing,
    decode,
    encode,
    parse,
    write,
)
from genbench.data.scenes.scene import COLOURS, GROUNDS, SIZES, Scene
from genbench.data.scenes.shapes import SHAPES
from genbench.data.scenes.source import COUNTS, DEFAULT_SIZE, Scenes, known, read
from genbench.data.scenes.styles import STYLES

__all__ = [
    "COLOURS",
    "COUNTS",
    "DEFAULT_SIZE",
    "GROUNDS",
    "LENGTH",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "STYLES",
    "VOCABULARY",
    "Meaning",
    "Scene",
    "Scenes",
    "Thing",
    "decode",
    "encode",
    "known",
    "parse",
    "read",
    "write",
]
