"""What a notebook shows: progress where its bars can be seen, and results as HTML in which every text is escaped."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import GenzooError, in_words
from genzoo.core.text import html

if TYPE_CHECKING:
    from PIL import Image

    from genzoo.core.model import Model


def in_notebook() -> bool:
    """Whether a kernel of IPython runs this process, as in Jupyter: its stderr is no terminal, and shows bars."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None and hasattr(shell, "get_ipython") else None
    return found is not None and hasattr(found, "kernel")


def shows_progress() -> bool:
    """Whether somebody can see a bar on stderr: at a terminal or in a notebook, and not in a file or a pipe."""
    return sys.stderr.isatty() or in_notebook()


def visible(progress: bool | None) -> bool:
    """Whether to show bars: as asked, and by default where somebody can see them."""
    return shows_progress() if progress is None else progress


def table(rows: Iterable[Sequence[object]], header: Sequence[object] = (), title: str = "") -> str:
    """Rows as a table; texts may be of strangers."""
    lines = [f"<p><b>{html(title)}</b></p>"] if title else []
    lines.append("<table>")
    if header:
        lines.append(f"<thead><tr>{''.join(f'<th>{html(c)}</th>' for c in header)}</tr></thead>")
    lines.append("<tbody>")
    cell = '<td style="text-align:left">'
    lines += [f"<tr>{''.join(f'{cell}{html(c)}</td>' for c in row)}</tr>" for row in rows]
    return "".join([*lines, "</tbody></table>"])


def paragraphs(texts: Iterable[str]) -> str:
    """A small line for each text, its advice in the words of Python."""
    return "".join(f"<p><small>{html(in_words(text))}</small></p>" for text in texts)


def picture(image: Image.Image, says: str) -> str:
    """A picture within the page."""
    content = io.BytesIO()
    image.save(content, format="PNG")
    data = base64.b64encode(content.getvalue()).decode()
    return f'<img alt="{html(says)}" style="max-width:100%" src="data:image/png;base64,{data}">'


def of_model(model: Model) -> str:
    """What a model is, and some samples of it."""
    from genzoo.core.modality import of

    config, spec = model.config, model.spec
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    rows: list[tuple[str, object]] = [
        ("makes", f"{of(spec).many} of {'×'.join(map(str, spec.shape))}"),
        ("codes", "×".join(map(str, model.latent.shape))),
        *([("classes", ", ".join(spec.class_names[:20]) or str(model.classes))] if model.classes else []),
        ("parameters", ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)),
    ]
    return table(rows, title=config.recipe if config else "model") + _samples(model)


def of_run(run: Any) -> str:
    """What became of a training, and some samples of the model."""
    rows = [("steps", f"{run.steps:,}" + ("" if run.finished else ", interrupted: resume=True goes on"))]
    rows += [("seconds", f"{run.seconds:.1f}")]
    rows += [("folder", str(run.folder))] if run.folder is not None else []
    rows += [(name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in run.metrics.items()]
    return table(rows, title=f"{run.config.recipe}, trained") + _samples(run.model)


def _samples(model: Model) -> str:
    from genzoo.core.modality import of

    if model.likelihood.sampled or model.conditions:  # which takes long, or an answer to what
        return ""
    try:
        image = of(model.spec).picture(model.spec, model.sample(16, numbers=True), 8)
    except (GenzooError, RuntimeError):
        return ""
    return "" if image is None else picture(image, "samples")
