"""`python -m genbench.cli`, the same as the console script."""

from genbench.cli import entry

entry()
