"""Gaussian copula of rows: the columns' own frequencies, tied by a correlation that one pass over the data finds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.core.likelihood import Likelihood
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.table_rows import RowLikelihood
from genzoo.registry import declare

declare.recipe(
    "copula",
    summary="Gaussian copula of rows: found in one pass, a quick baseline that every other has to beat",
    tags=("exact", "table", "baseline"),
    modalities=("table",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="copula",
    options={"latent.size": 0, "train.epochs": 1, "train.batch_size": 512},
)


@declare.likelihood("copula", modalities=("table",), tags=("table", "baseline"))
class CopulaLikelihood(RowLikelihood):
    """Normal numbers of correlation R, one for each column: Φ of one says which level, by the training rows' shares.

    A level is spread over its share, and a number in a bin over its bin's. So R is the mean of s sᵀ over the data, for
    s = Φ⁻¹ of a uniform draw within each cell; nothing is trained by gradients. ``log_prob`` takes the middle of each
    cell, which is a density for numbers only: it is no likelihood's value.

    When: a baseline in no time. It keeps every column's own distribution, and of what ties them what is monotone in
    pairs.

    Cost: a product of the square of the number of columns for each row.
    """

    normalized = False
    second: Tensor
    count: Tensor
    cut: Tensor  # shares of the values of each slot, added up ``(T, most + 1)``

    def __init__(self, spec: DataSpec, options: Likelihood.Options | None = None) -> None:
        super().__init__(spec, options)
        layout = self.layout
        self.noise_size = n = len(layout.sizes)
        cut = torch.zeros(n, max(layout.sizes) + 1)
        for t, (a, k) in enumerate(zip(layout.starts, layout.sizes, strict=True)):
            shares = torch.tensor([math.exp(v) for v in layout.log_shares[a : a + k]], dtype=torch.float64)
            cut[t, 1 : k + 1] = (shares / shares.sum()).cumsum(0)
            cut[t, k:] = 1.0
        self.register_buffer("cut", cut, persistent=False)
        self.register_buffer("second", torch.eye(n))
        self.register_buffer("count", torch.zeros(()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1,)

    def scores(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Normal numbers ``(B, T)`` of rows in model space, levels by uniform numbers ``(B, T)``."""
        digits, within, layout = self.layout.chosen(x), uniform, self.layout
        if layout.binned:
            slots = [layout.column.index(s) for s in layout.binned]
            starts = torch.tensor([layout.columns[s].first_bin for s in layout.binned], device=x.device)
            place = (x[:, layout.total :] + 1) / 2
            own = torch.where(digits[:, slots] >= starts, place, uniform[:, slots])
            within = uniform.index_copy(1, torch.tensor(slots, device=x.device), own)
        low, high = (self.cut.T.gather(0, digits + i) for i in (0, 1))
        found: Tensor = torch.special.ndtri((low + (high - low) * within).clamp(1e-6, 1 - 1e-6))
        return found

    def _factor(self) -> Tensor:
        """Of the correlation, a Cholesky factor."""
        scale = self.second.diagonal().clamp(min=1e-6).rsqrt()
        found = self.second * scale * scale[:, None]
        factor: Tensor = torch.linalg.cholesky(found + 1e-4 * torch.eye(len(found), device=found.device))
        return factor

    def log_prob_by(self, params: Tensor, x: Tensor, uniform: Tensor) -> Tensor:
        """The density of columns by themselves, and the copula's of the scores; nothing has slopes."""
        digits, factor, s = self.layout.chosen(x), self._factor(), self.scores(x, uniform)
        white = torch.linalg.solve_triangular(factor, s.T, upper=False)
        tied = 0.5 * (s.square().sum(1) - white.square().sum(0)) - factor.diagonal().log().sum()
        alone = self.log_shares[digits + self.layout.held(x.device)["starts"]].sum(1) - self.log_volume_of(digits)
        total: Tensor = alone + tied + 0 * params.sum(1)
        return total

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self.log_prob_by(params, x, x.new_full((len(x), self.noise_size), 0.5))

    def sums(self, x: Tensor, uniform: Tensor) -> Mapping[str, Tensor]:
        s = self.scores(x, uniform)
        return {"copula": s.T @ s, "rows": torch.full_like(s[0, 0], len(s))}

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        total = self.count + seen["rows"]
        self.second.lerp_(seen["copula"] / seen["rows"], seen["rows"] / total)
        self.count.copy_(total)

    def mean(self, params: Tensor) -> Tensor:
        """The middle of every column."""
        return self._made(params.new_full((len(params), self.noise_size), 0.5))

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        normal = torch.randn(len(params), self.noise_size, generator=generator, device=params.device)
        return self._made(torch.special.ndtr(normal @ self._factor().T / (1 + 1e-4) ** 0.5))

    def _made(self, u: Tensor) -> Tensor:
        """Rows in model space of uniform numbers ``(B, T)``, one for each slot."""
        layout = self.layout
        digits = (u[:, :, None] >= self.cut[None, :, 1:]).sum(2)
        digits = torch.minimum(digits, layout.held(u.device)["sizes"] - 1)
        slots = [layout.column.index(s) for s in layout.binned]
        low, high = (self.cut.T.gather(0, digits + i) for i in (0, 1))
        within = ((u - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        return self.rows(digits, within[:, slots])
