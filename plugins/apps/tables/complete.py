"""Tables without empty cells: each is drawn by a model, given what stands beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.arguments import checked
from genzoo.core.data import to_model, to_units
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.joint import evaluating
from genzoo.core.model import Model
from genzoo.core.noise import generator
from genzoo.core.storage.files import given_path
from genzoo.plugins.modalities.columns import Column, columns, encode, learnt
from genzoo.plugins.modalities.raw_tables import check_out, write_like
from genzoo.plugins.modalities.table_files import given_back, read_table, taken
from genzoo.registry.verbs.sample import open_model

Out = str | os.PathLike[str]
_FILL, _ROWS = -7, 64  # stream of randomness; rows of a pattern that are filled at a time


@dataclass(frozen=True)
class Completed:
    """What was filled."""

    path: Path
    rows: int
    cells: dict[str, int]  # how many were filled, by column
    left: dict[str, str]  # columns whose empty cells stay, and why
    unknown: dict[str, int]  # cells that the model cannot know, by column, read as the nearest that it knows

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"out": str(self.path), "rows": self.rows, "cells": self.cells, "left": self.left,
                "unknown": self.unknown}  # fmt: skip


@checked
def complete(
    weights: Model | Out, file: Out, out: Out, *, seed: int = 0, draws: int = 256, device: str = "auto"
) -> Completed:
    """Write a table with its empty cells filled, each drawn given what else its row holds.

    What was there stays as it was; columns that the file lacks are added. Of a ``table-ar`` model that was trained
    with ``any_order`` the draws go by the model at once; of another, one of so many ``draws`` is chosen by how well it
    fits what stands to the right of the gap, and gaps in few categories are tried out exactly.

    Args:
        weights: a model of tables with an exact likelihood, or what `genzoo.load` takes.
        file: a .csv, .parquet or .arrow file that has columns of the model's.
        out: where to, a file of one of these kinds.
        seed: the same one fills the same.
        draws: for each row with gaps.
        device: where to compute.
    """
    source, path = given_path(file), given_path(out)
    check_out(path, source)
    model = open_model(weights, device)
    if "dtype" not in model.spec.facts:
        raise UsageError(f"{model.called} is of {model.spec.modality} data: complete fills the cells of tables")
    if not model.likelihood.fill_noise or not model.exact:
        raise UsageError(f"{model.called} has no likelihood that fills gaps: train table-ar, whose does")
    if model.classes or model.conditions:
        raise UsageError(f"{model.called} is told a class: train one without --conditional to fill gaps")
    facts = model.spec.facts
    if facts["rules"] or facts["seen"] or any(k in ("computed", "looked-up") for k in facts["kind"]):
        raise UsageError(f"{model.called} keeps rules, which a row filled by its gaps alone could break: train one "
                         "without constraints to fill gaps")  # fmt: skip
    if draws < 1:
        raise UsageError(f"the draws for each row must be at least 1, not {draws}")
    found = columns(model.spec)
    table = read_table(source, {c.name: c.dtype for c in found})
    there = [c for c in found if c.name in table.column_names]
    if not there:
        near = did_you_mean(table.column_names[0], [c.name for c in found])
        raise UsageError(f"{source.name} has no column of the model's{near}: it has {', '.join(table.column_names)}")
    codes, gaps, unknown = _coded(model, table, source.name)
    codes = filled(model, codes, gaps, seed, draws)
    new, number = given_back(found, codes.numpy()), {c.name: i for i, c in enumerate(learnt(model.spec))}
    cells, left, made = dict[str, int](), dict[str, str](), {}
    for c in found:
        empty = taken(table, c.name, source.name)[1] if c in there else np.ones(len(table), bool)
        if c.kind == "id" and c in there:
            if empty.any():
                left[c.name] = "it identifies rows"
            continue
        if c.name in number or c.kind != "id":
            cells[c.name] = int(empty.sum())
            made[c.name] = (new[c.name].combine_chunks(), empty)
    write_like(source, path, table, made)
    return Completed(path, len(table), {k: v for k, v in cells.items() if v}, left, unknown)


def _coded(model: Model, table: Any, what: str) -> tuple[Tensor, Any, dict[str, int]]:
    """Codes of a table's rows, which of them are gaps ``(N, S)``, and how many cells the model does not know."""
    codes, gaps, unknown = [], [], dict[str, int]()
    for c in learnt(model.spec):
        if c.name not in table.column_names:
            codes.append(np.full(len(table), 0.5, np.float32))
            gaps.append(np.ones(len(table), bool))
            continue
        values, empty, _ = taken(table, c.name, what)
        codes.append(encode(c, values, empty))
        gaps.append(empty)
        if strange := int((_unknown(c, values) & ~empty).sum()):
            unknown[c.name] = strange
    return torch.from_numpy(np.stack(codes, 1)), np.stack(gaps, 1), unknown


def _unknown(c: Column, values: Any) -> Any:
    if c.kind == "category":
        if values.dtype != object:
            return np.zeros(len(values), bool)
        known = set(c.names)
        return np.fromiter((v not in known for v in values.tolist()), bool, len(values))
    ends = [*c.values, *c.edges]
    return (values < min(ends)) | (values > max(ends))


@torch.no_grad()
def filled(model: Model, codes: Tensor, gaps: Any, seed: int = 0, draws: int = 256) -> Tensor:
    """Codes ``(N, S)`` with gaps ``(N, S)`` drawn given the rest; row i goes by the seed and its own number."""
    made, noise = codes.clone(), model.likelihood.fill_noise
    with evaluating(model):
        for given, rows in _patterns(gaps):
            x = to_model(model.spec, codes[rows].to(model.device))
            random = [torch.rand(draws, noise, generator=generator(seed, _FILL, int(i))) for i in rows]
            uniform = torch.stack(random).to(model.device)
            params = model.generator(x.new_empty(len(x), *model.latent.shape), None)
            new = to_units(model.spec, model.likelihood.filled(params, x, given, uniform)).cpu()
            made[rows] = torch.where(given, codes[rows], new)
    return made


def _patterns(gaps: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """What is given ``(S,)``, and some rows of which just that is."""
    patterns, which = np.unique(gaps, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            rows = torch.from_numpy(np.flatnonzero(which.reshape(-1) == number))
            for part in torch.split(rows, _ROWS):
                yield torch.from_numpy(~pattern), part
