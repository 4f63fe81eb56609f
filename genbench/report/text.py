"""Words and numbers for people: cleaned, shortened, and escaped for where they are printed."""

import math
import re

__all__ = [
    "code",
    "compact",
    "inert",
    "latex",
    "markdown",
    "measured",
    "natural",
    "slug",
]

DASH = "–"  # a value that does not exist
_UNITS = ("", " k", " M", " G", " T", " P", " E")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~$&#]|(?<!\w)_|_(?!\w)")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": "--",
    "…": r"\ldots{}",
}


def markdown(text: str) -> str:
    """`text` so that GitHub's Markdown, table cells included, shows exactly its characters."""
    return _MARKDOWN.sub(lambda m: "\\" + m.group(), text)


def code(text: str) -> str:
    """Inline Markdown code: its fence is longer than any run of backticks inside."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if len(fence) > 1 else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def latex(text: str) -> str:
    """`text` for LaTeX; characters that a plain pdflatex has no glyph for become "?".

    A first "[" or "*" is put in braces: after the end of a line, LaTeX reads it as an option.
    """
    words = "".join(_LATEX.get(c, c if ord(c) < 256 else "?") for c in text)
    return f"{{{words[0]}}}{words[1:]}" if words[:1] in ("[", "*") and words else words


def inert(text: str) -> str:
    """`text` for a cell of a CSV file: an apostrophe before what spreadsheets run as a formula.

    Those are the texts that start with = + - @, their full-width forms, a tab or a line break
    (OWASP, "CSV Injection").
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def slug(text: str) -> str:
    """A file name: lower-case letters, digits, dots and dashes only, never a leading dot."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "row"


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that orders "ddim-5" before "ddim-50" before "ddim-100"."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


def compact(value: float | None) -> str:
    """A count to three digits: 1000 is "1000", 1_234_567 is "1.23 M", 1.2e12 is "1.2 T"."""
    if value is None or math.isnan(value):
        return DASH
    if abs(value) < 10_000:
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    power = 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g}{_UNITS[power]}"


def measured(value: float, interval: tuple[float, float] | None) -> str:
    """A value with its uncertainty, to the digits that the uncertainty leaves.

    `12.3 ± 0.8` for an interval that is symmetric around the value, `12.3 [11.9, 14.0]` for one
    that is not, `12.34` without one. Two digits of the half-width are kept if they are 10 to 34,
    else one (the rule of the Particle Data Group, *Review of Particle Physics*, section 5.3).
    """
    if math.isnan(value):
        return DASH
    if interval is None or not all(map(math.isfinite, interval)):
        return _digits(value, _decimals(value, 4))
    low, high = interval
    half = (high - low) / 2
    if half <= 0:
        return f"{_digits(value, _decimals(value, 4))} ± 0"
    decimals = _decimals(half, 1 if 35 <= _leading_two(half) < 95 else 2)
    # but two digits of the value where the half-width has two: 3.7 ± 3.6 says more than 4 ± 4
    decimals = max(decimals, min(_decimals(value, 2), _decimals(half, 2)))
    if abs((low + high) / 2 - value) > 0.05 * half:
        ends = f"{_digits(low, decimals)}, {_digits(high, decimals)}"
        return f"{_digits(value, decimals)} [{ends}]"
    return f"{_digits(value, decimals)} ± {_digits(half, decimals)}"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _leading_two(value: float) -> float:
    return value / 10.0 ** (_exponent(value) - 1)


def _decimals(value: float, significant: int) -> int:
    return max(0, significant - 1 - _exponent(value))


def _digits(value: float, decimals: int) -> str:
    # An exact zero may ask for few decimals and a tiny value for many; 8 is beyond any metric.
    text = f"{value:.{min(decimals, 8)}f}"
    return text.removeprefix("-") if float(text) == 0 else text  # -0 is 0
