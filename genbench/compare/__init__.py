"""Two results folders side by side: what got better, worse, moved, broke. Needs no torch."""

from genbench.compare.findings import Comparison, Finding, compare
from genbench.compare.output import as_json, render

__all__ = ["Comparison", "Finding", "as_json", "compare", "render"]
