"""The handwritten digits inside scikit-learn: 1,797 grey images of 8x8 pixels, ready offline."""

from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from genbench.data.dataset import Note

__all__ = ["CLASSES", "SPLIT_SEED", "TEST_COUNT", "read", "split_indices"]

CLASSES = tuple(str(digit) for digit in range(10))
SPLIT_SEED = 0
TEST_COUNT = 360


def read(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], dict[str, Note]]:
    """Images (N, 8, 8, 1), labels (N,) and notes of a split.

    The source has 17 grey levels, 0 to 16; they become round(v * 255 / 16), halves upwards.
    """
    levels, labels = _table()
    train, test = split_indices(labels)
    rows = train if split == "train" else test
    pixels = np.floor(levels * 255 / 16 + 0.5).astype(np.uint8)[..., None]
    notes: dict[str, Note] = {
        "source": "sklearn.datasets.load_digits",
        "split_rule": "stratified by class, by a seeded permutation",
        "split_seed": SPLIT_SEED,
        "train_count": len(train),
        "test_count": len(test),
    }
    return pixels[rows], labels[rows], notes


def _table() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Grey levels (1797, 8, 8) and labels (1797,), as `sklearn.datasets.load_digits` gives them.

    Its file is read directly where it lies as usual: to import that module takes a second, which
    every command and every worker would wait for.
    """
    found = find_spec("sklearn")
    folder = found.submodule_search_locations if found else None
    path = Path(folder[0] if folder else "", "datasets", "data", "digits.csv.gz")
    if path.is_file():
        table = np.loadtxt(path, delimiter=",")
    else:
        from sklearn.datasets import load_digits

        raw = load_digits()
        table = np.column_stack((raw.data, raw.target))
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def split_indices(
    labels: NDArray[np.int64], test_count: int = TEST_COUNT, seed: int = SPLIT_SEED
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the train and of the test split, each in ascending order.

    Every class gives its share of `test_count`, rounded by the largest remainder (ties: the lower
    class). `RandomState`, since a `Generator`'s stream may change between versions of NumPy.
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    counts = np.bincount(labels)
    shares = counts * test_count / len(labels)
    taken = np.floor(shares).astype(int)
    by_remainder = np.argsort(taken - shares, kind="stable")
    taken[by_remainder[: test_count - taken.sum()]] += 1
    test = np.concatenate([order[labels[order] == c][:k] for c, k in enumerate(taken)])
    is_test = np.zeros(len(labels), bool)
    is_test[test] = True
    return cast("NDArray[np.int64]", np.nonzero(~is_test)[0]), np.nonzero(is_test)[0]
