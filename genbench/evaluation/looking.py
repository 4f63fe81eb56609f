"""One network in the pass over both sides: what is wanted of it, and what it said."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor

from genbench.evaluation.kept import Known, Told
from genbench.evaluation.reference import Origin
from genbench.features import Extractor
from genbench.features.base import ShapedExtractor, TextExtractor
from genbench.metrics import FeatureSet, Metric

__all__ = ["Looking"]


@dataclass
class Looking:
    """One extractor, what metrics need through it, and what came of it.

    Attributes:
        made_needs: Names of arrays and classes of `Sums`, of the generated images.
        real_needs: Of the reference.
        of: What the reference's statistics are computed from.
        failed: Needs that cannot be had of these images, and why.
    """

    extractor: Extractor
    made_needs: set[Any] = field(default_factory=set)
    real_needs: set[Any] = field(default_factory=set)
    of: Origin | None = None
    made: FeatureSet | None = None
    real: Known | None = None
    failed: dict[Any, str] = field(default_factory=dict)

    def expect(self, told: Told) -> None:
        """Hold the images that are looked at against those that are known already."""
        if told.shape is not None and hasattr(self.extractor, "expect"):
            cast(ShapedExtractor, self.extractor).expect(told.shape)

    def failed_for(self, metric: Metric) -> str:
        """Why a metric cannot be computed, "" where it still can."""
        needs = (*metric.needs, *metric.reference)
        return next((self.failed[need] for need in needs if need in self.failed), "")

    def text(self, texts: Sequence[str], said: list[str]) -> Tensor | None:
        """Features of the captions, where a metric reads them; says which are cut."""
        if "text" not in self.made_needs:
            return None
        encoder = cast(TextExtractor, self.extractor)  # see `guards.check_network`
        cut = encoder.too_long(texts)
        if cut:
            said.append(
                f"{len(cut):,} captions are longer than {encoder.name} reads and were cut, the "
                f"first one: {texts[cut[0]][:60]!r}"
            )
        return encoder.text(texts)
