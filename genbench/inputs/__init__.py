"""Where images to be scored come from: folders, zips, arrays, datasets, runs, tensors, text."""

from genbench.inputs import captions
from genbench.inputs.opening import open_source
from genbench.inputs.pairing import pairs
from genbench.inputs.pixels import to_uint8
from genbench.inputs.source import Batch, Source
from genbench.inputs.tensors import from_tensors
from genbench.inputs.watch import GREY

__all__ = [
    "GREY",
    "Batch",
    "Source",
    "captions",
    "from_tensors",
    "open_source",
    "pairs",
    "to_uint8",
]
