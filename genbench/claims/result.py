"""What became of claims: plain data, and the file that keeps it beside the records."""

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from genbench import files
from genbench.spec import MetricSpec
from genbench.store import StoreError, atomic_write, changing
from genbench.text import clean

__all__ = ["FILE", "Judged", "Link", "Verdict", "read", "write"]

FILE = "claims.json"

Verdict = Literal["REPRODUCED", "NOT REPRODUCED", "INCONCLUSIVE", "NOT MEASURABLE"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Link(_Frozen):
    """One comparison of a claim, tested.

    Attributes:
        text: As the claim has it.
        form: Whether `estimate` is the mean difference, positive as claimed; or a ratio, the
            geometric mean, against the claim's `factor`.
        seeds: The training seeds that both sides have; () of two references.
        estimate: The difference or ratio, None where there is nothing to compare.
        ci95: Its interval over training seeds; None for exact counts and fewer than 2 seeds.
        factor: What a ratio is held against.
        side: On which side of the factor it is claimed to be.
        verdict: Of this comparison.
        reason: Why it is inconclusive, as the rest of a sentence; "" where the interval says it.
    """

    text: str
    form: Literal["difference", "ratio"]
    seeds: tuple[int, ...] = ()
    estimate: float | None = None
    ci95: tuple[float, float] | None = None
    factor: float | None = None
    side: Literal["below", "above"] | None = None
    verdict: Verdict
    reason: str = ""


class Judged(_Frozen):
    """A claim with its numbers.

    Attributes:
        file: Stem of its file.
        claim: Its name there.
        statement, source, measure, expect, published: See `Claim`.
        metric: What the measure is, None for a count.
        verdict: NOT MEASURABLE if a row does not beat what it must; else NOT REPRODUCED if a
            comparison is, REPRODUCED if all are, INCONCLUSIVE otherwise.
        must_beat: The reference that the rows must beat, in words.
        signal: Each row that must beat it, tested.
        reason: Why there is no verdict, as the rest of a sentence; "" where the links say it.
        links: Its comparisons.
        values: The measure by row and training seed; a reference's stands under its seed 0.
        rows: What each row is: family and settings.
        scale: Dataset, task, budget and number of samples at which it was tested.
        remarks: What a reader of the numbers must know, as sentences.
    """

    file: str
    claim: str
    statement: str
    source: str
    published: str = ""
    measure: str
    metric: MetricSpec | None = None
    expect: str
    must_beat: str = ""
    verdict: Verdict
    reason: str = ""
    links: tuple[Link, ...]
    signal: tuple[Link, ...] = ()
    values: dict[str, dict[int, float]] = {}
    rows: dict[str, str] = {}
    scale: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What users call it: FILE/CLAIM."""
        return f"{self.file}/{self.claim}"


def write(found: Sequence[Judged], folder: Path, gone: Collection[str] = ()) -> list[Judged]:
    """Keep claims in `folder`, in the place of what was known of them; returns all that it has.

    Args:
        found: The claims.
        folder: Of the records.
        gone: Names of claims that cannot be judged any more: what was known of them is dropped.

    Raises:
        StoreError: If the file that is there cannot be read, or a new one not be written.
    """
    with changing(folder / FILE):
        known = {one.name: one for one in read(folder) if one.name not in gone}
        known |= {one.name: one for one in found}
        kept = [known[name] for name in sorted(known)]
        body = {"claims": [one.model_dump(mode="json") for one in kept]}
        atomic_write(folder / FILE, (json.dumps(body, indent=1) + "\n").encode())
    return kept


def read(folder: Path) -> list[Judged]:
    """The claims that were judged on a folder's records, [] where none were.

    Raises:
        StoreError: If the file cannot be read.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return []
    try:
        body = files.json_of(files.read(path, files.TABLE))
        return [Judged.model_validate(one) for one in body["claims"]]
    except files.MALFORMED as error:
        raise StoreError(
            f"{path} cannot be read ({clean(str(error), 200)}); remove it and run genbench "
            "claims again"
        ) from None
