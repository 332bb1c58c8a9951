"""A comparison as one page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from genzoo.core.evaluation.report import Result
from genzoo.core.options import typed
from genzoo.core.pictures.drawing import Drawing
from genzoo.core.templates import render
from genzoo.core.text import html
from genzoo.core.units import duration_text
from genzoo.plugins.apps.compare import figures
from genzoo.plugins.apps.compare.comparison import Candidate, Comparison, Row, differing, protocol_words
from genzoo.plugins.apps.compare.figures import Figure, Shares, attempt

SECTIONS = {
    "metrics": "Metrics",
    "samples": "Samples",
    "classes": "Classes",
    "training": "Training",
    "neighbours": "Nearest in the training data",
    "latent": "Ways through the latent space",
    "reconstructions": "Reconstructions",
    "making": "How each was made",
}
LOSSLESS = 160_000  # bytes of a PNG, above which a picture is kept with losses that hardly show
MOST_CLASSES = 40
WIDTH, MIDDLE = 120, 7  # of a range, in its own units


def page(compared: Comparison, *, title: str = "") -> str:
    """Write the page: HTML with its style and pictures inside; its title by default names what is compared."""
    shown: dict[str, Callable[[Candidate], Figure]] = {
        "samples": partial(figures.samples, compared),
        "training": figures.training,
        "neighbours": partial(figures.neighbours, compared),
        "latent": partial(figures.ways, compared),
        "reconstructions": partial(figures.reconstructions, compared),
    }
    shared, own = protocol_words(compared)
    reasons = [w for row in compared.rows for w, r in zip(row.reasons, row.results, strict=True) if r is None]
    content = {
        "compared": compared,
        "heading": title or " · ".join(compared.names),
        "sections": SECTIONS,
        "lead": _lead(compared),
        "verdict": _verdict(compared),
        "notes": {reason: number for number, reason in enumerate(dict.fromkeys(reasons), 1)},
        "span": _span,
        "figures": {k: [(s.name, attempt(partial(make, s))) for s in compared.sides] for k, make in shown.items()},
        "drawn": drawn,
        "classes": _classes(compared.names, [figures.shares(compared, i) for i in range(len(compared.sides))]),
        "width": lambda share: f"{min(max(share, 0), 1):.4f}",
        "percent": lambda share: f"{share:.1%}",
        "making": _making(compared.sides),
        "facts": _protocol(compared),
        "shared": " ".join(f"{k}={v}" for k, v in shared.items()),
        "protocols": [words for words in own.values() if words],
    }
    return render(Path(__file__).with_name("page.html.j2"), content)


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
    tag = Markup('<img src="{}" alt="{}" width="{}" height="{}">')
    return tag.format(source, Markup(html(alt)), image.width, image.height)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()


def drawn(figure: Figure) -> Markup:
    """A figure's picture as markup."""
    if isinstance(figure.picture, str):
        return Markup(figure.picture)  # a modality's own
    if isinstance(figure.picture, Drawing):
        return Markup(figure.picture.svg(title=figure.alt, themed=True))
    assert figure.picture is not None
    return picture(figure.picture, figure.alt)


def _lead(compared: Comparison) -> str:
    count = len(compared.names)
    what = f"{count} models side by side" if count > 1 else "One model"
    about = compared.reports[0].record
    if not about:
        return f"{what}."
    samples = f"{about['fake']:,} samples each" if isinstance(about.get("fake"), int) else "samples"
    against = f"{about.get('data')} ({about.get('split')}), seed {about.get('seed')}"
    return f"{what}, measured alike: {samples} against {against}."


def _verdict(compared: Comparison) -> str:
    """Who wins what, in words."""
    if len(compared.names) < 2:
        return "Every number stands with its interval of 95 %."
    won: dict[str, list[str]] = {}
    for row in compared.rows:
        if row.best is not None:
            won.setdefault(compared.names[row.best], []).append(row.some.title or row.metric)
    best = "; ".join(f"{name} in {', '.join(metrics)}" for name, metrics in won.items())
    rest = f"Best: {best}." if best else "There is none here."
    return f"A winner is marked only where its interval has no point in common with any other's. {rest}"


def _span(row: Row, result: Result) -> list[tuple[str, str, str]]:
    """Where the number and its interval lie among everyone's, as path, colour and width of lines."""
    numbers = [x for r in row.results if r is not None for x in (r.value, r.interval.low, r.interval.high)]
    finite = [x for x in numbers if x is not None and math.isfinite(x)]
    if not finite or not math.isfinite(result.value) or max(finite) == min(finite):
        return []
    low, high = min(finite), max(finite)

    def x(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 8)

    a, b = result.interval.low, result.interval.high
    lines = [(f"M2 {MIDDLE}H{WIDTH - 2}", "rule", "2")]
    if a is not None and b is not None:
        lines.append((f"M{x(a):.1f} {MIDDLE}H{x(b):.1f}", "c1", "3"))
    return [*lines, (f"M{x(result.value):.1f} 2V12", "ink", "2.5")]


