"""Images inside a page."""

from __future__ import annotations

import base64
import io

from markupsafe import Markup
from PIL import Image

from genzoo.core.text import html

LOSSLESS = 160_000  # bytes of a PNG, above which a picture is kept with losses that hardly show


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
        src=source, alt=Markup(html(alt)), **size
    )


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
