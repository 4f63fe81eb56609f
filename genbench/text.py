"""Cleans text from files, file names and exceptions before anybody reads it."""

import re
import unicodedata

__all__ = ["clean", "shortened"]

# Terminal sequences: CSI (colours, cursor), OSC (titles, links), then any other two-character one.
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]"
)


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


def shortened(text: str, limit: int) -> str:
    """`text` of at most `limit` characters: what is cut from the middle is told in its place."""
    if len(text) <= limit:
        return text
    half = limit // 2 - 20
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
