"""Leaderboards from records: tables in four formats and pictures of samples. Needs no torch."""

from genbench.report.files import write
from genbench.report.table import Format, frame, leaderboard, render

__all__ = ["Format", "frame", "leaderboard", "render", "write"]
