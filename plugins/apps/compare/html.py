"""HTML that cannot be broken out of: every text is escaped unless this module made it."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image

VOID = ("img", "meta", "link", "br", "hr")
LOSSLESS = 160_000  # bytes of a PNG, above which a picture is kept with losses that hardly show


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Text as it is to be read; control characters, also those that turn the reading direction, become a mark."""
    if isinstance(text, Html):
        return text
    clean = "".join(c if c.isprintable() or c in "\n" else "\ufffd" for c in str(text))
    return Html(html.escape(clean, quote=True))


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """One element; of attributes None and False are left out, and ``class_`` is ``class``, ``data_x`` ``data-x``."""
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        written += f" {word}" if value is True else f' {word}="{escape(value)}"'
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*inside)}</{name}>")


def join(*parts: object) -> Html:
    """Elements and texts one after the other."""
    return Html("".join(escape(p) for p in parts if p is not None))


def picture(image: Image.Image, alt: str) -> Html:
    """An image inside the page: PNG; WebP where that would be large; and in fewer pixels where that would be too."""
    kind, content, smaller = "png", _encoded(image, "PNG", optimize=True), image
    for quality in (88, 70, 45):
        if len(content) > LOSSLESS:
            kind, content = "webp", _encoded(image, "WEBP", quality=quality, method=4)
    while len(content) > LOSSLESS and min(smaller.size) > 1:  # the page's size is promised
        smaller = smaller.resize((max(smaller.width * 2 // 3, 1), max(smaller.height * 2 // 3, 1)))
        content = _encoded(smaller, "WEBP", quality=60, method=4)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return tag("img", src=source, alt=alt, width=image.width, height=image.height)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
