"""A mixture of normals as prior: trained along by gradients, or fitted by expectation maximization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior
from genzoo.core.spec import Latent
from genzoo.plugins.priors.mixture import Components
from genzoo.registry import declare

_PARTING = 100  # steps of k-means


@declare.prior("mixture", paper="arXiv:1903.12436", tags=("vae",))
class Mixture(Components):
    """Mixture prior: Σ_k π_k N(z; μ_k, Σ_k), by gradients beside a model, and by EM where it is fitted to one.

    EM goes stepwise (Cappé and Moulines, arXiv:0712.4273): each batch moves averages of the responsibilities and of the
    first and second moments under them by (t + 2)^-0.6, and the parameters are what maximizes the likelihood given
    these. ``train.lr`` means nothing to it. Components start around the first batch's mean, and for 100 steps each code
    belongs wholly to the nearest: k-means parts them, where EM lets most die. It magnifies rounding meanwhile: several
    processes, or parts of a batch, end near what one ends at, and not at the same bits.
    """

    @dataclass(frozen=True)
    class Options(Prior.Options):
        components: int = option(10, "K, normals in the mixture", low=1)
        covariance: Literal["full", "diagonal"] = option("full", "of each component")

    options: Options
    around: Tensor
    steps: Tensor
    share: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        k, d, self.full = self.options.components, latent.numbers, self.options.covariance == "full"
        if self.full and d > 512:
            raise UsageError(f"a code of {d} numbers has too many covariances: --set prior.covariance=diagonal")
        self.logits, self.mean = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.randn(k, d))
        self.log_var = nn.Parameter(torch.zeros(k, d))
        # Below the diagonal of P, Σ⁻¹ = PᵀP; on it is exp(-½ log_var).
        self.lower = nn.Parameter(torch.zeros(k, d, d)) if self.full else None
        # Around the mean of all codes, where components start.
        self.register_buffer("around", torch.randn(k, d, generator=generator(0xE3)), persistent=False)
        shapes = {"steps": (), "share": (k,), "first": (k, d), "second": (k, d, d) if self.full else (k, d)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @property
    def _factor(self) -> Tensor:
        assert self.lower is not None
        return torch.tril(self.lower, -1) + torch.diag_embed(torch.exp(-0.5 * self.log_var))

    def _each(self, z: Tensor) -> Tensor:
        """Log π_k N(z; μ_k, Σ_k), ``(..., K)``, for codes ``(..., numbers)``."""
        off = z.unsqueeze(-2) - self.mean
        way = self._factor if self.full else torch.exp(-0.5 * self.log_var)
        off = torch.einsum("kij,...kj->...ki", way, off) if self.full else off * way
        return normal_log_prob(off).sum(-1) - 0.5 * self.log_var.sum(-1) + self.logits.log_softmax(0)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.logsumexp(self._each(z.flatten(-len(self.latent.shape))), -1)

    def pick(self, uniform: Tensor, normal: Tensor) -> Tensor:
        share = self.logits.softmax(0).cumsum(0)
        k = torch.searchsorted(share, uniform.contiguous(), right=True).clamp(max=len(share) - 1)
        if self.full:
            off = torch.linalg.solve_triangular(self._factor[k], normal.flatten(1)[..., None], upper=False)[..., 0]
        else:
            off = torch.exp(0.5 * self.log_var[k]) * normal.flatten(1)
        z: Tensor = self.mean[k] + off
        return z.view(-1, *self.latent.shape)

    @torch.no_grad()
    def sums(self, z: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        z = z.flatten(1)
        r = torch.where((self.steps > 0) & (self.steps < _PARTING), self._nearest(z), self._each(z).softmax(-1))
        second = torch.einsum("bk,bi,bj->kij", r, z, z) if self.full else r.T @ z.square()
        return {"count": r.sum(0), "first": r.T @ z, "second": second}

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        n, start = seen["count"].sum(), self.steps == 0
        now = {"share": seen["count"] / n, "first": seen["first"] / n, "second": seen["second"] / n}
        for name, value in self._started({k: v.sum(0) for k, v in now.items()}).items():
            buffer: Tensor = getattr(self, name)
            buffer.copy_(torch.where(start, value, buffer + (self.steps + 2) ** -0.6 * (now[name] - buffer)))
        self.steps.add_(1)
        share = self.share.clamp(min=1e-6)
        mean, second = self.first / share[:, None], self.second / share.view(-1, *[1] * (self.second.dim() - 1))
        self.logits.copy_(share.log())
        self.mean.copy_(mean)
        if not self.full:
            self.log_var.copy_((second - mean.square()).clamp(min=1e-6).log())
            return
        covariance = second - mean[:, :, None] * mean[:, None]
        scale = covariance.diagonal(dim1=1, dim2=2).mean().clamp(min=1e-6)
        eye = torch.eye(mean.shape[1], device=mean.device)
        cholesky = torch.linalg.cholesky_ex(covariance + 1e-4 * scale * eye).L
        factor = torch.linalg.solve_triangular(cholesky, eye.expand_as(cholesky), upper=False)
        self.log_var.copy_(-2 * factor.diagonal(dim1=1, dim2=2).log())
        assert self.lower is not None
        self.lower.copy_(torch.tril(factor, -1))

    def _nearest(self, z: Tensor) -> Tensor:
        """One at the nearest mean ``(B, K)``, in units of how far all codes spread, and zeros."""
        mean, squares = self.first.sum(0), self._squares(self.second.sum(0))
        off = (z.unsqueeze(1) - self.mean).square() / (squares - mean.square()).clamp(min=1e-8)
        return nn.functional.one_hot(off.sum(2).argmin(1), len(self.share)).to(z.dtype)

    def _squares(self, second: Tensor) -> Tensor:
        return second.diagonal() if self.full else second

    def _started(self, whole: dict[str, Tensor]) -> dict[str, Tensor]:
        """Averages of components of equal shares, as wide as all codes, spread around their mean."""
        k, mean = len(self.share), whole["first"]
        wide = (self._squares(whole["second"]) - mean.square()).clamp(min=1e-8)
        means = mean + 0.3 * wide.sqrt() * self.around
        second = means[:, :, None] * means[:, None] + torch.diag(wide) if self.full else means.square() + wide
        return {"share": torch.full_like(self.share, 1 / k), "first": means / k, "second": second / k}
