"""Rows that a condition and the data's rules ask for, in codes: what may be drawn, and the test of what is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.selection import Selection
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import Column, columns, learnt
from genzoo.plugins.modalities.rules import rule, texts, values_by_name
from genzoo.plugins.modalities.truth import Frame, on_levels, on_rows, values_of
from genzoo.plugins.modalities.where import parse


def frame(spec: DataSpec, codes: Any) -> Frame:
    """Values of rows of codes ``(N, S)`` as they are written, but for what identifies rows."""
    found = columns(spec)
    made = values_by_name(found, codes)
    return {c.name: (values_of(c, made[c.name][0]), made[c.name][1]) for c in found if c.name in made}


def wanted(spec: DataSpec, where: str | None) -> Selection | None:
    """Which rows are wanted, None for all."""
    if where is None and not spec.facts["rules"] and not spec.facts["seen"]:
        return None
    return Where(spec, where)


class Where(Selection):
    """Rows of which a condition is true, and which break no rule of the data; no two alike where a rule says so."""

    def __init__(self, spec: DataSpec, where: str | None) -> None:
        self.spec, self.text = spec, where or ""
        found = columns(spec)
        self.node = None if where is None else parse(where, found)
        rules = [rule(text, found) for text in spec.facts["rules"]]
        self.tests = [r.node for r in rules if r.node is not None]
        self.unique: list[tuple[tuple[str, ...], set[tuple[str, ...]]]] = [
            (r.names, set()) for r in rules if r.kind == "unique"
        ]
        self.seen = []
        for held in spec.facts["seen"]:
            n = held.index("")
            flat = held[n + 1 :]
            self.seen.append((held[:n], {tuple(flat[i : i + n]) for i in range(0, len(flat), n)}))

    def keeps(self, x: Tensor) -> Tensor:
        rows, n = frame(self.spec, x.float().cpu().numpy()), len(x)
        kept = np.ones(n, bool)
        if self.node is not None:
            kept &= on_rows(self.node, rows)[0]
        for node in self.tests:
            kept &= ~np.asarray(on_rows(node, rows)[1])
        for names, among in self.seen:
            kept &= np.fromiter((row in among for row in self._cells(names, rows)), bool, n)
        for names, before in self.unique:
            for i, row in enumerate(self._cells(names, rows)):
                kept[i] &= row not in before
                if kept[i]:
                    before.add(row)
        return torch.from_numpy(kept)

    def _cells(self, names: Sequence[str], rows: Frame) -> list[tuple[str, ...]]:
        return list(zip(*(texts(*rows[name]) for name in names), strict=True))

    def allowed(self) -> Sequence[Tensor | None] | None:
        found: list[Tensor | None] = []
        for c in learnt(self.spec):
            may = np.ones(c.size, bool) if self.node is None else on_levels(self.node, c)[0]
            for node in self.tests:
                can, cannot = on_levels(node, c)
                gone = (np.arange(c.size) == 0) & (c.missing and len(node.columns()) > 1)  # perhaps neither
                may = may & (can | ~cannot | gone)
            if not may.any():
                raise UsageError(f"no row can meet {self.text or 'the rules of the data'}: column {c.name!r} {said(c)}")
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
