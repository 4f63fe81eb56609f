"""Datasets as uint8 tensors in memory, named by one line of text; listing names loads no torch.

An id is `NAME` or `NAME@SIZE`: `digits`, `mnist@32`, `cifar10`; or `NAME:PATH` or `NAME:PATH@SIZE`
for data of your own: `imagefolder:/photos@64`, `pairs:facades@64`.
"""

from genbench.data.counting import count
from genbench.data.dataset import NOT_PUBLISHED, SPLITS, Annotation, Dataset
from genbench.data.ids import FOLDERS, DatasetId, parse_id
from genbench.data.sources import (
    available,
    check,
    describe,
    fingerprint,
    folder_of,
    load,
    names,
)

__all__ = [
    "FOLDERS",
    "NOT_PUBLISHED",
    "SPLITS",
    "Annotation",
    "Dataset",
    "DatasetId",
    "available",
    "check",
    "count",
    "describe",
    "fingerprint",
    "folder_of",
    "load",
    "names",
    "parse_id",
]
