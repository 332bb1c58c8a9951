"""A comparison as one page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from genzoo.core.pictures.drawing import Drawing
from genzoo.core.templates import render
from genzoo.plugins.apps.compare import figures, tables
from genzoo.plugins.apps.compare.candidates import Candidate, FullComparison
from genzoo.plugins.apps.compare.comparison import protocol_words
from genzoo.plugins.apps.compare.figures import Figure, attempt
from genzoo.plugins.apps.compare.html import picture

SECTIONS = {
    "metrics": "Metrics",
    "samples": "Samples",
    "classes": "Classes",
    "training": "Training",
    "neighbours": "Nearest training pictures",
    "latent": "Ways through the latent space",
    "reconstructions": "Reconstructions",
    "making": "How each was made",
}


def page(compared: FullComparison, *, title: str = "") -> str:
    """Write the page: HTML with its style and pictures inside.

    Args:
        compared: what `genzoo.compare` gave.
        title: of the page; default names what is compared.
    """
    sides = compared.sides

    def of_each(make: Callable[[Candidate], Figure]) -> list[tuple[str, Figure]]:
        return [(side.name, attempt(partial(make, side))) for side in sides]

    shared, own = protocol_words(compared)
    content = {
        "compared": compared,
        "heading": title or " · ".join(compared.names),
        "sections": SECTIONS,
        "lead": _lead(compared),
        "verdict": _verdict(compared),
        "notes": tables.notes(compared),
        "span": tables.span,
        "figures": {
            "samples": of_each(partial(figures.samples, compared)),
            "training": of_each(figures.training),
            "neighbours": of_each(partial(figures.neighbours, compared)),
            "latent": of_each(partial(figures.ways, compared)),
            "reconstructions": of_each(partial(figures.reconstructions, compared)),
        },
        "drawn": _drawn,
        "classes": tables.classes(compared.names, [figures.shares(compared, i) for i in range(len(sides))]),
        "width": lambda share: f"{min(max(share, 0), 1):.4f}",
        "percent": lambda share: f"{share:.1%}",
        "making": tables.making(sides),
        "facts": _facts(compared),
        "shared": " ".join(f"{k}={v}" for k, v in shared.items()),
        "protocols": [words for words in own.values() if words],
    }
    return render(Path(__file__).with_name("page.html.j2"), content)


def _drawn(figure: Figure) -> Markup:
    """A figure's picture as markup."""
    if isinstance(figure.picture, str):
        return Markup(figure.picture)  # a modality's own
    if isinstance(figure.picture, Drawing):
        return Markup(figure.picture.svg(title=figure.alt, themed=True))
    assert figure.picture is not None
    return picture(figure.picture, figure.alt)


def _lead(compared: FullComparison) -> str:
    count = len(compared.names)
    what = f"{count} models side by side" if count > 1 else "One model"
    about = compared.reports[0].record
    if not about:
        return f"{what}."
    samples = f"{about['fake']:,} samples each" if isinstance(about.get("fake"), int) else "samples"
    against = f"{about.get('data')} ({about.get('split')}), seed {about.get('seed')}"
    return f"{what}, measured alike: {samples} against {against}."


def _verdict(compared: FullComparison) -> str:
    """Who wins what, in words."""
    won: dict[str, list[str]] = {}
    for row in compared.rows:
        if row.best is not None:
            won.setdefault(compared.names[row.best], []).append(row.some.title or row.metric)
    if len(compared.names) < 2:
        return "Every number stands with its interval of 95 %."
    said = [f"{name} in {', '.join(metrics)}" for name, metrics in won.items()]
    rest = "" if won else " There is none here."
    best = f" Best: {'; '.join(said)}." if said else ""
    return f"A winner is marked only where its interval has no point in common with any other's.{rest}{best}"


def _facts(compared: FullComparison) -> list[tuple[str, Any]]:
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
    }  # fmt: skip
    return [(key, value) for key, value in facts.items() if value not in (None, "")]
