"""Suites: which rows a table has. A TOML file and `key=value` changes become a list of cells."""

from genbench.suite.file import Row, Suite, changed, load, names, parts
from genbench.suite.own_images import settled
from genbench.suite.plan import beside, chosen, plan, settings

__all__ = [
    "Row",
    "Suite",
    "beside",
    "changed",
    "chosen",
    "load",
    "names",
    "parts",
    "plan",
    "settings",
    "settled",
]
