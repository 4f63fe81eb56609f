"""Cleans text from files, file names and exceptions before anybody reads it."""

import re
import unicodedata

__all__ = ["clean", "screened", "shortened"]

# Terminal sequences: CSI (colours, cursor), OSC (titles, links), then any other two-character one.
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
)

# What runners of CI obey: "::error::..." at the start of a line, "##[command]" anywhere.
_COMMAND = re.compile(r"^(\s*):(?=:)|(?<=##)(?=\[)", re.MULTILINE)


def clean(text: str, limit: int | None = None) -> str:
    """One line of printable text: no terminal sequences, no control or invisible characters.

    Args:
        text: Anything, e.g. an exception's message.
        limit: Longest result; what is cut is shown as an ellipsis.
    """
    if limit is not None:
        text = text[: 16 * limit + 4096]  # megabytes of which a line is shown are not looked at
    text = _ANSI.sub("", text)
    # C is control, format (bidirectional overrides, zero width), surrogate and unassigned; Zl and
    # Zp break lines.
    printable = (" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join("".join(printable).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def screened(text: str) -> str:
    """Lines that are printed as they were laid out: no terminal sequences, no control or
    invisible characters, nothing that a CI runner takes for a command of its own."""
    text = _ANSI.sub("", text)
    if not text.isascii() or not text.replace("\n", "").isprintable():
        text = "".join(
            c if c in "\n\t" or unicodedata.category(c)[0] != "C" else " " for c in text
        )
    return _COMMAND.sub(lambda found: f"{found[1]}: " if found[0] else " ", text)


def shortened(text: str, limit: int) -> str:
    """`text` of at most `limit` characters: what is cut from the middle is told in its place."""
    if len(text) <= limit:
        return text
    half = limit // 2 - 20
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
