"""Figures from papers and repositories, each with its protocol as far as it is known.

The files lie in `genbench/published`. A figure is copied as it stands in its source; what is
doubtful about it is in its note. Figures are never ranked: hardly two share a protocol. The
tables of DDIM's paper stand in `ddim.csv`, in the columns that `genbench speed` matches steps by
(see `published`); they are read into the same form.
"""

import math
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from genbench.report import published
from genbench.report.published import number, read_checked
from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    import pandas as pd

__all__ = ["COLUMNS", "METRICS", "UNKNOWN", "datasets", "figures", "load"]

UNKNOWN = "unknown"
COLUMNS = (
    *("dataset", "model", "family", "kind", "variant", "steps", "metric", "value", "spread"),
    *("n_fake", "reference", "evaluator", "checkpoint", "weights", "resize", "training"),
    *("source", "note"),
)
METRICS = {  # in the order of a table's columns
    "fid": "FID ↓",
    "is": "IS ↑",
    "kid": "KID ↓",
    "rfid": "rFID ↓",
    "nll bits/dim": "NLL (bits/dim) ↓",
    "nll nats": "NLL (nats) ↓",
    "encode-decode mse": "encode-decode MSE ↓",
}
_CHOICES = {
    "metric": tuple(METRICS),
    "reference": ("train", "test", "val", UNKNOWN),
    "checkpoint": ("best", "last", UNKNOWN),
    "weights": ("ema", "raw", UNKNOWN),
    "resize": ("", "clean", "legacy"),
}
_NEEDED = ("dataset", "model", "kind", "source")
_SOURCE = re.compile(r"arXiv:\d{4}\.\d{4,5}( table \d+)?|[\w.-]+/[\w.-]+: \S.*|unknown")
_FILES = ("autoencoder", "diffusion", "gan", "guidance", "reruns")


def load(path: Path | None = None) -> "pd.DataFrame":
    """Published figures, checked; one row for each figure.

    Columns: dataset (`NAME` or `NAME@SIZE`), model (the source's word), family (the name that a
    family of genbench has or would have, may be empty), kind, variant (sampler, network, ...),
    steps (NaN where none is given), metric (see `METRICS`), value, spread (what the source prints
    behind ±; NaN), n_fake (generated images; NaN where unknown), reference (split), evaluator,
    checkpoint ("best" of a training or "last"), weights ("ema" or "raw"), resize, training
    (its length), source, note, and printed: value and spread with the source's digits. What
    nobody knows is "unknown" or empty.

    Args:
        path: One file of this form; None for all that come with genbench, and `ddim.csv`.

    Raises:
        ConfigError: For a missing or unknown column, a value that is no positive number, a word
            that the column does not have, a row without a source, or two equal rows.
    """
    import pandas as pd

    if path is not None:
        return _read(path, str(path))
    folder = resources.files("genbench") / "published"
    tables = [_read(folder / f"{name}.csv", f"published/{name}.csv") for name in _FILES]
    return pd.concat([*tables, _ddim()], ignore_index=True)


def _read(source: "Path | Traversable", where: str) -> "pd.DataFrame":
    keys = [c for c in COLUMNS if c not in ("value", "spread", "note")]
    table = read_checked(source, where, COLUMNS, keys, _check)
    values = zip(table["value"], table["spread"], strict=True)
    table["printed"] = [f"{v} ± {half}" if half else v for v, half in values]
    for name in ("steps", "value", "spread", "n_fake"):
        table[name] = [number(text) for text in table[name]]
    return table


def _check(row: dict[str, str], where: str) -> None:
    for name in _NEEDED:
        if not row[name]:
            raise ConfigError(f"{where}: {name} is empty")
    for name, valid in _CHOICES.items():
        if row[name] not in valid:
            raise ConfigError(f"{where}: {name} {row[name]!r}; {nearest(row[name], valid)}")
    for name in ("steps", "n_fake"):
        if row[name] and not re.fullmatch(r"[1-9]\d*", row[name]):
            raise ConfigError(
                f"{where}: {name} must be empty or a whole number from 1 on, not {row[name]!r}"
            )
    for name in ("value", "spread"):
        if (row[name] or name == "value") and not 0 < number(row[name]) < math.inf:
            raise ConfigError(f"{where}: {name} must be a positive number, not {row[name]!r}")
    if not _SOURCE.fullmatch(row["source"]):
        raise ConfigError(
            f"{where}: source must read 'arXiv:2010.02502 table 1' (the table is optional), "
            f"'owner/repository: file' or 'unknown', not {row['source']!r}"
        )


def _ddim() -> "pd.DataFrame":
    """The figures of `ddim.csv` in the columns of the others."""
    import pandas as pd

    table = published.load()
    rows = []
    for row in table.to_dict("records"):
        parts = [row["sampler"], f"{row['variance']} variance" if row["variance"] else ""]
        parts += ["" if math.isnan(row["eta"]) or row["variance"] else f"eta={row['eta']:g}"]
        parts += [f"{row['spacing']} steps" if row["spacing"] else ""]
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {name: row[name] for name in ("dataset", "steps", "metric", "value", "source")}
            | dict.fromkeys(("checkpoint", "weights"), UNKNOWN)
            | {
                "model": "DDPM",
                "family": "ddpm",
                "kind": "diffusion",
                "variant": ", ".join(part for part in parts if part),
                "reference": row["reference"].rpartition(":")[2] or UNKNOWN,
                "spread": math.nan,
                "n_fake": math.nan,
                "note": row["model"],
                "printed": f"{row['value']:g}",
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, "printed"])


@cache
def _all() -> "pd.DataFrame":
    return load()


def datasets() -> list[str]:
    """Datasets of which there are figures."""
    return sorted(set(_all()["dataset"]))


def figures(dataset: str) -> "pd.DataFrame":
    """The figures of one dataset.

    Raises:
        ConfigError: If there are none, with the nearest dataset that has some.
    """
    table = _all()
    if dataset not in set(table["dataset"]):
        raise ConfigError(
            f"report: no published figures of {dataset!r}; {nearest(dataset, datasets())}"
        )
    return table[table["dataset"] == dataset].reset_index(drop=True)
