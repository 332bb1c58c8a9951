"""What ``genzoo bench modes`` leaves behind: a table, the numbers, and a picture of each mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from genzoo.core.pictures import grids as pictures
from genzoo.core.storage.files import write_bytes, write_json
from genzoo.plugins.apps.bench.bench_report import sentence
from genzoo.plugins.apps.bench.coverage import MIXTURES, SAMPLES, ModeResult, limit_of, mode_table, reference_lines


def write_modes(out: Path, results: Sequence[ModeResult], about: Mapping[str, Any]) -> None:
    """Write ``modes.md``, ``modes.json`` and ``modes-MIXTURE.png``."""
    names = list(dict.fromkeys(r.data for r in results))
    document = {
        "machine": about,
        "reference": {d: {name: c.to_dict() for name, (_, c) in reference_lines(d).items()} for d in names},
        "results": [r.to_dict() for r in results],
    }
    write_json(out / "modes.json", document)
    write_bytes(out / "modes.md", f"{mode_table(results).markdown()}\n\n{sentence(about)}\n".encode())
    for name in names:
        if name in MIXTURES:
            _picture(out, name, [r for r in results if r.data == name])


def _picture(out: Path, data: str, results: Sequence[ModeResult]) -> None:
    """Samples of every run over real data, a row a contender."""
    real = reference_lines(data)["real data"][0]
    panels = []
    for r in results:
        c = r.coverage
        title = f"{r.label}, seed {r.seed}: {c.modes}/{c.of}, {c.high_quality:.0%} good"
        points = torch.tensor(r.points).view(SAMPLES, 2)
        panels.append(pictures.scatter(points, real, size=320, limit=limit_of(data), title=title))
    seeds = len({r.seed for r in results})
    pictures.save(pictures.beside(panels, columns=seeds), out / f"modes-{data}.png")
