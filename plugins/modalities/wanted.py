"""Rows that a condition asks for, in codes: what the likelihood may draw, and the test of what is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.selection import Selection
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import Column, columns, decode, learnt
from genzoo.plugins.modalities.truth import Frame, Node, on_levels, on_rows, values_of
from genzoo.plugins.modalities.where import parse


def frame(spec: DataSpec, codes: Any) -> Frame:
    """Values of rows of codes ``(N, S)`` as they are written, but for what identifies rows."""
    found, s = dict[str, tuple[Any, Any]](), 0
    for c in columns(spec):
        if c.size:
            values, missing = decode(c, codes[:, s])
            s += 1
        elif c.kind == "id":
            continue
        else:
            held: Any = c.names[0] if c.names else c.values[0] if c.values else 0.0
            values = np.full(len(codes), held, object if c.names else float)
            missing = np.full(len(codes), c.missing)
        found[c.name] = values_of(c, values), missing
    return found


def wanted(spec: DataSpec, where: str | None) -> Selection | None:
    """Which rows are wanted, None for all."""
    return None if where is None else Where(spec, where)


class Where(Selection):
    """Rows of which a condition is true."""

    def __init__(self, spec: DataSpec, where: str) -> None:
        self.spec, self.text = spec, where
        self.node: Node = parse(where, columns(spec))

    def keeps(self, x: Tensor) -> Tensor:
        true = on_rows(self.node, frame(self.spec, x.float().cpu().numpy()))[0]
        return torch.from_numpy(np.broadcast_to(true, len(x)).copy())

    def allowed(self) -> Sequence[Tensor | None] | None:
        found: list[Tensor | None] = []
        for c in learnt(self.spec):
            may = on_levels(self.node, c)[0]
            if not may.any():
                raise UsageError(f"no row can meet {self.text}: column {c.name!r} {said(c)}")
            found.append(None if may.all() else torch.from_numpy(may))
        return found


def said(c: Column) -> str:
    """What a column holds, in words."""
    gaps = ", or nothing" if c.missing else ""
    if c.names:
        return f"holds {', '.join(c.names[:10])}{' …' if len(c.names) > 10 else ''}{gaps}"
    half = c.step / 2
    ends = [*c.values, *(e + half for e in c.edges[:1]), *(e - half for e in c.edges[-1:])]
    return f"goes from {min(ends):g} to {max(ends):g}{gaps}"
