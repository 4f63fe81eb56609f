"""`python -m genbench` and the console script: ready for Ctrl-C before anything large loads."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

__all__ = ["entry"]

_INTERRUPTED = 130


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C while modules are loaded, some of which turn an exception into another one."""
    os.write(2, b"genbench: interrupted\n")
    os._exit(_INTERRUPTED)


def entry() -> None:
    """Run the command line on streams that cannot fail, and leave with its exit code."""
    signal.signal(signal.SIGINT, _leave)
    from genbench import terminal

    terminal.settle()
    try:
        from genbench.cli import main
        from genbench.runtime import Impatience

        signal.signal(signal.SIGINT, Impatience())
        code = main()
    except SystemExit as stop:  # argparse: help, or a wrong argument
        code = stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:  # outside all that `main` does
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
