"""Image files: finding them, their headers, their pixels; one reader for datasets and for sources.

file.py     one file: what its header says, its pixels, what is refused before anything is inflated
finding.py  which files a folder holds, in natural order, and what of it cannot be read
levels.py   whether levels are levels, or floats that were cast
telling.py  the sentences on all of this
"""

from genbench.images.file import (
    ALPHAS,
    MOST_BYTES,
    MOST_PIXELS,
    SUFFIXES,
    Alpha,
    BrokenImage,
    Header,
    UnfitImage,
    decode,
    header,
    ids,
    is_image,
    read,
    take,
)
from genbench.images.finding import Found, find, has_suffix, is_visible, natural, shown
from genbench.images.levels import CONVERSIONS, Levels
from genbench.images.telling import few, notes_on, refuse, warnings_on

__all__ = [
    "ALPHAS",
    "CONVERSIONS",
    "MOST_BYTES",
    "MOST_PIXELS",
    "SUFFIXES",
    "Alpha",
    "BrokenImage",
    "Found",
    "Header",
    "Levels",
    "UnfitImage",
    "decode",
    "few",
    "find",
    "has_suffix",
    "header",
    "ids",
    "is_image",
    "is_visible",
    "natural",
    "notes_on",
    "read",
    "refuse",
    "shown",
    "take",
    "warnings_on",
]
