"""One HTML page for a results folder: everything inside, nothing loaded from anywhere.

The page's own script and style are allowed by their hashes, every other script is refused by the
browser; every text of a record is cleaned and escaped before it comes to that.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from genbench.report import page_origin, page_sections
from genbench.report.page_parts import Section
from genbench.report.page_sections import Folder, OnPage, totals
from genbench.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Folder", "OnPage", "render"]


def render(folder: Folder, extra: Sequence[Section] = ()) -> str:
    """The page as HTML.

    Args:
        folder: What it is about.
        extra: Further sections, which stand behind the leaderboard, or behind all tables.
    """
    style, script = _part("page.css"), _part("page.js")
    ended = totals(folder)
    sections = [
        page_sections.summary(folder),
        *page_sections.tables(folder),
        *extra,
        *page_sections.pictures(folder),
        page_origin.protocol(folder),
        page_origin.failures(folder),
        page_origin.environment(folder),
        page_origin.records(folder),
    ]
    from markupsafe import Markup

    name = folder.suite or "Results"
    template = _environment().from_string(_part("page.html.j2"))
    return template.render(
        title=f"{name} - genbench",
        heading=name,
        lead=_lead(folder),
        verdict=", ".join(f"{count} {word}" for word, count in ended.items()),
        failed=sum(ended.values()) > ended["ok"],
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        style_hash=Markup(_sha256(style)),
        script_hash=Markup(_sha256(script)),
    )


def _lead(folder: Folder) -> str:
    cells = sum(len(row.cells) for row in folder.rows)
    days = sorted({r.finished[:10] for r in folder.records if r.finished})
    when = ""
    if days:
        when = f", measured {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")
    rows = len(folder.rows)
    tables = f" in {len(folder.tables)} tables" if folder.several else ""
    on = ", ".join(folder.datasets) or "no dataset"
    return (
        f"{rows} row{'s' * (rows != 1)}{tables} on {on}, {cells} cell{'s' * (cells != 1)}{when}."
    )


@cache
def _part(name: str) -> str:
    return (resources.files("genbench.report") / name).read_text("utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> "Environment":
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    def cleaned(value: Any) -> Any:
        """Every text that the template prints comes through here."""
        return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["uri"] = lambda text: escape(text)  # long, and ours: no need to clean
    environment.filters["indented"] = _indented
    return environment


def _indented(line: str) -> Any:
    """A line of a traceback with its indentation."""
    from markupsafe import escape

    return " " * (len(line) - len(line.lstrip(" "))) + escape(clean(line))
