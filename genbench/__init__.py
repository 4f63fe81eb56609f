"""genbench: an honest, fast, pleasant benchmark suite for image generative models.

Importing this package, the command line, the report and the registry's listing loads no torch.
"""

__version__ = "0.1.0"
