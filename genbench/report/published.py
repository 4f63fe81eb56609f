"""Figures from papers to lay beside measured ones: what DDIM and DDPM reported per step count.

They are of other data, another network and another distance than what is measured here: only
their order and their ratios compare.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import pandas as pd

    from genbench.speed.result import Row

__all__ = ["DATASET", "HEADER", "SOURCE", "load", "match", "number", "ratio", "read_checked"]

DATASET = "cifar10"  # whose figures stand beside the measured ones
HEADER = "published FID (CIFAR-10)"
SOURCE = "arXiv:2010.02502 table 1"
_COLUMNS = (
    *("dataset", "model", "sampler", "variance", "eta", "steps"),
    *("spacing", "metric", "value", "reference", "source"),
)
_WORDS = ("dataset", "model", "sampler", "metric", "source")  # must not be empty
_ARXIV = re.compile(r"arXiv:\d{4}\.\d{4,5}( table \d+)?")


def load(path: Path | None = None) -> "pd.DataFrame":
    """All published figures, checked.

    Columns: dataset (`NAME` or `NAME@SIZE`), model, sampler, variance ("large" is the paper's
    sigma-hat, else empty), eta (NaN where the paper gives none), steps, spacing (the paper's word,
    empty where it gives none), metric ("fid", "is", "encode-decode mse": per value in [0, 1]),
    value, reference (the statistics that it is against, empty where unknown), source.

    Args:
        path: A file of the same form; None for the one that comes with genbench.

    Raises:
        ConfigError: For a missing or unknown column, a figure that is not finite and positive, a
            row without a source, or two rows for one figure.
    """
    where = "published/ddim.csv" if path is None else str(path)
    source = resources.files("genbench") / "published" / "ddim.csv" if path is None else path
    keys = [c for c in _COLUMNS if c not in ("value", "source")]
    table = read_checked(source, where, _COLUMNS, keys, _check)
    table["eta"] = [number(eta) for eta in table["eta"]]
    table["steps"], table["value"] = table["steps"].astype(int), table["value"].astype(float)
    return table


def read_checked(
    source: "Path | Traversable",
    where: str,
    columns: Sequence[str],
    keys: Sequence[str],
    check: Callable[[dict[str, str], str], None],
) -> "pd.DataFrame":
    """A CSV file of published figures, every cell still text.

    Args:
        source: The file.
        where: What messages call it.
        columns: Its columns, in order.
        keys: Those that make a figure: no two rows have the same.
        check: Refuses a row, which it is given with its line.

    Raises:
        ConfigError: For a file that is no table, other columns, a row that `check` refuses, or
            two rows for one figure.
    """
    import pandas as pd

    with source.open("r", encoding="utf-8") as file:
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, index_col=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{where}: not a table with commas: {said}") from None
    if list(table.columns) != list(columns):
        missing = [c for c in columns if c not in table.columns]
        unknown = [str(c) for c in table.columns if c not in columns]
        what = f"no column {missing[0]!r}" if missing else "columns out of order"
        if unknown:
            what = f"unknown column {unknown[0]!r}; {nearest(unknown[0], columns)}"
        raise ConfigError(f"{where}: {what}; expected {','.join(columns)}")
    for line, cells in enumerate(table.itertuples(index=False), start=2):
        check(dict(zip(columns, cells, strict=True)), f"{where}, line {line}")
    twice = table[table.duplicated(list(keys))]
    if not twice.empty:
        raise ConfigError(f"{where}, line {twice.index[0] + 2}: this figure stands there before")
    return table


def _check(row: dict[str, str], where: str) -> None:
    for name in _WORDS:
        if not row[name]:
            raise ConfigError(f"{where}: {name} is empty")
    if not re.fullmatch(r"[1-9]\d*", row["steps"]):
        raise ConfigError(f"{where}: steps must be a whole number from 1 on, not {row['steps']!r}")
    if not 0 < number(row["value"]) < math.inf:
        raise ConfigError(f"{where}: value must be a positive number, not {row['value']!r}")
    if row["eta"] and not 0 <= number(row["eta"]) <= 1:
        raise ConfigError(f"{where}: eta must lie in 0 to 1 or be empty, not {row['eta']!r}")
    if row["variance"] not in ("", "large"):
        raise ConfigError(f"{where}: variance must be 'large' or empty, not {row['variance']!r}")
    if not _ARXIV.fullmatch(row["source"]):
        raise ConfigError(
            f"{where}: source must read 'arXiv:2010.02502 table 1' (the table is optional), "
            f"not {row['source']!r}"
        )


def number(text: str) -> float:
    """The number, or NaN for a text that is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def match(row: "Row") -> float | None:
    """The published FID on CIFAR-10 for a row's sampler and step count, or None.

    DDIM is matched by eta; DDPM with the posterior variance is DDIM with eta = 1, with the large
    one it is the paper's sigma-hat. A learned variance and other solvers are in neither paper.
    The spacing is left out of account: the paper's is quadratic.
    """
    eta = _eta(row)
    return None if eta is None else _figures().get((*eta, row.steps))


def ratio(row: "Row") -> float | None:
    """Published FID over that of 1000 deterministic steps (eta = 0), or None."""
    value = match(row)
    return None if value is None else value / _figures()["", 0.0, 1000]


def _eta(row: "Row") -> tuple[str, float] | None:
    if row.sampler == "ddpm" and row.variance != "learned":
        return ("large" if row.variance == "large" else "", 1.0)
    if row.sampler == "ddim" and row.eta is not None:
        return "", row.eta
    return None


@cache
def _figures() -> dict[tuple[str, float, int], float]:
    """FID by variance, eta and steps."""
    table = load()
    rows = table[(table["dataset"] == DATASET) & (table["source"] == SOURCE)]
    keys = zip(rows["variance"], rows["eta"], rows["steps"], strict=True)
    return {
        (v, float(e), int(s)): float(x) for (v, e, s), x in zip(keys, rows["value"], strict=True)
    }