def _classes(names: Sequence[str], shares: Sequence[Shares | str]) -> dict[str, Any]:
    """Shares of classes among samples, beside those of the data."""
    known = {n: s for n, s in zip(names, shares, strict=True) if isinstance(s, Shares) and s.samples}
    found: dict[str, Any] = {"names": list(known), "rows": [], "counted": [], "judge": "", "largest": 1}
    found["absent"] = [
        (n, s if isinstance(s, str) else "its report does not hold them")
        for n, s in zip(names, shares, strict=True)
        if n not in known
    ]
    if not known:
        return found
    first = next(iter(known.values()))
    if len(first.data) > MOST_CLASSES:
        of = len(first.data)
        found["counted"] = [f"{n}: {sum(v > 0 for v in s.samples.values())} of {of} classes" for n, s in known.items()]
        return found
    found["largest"] = max(v for s in known.values() for v in (*s.samples.values(), *s.data.values())) or 1
    found["judge"] = f", as {first.classifier} sees them" if first.classifier else ""
    found["rows"] = [
        (name, share, [(s.samples.get(name, 0.0), s.data.get(name, 0.0)) for s in known.values()])
        for name, share in first.data.items()
    ]
    return found


def _making(sides: Sequence[Candidate]) -> dict[str, Any]:
    """How each was made: what is always of interest, then every option in which they differ."""
    facts = [facts_of(side) for side in sides]
    keys = dict.fromkeys(k for f in facts for k in f)
    options = [side.history.options() for side in sides]
    known = [o for o in options if o]
    several = len(known) > 1
    chosen = differing(known) if several else []
    rows = {k: [_option(o, k) for o in options] for k in chosen}
    common = {k for k in chosen if all(k in o for o in known)}
    return {
        "facts": [(k, [f.get(k, "not known") for f in facts]) for k in keys],
        "common": [(k, row) for k, row in rows.items() if k in common],
        "special": [(k, row) for k, row in rows.items() if k not in common],
        "same": several,
        "alike": [f"{k}={typed(v)}" for k, v in known[0].items() if k not in rows] if several else [],
    }


def facts_of(side: Candidate) -> dict[str, str]:
    """What is known of how one was made."""
    history, model, record = side.history, side.model, side.history.record
    facts: dict[str, str] = {"Source": side.source}
    if history.config is not None:
        facts["Recipe"] = history.config.recipe
        facts["Made of"] = ", ".join(f"{kind} {part.name}" for kind, part in history.config.components())
    if model is not None:
        facts["Parameters"] = f"{sum(p.numel() for p in model.parameters()):,}"
    if record is None:
        return facts
    facts["Trained on"] = f"{record.data.name or 'unnamed data'}, {record.data.observations:,} observations"
    facts["Steps"] = f"{record.steps:,}" + (f" of {record.of:,}: not finished" if record.of != record.steps else "")
    if record.seconds is not None:
        facts["Time"] = duration_text(float(record.seconds))
    machine = record.hardware
    threads = f"{machine['threads']} threads" if "threads" in machine else ""
    words = [str(w) for w in (machine.get("name") or machine.get("device"), threads) if w]
    facts |= {"On": ", ".join(words)} if words else {}
    return facts | {"Seed of training": str(record.seed)}


def _option(options: Mapping[str, Any], key: str) -> tuple[str, bool]:
    """An option as text, and whether that is its value."""
    if key in options:
        return typed(options[key]), True
    return ("has none" if options else "not known"), False


def _protocol(compared: Comparison) -> list[tuple[str, Any]]:
    """What two such numbers must share to be compared."""
    about: dict[str, Any] = dict(compared.reports[0].record)
    extractors = [f"{r.extractor} {r.extractor_sha256[:12]}" for each in compared.reports for r in each if r.extractor]
    facts = {
        "Data": f"{about.get('data', 'not known')}, {about.get('split', '')} split".rstrip(", "),
        "Fingerprint of the data": about.get("fingerprint"),
        "Observations": about.get("real"),
        "Samples of each": about.get("fake"),
        "Seed": about.get("seed"),
        "Extractor": ", ".join(dict.fromkeys(extractors)),
        "Made with": f"genzoo {about['genzoo']}, torch {about.get('torch', '?')}" if about.get("genzoo") else None,
    }
    return [(key, value) for key, value in facts.items() if value not in (None, "")]
