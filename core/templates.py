"""Pages from templates (Jinja): HTML in which every text is escaped, and plain text whose templates say what is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from genzoo.core import text


def render(template: Path, content: Mapping[str, Any]) -> str:
    """Fill in a template file; what it names and ``content`` lacks is an error.

    In one that is called ``….html.j2`` every text is escaped unless it is `Markup`; others use the filters
    ``markdown``, ``code``, ``python`` and ``shell`` of `genzoo.core.text` for text of others.
    """
    return _compiled(template).render(content)


@cache
def _compiled(template: Path) -> Template:
    """The template as code: compiled once, since a run writes its card with every checkpoint."""
    html = ".html" in template.suffixes
    environment = Environment(
        loader=FileSystemLoader(template.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=html, finalize=_escaped if html else None,
    )  # fmt: skip
    sinks = (text.markdown, text.code, text.python, text.shell)
    environment.filters |= {sink.__name__: sink for sink in sinks}
    return environment.get_template(template.name)


def _escaped(value: object) -> Markup:
    """Text as it is to be read: control characters, also those that turn the reading direction, become a mark."""
    return value if isinstance(value, Markup) else Markup(text.html(value))
