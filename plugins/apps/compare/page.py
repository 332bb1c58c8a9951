"""A comparison as one page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

from genzoo.core.pictures.drawing import Drawing
from genzoo.plugins.apps.compare import figures, tables
from genzoo.plugins.apps.compare.candidates import Candidate, FullComparison
from genzoo.plugins.apps.compare.comparison import protocol_words
from genzoo.plugins.apps.compare.figures import Figure, attempt
from genzoo.plugins.apps.compare.html import Html, join, picture, tag

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(compared: FullComparison, *, title: str = "") -> str:
    """Write the page: HTML with its style and pictures inside.

    Args:
        compared: what `genzoo.compare` gave.
        title: of the page; default names what is compared.
    """
    heading = title or " · ".join(compared.names)
    sections = _sections(compared)
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in sections]
    bodies = [
        tag("section", tag("h2", name, id=f"{key}-title"), body, id=key, aria_labelledby=f"{key}-title")
        for key, name, body in sections
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{heading} – genzoo compare"),
        tag("style", Html(files("genzoo.plugins.apps.compare").joinpath("page.css").read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        tag("header", tag("h1", heading), tag("p", _lead(compared), class_="lead"),
            tag("nav", tag("ul", *links), aria_label="Sections")),
        tag("main", *bodies),
        tag("footer", _foot(compared)),
    )  # fmt: skip
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(compared: FullComparison) -> list[tuple[str, str, Html]]:
    """Key, heading and body of each."""
    sides, seed = compared.sides, compared.seed
    shares = [figures.shares(compared, i) for i in range(len(sides))]
    return [
        ("metrics", "Metrics", join(tag("p", _verdict(compared)), tables.metrics(compared))),
        ("samples", "Samples", join(
            tag("p", f"Not picked: the first ones of seed {seed}, the same seed for each."),
            _row(sides, lambda s: figures.samples(compared, s)),
        )),
        ("classes", "Classes", join(
            tag("p", "A model that forgot a class shows an empty bar beside the data's."),
            tables.classes(compared.names, shares),
        )),
        ("training", "Training", join(
            tag("p", "Losses of different objectives are different things: compare their course, not their height."),
            _row(sides, figures.training),
        )),
        ("neighbours", "Nearest training pictures", join(
            tag("p", "A model that learned by heart shows the same picture twice."),
            _row(sides, lambda s: figures.neighbours(compared, s)),
        )),
        ("latent", "Ways through the latent space", _row(sides, lambda s: figures.ways(compared, s))),
        ("reconstructions", "Reconstructions", _row(sides, lambda s: figures.reconstructions(compared, s))),
        ("making", "How each was made", tables.making(sides)),
    ]  # fmt: skip


def _row(sides: Sequence[Candidate], make: Callable[[Candidate], Figure]) -> Html:
    """One figure of each, side by side."""
    return tag("div", *(_shown(side, attempt(partial(make, side))) for side in sides), class_="sides")


def _shown(side: Candidate, figure: Figure) -> Html:
    name = tag("h3", side.name)
    if figure.picture is None:
        text = tag("p", tag("strong", "Absent"), f": {figure.absent or 'there is nothing to show'}.", class_="absent")
        return tag("div", name, text, class_="side")
    drawn: Html
    if isinstance(figure.picture, Drawing):
        drawn = Html(figure.picture.svg(title=figure.alt, themed=True))
    else:
        drawn = picture(figure.picture, figure.alt)
    caption = tag("figcaption", figure.caption) if figure.caption else None
    return tag("div", name, tag("figure", drawn, caption), class_="side")


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


def _foot(compared: FullComparison) -> Html:
    """The protocol: what two such numbers must share to be compared."""
    shared, own = protocol_words(compared)
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
    listed = [part for k, v in facts.items() if v not in (None, "") for part in (tag("dt", k), tag("dd", v))]
    common = tag("p", "Common to all metrics: ", tag("code", " ".join(f"{k}={v}" for k, v in shared.items())))
    items = [tag("li", tag("code", words)) for words in own.values() if words]
    every = tag("details", tag("summary", "The protocol of each metric"), common if shared else None, tag("ul", *items))
    return join(tag("h2", "Protocol"), tag("dl", *listed), every if items else None)
