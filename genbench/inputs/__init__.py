"""Where images to be scored come from: folders, zips, arrays, datasets, runs, tensors, text."""

from genbench.inputs.source import Batch, Source

__all__ = ["Batch", "Source"]
