"""Datasets as uint8 tensors in memory, named by one line of text; listing names loads no torch.

An id is `NAME` or `NAME@SIZE`: `digits`, `mnist@32`, `cifar10`, `imagefolder:/photos@64`.
"""

from genbench.data.dataset import SPLITS, Dataset
from genbench.data.ids import DatasetId, parse_id
from genbench.data.sources import available, check, describe, fingerprint, load, names

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetId",
    "available",
    "check",
    "describe",
    "fingerprint",
    "load",
    "names",
    "parse_id",
]
