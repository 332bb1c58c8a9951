"""The page that ``genzoo bench sensitivity`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.storage.files import write_bytes, write_json
from genzoo.plugins.apps.bench.bench_report import sentence
from genzoo.plugins.apps.bench.damages import DAMAGES
from genzoo.plugins.apps.bench.sensitivity import Sensitivity, sensitivity_table

_HOW = """# What the metrics see, and what they are blind to

```console
$ genzoo bench sensitivity --data {data}{options}
```

Real pictures of `{data}` are spoilt to two degrees and judged like samples of a model: {n} in each set, {seeds} draws
of each. Pictures that are spoilt, training data and reference have none in common. The damages:

{damages}

Each cell has the metric's mean on clean → slightly → heavily damaged pictures. **✓**: every draw in order, clean better
than slight better than heavy, no two sets overlapping. **(✓)**: sure of heavy damage only. **–**: blind. **✗**: fooled,
heavy damage *improves* it. A metric without a direction sees what moves it one way. What judges a model rather than its
samples (likelihood, reconstruction, representation, disentanglement), and what needs modes that are known, is not here.
"""


def write_sensitivity(folder: Path, found: Sensitivity, about: Mapping[str, Any]) -> None:
    """Write ``sensitivity.md`` and ``sensitivity.json``."""
    write_json(folder / "sensitivity.json", {"machine": about, **found.to_dict()})
    write_bytes(folder / "sensitivity.md", f"{text(found)}\n{sentence(about)}.\n".encode())


def text(found: Sensitivity) -> str:
    """The page in Markdown: the table, and each metric's blind spots in words."""
    damages = list(dict.fromkeys(line.damage for line in found.lines))
    words = "\n".join(f"- {DAMAGES[d].title}: {DAMAGES[d].what}" for d in damages)
    options = "" if (found.n, found.seeds) == (500, 3) else f" -n {found.n} --seeds {found.seeds}"
    how = _HOW.format(data=found.data, n=found.n, seeds=found.seeds, damages=words, options=options)
    parts = [how, sensitivity_table(found).markdown(), "", "## Blind spots", ""]
    for metric in dict.fromkeys(line.metric for line in found.lines):
        parts.append(f"- `{metric}` {_blind_spots(found, metric)}.")
    if found.absent:
        parts += ["", "Not measured here: " + "; ".join(f"`{m}` ({why})" for m, why in found.absent.items()) + "."]
    return "\n".join(parts) + "\n"


def _blind_spots(found: Sensitivity, metric: str) -> str:
    by = {line.damage: line.verdict for line in found.lines if line.metric == metric}
    blind = [DAMAGES[d].title for d, v in by.items() if v == "blind"]
    fooled = [DAMAGES[d].title for d, v in by.items() if v == "fooled"]
    late = [DAMAGES[d].title for d, v in by.items() if v == "sees heavy"]
    said = [f"is blind to {_listed(blind)}"] if blind else []
    said += [f"is fooled by {_listed(fooled)}"] if fooled else []
    said += [f"notices {_listed(late)} only when heavy"] if late else []
    return "; ".join(said) if said else "orders all of these"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
