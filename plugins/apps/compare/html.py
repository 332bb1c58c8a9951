"""HTML that cannot be broken out of: every text is escaped unless this module made it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from genzoo.core.text import html

LOSSLESS = 160_000  # bytes of a PNG, above which a picture is kept with losses that hardly show


def visible(text: object) -> Markup:
    """Text as it is to be read: control characters, also those that turn the reading direction, become a mark."""
    if isinstance(text, Markup):
        return text
    return Markup(html(text))


def render(template: str, **content: Any) -> str:
    """Fill in a template of this folder; every text is escaped unless it is markup already."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=visible, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(**content)


def picture(image: Image.Image, alt: str) -> Markup:
    """An image inside the page: PNG; WebP where that would be large; and in fewer pixels where that would be too."""
    kind, content, smaller = "png", _encoded(image, "PNG", optimize=True), image
    for quality in (88, 70, 45):
        if len(content) > LOSSLESS:
            kind, content = "webp", _encoded(image, "WEBP", quality=quality, method=4)
    while len(content) > LOSSLESS and min(smaller.size) > 1:  # the page's size is promised
        smaller = smaller.resize((max(smaller.width * 2 // 3, 1), max(smaller.height * 2 // 3, 1)))
        content = _encoded(smaller, "WEBP", quality=60, method=4)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    size = {"width": image.width, "height": image.height}
    return Markup('<img src="{src}" alt="{alt}" width="{width}" height="{height}">').format(
        src=source, alt=visible(alt), **size
    )


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
