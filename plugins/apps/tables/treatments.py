"""Rows that are added to those of a rare class: copies of them, mixtures of neighbours, and what a model makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.spec import DataSpec
from genzoo.plugins.metrics.rows import is_category
from genzoo.plugins.modalities.columns import Column, encode, learnt, number_text
from genzoo.registry.verbs.fit import fit
from genzoo.registry.verbs.load import create

NO_MODELS = ("smote", "copies")
NEIGHBOURS, FEWEST_STEPS, MANY_ROWS = 5, 600, 50_000
LARGER_STEPS = {"table-ar": {"train.lr": 2e-3}}  # of few steps
_CELLS = 4_000_000  # distances held at a time


def copies(rare: Any, n: int, random: np.random.Generator) -> Any:
    """Rows of the rare class ``(R, D)`` once more, each as often as any other but for one: ``(n, D)``."""
    times = -(-n // len(rare))
    return rare[np.concatenate([random.permutation(len(rare)) for _ in range(times)])[:n]]


def smote(rare: Any, category: Sequence[bool], n: int, random: np.random.Generator) -> Any:
    """Rows between a rare one and one of its five nearest (Chawla et al., *SMOTE*, arXiv:1106.1813; its NC form).

    Numbers are scaled by their deviations, a category that differs counts as the median of these, which is 1, and is
    then what most of the neighbours have. A missing number stays missing. Distances are held in parts, so memory does
    not grow with the square of the rows.
    """
    hot = np.array(category, bool)
    scale = np.nanstd(rare, axis=0, where=~np.isnan(rare)) if len(rare) > 1 else np.ones(rare.shape[1])
    placed = np.where(np.isnan(rare), 0.0, rare) / np.where(scale > 0, scale, 1.0)
    k = min(NEIGHBOURS, len(rare) - 1)
    if k < 1:
        return copies(rare, n, random)
    near, step = np.empty((len(rare), k), int), max(_CELLS // len(rare), 1)
    for start in range(0, len(rare), step):
        part = slice(start, start + step)
        d = np.square(placed[part, None][..., ~hot] - placed[None][..., ~hot]).sum(-1) if (~hot).any() else 0.0
        d = d + (rare[part, None][..., hot] != rare[None][..., hot]).sum(-1)
        d[np.arange(len(d)), np.arange(start, start + len(d))] = np.inf
        near[part] = np.argsort(d, axis=1, kind="stable")[:, :k]
    base = copies(np.arange(len(rare)), n, random)
    other, share = near[base, random.integers(k, size=n)], random.random((n, 1))
    made = rare[base] + share * (rare[other] - rare[base])
    for s in np.flatnonzero(hot):
        votes = rare[near[base], s]  # (n, k)
        tally = (votes[:, :, None] == votes[:, None]).sum(-1)
        made[:, s] = votes[np.arange(n), tally.argmax(1)]
    return made


def codes_of(spec: DataSpec, rows: Any, target: int, level: int) -> Any:
    """Codes ``(N, S)`` of numbers ``(N, S - 1)`` that lack the target column, which is of one level."""
    found, place = [], 0
    for s, c in enumerate(learnt(spec)):
        if s == target:
            found.append(np.full(len(rows), level + 0.5, np.float32))
            continue
        v, gone, place = np.nan_to_num(rows[:, place]), np.isnan(rows[:, place]), place + 1
        found.append((v + 0.5).astype(np.float32) if is_category(c) else encode(c, v, gone))
    return np.stack(found, 1)


@dataclass(frozen=True)
class Making:
    """What makes rows or pictures: a recipe, and how it is trained."""

    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    steps: int | None = None
    threads: int | None = None
    device: str = "auto"

    @property
    def trains(self) -> bool:
        """Whether it is a model."""
        return self.recipe not in NO_MODELS

    def check(self, spec: DataSpec) -> None:
        """Build it, so that what cannot be is refused before anything is trained."""
        if not self.trains and (self.options or self.steps):
            raise UsageError(f"{self.recipe} is no model: it takes no options and no steps")
        if self.trains:
            create(self.recipe, spec, options=self.options)

    def model(self, data: Data, seed: int) -> Model:
        """A model of data, from a training of its own; of few rows by few steps, unless somebody says how many."""
        few = self.steps is None and len(data) < MANY_ROWS
        steps = FEWEST_STEPS if few else self.steps
        options = {**(LARGER_STEPS.get(self.recipe, {}) if few else {}), **self.options}
        run = fit(self.recipe, data, None, steps=steps, seed=seed, options=options, device=self.device,
                  threads=self.threads, progress=False)  # fmt: skip
        return run.model


def drawn(model: Model, n: int, seed: int, column: Column | None, level: int, where: str | None = None) -> Any:
    """Codes ``(n, S)`` of rows whose column is of that level; without one, any rows of a model of the class alone."""
    labels = level if model.classes and column is not None else None
    if column is not None and labels is None:
        where = condition(column, level) + (f" AND ({where})" if where else "")
    made = model.sample(n, seed=seed, labels=labels, where=where, batch_size=4096, numbers=True)
    return torch.as_tensor(made).float().cpu().numpy()


def condition(column: Column, level: int) -> str:
    """What ``--where`` says of a column that is of one level."""
    name, k = '"' + column.name.replace('"', '""') + '"', level - int(column.missing)
    if k < 0:
        return f"{name} IS NULL"
    if column.names:
        return f"{name} = '" + column.names[k].replace("'", "''") + "'"
    return f"{name} = {number_text(column.values[k])}"
