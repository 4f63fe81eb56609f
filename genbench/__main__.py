"""`python -m genbench` and the console script: ready for Ctrl-C before anything large loads."""

import os
import sys

from genbench import terminal

__all__ = ["entry"]

_INTERRUPTED = 130


def entry() -> None:
    """Run the command line on streams that cannot fail, and leave with its exit code."""
    terminal.settle()
    try:
        from genbench.cli import main

        code = main()
    except SystemExit as stop:  # argparse: help, or a wrong argument
        code = stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:  # while modules were loaded
        terminal.say("genbench: interrupted")
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a module that cannot be loaded
        code = terminal.unexpected(error)
    terminal.finish()
    if code == _INTERRUPTED:
        os._exit(code)  # taking torch down in order would take a second
    sys.exit(code)


if __name__ == "__main__":
    entry()
