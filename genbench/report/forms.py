"""Tables in their printed forms: plain text, Markdown, LaTeX, and CSV for programs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from genbench.report.notes import Note
from genbench.report.text import code, inert, latex, markdown
from genbench.spec import ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDINGS", "Format", "csv", "listed", "printed"]

Format = Literal["text", "markdown", "csv", "latex"]
ENDINGS: dict[Format, str] = {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex"}
_EMPTY = "No cells.\n"


def printed(
    table: "pd.DataFrame",
    fmt: Format,
    words: Sequence[str],
    caption: str,
    remarks: Sequence[Note] = (),
    empty: str = _EMPTY,
    title: str = "",
) -> str:
    """A table, its caption and its notes as text that ends in a newline.

    Args:
        table: Strings, each made one printable line by `text.clean` and not escaped.
        fmt: "text", "markdown" or "latex"; for "csv" see `csv`, which takes numbers.
        words: The columns that are aligned to the left; the others are numbers.
        caption: A sentence, below the table; "" for none.
        remarks: Notes, below the caption; in LaTeX comments.
        empty: What is said instead of a table without rows in text and Markdown.
        title: A heading above the table; in LaTeX a part of its caption.

    Raises:
        ConfigError: If there is no such format.
    """
    writers = {"text": _text, "markdown": _markdown, "latex": _latex}
    if fmt not in writers:
        raise ConfigError(f"report: no format {fmt!r}; {nearest(fmt, get_args(Format))}")
    if fmt == "latex" and title:
        title, caption = "", f"{title}. {caption}".strip()
    head = _heading(title, fmt)
    if table.empty and fmt != "latex":
        return head + empty
    return head + writers[fmt](table, [name in words for name in table], caption, remarks)


def listed(title: str, remarks: Sequence[Note], fmt: Format) -> str:
    """Notes on several tables under a heading; in LaTeX comments."""
    if fmt == "latex":
        return "\n".join(f"% {' '.join(note).strip()}" for note in remarks) + "\n"
    if fmt == "markdown":
        return _heading(title, fmt) + "\n".join(map(_item, remarks)) + "\n"
    return _heading(title, fmt) + "\n".join(" ".join(note).strip() for note in remarks) + "\n"


def _heading(title: str, fmt: Format) -> str:
    if not title:
        return ""
    return f"## {markdown(title)}\n\n" if fmt == "markdown" else f"{title}\n{'=' * len(title)}\n\n"


def csv(frame: "pd.DataFrame") -> str:
    """A frame of raw numbers and words as CSV.

    Words that a spreadsheet would run as a formula have an apostrophe before them.
    """
    words = frame.select_dtypes(exclude="number").columns
    safe = frame.assign(**{name: [_inert(v) for v in frame[name]] for name in words})
    return safe.rename(columns=_inert).to_csv(index=False, lineterminator="\n")


def _inert(value: Any) -> Any:
    return inert(value) if isinstance(value, str) else value


def _text(
    table: "pd.DataFrame", left: Sequence[bool], caption: str, remarks: Sequence[Note]
) -> str:
    for name, word in zip(list(table.columns), left, strict=True):
        if word:  # to_string aligns to the right: pad words, headers too
            width = max(len(name), *table[name].str.len())
            table[name] = table[name].str.ljust(width)
            table = table.rename(columns={name: name.ljust(width)})
    lines = [line.rstrip() for line in table.to_string(index=False, max_colwidth=None).split("\n")]
    below = [caption] if caption else []
    below += [" ".join(note).strip() for note in remarks]
    return "\n".join([*lines, *([""] if below else []), *below]) + "\n"


def _markdown(
    table: "pd.DataFrame", left: Sequence[bool], caption: str, remarks: Sequence[Note]
) -> str:
    align = ["left" if word else "right" for word in left]
    body = _escaped(table, markdown)
    # Without disable_numparse tabulate would rewrite numbers, and "1e5" as a name too.
    lines = [body.to_markdown(index=False, disable_numparse=True, colalign=align), ""]
    lines += [caption, ""] if caption else []
    lines += map(_item, remarks)
    return "\n".join(lines).rstrip("\n") + "\n"


def _item(note: Note) -> str:
    text, command = note
    return f"- {markdown(text)}" + (f" {code(command)}" if command else "")


def _latex(
    table: "pd.DataFrame", left: Sequence[bool], caption: str, remarks: Sequence[Note]
) -> str:
    align = "".join("l" if word else "r" for word in left)
    tabular = (
        _escaped(table, latex)
        .style.hide(axis="index")
        .to_latex(
            hrules=True, column_format=align, position_float="centering", caption=latex(caption)
        )
    )
    # Comments need no escaping, only one line each; `clean` made every note one line.
    comments = [f"% {' '.join(note).strip()}" for note in remarks]
    return "\n".join(["% Needs \\usepackage{booktabs}.", *comments, tabular.rstrip("\n")]) + "\n"


def _escaped(table: "pd.DataFrame", escape: Callable[[str], str]) -> "pd.DataFrame":
    return table.map(escape).rename(columns=escape)
